"""What a feature's value is, and how people read it."""

import numpy as np
import pytest

from fraud.domain.features import LARGEST, as_values, shortest_decimal


def test_values_are_the_nearest_float32_and_finite() -> None:
    finished = [0.1, -0.0, 2.0**24 + 1, 2.0**24 + 3, 1e39, -np.inf, 1e-60]
    found = as_values(np.array(finished))
    assert found.dtype == np.float32
    assert found.tolist() == [float(np.float32(0.1)), -0.0, 2**24, 2**24 + 4, LARGEST, -LARGEST, 0]


@pytest.mark.parametrize(
    "written", ["12.34", "0.1", "-7.25", "99999.99", "1e-07", "20.0", "31622400.0", "16777216.0"]
)
def test_a_value_is_read_as_its_shortest_decimal(written: str) -> None:
    value = float(as_values(np.array(float(written))))
    assert repr(shortest_decimal(value)) == repr(float(written))


@pytest.mark.parametrize("value", [0.1, 1 / 3, 123_456_792.0, 1e300, float("inf")])
def test_whole_numbers_and_what_is_no_float32_stay_as_they_are(value: float) -> None:
    """An older decision holds features in full, and its replay must give its own words."""
    assert shortest_decimal(value) == value
    assert np.isnan(shortest_decimal(float("nan")))

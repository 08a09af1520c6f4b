"""How people read the value of a feature."""

import numpy as np
import pytest

from fraud.domain.features import shortest_decimal


@pytest.mark.parametrize(
    "written", ["12.34", "0.1", "-7.25", "99999.99", "1e-07", "20.0", "31622400.0", "16777216.0"]
)
def test_a_value_is_read_as_its_shortest_decimal(written: str) -> None:
    value = float(np.float32(written))
    assert repr(shortest_decimal(value)) == repr(float(written))


@pytest.mark.parametrize("value", [0.1, 1 / 3, 123_456_792.0, 1e300, float("inf")])
def test_whole_numbers_and_what_is_no_float32_stay_as_they_are(value: float) -> None:
    """An older decision holds features in full, and its replay must give its own words."""
    assert shortest_decimal(value) == value
    assert np.isnan(shortest_decimal(float("nan")))

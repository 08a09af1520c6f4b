"""More than chance: with many columns, some always look different."""

import numpy as np
import pandas as pd
import pytest

from dashboards.drift.report import MINOR_THRESHOLD, THRESHOLD, thresholds_by_importance
from dashboards.drift.significance import differing, holm


def test_holm_rejects_as_in_the_textbook() -> None:
    # 0.01 / 3, 0.01 / 2, 0.01 / 1: the third fails, so it and what follows stay.
    assert holm({"a": 0.003, "b": 0.005, "c": 0.02}, 0.01) == {"a", "b"}
    assert holm({"a": 0.004, "b": 0.001, "c": 0.001}, 0.01) == {"a", "b", "c"}
    assert holm({"a": 0.004, "b": 0.004, "c": 0.004}, 0.01) == set()


def test_in_few_rows_a_large_distance_may_be_chance() -> None:
    rng = np.random.default_rng(5)
    few = [pd.DataFrame(rng.normal(size=(30, 40))).rename(columns=str) for _ in range(2)]
    moved = few[1].assign(**{"7": few[1]["7"] + 3.0})
    assert differing(few[0], few[1], []) == set()
    assert differing(few[0], moved, []) == {"7"}


def test_codes_are_compared_value_by_value() -> None:
    rng = np.random.default_rng(6)
    before, after = (
        pd.DataFrame({"code": rng.integers(0, 4, 500).astype(float), "one": np.ones(500)})
        for _ in range(2)
    )
    assert differing(before, after, ["code", "one"]) == set()
    shifted = after.assign(code=np.minimum(after["code"], 2.0))
    assert differing(before, shifted, ["code", "one"]) == {"code"}


@pytest.mark.parametrize(
    ("importance", "strict"),
    [
        ({"a": 6.0, "b": 3.0, "c": 0.7, "d": 0.3}, {"a", "b"}),
        ({"a": 1.0, "b": 0.0}, {"a"}),
        ({"a": 0.0, "b": 0.0}, {"a", "b"}),  # a model that leans on nothing
    ],
)
def test_what_the_model_leans_on_is_held_to_the_stricter_threshold(
    importance: dict[str, float], strict: set[str]
) -> None:
    found = thresholds_by_importance(importance)
    assert {name for name, limit in found.items() if limit == THRESHOLD} == strict
    assert set(found.values()) <= {THRESHOLD, MINOR_THRESHOLD}

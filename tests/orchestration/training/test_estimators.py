"""What fitting and asking leave behind in the process."""

import sys
import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from orchestration.training.estimators import fit_forest, predict_forest


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_a_forest_leaves_the_warning_filters_as_they_were() -> None:
    features = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    params = {"genuine_rows": 200, "n_estimators": 30}
    before = list(warnings.filters)
    for seed in range(5):
        forest = fit_forest(features, features[:, 0] > 0, params, seed)
        predict_forest(forest, features)
        assert warnings.filters == before

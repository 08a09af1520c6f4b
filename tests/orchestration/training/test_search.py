import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from fraud.domain.errors import ContractError
from fraud.types.credit_card import CREDIT_CARD
from orchestration.training.candidates import CANDIDATES, fit_candidate
from orchestration.training.search import SPACES, Found, prequential_folds, search
from orchestration.training.split import Sample
from tests.orchestration.training.builders import a_split

DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def train() -> Sample:
    return a_split().train


def searched(train: Sample, journal: Path, trials: int, seconds: float = 300.0) -> Found:
    return search(
        "logistic_regression", train, CREDIT_CARD, journal, seconds=seconds, trials=trials
    )


def test_folds_move_forward_and_leave_labels_time_to_mature(train: Sample) -> None:
    maturity_us = 2 * DAY_US
    folds = prequential_folds(train, maturity_us)
    judged_before = -1
    for fitted, judged in folds:
        assert train.time_us[fitted].max() + maturity_us <= train.time_us[judged].min()
        assert judged.min() > judged_before
        judged_before = judged.max()
    assert len(folds) == 3


def test_a_search_that_stopped_goes_on_where_it_stopped(train: Sample, tmp_path: Path) -> None:
    journal = tmp_path / "search.journal"
    numbers: list[int] = []
    first = searched(train, journal, 2)
    found = search(
        "logistic_regression",
        train,
        CREDIT_CARD,
        journal,
        seconds=300.0,
        trials=5,
        on_trial=lambda number, value, best: numbers.append(number),
    )
    assert (first.trials, found.trials) == (2, 5)
    assert numbers == [2, 3, 4]
    assert found.average_precision >= first.average_precision >= first.initial
    assert searched(train, journal, 5) == found, "nothing is left of the budget"


def test_equal_searches_find_equal_parameters(train: Sample, tmp_path: Path) -> None:
    one, other = (searched(train, tmp_path / name, 4) for name in ("one", "other"))
    assert one == other
    model = fit_candidate("logistic_regression", train.features, train.is_fraud, params=one.params)
    assert np.isfinite(model.probabilities(train.features)).all()


def test_the_first_trial_is_what_the_candidate_has(train: Sample, tmp_path: Path) -> None:
    found = searched(train, tmp_path / "journal", 1)
    assert found.params == {"C": CANDIDATES["logistic_regression"].params["C"]}
    assert found.average_precision == found.initial


def test_every_space_holds_its_candidates_own_parameters(train: Sample, tmp_path: Path) -> None:
    for name in SPACES:
        found = search(name, train, CREDIT_CARD, tmp_path / name, seconds=300.0, trials=1)
        own = CANDIDATES[name].params
        assert {key: own[key] for key in found.params if key in own}.items() <= found.params.items()


def test_no_trial_begins_after_the_budget(train: Sample, tmp_path: Path) -> None:
    found = search(
        "logistic_regression",
        train,
        CREDIT_CARD,
        tmp_path / "journal",
        seconds=1.0,
        trials=100,
        on_trial=lambda number, value, best: time.sleep(1.1),
    )
    assert found.trials == 1


def test_what_cannot_be_searched_is_refused(train: Sample, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no parameters to search"):
        search("blend", train, CREDIT_CARD, tmp_path / "journal", seconds=1.0)
    early = train.is_fraud & (np.arange(len(train)) < len(train) // 2)
    without = dataclasses.replace(train, is_fraud=early)
    with pytest.raises(ContractError, match="too short"):
        prequential_folds(without, 7 * DAY_US)

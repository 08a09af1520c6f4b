"""Hyper-parameters searched with Optuna under prequential validation, within a stated budget.

Each trial fits on the first part of the training span and is judged on what came next, three
times, moving forward in time; a gap lets the labels of the fitted part mature. All of it lies
before the label cutoff: the validation and test days know nothing of the search. The first
trial is what the candidate has anyway, so the search can only replace it by something that was
better on these folds. Trials go to a journal: a search that was interrupted goes on where it
stopped, and one on the same days starts from what is known.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial
from sklearn.metrics import average_precision_score

from fraud.domain.errors import ContractError
from fraud.domain.event import to_us
from fraud.domain.fraud_type import FraudType
from orchestration.training.candidates import CANDIDATES, SEED, fit_candidate
from orchestration.training.split import Sample

Rows = NDArray[np.int64]
Space = Callable[[Trial], dict[str, Any]]

FOLDS = 3
MOST_TRIALS = 200
SEARCH_GENUINE = 25_000
"""Most genuine events a trial fits on: a trial more says more than an event more."""


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        params: of the best trial.
        average_precision: mean over the folds, of the best trial.
        initial: the same of the candidate's own parameters.
        trials: finished, those of earlier searches on the same days included.
    """

    params: Mapping[str, Any]
    average_precision: float
    initial: float
    trials: int


def _logistic(trial: Trial) -> dict[str, Any]:
    return {"C": trial.suggest_float("C", 1e-3, 30.0, log=True)}


def _trees(trial: Trial) -> dict[str, Any]:
    return {
        "max_depth": trial.suggest_int("max_depth", 6, 20),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 12, log=True),
        "max_features": trial.suggest_float("max_features", 0.1, 0.9),
        "genuine_rows": trial.suggest_int("genuine_rows", 5_000, SEARCH_GENUINE, log=True),
    }


def _xgboost(trial: Trial) -> dict[str, Any]:
    return {
        "n_estimators": trial.suggest_int("n_estimators", 80, 500),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.15, log=True),
        "max_depth": trial.suggest_int("max_depth", 2, 8),
        "min_child_weight": trial.suggest_float("min_child_weight", 0.5, 20.0, log=True),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.2, 1.0),
        "reg_lambda": trial.suggest_float("reg_lambda", 0.1, 30.0, log=True),
    }


def _lightgbm(trial: Trial) -> dict[str, Any]:
    return {
        "num_iterations": trial.suggest_int("num_iterations", 60, 400),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.15, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 4, 40, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 5, 80, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.2, 1.0),
        "lambda_l2": trial.suggest_float("lambda_l2", 0.1, 30.0, log=True),
    }


SPACES: Mapping[str, Space] = {
    "logistic_regression": _logistic,
    "random_forest": _trees,
    "extra_trees": _trees,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
}
"""What is searched, by candidate; a blend takes its members as they are."""


def search(
    name: str,
    train: Sample,
    fraud_type: FraudType,
    journal: Path,
    *,
    seconds: float,
    trials: int = MOST_TRIALS,
    seed: int = SEED,
    on_trial: Callable[[int, float, float], None] = lambda number, value, best: None,
) -> Found:
    """Searches the hyper-parameters of one candidate on its training sample.

    Args:
        name: one of `SPACES`.
        train: the training sample of a split.
        fraud_type: whose maturity is the gap.
        journal: file that keeps the trials; made if there is none.
        seconds: no trial begins later than this after the start.
        trials: most trials, those in the journal included.
        seed: of the sampler and of every fit; trials in a row are those of one go.
        on_trial: told of each finished trial: its number, its value, the best so far.

    Raises:
        ContractError: there is no such candidate, or the span is too short for three folds.
    """
    if name not in SPACES:
        raise ContractError(
            f"{name!r} has no parameters to search.",
            remedy=f"Those that have: {', '.join(SPACES)}.",
        )
    folds = prequential_folds(train, fraud_type.maturity_us)
    space = SPACES[name]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal.parent.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study_name = f"{fraud_type.name}/{name}/{_fingerprint(train, fraud_type, seed)}"
    study = optuna.create_study(
        storage=storage, study_name=study_name, direction="maximize", load_if_exists=True
    )
    # A resumed sampler must not repeat its first draws.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    if not study.trials:
        study.enqueue_trial(_own(name))

    def value_of(trial: Trial) -> float:
        return _prequential(name, space(trial), train, folds, seed)

    def tell(study: optuna.Study, trial: FrozenTrial) -> None:
        on_trial(trial.number, float(trial.value or np.nan), study.best_value)

    remaining = trials - len(_finished(study))
    if remaining > 0:
        study.optimize(value_of, n_trials=remaining, timeout=seconds, callbacks=[tell])
    finished = _finished(study)
    return Found(dict(study.best_params), study.best_value, _initial(finished), len(finished))


def prequential_folds(train: Sample, maturity_us: int) -> list[tuple[Rows, Rows]]:
    """Rows to fit on and rows to judge by, three times, moving forward through the span.

    The judged parts are the last three sixths of the span. Between fitted and judged rows lies
    one maturity, or a sixth of the span where that is shorter.

    Raises:
        ContractError: a part would hold no fraud or no genuine event.
    """
    start, end = to_us(train.start), to_us(train.end)
    step = (end - start) // (2 * FOLDS)
    folds = []
    for number in range(FOLDS):
        cut = start + (FOLDS + number) * step
        fitted = np.flatnonzero(train.time_us < cut - min(maturity_us, step))
        judged = np.flatnonzero((train.time_us >= cut) & (train.time_us < cut + step))
        for rows in (fitted, judged):
            if len(np.unique(train.is_fraud[rows])) < 2:
                raise ContractError(
                    f"The training span {train.start:%Y-%m-%d}..{train.end:%Y-%m-%d} is too short "
                    f"to search on: one of its parts holds {int(train.is_fraud[rows].sum())} "
                    f"frauds among {len(rows)} events.",
                    remedy="Train without a search, or on more days.",
                )
        folds.append((fitted, judged))
    return folds


def _prequential(
    name: str, params: Mapping[str, Any], train: Sample, folds: list[tuple[Rows, Rows]], seed: int
) -> float:
    values = []
    for fitted, judged in folds:
        model = fit_candidate(
            name,
            train.features[fitted],
            train.is_fraud[fitted],
            seed=seed,
            max_genuine=SEARCH_GENUINE,
            params=params,
        )
        score = model.probabilities(train.features[judged])
        values.append(average_precision_score(train.is_fraud[judged], score))
    return float(np.mean(values))


def _own(name: str) -> dict[str, Any]:
    """The candidate's own parameters, as far as they are searched."""
    asked = optuna.trial.FixedTrial({**_DEFAULTS, **CANDIDATES[name].params})
    return SPACES[name](asked)  # type: ignore[arg-type]


_DEFAULTS = {"max_features": 0.13}
"""What scikit-learn's own `sqrt` comes to with some sixty features."""


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])


def _initial(finished: list[FrozenTrial]) -> float:
    return float(finished[0].value or np.nan) if finished else np.nan


def _fingerprint(train: Sample, fraud_type: FraudType, seed: int) -> str:
    """Names the days, the features and the seed: only equal ones may share trials."""
    span = train.start.astimezone(dt.UTC), train.end.astimezone(dt.UTC), train.known_as_of
    content = repr((fraud_type.schema_hash, span, len(train), train.frauds, seed))
    return hashlib.sha256(content.encode()).hexdigest()[:12]

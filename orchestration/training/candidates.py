"""The candidates: the kinds of model that every training compares.

Fraud is rare (well under 1 %), and each candidate meets that on purpose:

- frauds are neither reweighted nor multiplied: on the Handbook's data, balanced weights
  took the average precision of logistic regression from .68 to .57;
- genuine events beyond `max_genuine` are left out at random, which bounds the time; that
  shifts all log-odds by the same constant (King & Zeng 2001, "Logistic Regression in Rare
  Events Data"), so the ranking stays, and calibration on the complete validation span
  undoes the shift; forests take fewer still (`genuine_rows`), so that each tree sees more
  fraud than one event in a hundred;
- thresholds are chosen afterwards, by cost, and not by the number 0.5.

Models are fitted on float32 values, which is what the exported graph is given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraud.domain.errors import ContractError
from orchestration.training.blending import Blend, blend_importances, predict_blend
from orchestration.training.estimators import (
    fit_extra_trees,
    fit_forest,
    fit_lightgbm,
    fit_logistic,
    fit_xgboost,
    gain_importances,
    linear_importances,
    predict_forest,
    predict_lightgbm,
    predict_logistic,
    predict_second_column,
    subsample,
    tree_importances,
)

Floats = NDArray[np.float64]
Narrow = NDArray[np.float32]
Flags = NDArray[np.bool_]

SEED = 7
MAX_GENUINE = 150_000

BLEND = "blend"
BLENDED = ("extra_trees", "random_forest")


@dataclass(frozen=True)
class Candidate:
    """A kind of model and how it is fitted.

    Attributes:
        name: as used in runs and manifests.
        title: for people.
        params: hyper-parameters, as logged.
        fit: (features, is_fraud, params, seed) -> estimator.
        predict: (estimator, features) -> raw probabilities.
        importances: estimator -> weight per feature, not yet normalised.
        squeeze: see `bentos.scoring.manifest.Calibration`.
    """

    name: str
    title: str
    params: Mapping[str, Any]
    fit: Callable[[Narrow, Flags, Mapping[str, Any], int], Any]
    predict: Callable[[Any, Narrow], Floats]
    importances: Callable[[Any], Floats]
    squeeze: float = 1e-6


@dataclass(frozen=True)
class FittedModel:
    """A fitted candidate.

    Attributes:
        candidate: what it is.
        estimator: the library's own object; it never leaves training.
        seed: of everything random in it.
        fitted_rows: events it was fitted on, after subsampling.
        genuine_share: share of the genuine events that were kept.
    """

    candidate: Candidate
    estimator: Any
    seed: int
    fitted_rows: int
    genuine_share: float

    def probabilities(self, features: Floats) -> Floats:
        """Raw probabilities, shape (n, F) -> (n,), of features as float32."""
        return self.candidate.predict(self.estimator, features.astype(np.float32))

    def importances(self) -> Floats:
        """Share of each feature in the model's work, shape (F,), summing to 1."""
        weights = self.candidate.importances(self.estimator)
        return weights / max(float(weights.sum()), np.finfo(np.float64).tiny)


def fit_candidate(
    name: str,
    features: Floats,
    is_fraud: Flags,
    *,
    seed: int = SEED,
    max_genuine: int = MAX_GENUINE,
    params: Mapping[str, Any] | None = None,
) -> FittedModel:
    """Fits a candidate by name; equal arguments give an equal model.

    Args:
        name: one of `CANDIDATES`.
        features: shape (n, F).
        is_fraud: shape (n,).
        seed: of subsampling and of the model.
        max_genuine: most genuine events fitted on.
        params: hyper-parameters that replace the candidate's own.

    Raises:
        ContractError: there is no such candidate.
    """
    if name not in CANDIDATES:
        raise ContractError(
            f"There is no candidate {name!r}.", remedy=f"Candidates are {', '.join(CANDIDATES)}."
        )
    candidate = CANDIDATES[name]
    rows = subsample(is_fraud, max_genuine, seed)
    estimator = candidate.fit(
        np.ascontiguousarray(features[rows], dtype=np.float32),
        is_fraud[rows],
        {**candidate.params, **(params or {})},
        seed,
    )
    kept = int((~is_fraud[rows]).sum()) / max(1, int((~is_fraud).sum()))
    return FittedModel(candidate, estimator, seed, len(rows), kept)


def blend_of(members: Sequence[FittedModel]) -> FittedModel:
    """A blend of models that are fitted already, each with its candidate's own parameters."""
    candidates = [member.candidate for member in members]
    blend = Blend(
        tuple(candidate.name for candidate in candidates),
        tuple(member.estimator for member in members),
        tuple(candidate.predict for candidate in candidates),
        tuple(candidate.importances for candidate in candidates),
    )
    first = members[0]
    return FittedModel(CANDIDATES[BLEND], blend, first.seed, first.fitted_rows, first.genuine_share)


def fit_candidates(
    features: Floats, is_fraud: Flags, *, seed: int = SEED, max_genuine: int = MAX_GENUINE
) -> dict[str, FittedModel]:
    """Every candidate by name, as `fit_candidate` gives it; the blend's members only once."""
    fitted = {
        name: fit_candidate(name, features, is_fraud, seed=seed, max_genuine=max_genuine)
        for name in CANDIDATES
        if name != BLEND
    }
    return fitted | {BLEND: blend_of([fitted[name] for name in BLENDED])}


def fit_blend(features: Narrow, is_fraud: Flags, params: Mapping[str, Any], seed: int) -> Blend:
    """Fits each of `members`, names joined by +, with the parameters it has as a candidate."""
    members = [CANDIDATES[name] for name in params["members"].split("+")]
    return Blend(
        tuple(member.name for member in members),
        tuple(member.fit(features, is_fraud, member.params, seed) for member in members),
        tuple(member.predict for member in members),
        tuple(member.importances for member in members),
    )


CANDIDATES: dict[str, Candidate] = {
    candidate.name: candidate
    for candidate in (
        Candidate(
            name="logistic_regression",
            title="Logistic regression",
            params={"C": 1.0, "max_iter": 300},
            fit=fit_logistic,
            predict=predict_logistic,
            importances=linear_importances,
        ),
        Candidate(
            name="random_forest",
            title="Random forest",
            params={
                "n_estimators": 100,
                "max_depth": 12,
                "min_samples_leaf": 2,
                "genuine_rows": 25_000,
            },
            fit=fit_forest,
            predict=predict_forest,
            importances=tree_importances,
            squeeze=1e-3,
        ),
        Candidate(
            name="extra_trees",
            title="Extra trees",
            params={
                "n_estimators": 100,
                "max_depth": 14,
                "min_samples_leaf": 2,
                "max_features": 0.6,
                "genuine_rows": 25_000,
            },
            fit=fit_extra_trees,
            predict=predict_forest,
            importances=tree_importances,
            squeeze=1e-3,
        ),
        Candidate(
            name="xgboost",
            title="XGBoost",
            params={
                "n_estimators": 300,
                "learning_rate": 0.03,
                "max_depth": 5,
                "min_child_weight": 2,
                "max_delta_step": 1,
                "subsample": 0.8,
                "colsample_bytree": 0.5,
                "reg_lambda": 1.0,
            },
            fit=fit_xgboost,
            predict=predict_second_column,
            importances=tree_importances,
        ),
        Candidate(
            name="lightgbm",
            title="LightGBM",
            params={
                "num_iterations": 150,
                "learning_rate": 0.03,
                "num_leaves": 15,
                "min_data_in_leaf": 20,
                "bagging_fraction": 0.8,
                "bagging_freq": 1,
                "feature_fraction": 0.5,
                "lambda_l2": 5.0,
            },
            fit=fit_lightgbm,
            predict=predict_lightgbm,
            importances=gain_importances,
        ),
        Candidate(
            name=BLEND,
            title="Blend",
            params={"members": "+".join(BLENDED)},
            fit=fit_blend,
            predict=predict_blend,
            importances=blend_importances,
        ),
    )
}
"""By name, in the order they are shown."""

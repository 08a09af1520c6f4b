"""How each candidate is fitted and asked: thin layers over the four libraries.

Every function takes features as float32, shape (n, F), because that is what the exported
graph is given; estimators never leave training.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import lightgbm
import numpy as np
import xgboost
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

Floats = NDArray[np.float64]
Narrow = NDArray[np.float32]
Flags = NDArray[np.bool_]
Params = Mapping[str, Any]

FOREST_JOBS = 2
BOOSTER_THREADS = 1
"""The boosters' OpenMP threads wait for each other at every split: on two cores shared with
other programs, two threads took up to seven times as long as one."""


def with_signed_log(values: Any) -> Any:
    """Values beside `sign(x) * log(1 + |x|)` of them, shape (n, F) -> (n, 2 F).

    A line through both bends: amounts and durations have long tails.
    """
    return np.hstack((values, np.sign(values) * np.log1p(np.abs(values))))


def fit_logistic(features: Narrow, is_fraud: Flags, params: Params, seed: int) -> Any:
    """Logistic regression on the standardised values and their signed logarithms."""
    # In float64: the exported graph computes so too.
    pipeline = make_pipeline(
        FunctionTransformer(with_signed_log),
        StandardScaler(),
        LogisticRegression(random_state=seed, **params),
    )
    return pipeline.fit(features.astype(np.float64), is_fraud)


def fit_forest(features: Narrow, is_fraud: Flags, params: Params, seed: int) -> Any:
    """A random forest on all frauds and at most `genuine_rows` of the others."""
    return _fit_trees(RandomForestClassifier, features, is_fraud, params, seed)


def fit_extra_trees(features: Narrow, is_fraud: Flags, params: Params, seed: int) -> Any:
    """Extremely randomised trees (Geurts et al. 2006) on the rows a random forest gets."""
    return _fit_trees(ExtraTreesClassifier, features, is_fraud, params, seed)


def _fit_trees(kind: Any, features: Narrow, is_fraud: Flags, params: Params, seed: int) -> Any:
    own = dict(params)
    rows = subsample(is_fraud, own.pop("genuine_rows"), seed)
    forest = kind(n_jobs=FOREST_JOBS, random_state=seed, **own)
    with _warnings_kept():
        return forest.fit(features[rows], is_fraud[rows])


def _warnings_kept() -> "warnings.catch_warnings[None]":
    """For the while of a forest's work: no warning is an error; afterwards, the filters of before.

    A forest's threads set and restore the process's warning filters across each other
    (scikit-learn issue 32631): they may be lost, and scikit-learn then warns of itself.
    """
    return warnings.catch_warnings(action="default")


def subsample(is_fraud: Flags, max_genuine: int, seed: int) -> NDArray[np.int64]:
    """Rows to fit on, rising: every fraud, and at most `max_genuine` of the others."""
    genuine = np.flatnonzero(~is_fraud)
    if len(genuine) > max_genuine:
        genuine = np.random.default_rng(seed).choice(genuine, max_genuine, replace=False)
    return np.sort(np.concatenate((np.flatnonzero(is_fraud), genuine)))


def fit_xgboost(features: Narrow, is_fraud: Flags, params: Params, seed: int) -> Any:
    """XGBoost on histograms."""
    model = xgboost.XGBClassifier(
        n_jobs=BOOSTER_THREADS, random_state=seed, tree_method="hist", **params
    )
    return model.fit(features, is_fraud)


def fit_lightgbm(features: Narrow, is_fraud: Flags, params: Params, seed: int) -> Any:
    """LightGBM; equal arguments give an equal model."""
    fixed = {
        "objective": "binary",
        "num_threads": BOOSTER_THREADS,
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        "verbose": -1,
    }
    own = dict(params)
    rounds = own.pop("num_iterations")
    booster = lightgbm.train({**fixed, **own}, lightgbm.Dataset(features, is_fraud), rounds)
    return with_narrow_thresholds(booster)


def with_narrow_thresholds(booster: Any) -> Any:
    """The same booster with its split values rounded down to float32.

    For float32 features `x <= t` is `x <= down(t)`, so nothing changes here. It would in an
    exported graph: the converter rounds to nearest, and where two feature values are
    neighbours in float32 (whole seconds of a year are), events fall to the wrong side.
    """
    lines = booster.model_to_string().split("\n")
    # tree_sizes= counts the characters of each tree, which change here.
    kept = [_narrowed(line) for line in lines if not line.startswith("tree_sizes=")]
    return lightgbm.Booster(model_str="\n".join(kept))


def _narrowed(line: str) -> str:
    if not line.startswith("threshold="):
        return line
    exact = np.array([float(text) for text in line.removeprefix("threshold=").split()])
    narrow = exact.astype(np.float32)
    narrow = np.where(narrow > exact, np.nextafter(narrow, np.float32(-np.inf)), narrow)
    return "threshold=" + " ".join(repr(float(value)) for value in narrow)


def predict_forest(forest: Any, features: Narrow) -> Floats:
    """Probabilities of fraud, shape (n,), of a forest."""
    with _warnings_kept():
        return predict_second_column(forest, features)


def predict_second_column(estimator: Any, features: Narrow) -> Floats:
    """Probabilities of fraud, shape (n,), as scikit-learn gives them."""
    return np.asarray(estimator.predict_proba(features)[:, 1], dtype=np.float64)


def predict_logistic(estimator: Any, features: Narrow) -> Floats:
    """Probabilities of fraud, shape (n,), computed in float64."""
    return np.asarray(estimator.predict_proba(features.astype(np.float64))[:, 1])


def predict_lightgbm(booster: Any, features: Narrow) -> Floats:
    """Probabilities of fraud, shape (n,), of a LightGBM booster."""
    return np.asarray(booster.predict(features, num_threads=BOOSTER_THREADS), dtype=np.float64)


def tree_importances(estimator: Any) -> Floats:
    """Impurity or gain per feature, shape (F,)."""
    return np.asarray(estimator.feature_importances_, dtype=np.float64)


def linear_importances(pipeline: Any) -> Floats:
    """Size of the standardised coefficients of each feature and its logarithm, shape (F,)."""
    sizes = np.abs(np.asarray(pipeline[-1].coef_[0], dtype=np.float64))
    return np.asarray(sizes.reshape(2, -1).sum(axis=0))


def gain_importances(booster: Any) -> Floats:
    """Gain per feature of a LightGBM booster, shape (F,)."""
    return np.asarray(booster.feature_importance("gain"), dtype=np.float64)

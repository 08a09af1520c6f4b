"""XGBoost and LightGBM fitted on a feature frame by the workers of a Dask cluster.

Each worker reads the parts of the frame it fits on, from the frame's URL; the libraries' own
Dask interfaces do the rest. What comes back is the candidate that `fit_candidate` would give,
ready for calibration and export.

Neither library promises the model of a single process: workers merge their histograms in
floating point, and choose bins from their own rows (XGBoost from merged sketches, LightGBM
from each worker's sample). Scores are close, not equal.
"""

import datetime as dt
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dask.array
import distributed
import lightgbm
import lightgbm.dask
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xgboost
import xgboost.dask
from dask.delayed import delayed
from numpy.typing import NDArray

from feature_store.building import anywhere
from feature_store.dataset import FrameDataset
from feature_store.schema import from_arrow
from fraud.domain.errors import ContractError
from fraud.domain.event import to_us
from fraud.types.registry import fraud_type as declared
from orchestration.training.candidates import CANDIDATES, SEED, FittedModel
from orchestration.training.estimators import with_narrow_thresholds
from orchestration.training.split import FRAUD, UNKNOWN, truth_as_of

Part = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Span:
    """The events to fit on.

    Attributes:
        start: start of the span of event times (included).
        end: end of the span (not included).
        known_as_of: labels reported later are not looked at.
    """

    start: dt.datetime
    end: dt.datetime
    known_as_of: dt.datetime


def fit_distributed(
    name: str,
    client: distributed.Client,
    frame_url: str,
    span: Span,
    *,
    seed: int = SEED,
    params: Mapping[str, Any] | None = None,
) -> FittedModel:
    """Fits a candidate on all events of a span whose truth is known; none are left out.

    Args:
        name: `xgboost` or `lightgbm`.
        client: connected to a cluster (`feature_store.distributed.connected`).
        frame_url: of a frame that `fraud features build` made; every worker must reach it.
        span: which of its events.
        seed: of the model.
        params: hyper-parameters that replace the candidate's own.

    Raises:
        NotFound: there is no complete frame.
        ContractError: there is no such candidate, the frame has other features, or the span
            holds no known fraud or no known genuine event.
    """
    if name not in _FITS:
        raise ContractError(
            f"{name!r} has no Dask interface.", remedy=f"Those that have: {', '.join(_FITS)}."
        )
    frame_url = anywhere(frame_url)
    info = FrameDataset(frame_url).info()
    if info.schema_hash != declared(info.fraud_type).schema_hash:
        raise ContractError(
            f"The frame at {frame_url} was built with features {info.schema_hash}.",
            remedy="Build it again with the running code.",
        )
    parts = client.map(_part, range(len(info.part_rows)), url=frame_url, span=span, pure=False)
    sizes = client.gather(client.map(_size, parts, pure=False))
    rows, frauds = (sum(size[place] for size in sizes) for place in (0, 1))
    if frauds in (0, rows):
        raise ContractError(
            f"{span.start:%Y-%m-%d}..{span.end:%Y-%m-%d} holds {rows} events of known truth, "
            f"{frauds} of them fraud.",
            remedy="Choose a longer span, or build a frame with more days.",
        )
    width = len(declared(info.fraud_type).features)
    filled = [(part, size[0]) for part, size in zip(parts, sizes, strict=True) if size[0]]
    features = _stacked(filled, 0, lambda count: (count, width))
    is_fraud = _stacked(filled, 1, lambda count: (count,))
    candidate = CANDIDATES[name]
    with client.as_current():  # the libraries look for it here and there
        estimator = _FITS[name](features, is_fraud, {**candidate.params, **(params or {})}, seed)
    return FittedModel(candidate, estimator, seed, rows, 1.0)


def _part(number: int, url: str, span: Span) -> Part:
    """Features and truth of one part's events, those of the span whose truth is known."""
    dataset = FrameDataset(url)
    kind = declared(dataset.info().fraud_type)
    table = dataset.part(number, ["transaction_id", "event_time", *kind.feature_names])
    time_us = table["event_time"].to_numpy().astype("datetime64[us]").astype(np.int64)
    inside = (time_us >= to_us(span.start)) & (time_us < to_us(span.end))
    table, time_us = table.filter(pa.array(inside)), time_us[inside]
    about = [
        labels.filter(pc.is_in(labels["transaction_id"], table["transaction_id"]))
        for labels in dataset.label_tables()
    ]
    truth = truth_as_of(
        table["transaction_id"].to_numpy(),
        time_us,
        from_arrow(pa.concat_tables(about)),
        kind.maturity_us,
        to_us(span.known_as_of),
    )
    known = truth != UNKNOWN
    features = np.empty((int(known.sum()), len(kind.features)), np.float32)
    for place, name in enumerate(kind.feature_names):
        features[:, place] = table[name].to_numpy()[known]
    return features, (truth[known] == FRAUD).astype(np.float32)


def _size(part: Part) -> tuple[int, int]:
    return len(part[1]), int(part[1].sum())


def _stacked(
    parts: list[tuple[Any, int]],
    place: int,
    shape: Callable[[int], tuple[int, ...]],
) -> Any:
    """One half of all parts as a Dask array, a chunk per part, where the parts are."""
    chunks = [
        dask.array.from_delayed(delayed(part)[place], shape(count), dtype=np.float32)
        for part, count in parts
    ]
    return dask.array.concatenate(chunks)


def _fit_xgboost(features: Any, is_fraud: Any, params: Mapping[str, Any], seed: int) -> Any:
    model = xgboost.dask.DaskXGBClassifier(random_state=seed, tree_method="hist", **params)
    model.fit(features, is_fraud)
    local = xgboost.XGBClassifier()
    local.load_model(model.get_booster().save_raw())
    return local


_SKLEARN_NAMES = {
    "num_iterations": "n_estimators",
    "min_data_in_leaf": "min_child_samples",
    "bagging_fraction": "subsample",
    "bagging_freq": "subsample_freq",
    "feature_fraction": "colsample_bytree",
    "lambda_l2": "reg_lambda",
}


def _fit_lightgbm(features: Any, is_fraud: Any, params: Mapping[str, Any], seed: int) -> Any:
    model = lightgbm.dask.DaskLGBMClassifier(
        tree_learner="data",
        random_state=seed,
        deterministic=True,
        force_col_wise=True,
        verbose=-1,
        **{_SKLEARN_NAMES.get(name, name): value for name, value in params.items()},
    )
    with warnings.catch_warnings():
        # The interface says so of its own default: each worker's threads are what count.
        warnings.filterwarnings("ignore", "Parameter n_jobs will be ignored")
        model.fit(features, is_fraud)
    return with_narrow_thresholds(model.to_local().booster_)


_FITS: dict[str, Callable[..., Any]] = {"xgboost": _fit_xgboost, "lightgbm": _fit_lightgbm}

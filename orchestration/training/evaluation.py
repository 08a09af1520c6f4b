"""A model's report on its test days: intervals, weeks, segments, and the graph's latency."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from bentos.scoring.model import INPUT, OUTPUT, open_session
from fraud.domain.event import from_us, to_us
from fraud.domain.features import Category
from fraud.domain.fraud_type import FraudType
from fraud.domain.policy import Thresholds
from fraud.domain.windows import DAY_US
from orchestration.training.bootstrap import Interval, RankedSample, Statistic, intervals, numbered
from orchestration.training.metrics import cost_per_event
from orchestration.training.split import Sample

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

RESAMPLES = 200
LEAST_FRAUDS = 5
"""A week or segment with fewer frauds is left out: its figures would say nothing."""

LATENCY_ROWS = 300


@dataclass(frozen=True)
class Slice:
    """How a model did on a part of the test days.

    Attributes:
        kind: what was cut by: `week`, `amount` or a field.
        name: which part.
        events: of known truth.
        frauds: among them.
        average_precision: within the part; compare it with `frauds / events`.
        recall_alert: share of its frauds at or above the review threshold.
        alert_share: share of its genuine events there: who is bothered.
    """

    kind: str
    name: str
    events: int
    frauds: int
    average_precision: float
    recall_alert: float
    alert_share: float


@dataclass(frozen=True)
class Latency:
    """Time of the exported graph for one event at a time, on one thread.

    Attributes:
        p50_us: median, microseconds.
        p99_us: 99th percentile.
    """

    p50_us: float
    p99_us: float


@dataclass(frozen=True)
class Report:
    """What the figures of one model on its test days rest on.

    Attributes:
        intervals: 95 % by bootstrap over customers, by the metric's name.
        slices: by week, amount and category.
        latency: of the graph.
    """

    intervals: Mapping[str, Interval]
    slices: tuple[Slice, ...]
    latency: Latency


def report_on(
    probability: Floats,
    sample: Sample,
    thresholds: Thresholds,
    fraud_type: FraudType,
    onnx_bytes: bytes,
) -> Report:
    """The report of calibrated probabilities (n,) on a sample.

    Args:
        probability: of the model, calibrated.
        sample: they belong to.
        thresholds: of the model.
        fraud_type: whose costs and categories.
        onnx_bytes: the exported graph.
    """
    return Report(
        intervals=metric_intervals(probability, sample, thresholds, fraud_type),
        slices=tuple(slices(probability, sample, thresholds, fraud_type)),
        latency=latency_of(onnx_bytes, sample.features),
    )


def metric_intervals(
    probability: Floats, sample: Sample, thresholds: Thresholds, fraud_type: FraudType
) -> dict[str, Interval]:
    """Intervals of the ranking, of the money saved in a day, and of the Brier score."""
    customer, count = numbered(sample.subject)
    ranked = RankedSample(probability, sample.is_fraud, customer)
    approve, review, block = cost_per_event(sample.is_fraud, sample.amount_minor, fraud_type.costs)
    is_blocked, is_alert = probability >= thresholds.block, probability >= thresholds.review
    saved = approve - np.where(is_blocked, block, np.where(is_alert, review, approve))
    events = np.bincount(customer, minlength=count).astype(np.float64)
    squares = np.bincount(customer, (probability - sample.is_fraud) ** 2, minlength=count)
    saved_of = np.bincount(customer, saved / sample.days, minlength=count)
    statistics: dict[str, Statistic] = {
        "average_precision": ranked.average_precision,
        "roc_auc": ranked.roc_auc,
        "recall_at_1pct_fpr": ranked.recall_at_1pct_fpr,
        "saved_minor_per_day": lambda weights: float(weights @ saved_of),
        "brier": lambda weights: float(weights @ squares / (weights @ events)),
    }
    return intervals(statistics, count, resamples=RESAMPLES)


def slices(
    probability: Floats, sample: Sample, thresholds: Thresholds, fraud_type: FraudType
) -> Iterator[Slice]:
    """The parts of a sample that hold enough fraud, weeks first."""
    is_alert = probability >= thresholds.review
    for kind, name, inside in _parts(sample, fraud_type):
        is_fraud = sample.is_fraud[inside]
        frauds = int(is_fraud.sum())
        if frauds < LEAST_FRAUDS or frauds == len(is_fraud):
            continue
        yield Slice(
            kind=kind,
            name=name,
            events=len(is_fraud),
            frauds=frauds,
            average_precision=float(average_precision_score(is_fraud, probability[inside])),
            recall_alert=float(is_alert[inside][is_fraud].mean()),
            alert_share=float(is_alert[inside][~is_fraud].mean()),
        )


def _parts(sample: Sample, fraud_type: FraudType) -> Iterator[tuple[str, str, Flags]]:
    first_us, week_us = to_us(sample.start), 7 * DAY_US
    week = (sample.time_us - first_us) // week_us
    for number in np.unique(week).tolist():
        begin = from_us(first_us + number * week_us)
        yield "week", f"from {begin:%Y-%m-%d}", week == number
    if sample.amount_minor.any():
        low, high = np.quantile(sample.amount_minor, [1 / 3, 2 / 3])
        yield "amount", f"to {low / 100:,.2f}", sample.amount_minor <= low
        middle = (sample.amount_minor > low) & (sample.amount_minor <= high)
        yield "amount", f"to {high / 100:,.2f}", middle
        yield "amount", f"above {high / 100:,.2f}", sample.amount_minor > high
    for place, feature in enumerate(fraud_type.features):
        if isinstance(feature, Category):
            for code, value in enumerate(feature.values):
                yield feature.field, value, sample.features[:, place] == code


def latency_of(onnx_bytes: bytes, features: Floats) -> Latency:
    """Time of the graph for single events, shape (n, F), after a warm-up."""
    session = open_session(onnx_bytes)
    rows = features[: LATENCY_ROWS + 20].astype(np.float32)
    seconds = []
    for place in range(len(rows)):
        started = time.perf_counter()
        session.run([OUTPUT], {INPUT: rows[place : place + 1]})
        seconds.append(time.perf_counter() - started)
    p50, p99 = np.quantile(seconds[20:] or seconds, [0.5, 0.99])
    return Latency(float(p50 * 1e6), float(p99 * 1e6))

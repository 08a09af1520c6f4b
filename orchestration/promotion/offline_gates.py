"""Gates before traffic: a trained candidate on the test days, against the champion's scores."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bentos.scoring.bundle import Bundle
from bentos.scoring.manifest import Manifest
from bentos.scoring.model import ScoringModel
from fraud.domain.errors import SettingsError
from orchestration.promotion.gates import GateResult, OfflineLimits
from orchestration.training.bootstrap import compare
from orchestration.training.split import Sample
from orchestration.training.train import TrainedCandidate

CARD_SECTIONS = ("## Why this one", "## Data", "## Decisions", "## What it looks at", "## Limits")

TIMED_ROWS, TIMED_ROUNDS = 200, 3
"""Single events timed, and how often: the quietest round counts, others shared the machine."""

AMOUNT = "amount"

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Skew:
    """How many recent decisions were looked at, and how many the log gives other features for."""

    decisions: int
    differing: int


@dataclass(frozen=True)
class Evidence:
    """What offline gates look at.

    Attributes:
        candidate: who wants to be promoted.
        manifest: of its bundle.
        card: its model card.
        test: the test sample.
        running: the champion that serves now; None where there is none that can be compared.
        skew: of what the service computed lately.
    """

    candidate: TrainedCandidate
    manifest: Manifest
    card: str
    test: Sample
    running: ScoringModel | None
    skew: Skew


def offline_gates(evidence: Evidence, limits: OfflineLimits) -> list[GateResult]:
    """What each offline gate says, in the order of gates.yaml.

    Raises:
        SettingsError: a segment is no feature of the fraud type.
    """
    bundle = Bundle(evidence.manifest, evidence.candidate.onnx_bytes, "")
    model = ScoringModel(bundle)
    scores = model.probabilities(evidence.test.features)
    return [
        _quality(evidence, scores, limits),
        _lift(evidence, limits),
        _calibration(evidence, limits),
        _parity(evidence, limits),
        _latency(model, evidence.test, limits),
        _skew(evidence.skew, limits),
        _segments(evidence, scores, limits),
        _maturity(evidence.test, limits),
        _card(evidence.card),
    ]


def _quality(evidence: Evidence, scores: Floats, limits: OfflineLimits) -> GateResult:
    limit, running, test = limits.quality, evidence.running, evidence.test
    what = limit.metric.replace("_", " ")
    if running is None:
        sentence = "No champion is running that could be compared on the same rows."
        return GateResult("quality", True, None, -limit.margin, sentence)
    found = compare(
        running.probabilities(test.features),
        scores,
        test.is_fraud,
        test.subject,
        metric=limit.metric,
    )
    low, high = found.difference.low, found.difference.high
    sentence = (
        f"Its {what} is {found.challenger:.4f} against {found.champion:.4f} of the running "
        f"champion {running.version} on the same rows: a difference of "
        f"{found.difference.value:+.4f}, with 95 % confidence from {low:+.4f} to {high:+.4f}; "
        f"it may lose {limit.margin:g}."
    )
    return GateResult("quality", low >= -limit.margin, low, -limit.margin, sentence)


def _lift(evidence: Evidence, limits: OfflineLimits) -> GateResult:
    precision = evidence.candidate.metrics["test"]["average_precision"]
    share = evidence.test.frauds / len(evidence.test)
    lift = precision / share
    sentence = (
        f"On the test days its average precision is {precision:.4f}, {lift:.1f} times the share of "
        f"fraud, {share:.4f}; at least {limits.least_lift:g} times is asked for."
    )
    return GateResult("lift", lift >= limits.least_lift, lift, limits.least_lift, sentence)


def _calibration(evidence: Evidence, limits: OfflineLimits) -> GateResult:
    error, most = (
        evidence.candidate.metrics["test"]["expected_calibration_error"],
        limits.most_calibration_error,
    )
    sentence = f"Its probabilities miss the observed shares by {error:.4f}; {most:g} is allowed."
    return GateResult("calibration", error <= most, error, most, sentence)


def _parity(evidence: Evidence, limits: OfflineLimits) -> GateResult:
    parity, most = evidence.candidate.parity, limits.most_parity_difference
    sentence = (
        f"Its graph differs from the model by {parity.max_difference:.1e} over {parity.rows:,} "
        f"rows; {most:.0e} is allowed."
    )
    is_equal = parity.max_difference <= most
    return GateResult("parity", is_equal, parity.max_difference, most, sentence)


def _latency(model: ScoringModel, test: Sample, limits: OfflineLimits) -> GateResult:
    rows = test.features[:TIMED_ROWS]
    rounds = [np.quantile(list(_timed_ms(model, rows)), 0.95) for _ in range(TIMED_ROUNDS)]
    took_ms, most = float(min(rounds)), limits.most_latency_ms
    sentence = f"95 % of single events take at most {took_ms:.2f} ms; {most:g} ms is allowed."
    return GateResult("latency", took_ms <= most, took_ms, most, sentence)


def _timed_ms(model: ScoringModel, rows: Floats) -> Iterator[float]:
    for place in range(len(rows)):
        started_s = time.perf_counter()
        model.probabilities(rows[place : place + 1])
        yield (time.perf_counter() - started_s) * 1e3


def _skew(skew: Skew, limits: OfflineLimits) -> GateResult:
    most = limits.most_skewed_share
    if not skew.decisions:
        sentence = "Nothing was decided yet whose features could be computed again."
        return GateResult("skew", True, None, most, sentence)
    share = skew.differing / skew.decisions
    sentence = (
        f"Of the last {skew.decisions:,} decisions, the log gives {skew.differing:,} other "
        f"features than they were made with; a share of {most:g} is allowed."
    )
    return GateResult("skew", share <= most, share, most, sentence)


def _segments(evidence: Evidence, scores: Floats, limits: OfflineLimits) -> GateResult:
    limit, test = -limits.segment_margin, evidence.test
    if evidence.running is None:
        sentence = "No champion is running that could be compared segment by segment."
        return GateResult("segments", True, None, limit, sentence)
    before = evidence.running.probabilities(test.features)
    found: list[tuple[float, float, str]] = []
    for name, inside in _parts(evidence, limits.segments):
        truth = test.is_fraud[inside]
        if truth.sum() < limits.segment_least_frauds or truth.all():
            continue
        difference = compare(
            before[inside], scores[inside], truth, test.subject[inside], metric="average_precision"
        ).difference
        found.append((difference.high, difference.value, name))
    if not found:
        sentence = f"No segment holds {limits.segment_least_frauds} frauds to compare by."
        return GateResult("segments", True, None, limit, sentence)
    high, value, name = min(found)
    sentence = (
        f"Of {len(found)} segments it does worst on {name}: its average precision differs by "
        f"{value:+.4f} from the champion's, with 95 % confidence by no more than {high:+.4f}; "
        f"it may lose {limits.segment_margin:g}."
    )
    return GateResult("segments", high >= limit, high, limit, sentence)


def _parts(evidence: Evidence, segments: tuple[str, ...]) -> Iterator[tuple[str, Flags]]:
    """Segments by name: each value of what has two, quarters or halves of what has more."""
    names, test = evidence.manifest.feature_names, evidence.test
    for segment in segments:
        if segment == AMOUNT:
            values = test.amount_minor.astype(np.float64)
        elif segment in names:
            values = test.features[:, names.index(segment)]
        else:
            raise SettingsError(
                f"The gates name the segment {segment!r}, which is no feature of "
                f"{evidence.manifest.fraud_type}.",
                remedy="Name `amount`, or features: fraud features list",
            )
        distinct = np.unique(values)
        if len(distinct) == 2:
            yield from ((f"{segment} {each:g}", values == each) for each in distinct)
            continue
        edges = np.unique(np.quantile(values, [0.0, 0.25, 0.5, 0.75, 1.0]))
        for low, high in itertools.pairwise(edges):
            is_last = high == edges[-1]
            inside = (values >= low) & ((values <= high) if is_last else (values < high))
            yield f"{segment} from {low:g} to {high:g}", inside


def _maturity(test: Sample, limits: OfflineLimits) -> GateResult:
    least = limits.least_known_share
    sentence = (
        f"The truth is known of {test.known_share:.1%} of the test days' events; {least:.0%} is "
        "asked for."
    )
    is_known = test.known_share >= least
    return GateResult("label_maturity", is_known, test.known_share, least, sentence)


def _card(card: str) -> GateResult:
    missing = [section.removeprefix("## ") for section in CARD_SECTIONS if section not in card]
    sentence = f"Its model card lacks {', '.join(missing)}." if missing else "It has a model card."
    return GateResult("model_card", not missing, float(len(missing)), 0.0, sentence)

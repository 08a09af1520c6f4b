"""Gates beside the champion: what a model does to live traffic, against what the champion does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from fraud.ledger.challenges import SeenDecision
from orchestration.promotion.gates import GateResult, LiveLimits
from orchestration.training.score_profile import BANDS, ScoreProfile, stability_index

Floats = NDArray[np.float64]
Truths = NDArray[np.int8]

LEAST_ERRORS = 5
"""Fewer failures than this say nothing."""

STRAYED = 0.2
"""Stability index, beyond chance, from which a champion's scores are no yardstick: from 0.1 on a
population wants a look, above 0.25 it is another one (Siddiqi 2006, chapter 9)."""

CHANCE = float(chi2.ppf(0.95, len(BANDS)))
"""What the index of n scores of an unchanged population exceeds once in twenty times, by n: it
is distributed as chi-square (Yurdakul 2018, "Statistical Properties of Population Stability
Index"); the test days are taken as large."""

FRAUD, GENUINE, UNKNOWN = 1, 0, -1


@dataclass(frozen=True)
class Terms:
    """What a model was promoted with.

    Attributes:
        review: least probability that makes an alert.
        promised: how its scores were spread on its test days; None where nobody knows, or
            where these had other alerts.
    """

    review: float
    promised: ScoreProfile | None = None


@dataclass(frozen=True)
class Side:
    """What one of two models said.

    Attributes:
        scores: its probabilities, shape (n,).
        truth: what is known of the same events, shape (n,).
        terms: what makes an alert, and how its scores were to be spread.
    """

    scores: Floats
    truth: Truths
    terms: Terms

    @property
    def alerts(self) -> NDArray[np.bool_]:
        """Which events it would alert on, by its score alone."""
        return self.scores >= self.terms.review

    @property
    def profile(self) -> ScoreProfile:
        """How its scores are spread."""
        return ScoreProfile.of(self.scores, self.terms.review)


@dataclass(frozen=True)
class LiveEvidence:
    """What live gates look at.

    Attributes:
        asked: decisions the model was asked about.
        broke: of these, those it broke on.
        took_ms: durations of its batches, milliseconds, shape (k,).
        model: what it said.
        champion: what the champion said of the same events, or of those before.
    """

    asked: int
    broke: int
    took_ms: Floats
    model: Side
    champion: Side


def paired(
    seen: Sequence[SeenDecision],
    version: str,
    terms: tuple[Terms, Terms],
    maturity_us: int,
    now_us: int,
) -> LiveEvidence:
    """The evidence of a challenger: both models' scores of the same events.

    Args:
        seen: decisions it took part in.
        version: of the challenger.
        terms: of challenger and champion.
        maturity_us: after which an event without a fraud label counts as genuine.
        now_us: the time.
    """
    attempted = [each for each in seen if each.shadow_problem != "skipped"]
    answered = [each for each in attempted if each.model_version == version]
    beside = [each for each in attempted if each.model_version != version]
    broke = sum(each.shadow_problem == "broke" for each in beside)
    both = [each for each in attempted if each.shadow_probability is not None]
    own = np.array([_score(each, each.model_version == version) for each in both], float)
    other = np.array([_score(each, each.model_version != version) for each in both], float)
    truth = _truth(both, maturity_us, now_us)
    took = [each.shadow_took_us for each in beside if each.shadow_probability is not None]
    return LiveEvidence(
        asked=len(answered) + len(beside),
        broke=broke,
        took_ms=np.array(took, float) / 1e3,
        model=Side(own, truth, terms[0]),
        champion=Side(other, truth, terms[1]),
    )


def succeeded(
    since: Sequence[SeenDecision],
    before: Sequence[SeenDecision],
    terms: tuple[Terms, Terms],
    maturity_us: int,
    now_us: int,
) -> LiveEvidence:
    """The evidence of a new champion: its decisions, and the last ones of the one before it."""
    scored = [each for each in since if not each.is_rules_only and not math.isnan(each.probability)]
    return LiveEvidence(
        asked=len(since),
        broke=sum(each.is_rules_only for each in since),
        took_ms=np.empty(0),
        model=_side(scored, terms[0], maturity_us, now_us),
        champion=_side(before, terms[1], maturity_us, now_us),
    )


def live_gates(evidence: LiveEvidence, limits: LiveLimits) -> list[GateResult]:
    """What each live gate says, in the order of gates.yaml."""
    return [
        _errors(evidence, limits),
        _latency(evidence, limits),
        _shift(evidence, limits),
        _alerts(evidence, limits),
        _precision(evidence, limits),
    ]


def _errors(evidence: LiveEvidence, limits: LiveLimits) -> GateResult:
    share, most = evidence.broke / max(1, evidence.asked), limits.most_error_share
    sentence = f"It broke on {evidence.broke:,} of {evidence.asked:,} decisions; "
    is_good = evidence.broke < LEAST_ERRORS or share <= most
    return GateResult("errors", is_good, share, most, f"{sentence}{most:.1%} is allowed.")


def _latency(evidence: LiveEvidence, limits: LiveLimits) -> GateResult:
    most, count = limits.most_latency_ms, len(evidence.took_ms)
    if count < limits.least_decisions:
        return _too_few("latency", most, count, limits)
    took_ms = float(np.quantile(evidence.took_ms, 0.99))
    sentence = f"99 % of its batches take at most {took_ms:.2f} ms; {most:g} ms is allowed."
    return GateResult("latency", took_ms <= most, took_ms, most, sentence)


def _shift(evidence: LiveEvidence, limits: LiveLimits) -> GateResult:
    most, count = limits.most_score_shift, _fewer(evidence)
    if count < limits.least_decisions:
        return _too_few("score_shift", most, count, limits)
    index, whose = min(
        (stability_index(yardstick, evidence.model.profile), whose)
        for yardstick, whose in _yardsticks(evidence)
    )
    sentence = (
        f"Its scores differ from those of {whose} by a stability index of {index:.3f}; {most:g} "
        "is allowed."
    )
    return GateResult("score_shift", index <= most, index, most, sentence)


def _alerts(evidence: LiveEvidence, limits: LiveLimits) -> GateResult:
    most, count = limits.most_alert_ratio, _fewer(evidence)
    if count < limits.least_decisions:
        return _too_few("alert_rate", most, count, limits)
    own, floor = evidence.model.profile.alert_share, 1.0 / count
    ratio, other, whose = min(
        (_ratio(max(own, floor), max(yardstick.alert_share, floor)), yardstick.alert_share, whose)
        for yardstick, whose in _yardsticks(evidence)
    )
    is_good = ratio <= most or abs(own - other) <= limits.alert_slack
    sentence = (
        f"It alerts on {own:.2%} of the events, against {other:.2%} of {whose}: a factor of "
        f"{ratio:.2f}; {most:g} is allowed, or {limits.alert_slack:.1%} of the events."
    )
    return GateResult("alert_rate", is_good, ratio, most, sentence)


def _ratio(one: float, other: float) -> float:
    return max(one / other, other / one)


def _yardsticks(evidence: LiveEvidence) -> list[tuple[ScoreProfile, str]]:
    """What a model's scores are held against, and whose that is; one of them will do.

    The champion's; and where these have left what its test days promised, the model's own test
    days, whose truth is known. For a model that was trained because the world moved has to
    differ from one that the world has left behind.
    """
    champion, model = evidence.champion, evidence.model
    found, promised = champion.profile, champion.terms.promised
    yardsticks = [(found, "the champion")]
    if promised is not None and model.terms.promised is not None:
        strayed = stability_index(promised, found) - CHANCE / len(champion.scores)
        if strayed > STRAYED:
            whose = f"its own test days (the champion strayed from its own by {strayed:.3f})"
            yardsticks.append((model.terms.promised, whose))
    return yardsticks


def _precision(evidence: LiveEvidence, limits: LiveLimits) -> GateResult:
    limit, least = -limits.precision_margin, limits.least_matured_alerts
    matured = [
        side.truth[side.alerts & (side.truth != UNKNOWN)]
        for side in (evidence.model, evidence.champion)
    ]
    if min(map(len, matured)) < least:
        sentence = (
            f"The truth is known of {len(matured[0]):,} of its alerts and of {len(matured[1]):,} "
            f"of the champion's; {least:,} of each are asked for."
        )
        return GateResult("matured_precision", True, None, limit, sentence)
    own, other = (float(np.mean(each == FRAUD)) for each in matured)
    sentence = (
        f"Of its alerts whose truth is known {own:.1%} are fraud, of the champion's {other:.1%}; "
        f"it may lose {limits.precision_margin:.0%}."
    )
    return GateResult("matured_precision", own - other >= limit, own - other, limit, sentence)


def _fewer(evidence: LiveEvidence) -> int:
    return min(len(evidence.model.scores), len(evidence.champion.scores))


def _too_few(gate: str, limit: float, count: int, limits: LiveLimits) -> GateResult:
    sentence = f"{count:,} decisions say too little; {limits.least_decisions:,} are asked for."
    return GateResult(gate, True, None, limit, sentence)


def _score(seen: SeenDecision, is_answer: bool) -> float | None:
    return seen.probability if is_answer else seen.shadow_probability


def _side(seen: Sequence[SeenDecision], terms: Terms, maturity_us: int, now_us: int) -> Side:
    scores = np.array([each.probability for each in seen], float)
    return Side(scores, _truth(seen, maturity_us, now_us), terms)


def _truth(seen: Sequence[SeenDecision], maturity_us: int, now_us: int) -> Truths:
    """What is known now; a blocked event that nobody labelled stays unknown for ever."""

    def of(each: SeenDecision) -> int:
        if each.is_fraud is not None:
            return FRAUD if each.is_fraud else GENUINE
        is_mature = each.event_time_us + maturity_us <= now_us
        return GENUINE if is_mature and not each.is_blocked else UNKNOWN

    return np.array([of(each) for each in seen], np.int8)

"""A decision made again, and what of it differs from the one on record."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_UP, Decimal
from itertools import zip_longest

import numpy as np

from bentos.scoring.judge import Judge
from fraud.domain.decision import Decision, Reason
from fraud.domain.event import Event
from fraud.domain.features import shortest_decimal
from fraud.domain.pass_through import drawn
from fraud.ledger.recorded import RecordedDecision

FOUR_DECIMALS = Decimal("0.0001")
"""As the row of a transaction repeats a probability."""

_PARTS = (
    "fraud_probability",
    "risk_level",
    "rules",
    "shadow_rules",
    "model_version",
    "policy_version",
    "rules_version",
    "lists_version",
    "degraded",
    "propensity",
    "is_let_through",
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A part of a decision that is not what it should be."""

    part: str
    recorded: object
    recomputed: object


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of replaying a decision.

    Attributes:
        recorded: the decision as the ledger has it.
        differences: what came out otherwise; a feature by its name.
        obstacles: why parts of it could not be computed again.
    """

    recorded: RecordedDecision
    differences: tuple[Difference, ...] = ()
    obstacles: tuple[str, ...] = ()

    @property
    def is_identical(self) -> bool:
        """Everything was computed again, and nothing differs."""
        return not self.differences and not self.obstacles


def nearest(recorded: bytes, recomputed: Sequence[bytes]) -> bytes:
    """The values computed again, as near to the record as they come.

    Where states were being rebuilt, there are several sets of values. Every feature may be of
    any of them: entities are rebuilt one after another.
    """
    kept = np.frombuffer(recorded, "<i8")
    sets = np.stack([np.frombuffer(each, "<i8") for each in recomputed])
    if len(kept) != sets.shape[1]:
        return recomputed[-1]
    return np.where((sets == kept).any(axis=0), kept, sets[-1]).astype("<i8").tobytes()


def in_features(names: Sequence[str], recorded: bytes, recomputed: bytes) -> Iterator[Difference]:
    """Features that are not, bit for bit, what is on record.

    Args:
        names: of the features.
        recorded: little-endian float64, in that order.
        recomputed: likewise.
    """
    before, after = (np.frombuffer(each, "<f8") for each in (recorded, recomputed))
    if len(before) != len(after):
        yield Difference("features", f"{len(before)} values", f"{len(after)} values")
        return
    for place in np.flatnonzero(before.view("<i8") != after.view("<i8")).tolist():
        was, should = (shortest_decimal(float(each[place])) for each in (before, after))
        yield Difference(names[place], was, should)


def in_decision(
    recorded: RecordedDecision,
    event: Event,
    judge: Judge,
    features: bytes,
    *,
    with_texts: bool = True,
) -> Iterator[Difference]:
    """What comes out otherwise when it is decided again, at the same moment.

    Args:
        recorded: the decision.
        event: what it was about, as it came.
        judge: with model, rules, lists and policy of that time.
        features: what to decide on; little-endian float64, in the judge's order.
        with_texts: whether the sentences of reasons are compared as well.
    """
    before = recorded.decision
    matrix = np.frombuffer(features, "<f8").reshape(1, -1)
    if recorded.was_journalled:
        matrix = np.full_like(matrix, math.nan)  # as `Fallback` decides
    after = judge.decide([event], matrix, before.scored_at_us)[0]
    if judge.pass_through is not None and after.propensity is not None:
        # Whether the day's budget covered it is on record; the lot is drawn again.
        after = drawn(after, judge.pass_through, before.propensity or 0.0)
    yield from _in_parts(before, after)
    yield from _in_reasons(before.reasons, after.reasons, with_texts)
    yield from _in_copies(recorded, after)


def _in_parts(recorded: Decision, recomputed: Decision) -> Iterator[Difference]:
    for part in _PARTS:
        before, after = getattr(recorded, part), getattr(recomputed, part)
        if before != after:
            yield Difference(part, before, after)


def _in_reasons(
    recorded: Sequence[Reason], recomputed: Sequence[Reason], with_texts: bool
) -> Iterator[Difference]:
    pairs = zip_longest(recorded, recomputed)
    for number, (before, after) in enumerate(pairs, 1):
        if before is None or after is None:
            yield Difference(f"reason {number}", before and before.code, after and after.code)
            continue
        other = asdict(after)
        for field, value in asdict(before).items():
            if value != other[field] and (with_texts or field != "text"):
                yield Difference(f"reason {number} {field}", value, other[field])


def _in_copies(recorded: RecordedDecision, recomputed: Decision) -> Iterator[Difference]:
    """The columns that repeat parts of the decision."""
    level, action = recomputed.risk_level.name, recomputed.recommended_action
    exact = Decimal(repr(recomputed.fraud_probability))
    rounded = exact.quantize(FOUR_DECIMALS, ROUND_HALF_UP)
    for part, before, after in (
        ("recommended_action", recorded.action, action),
        ("transaction's fraud_probability", recorded.noted_probability, rounded),
        ("transaction's risk_level", recorded.noted_level, level),
        ("transaction's recommended_action", recorded.noted_action, action),
    ):
        if before != after:
            yield Difference(part, before, after)

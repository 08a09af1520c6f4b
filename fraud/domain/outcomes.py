"""Features over the outcomes of an entity's last events: which matured as fraud, which did not.

Attacks come in runs. Whatever made a merchant's last matured events fraud (a skimmed terminal,
a stolen list of cards) usually goes on for a while, so how long the run has lasted, and when a
genuine event was last seen, say more than shares do. And a customer's own genuine events are
the measure for amounts: not only the present one, but also the largest of those whose outcome
nobody knows yet.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraud.domain.aggregates import NONE, Aggregate, FraudTime, OutcomesOf
from fraud.domain.features import LOG_SCALE, Floats, Inputs, Ints, quantised_log
from fraud.domain.history import OfEntity
from fraud.domain.windows import DAY_US

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class FraudRun(OfEntity):
    """The entity's matured events known to be fraud after its last genuine one."""

    unit: str = "events"

    @property
    def name(self) -> str:
        return f"{self.entity}_fraud_run"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (OutcomesOf(self.entity, "fraud_run", "count"),)

    def finish(self, inputs: Inputs) -> Floats:
        count = inputs.aggregate(self.aggregates()[0])
        return np.where(count == NONE, self.default, count.astype(np.float64))


@dataclass(frozen=True)
class FraudRunAmount(OfEntity):
    """Mean log amount of the entity's matured frauds after its last genuine event."""

    default: float = -1.0

    @property
    def name(self) -> str:
        return f"{self.entity}_fraud_run_log_amount"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (
            OutcomesOf(self.entity, "fraud_run", "count"),
            OutcomesOf(self.entity, "fraud_run", "log"),
        )

    def finish(self, inputs: Inputs) -> Floats:
        count, log = (inputs.aggregate(aggregate) for aggregate in self.aggregates())
        return _per(log, count, count > 0, self.default)


LONG_AGO = 1_000_000
"""Days since what never happened."""
MOST_POWERS = 4
"""Frauds of a run that are told apart; more say no more."""
ODDS_SCALE, MOST_ODDS = 10_000, 9_999.0


@dataclass(frozen=True)
class AttackOdds(OfEntity):
    """Odds that an attack on the entity goes on, by Bayes' rule: log(1 + 10,000 x odds).

    While an attack lasts, every event of the entity is fraud; otherwise few are. So it began
    after the last genuine matured event, and at the latest with the first fraud of the run.
    Each day in between is as likely as the others, and those of them that are less than an
    attack's length ago speak for an attack that goes on. Without a run, it may have begun on
    any day since.

    Attributes:
        lasts_days: length of an attack.
        begins_daily: probability that one begins on a given day.
        stray: share of fraud outside of attacks: the less, the more each fraud says.
    """

    lasts_days: int = 28
    begins_daily: float = 2e-4
    stray: float = 0.01

    @property
    def name(self) -> str:
        return f"{self.entity}_attack_odds_{self.lasts_days}d"

    def shown(self, value: float) -> str:
        odds = np.expm1(value) / ODDS_SCALE
        return f"{odds / (1.0 + odds):.2%} likely"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (
            OutcomesOf(self.entity, "fraud_run", "count"),
            OutcomesOf(self.entity, "fraud_run", "time"),
            OutcomesOf(self.entity, "genuine", "time"),
            FraudTime(self.entity, "latest"),
        )

    def finish(self, inputs: Inputs) -> Floats:
        count, *moments = (inputs.aggregate(aggregate) for aggregate in self.aggregates())
        today = inputs.time_us() // DAY_US
        first, genuine, latest = (_days_since(today, moment) for moment in moments)
        length, has_run = self.lasts_days, count > 0
        oldest = np.where(has_run, np.minimum(genuine, latest + length), genuine)
        beginnings = np.maximum(oldest - first, 0)
        lasting = np.maximum(np.minimum(oldest, length) - first, 0)
        unseen = np.minimum(np.where(has_run, latest, genuine), length)
        weight = self.weights()[np.clip(count, 0, MOST_POWERS)]
        odds = (weight * lasting + self.begins_daily * unseen) / (
            1.0 + weight * (beginnings - lasting)
        )
        is_known = has_run | (moments[1] != NONE)
        return np.where(is_known, _log_odds(odds), self.default)

    def without_run(self) -> Floats:
        """Values of entities without a run, by days since the genuine event: 0 to `lasts_days`."""
        days: Floats = np.arange(self.lasts_days + 1, dtype=np.float64)
        return _log_odds(self.begins_daily * days)

    def weights(self) -> Floats:
        """How much likelier each possible beginning is than no attack, by length of the run."""
        weights = [self.begins_daily]
        for _ in range(MOST_POWERS):
            weights.append(weights[-1] / self.stray)
        return np.array(weights)


def _log_odds(odds: Floats) -> Floats:
    """By the table of logarithms, which is the same on every processor."""
    scaled = (np.minimum(odds, MOST_ODDS) * (100 * ODDS_SCALE)).astype(np.int64)
    return quantised_log(scaled) / LOG_SCALE


@dataclass(frozen=True)
class AmountAboveGenuine(OfEntity):
    """The event's log amount less the mean of the entity's last genuine events."""

    @property
    def name(self) -> str:
        return f"{self.entity}_log_amount_above_genuine"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (
            OutcomesOf(self.entity, "genuine", "count"),
            OutcomesOf(self.entity, "genuine", "log"),
        )

    def finish(self, inputs: Inputs) -> Floats:
        count, log = (inputs.aggregate(aggregate) for aggregate in self.aggregates())
        return _per(count * inputs.amount_log() - log, count, count > 0, self.default)


@dataclass(frozen=True)
class UnmaturedAmountAboveGenuine(OfEntity):
    """The entity's largest log amount not yet matured less the mean of its last genuine events."""

    @property
    def name(self) -> str:
        return f"{self.entity}_unmatured_log_amount_above_genuine"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (
            OutcomesOf(self.entity, "genuine", "count"),
            OutcomesOf(self.entity, "genuine", "log"),
            OutcomesOf(self.entity, "unmatured", "count"),
            OutcomesOf(self.entity, "unmatured", "largest"),
        )

    def finish(self, inputs: Inputs) -> Floats:
        count, log, recent, largest = (inputs.aggregate(each) for each in self.aggregates())
        usable = (count > 0) & (recent > 0)
        return _per(count * largest - log, count, usable, self.default)


def _days_since(today: Ints, moment_us: Ints) -> Ints:
    """Whole UTC days, at least 0."""
    return np.where(moment_us == NONE, LONG_AGO, np.maximum(today - moment_us // DAY_US, 0))


def _per(log: Ints, count: Ints, usable: Flags, default: float) -> Floats:
    """Quantised log amounts per event, in units of the logarithm: one division of integers."""
    out = np.full(len(log), default)
    divisor = (LOG_SCALE * count).astype(np.float64)
    np.divide(log.astype(np.float64), divisor, out=out, where=usable)
    return out

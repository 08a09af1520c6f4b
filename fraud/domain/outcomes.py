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

from fraud.domain.aggregates import NONE, Aggregate, OutcomesOf
from fraud.domain.features import LOG_SCALE, Floats, Inputs, Ints
from fraud.domain.history import OfEntity

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


def _per(log: Ints, count: Ints, usable: Flags, default: float) -> Floats:
    """Quantised log amounts per event, in units of the logarithm: one division of integers."""
    out = np.full(len(log), default)
    divisor = (LOG_SCALE * count).astype(np.float64)
    np.divide(log.astype(np.float64), divisor, out=out, where=usable)
    return out

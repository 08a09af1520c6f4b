"""Features over the history of an entity: windows, lifetimes, labels."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fraud.domain.aggregates import (
    NONE,
    Aggregate,
    DistinctSum,
    FirstTime,
    FraudTime,
    LabelSum,
    LastTime,
    LastValue,
    Lifetime,
    MaturedSum,
    OutcomesOf,
    TileColumn,
    TileSum,
)
from fraud.domain.features import Feature, Floats, Inputs, Ints
from fraud.domain.windows import Window

YEAR_S = 366 * 86_400.0
"""Default of every "seconds since" feature: as if it had been a (leap) year ago."""


def _divide(numerator: Ints, denominator: Ints, default: float) -> Floats:
    """One float64 division of integers; `default` where there is nothing to divide by."""
    usable = (denominator > 0) & (numerator != NONE)
    out = np.full(len(numerator), default)
    np.divide(numerator.astype(np.float64), denominator.astype(np.float64), out=out, where=usable)
    return out


def _seconds_since(now_us: Ints, then_us: Ints, default: float) -> Floats:
    """Seconds from `then` to `now`, at least 0; `default` where `then` is NONE."""
    known = then_us != NONE
    elapsed = np.maximum(now_us - np.where(known, then_us, now_us), 0)
    return np.where(known, elapsed / 1e6, default)


@dataclass(frozen=True)
class OfEntity(Feature):
    """Base of features over an entity's history."""

    entity: str = ""

    @property
    def description(self) -> str:
        whose = self.entity.replace("_", "-") + (" pair" if "_" in self.entity else "")
        return super().description.replace("the entity", f"the {whose}")


@dataclass(frozen=True)
class OfWindow(OfEntity):
    """Base of features over one window of an entity."""

    window: Window = Window("1d")

    @property
    def description(self) -> str:
        window = self.window
        when = f"the {window.length} up to {window.delay} ago" if window.delay else ""
        return super().description.replace("the window", when or f"the last {window.length}")

    def _sum(self, column: TileColumn) -> TileSum:
        return TileSum(self.entity, self.window, column)


@dataclass(frozen=True)
class Count(OfWindow):
    """Events of the entity in the window."""

    unit: str = "events"

    @property
    def name(self) -> str:
        return f"{self.entity}_count_{self.window.name}"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (self._sum("count"),)

    def finish(self, inputs: Inputs) -> Floats:
        count = inputs.aggregate(self._sum("count"))
        return np.where(count == NONE, self.default, count.astype(np.float64))


@dataclass(frozen=True)
class AmountSum(OfWindow):
    """Sum of the entity's amounts in the window."""

    unit: str = "minor units"

    @property
    def name(self) -> str:
        return f"{self.entity}_amount_sum_{self.window.name}"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (self._sum("amount"),)

    def finish(self, inputs: Inputs) -> Floats:
        total = inputs.aggregate(self._sum("amount"))
        return np.where(total == NONE, self.default, total.astype(np.float64))


@dataclass(frozen=True)
class AmountMean(OfWindow):
    """Mean of the entity's amounts in the window."""

    unit: str = "minor units"

    @property
    def name(self) -> str:
        return f"{self.entity}_amount_mean_{self.window.name}"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (self._sum("amount"), self._sum("count"))

    def finish(self, inputs: Inputs) -> Floats:
        total, count = (inputs.aggregate(aggregate) for aggregate in self.aggregates())
        return _divide(total, count, self.default)


@dataclass(frozen=True)
class AmountRatio(OfWindow):
    """The event's amount divided by the entity's mean amount in the window."""

    default: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.entity}_amount_ratio_{self.window.name}"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (self._sum("amount"), self._sum("count"))

    def finish(self, inputs: Inputs) -> Floats:
        total, count = (inputs.aggregate(aggregate) for aggregate in self.aggregates())
        return _divide(inputs.amount_minor() * np.maximum(count, 0), total, self.default)


@dataclass(frozen=True)
class AmountMeanRatio(OfWindow):
    """Mean of the entity's amounts in the window, divided by that of a baseline."""

    default: float = 1.0
    baseline: Window = Window("30d")

    @property
    def description(self) -> str:
        until = f" up to {self.baseline.delay} ago" if self.baseline.delay else ""
        return super().description.replace(
            "that of a baseline", f"that of {self.baseline.length}{until}"
        )

    @property
    def name(self) -> str:
        return f"{self.entity}_amount_mean_ratio_{self.window.name}_{self.baseline.name}"

    def aggregates(self) -> tuple[Aggregate, ...]:
        windows = (self.window, self.baseline)
        columns: tuple[TileColumn, ...] = ("amount", "count")
        return tuple(TileSum(self.entity, each, column) for each in windows for column in columns)

    def finish(self, inputs: Inputs) -> Floats:
        total, count, usual_total, usual_count = map(inputs.aggregate, self.aggregates())
        mean, usual = _divide(total, count, 0.0), _divide(usual_total, usual_count, 0.0)
        out = np.full(len(count), self.default)
        np.divide(mean, usual, out=out, where=(count > 0) & (usual > 0.0))
        return out


@dataclass(frozen=True)
class AmountZScore(OfWindow):
    """Standard score of the event's log amount among those of the entity in the window."""

    @property
    def name(self) -> str:
        return f"{self.entity}_amount_zscore_{self.window.name}"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (self._sum("count"), self._sum("log"), self._sum("log_sq"))

    def finish(self, inputs: Inputs) -> Floats:
        count, log, log_sq = (
            inputs.aggregate(aggregate).astype(np.float64) for aggregate in self.aggregates()
        )
        spread = count * log_sq - log * log
        usable = (count >= 2) & (spread > 0)
        deviation = count * inputs.amount_log().astype(np.float64) - log
        out = np.full(len(count), self.default)
        np.divide(deviation, np.sqrt(np.where(usable, spread, 1.0)), out=out, where=usable)
        clipped: Floats = np.clip(out, -10.0, 10.0)
        return clipped


@dataclass(frozen=True)
class CountRatio(OfWindow):
    """Events of the entity in the window as a share of a longer one: a burst is near 1."""

    longer: Window = Window("30d")

    @property
    def name(self) -> str:
        return f"{self.entity}_count_ratio_{self.window.name}_{self.longer.name}"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (self._sum("count"), TileSum(self.entity, self.longer, "count"))

    def finish(self, inputs: Inputs) -> Floats:
        short, long = (inputs.aggregate(aggregate) for aggregate in self.aggregates())
        return _divide(short, long, self.default)


@dataclass(frozen=True)
class DistinctCount(OfWindow):
    """Distinct values of a field the entity showed in the window, up to 64."""

    unit: str = "values"
    of: str = ""

    @property
    def description(self) -> str:
        return super().description.replace("a field", self.of)

    @property
    def name(self) -> str:
        return f"{self.entity}_distinct_{self.of}_{self.window.name}"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (DistinctSum(self.entity, self.of, self.window),)

    def finish(self, inputs: Inputs) -> Floats:
        count = inputs.aggregate(self.aggregates()[0])
        return np.where(count == NONE, self.default, count.astype(np.float64))


@dataclass(frozen=True)
class LifetimeCount(OfEntity):
    """Events of the entity ever observed; 0 says that it is new."""

    unit: str = "events"

    @property
    def name(self) -> str:
        return f"{self.entity}_count"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (Lifetime(self.entity),)

    def finish(self, inputs: Inputs) -> Floats:
        count = inputs.aggregate(Lifetime(self.entity))
        return np.where(count == NONE, self.default, count.astype(np.float64))


Moment = Literal["last", "first", "latest_fraud", "earliest_fraud", "genuine", "fraud_run"]
_MOMENTS: dict[Moment, str] = {
    "last": "last event",
    "first": "first event",
    "latest_fraud": "latest known fraud",
    "earliest_fraud": "earliest known fraud",
    "genuine": "last matured event that was no fraud",
    "fraud_run": "first known fraud after its last genuine event",
}


@dataclass(frozen=True)
class SecondsSince(OfEntity):
    """Seconds since a moment of the entity's history.

    Attributes:
        moment: of its last or first event, its latest or earliest known fraud; of its last
            matured event not known to be fraud (`genuine`), or of the first fraud after that
            one (`fraud_run`).
    """

    unit: str = "s"
    default: float = YEAR_S
    moment: Moment = "last"

    @property
    def description(self) -> str:
        return f"Time since the {self.entity.replace('_', '-')}'s {_MOMENTS[self.moment]}."

    def shown(self, value: float) -> str:
        if value == self.default:
            return "never"
        length = next((each for each in (86_400, 3600, 60) if value >= each), 1)
        return f"{value / length:,.3g} { {86_400: 'd', 3600: 'h', 60: 'min', 1: 's'}[length] }"

    @property
    def name(self) -> str:
        return f"{self.entity}_seconds_since_{self.moment}"

    def aggregates(self) -> tuple[Aggregate, ...]:
        if self.moment == "last":
            return (LastTime(self.entity),)
        if self.moment == "first":
            return (FirstTime(self.entity),)
        if self.moment == "genuine" or self.moment == "fraud_run":
            return (OutcomesOf(self.entity, self.moment, "time"),)
        which: Literal["latest", "earliest"] = (
            "latest" if self.moment == "latest_fraud" else "earliest"
        )
        return (FraudTime(self.entity, which),)

    def finish(self, inputs: Inputs) -> Floats:
        then = inputs.aggregate(self.aggregates()[0])
        return _seconds_since(inputs.time_us(), then, self.default)


@dataclass(frozen=True)
class Changed(OfEntity):
    """1 where a field differs from the entity's last observed value of it, else 0."""

    of: str = ""

    @property
    def description(self) -> str:
        return super().description.replace("a field", f"the {self.of}")

    @property
    def name(self) -> str:
        return f"{self.entity}_{self.of}_changed"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (LastValue(self.entity, self.of),)

    def finish(self, inputs: Inputs) -> Floats:
        last, now = inputs.aggregate(self.aggregates()[0]), inputs.value_id(self.of)
        known = (last != NONE) & (now != NONE)
        return np.where(known, (last != now).astype(np.float64), self.default)


@dataclass(frozen=True)
class FraudLabels(OfWindow):
    """Fraud labels about the entity that were reported in the window."""

    unit: str = "labels"

    @property
    def name(self) -> str:
        return f"{self.entity}_fraud_labels_{self.window.name}"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (LabelSum(self.entity, self.window),)

    def finish(self, inputs: Inputs) -> Floats:
        count = inputs.aggregate(self.aggregates()[0])
        return np.where(count == NONE, self.default, count.astype(np.float64))


@dataclass(frozen=True)
class LabelRisk(OfWindow):
    """Fraud labels about the entity in the window, per event one maturity earlier."""

    delay: str = "7d"

    @property
    def name(self) -> str:
        return f"{self.entity}_label_risk_{self.window.name}"

    def aggregates(self) -> tuple[Aggregate, ...]:
        delayed = Window(self.window.length, self.delay)
        return (LabelSum(self.entity, self.window), TileSum(self.entity, delayed, "count"))

    def finish(self, inputs: Inputs) -> Floats:
        labels, events = (inputs.aggregate(aggregate) for aggregate in self.aggregates())
        return _divide(labels, events, self.default)


@dataclass(frozen=True)
class MaturedFraudShare(OfEntity):
    """Share of known fraud among the entity's last k events whose labels are mature."""

    k: int = 1

    @property
    def description(self) -> str:
        return super().description.replace("last k events", f"last {self.k} events")

    @property
    def name(self) -> str:
        return f"{self.entity}_matured_fraud_share_{self.k}"

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (
            MaturedSum(self.entity, self.k, "fraud"),
            MaturedSum(self.entity, self.k, "count"),
        )

    def finish(self, inputs: Inputs) -> Floats:
        fraud, count = (inputs.aggregate(aggregate) for aggregate in self.aggregates())
        return _divide(fraud, count, self.default)

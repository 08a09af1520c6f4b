"""Features: one declarative line each, finished from integers by code both paths share.

A feature names the aggregates it needs and turns them into one float64 per event. `finish`
is elementwise numpy on whole arrays, so the offline frame (millions of events) and the
online path (a micro-batch) run the very same instructions on the very same integers. Its value
is that number rounded to float32, which is what models read.
"""

from bisect import bisect_right
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fraud.domain.aggregates import Aggregate
from fraud.domain.time_zones import utc_offset_us, utc_offsets_us
from fraud.domain.windows import HOUR_US

Floats = NDArray[np.float64]
Values = NDArray[np.float32]
Ints = NDArray[np.int64]
Codes = NDArray[np.int32]


class Texts(NamedTuple):
    """A text column as codes into its distinct values; code -1 is null."""

    codes: Codes
    values: list[str]


class Inputs(Protocol):
    """What `finish` may read: the events of a batch and their aggregates."""

    def time_us(self) -> Ints:
        """Event times, microseconds UTC."""

    def amount_minor(self) -> Ints:
        """Amounts in minor units."""

    def amount_log(self) -> Ints:
        """Quantised log amounts."""

    def number(self, field: str) -> Floats:
        """A numeric or boolean field, NaN where null."""

    def text(self, field: str) -> Texts:
        """A text field."""

    def place_among(self, field: str, values: tuple[str, ...]) -> Codes:
        """The place of a text field among these values, -1 where it is null or none of them."""

    def value_id(self, field: str) -> Ints:
        """A field as the int64 that `LastValue` keeps, NONE where null."""

    def place_id(self) -> Ints:
        """Where the events happened as the int64 that `LastPlace` keeps, NONE where null."""

    def aggregate(self, aggregate: Aggregate) -> Ints:
        """An aggregate, NONE where the event lacks the entity."""

    def shared(self, name: Hashable, compute: Callable[[], Ints]) -> Ints:
        """What several features are made of, computed for the first of them."""


LARGEST = float(np.finfo(np.float32).max)
"""The largest value of a feature; those beyond it, of either sign, become it."""

_WHOLE = 2.0**24
"""From here on, every float32 is a whole number."""


def shortest_decimal(value: float) -> float:
    """A feature's value as a person would write it: 12.34 where float32 has 12.34000015258789.

    It is the same float32. What is whole, or no float32, stays as it is.
    """
    if value.is_integer() or not abs(value) < _WHOLE:
        return value
    narrow = np.float32(value)
    return float(str(narrow)) if float(narrow) == value else value


LOG_SCALE = 10_000
_MAX_LOG = 184_207  # of the largest amount


@cache
def _log_steps() -> Ints:
    """Place k - 1 holds the least amount in minor units whose quantised log is at least k."""
    k = np.arange(1, _MAX_LOG + 1)
    return np.ceil(100.0 * np.expm1((k - 0.5) / LOG_SCALE)).astype(np.int64)


def log_tables() -> tuple[Ints, Ints]:
    """What `quantised_log` looks amounts up in: small ones one by one, others by steps."""
    return _log_of_small(), _log_steps()


def quantised_log(amount_minor: Ints) -> Ints:
    """`round(10_000 * log1p(amount in major units))` of amounts in minor units, as int64.

    Looked up among the steps of that function, so that one amount has one value whatever
    the length of the array or the processor's mathematics.
    """
    small = _log_of_small()
    out = small[np.minimum(amount_minor, len(small) - 1)]
    large = amount_minor >= len(small)
    if large.any():
        out[large] = np.searchsorted(_log_steps(), amount_minor[large], side="right")
    return out


@cache
def _log_of_small() -> Ints:
    """The quantised logs of amounts up to 10,000 major units, one by one: no search needed."""
    return np.searchsorted(_log_steps(), np.arange(1_000_000), side="right").astype(np.int64)


def quantised_log_of(amount_minor: int) -> int:
    """`quantised_log` of a single amount."""
    small = _log_of_small()
    if amount_minor < len(small):
        return small.item(amount_minor)
    return bisect_right(_log_steps(), amount_minor)


@dataclass(frozen=True)
class Feature:
    """Base of all features.

    Attributes:
        default: value where the feature is undefined (no history, null field).
        unit: of its values; 1 where they have none.
    """

    default: float = 0.0
    unit: str = "1"

    @property
    def name(self) -> str:
        """Column name, `<entity>_<aggregate>_<window>`."""
        raise TypeError(f"{type(self).__name__} has no name")

    @property
    def description(self) -> str:
        """One sentence for the catalogue."""
        return (type(self).__doc__ or "").split("\n")[0]

    def shown(self, value: float) -> str:
        """A value of this feature as a person reads it."""
        return f"{value:,.4g}" if self.unit in ("1", "index") else f"{value:,.4g} {self.unit}"

    def aggregates(self) -> tuple[Aggregate, ...]:
        """The integers this feature is made of."""
        return ()

    def finish(self, inputs: Inputs) -> Floats:
        """The feature's float64 value for every event of the batch, shape (n,)."""
        raise TypeError(f"{type(self).__name__} cannot be finished")


@dataclass(frozen=True)
class Amount(Feature):
    """The event's amount in major units."""

    unit: str = "major units"

    @property
    def name(self) -> str:
        return "amount"

    def finish(self, inputs: Inputs) -> Floats:
        return inputs.amount_minor() / 100.0


ROUND_MINOR = (5, 10, 50, 100, 500, 1_000, 5_000, 10_000)
"""Round sums in minor units, each a multiple of those before it."""


@cache
def _roundness() -> Floats:
    """How many of them divide an amount, by its remainder to the largest."""
    remainder = np.arange(ROUND_MINOR[-1])
    divides = [remainder % unit == 0 for unit in ROUND_MINOR]
    found: Floats = np.sum(divides, axis=0).astype(np.float64)
    return found


@dataclass(frozen=True)
class AmountRoundness(Feature):
    """How round the amount is: 0 is to the cent, 4 is whole major units, 8 is whole hundreds."""

    unit: str = "index"

    @property
    def name(self) -> str:
        return "amount_roundness"

    def finish(self, inputs: Inputs) -> Floats:
        amount = inputs.amount_minor()
        whole = amount // ROUND_MINOR[-1]
        found: Floats = _roundness()[amount - whole * ROUND_MINOR[-1]]
        return found


@dataclass(frozen=True)
class Number(Feature):
    """A numeric or boolean field of the event itself."""

    field: str = ""

    @property
    def name(self) -> str:
        return self.field

    @property
    def description(self) -> str:
        return f"{self.field.replace('_', ' ').capitalize()}, as sent with the event."

    def shown(self, value: float) -> str:
        return "not sent" if value == self.default else super().shown(value)

    def finish(self, inputs: Inputs) -> Floats:
        value = inputs.number(self.field)
        return np.where(np.isnan(value), self.default, value)


@dataclass(frozen=True)
class AmountShare(Feature):
    """The event's amount divided by one of its own numbers, e.g. a balance; both major units."""

    default: float = -1.0
    field: str = ""

    @property
    def name(self) -> str:
        return f"amount_share_of_{self.field}"

    @property
    def description(self) -> str:
        return f"Amount divided by the {self.field.replace('_', ' ')}."

    def finish(self, inputs: Inputs) -> Floats:
        whole = inputs.number(self.field)
        out = np.full(len(whole), self.default)
        with np.errstate(over="ignore"):  # of next to nothing: becomes `LARGEST`
            np.divide(inputs.amount_minor() / 100.0, whole, out=out, where=whole > 0)
        return out


@dataclass(frozen=True)
class Category(Feature):
    """A text field of the event as its place (from 0) in a declared list of values."""

    unit: str = "index"
    default: float = -1.0
    field: str = ""
    values: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.field}_code"

    @property
    def description(self) -> str:
        return f"{self.field.replace('_', ' ').capitalize()}, its place among the declared ones."

    def shown(self, value: float) -> str:
        return "not a declared one" if value == self.default else self.values[int(value)]

    def finish(self, inputs: Inputs) -> Floats:
        place = inputs.place_among(self.field, self.values)
        return np.where(place < 0, self.default, place.astype(np.float64))


@dataclass(frozen=True)
class Calendar(Feature):
    """Local calendar of the event: hour (0-23), weekday (Monday 0), weekend or night flag.

    Attributes:
        part: which of them.
        zone: time zone (IANA) of events that name none.
        field: text field in which an event may name its own; none if empty.
    """

    part: Literal["hour", "weekday", "is_weekend", "is_night"] = "hour"
    zone: str = "UTC"
    field: str = ""

    @property
    def name(self) -> str:
        return {"hour": "local_hour", "weekday": "local_weekday"}.get(self.part, self.part)

    @property
    def description(self) -> str:
        what = {
            "hour": "Hour of the day, 0 to 23",
            "weekday": "Day of the week, Monday 0",
            "is_weekend": "1 on Saturday and Sunday, else 0",
            "is_night": "1 before 07:00, else 0",
        }[self.part]
        whose = f"the event's {self.field.replace('_', ' ')}, else {self.zone}"
        return f"{what}, in {whose if self.field else self.zone}."

    def finish(self, inputs: Inputs) -> Floats:
        hours = inputs.shared(("local_hours", self.zone, self.field), lambda: self._hours(inputs))
        # Differences of whole quotients instead of remainders: numpy has faster code for them.
        days = inputs.shared(("local_days", self.zone, self.field), lambda: hours // 24)
        if self.part in ("hour", "is_night"):
            hour = hours - 24 * days
            value = hour if self.part == "hour" else (hour <= 6)
        else:
            days = days + 3  # 1970-01-01 was a Thursday
            weekday = days - 7 * (days // 7)
            value = weekday if self.part == "weekday" else (weekday >= 5)
        return value.astype(np.float64)

    def _hours(self, inputs: Inputs) -> Ints:
        """Whole hours of local time since 1970."""
        if not self.field:
            offset_us = utc_offset_us(inputs.time_us(), self.zone)
        else:
            offset_us = utc_offsets_us(inputs.time_us(), inputs.text(self.field), self.zone)
        hours: Ints = (inputs.time_us() + offset_us) // HOUR_US
        return hours

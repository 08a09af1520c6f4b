"""What events at hand say themselves, as integer columns: the online path's own."""

from collections.abc import Callable, Sequence

import numpy as np

from feature_store.inputs import (
    AMOUNT,
    LOG,
    PLACE,
    TIME,
    VALUE_ID,
    category_column,
    hours_column,
    number_column,
)
from fraud.domain.aggregates import NONE
from fraud.domain.event import Event, Scalar, text_id
from fraud.domain.features import (
    AmountShare,
    Calendar,
    Category,
    Feature,
    Ints,
    Number,
    quantised_log_of,
)
from fraud.domain.places import LATITUDE, LONGITUDE, place_id
from fraud.domain.time_zones import utc_offset_of
from fraud.domain.windows import HOUR_US

Reader = Callable[[Sequence[Event]], list[int]]


class OwnColumns:
    """The columns of a fraud type's events that states and compiled steps go by.

    Args:
        features: of the fraud type.
        values: what states remember of an event, see `online.value_names`.

    Attributes:
        names: of the columns, in order: the event's time, amount and log amount, what states
            remember, what features read as integers, and what they read as floats.
        remembered: the rows of what states remember.
    """

    def __init__(self, features: Sequence[Feature], values: Sequence[str]) -> None:
        self._integers: dict[str, Reader] = {TIME: _times, AMOUNT: _amounts, LOG: _amount_logs}
        for name in values:
            if name == PLACE:
                self._integers[PLACE] = _places
            else:
                self._integers[f"{VALUE_ID} {name}"] = _value_ids(name)
        self._numbers: dict[str, str] = {}
        for feature in features:
            if isinstance(feature, Category):
                self._integers[category_column(feature)] = _places_among(feature)
            elif isinstance(feature, Calendar):
                self._integers[hours_column(feature)] = _local_hours(feature)
            elif isinstance(feature, Number | AmountShare):
                self._numbers[number_column(feature.field)] = feature.field
        self.names = [*self._integers, *self._numbers]
        self.remembered = slice(3, 3 + len(values))

    def fill(self, events: Sequence[Event], out: Ints) -> None:
        """Write the columns of some events into the first rows of `out` (numbers, n)."""
        count = len(self._integers)
        out[:count] = [read(events) for read in self._integers.values()]
        if self._numbers:
            rows = [numbers(events, field) for field in self._numbers.values()]
            out[count : len(self.names)].view(np.float64)[:] = rows


def numbers(events: Sequence[Event], field: str) -> list[float]:
    """A numeric or boolean field, NaN where null."""
    values = [event.fields[field] for event in events]
    return [np.nan if value is None else float(value) for value in values]


def _times(events: Sequence[Event]) -> list[int]:
    return [event.event_time_us for event in events]


def _amounts(events: Sequence[Event]) -> list[int]:
    return [event.amount_minor for event in events]


def _amount_logs(events: Sequence[Event]) -> list[int]:
    return [quantised_log_of(event.amount_minor) for event in events]


def _places(events: Sequence[Event]) -> list[int]:
    return [_place(event.fields[LATITUDE], event.fields[LONGITUDE]) for event in events]


def _place(north: Scalar, east: Scalar) -> int:
    return NONE if north is None or east is None else place_id(float(north), float(east))


def _value_ids(field: str) -> Reader:
    def read(events: Sequence[Event]) -> list[int]:
        values = [event.fields[field] for event in events]
        return [NONE if each is None else text_id(str(each)) for each in values]

    return read


def _places_among(category: Category) -> Reader:
    """The place of a text among the declared ones, NONE where it is none of them."""
    field = category.field
    places: dict[Scalar, int] = {value: place for place, value in enumerate(category.values)}

    def read(events: Sequence[Event]) -> list[int]:
        return [places.get(event.fields[field], NONE) for event in events]

    return read


def _local_hours(calendar: Calendar) -> Reader:
    """Whole hours of local time since 1970."""
    field, zone = calendar.field, calendar.zone

    def read(events: Sequence[Event]) -> list[int]:
        times = [event.event_time_us for event in events]
        zones = [event.fields[field] if field else None for event in events]
        return [
            (time + utc_offset_of(time, zone if name is None else str(name))) // HOUR_US
            for time, name in zip(times, zones, strict=True)
        ]

    return read

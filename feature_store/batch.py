"""Features of a few events against states at hand: the online path, without any storage."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from feature_store.inputs import ColumnInputs, finish
from feature_store.online import PLACE, EntityState, Layout
from feature_store.plan import entity_plans
from fraud.domain.aggregates import NONE, Aggregate, LastValue
from fraud.domain.event import Event, field_kinds, text_id
from fraud.domain.features import Floats, Ints, Texts, quantised_log, quantised_log_of
from fraud.domain.fraud_type import FraudType
from fraud.domain.places import LATITUDE, LONGITUDE, place_id
from fraud.types.registry import fraud_type


class TypeLayout:
    """A fraud type as the online path needs it; made once per process."""

    def __init__(self, fraud_type: FraudType) -> None:
        self.fraud_type = fraud_type
        self.entities = {plan.entity.name: Layout(plan) for plan in entity_plans(fraud_type)}
        kinds = field_kinds(fraud_type.transaction)
        self.text_fields = [field for field, kind in kinds.items() if kind == "text"]
        self.number_fields = [field for field, kind in kinds.items() if kind != "text"]
        self.identified = sorted(
            {field for layout in self.entities.values() for field, _ in layout.plan.distinct}
            | {field for layout in self.entities.values() for field in layout.plan.last_fields}
        )
        self.has_places = any(layout.plan.has_place for layout in self.entities.values())
        self.changed = sorted({a.field for a in fraud_type.aggregates if isinstance(a, LastValue)})
        self.place = {aggregate: n for n, aggregate in enumerate(fraud_type.aggregates)}
        self.places = {
            name: [self.place[aggregate] for aggregate in layout.plan.aggregates]
            for name, layout in self.entities.items()
        }

    def ids(self, event: Event) -> dict[str, int]:
        """What states remember of an event's fields, each as int64, NONE where null."""
        fields = event.fields
        found = {field: value_id(fields[field]) for field in self.identified}
        if self.has_places:
            north, east = fields[LATITUDE], fields[LONGITUDE]
            if north is None or east is None:
                found[PLACE] = NONE
            else:
                found[PLACE] = place_id(float(north), float(east))
        return found

    def keys(self, event: Event) -> dict[str, str]:
        """Entity name to state key, for the entities the event has."""
        found = {}
        for name, layout in self.entities.items():
            key = layout.plan.entity.key(event.fields)
            if key is not None:
                found[name] = f"{event.fraud_type} {key}"
        return found


@cache
def type_layout(fraud_type_name: str) -> TypeLayout:
    """The layout of a declared fraud type."""
    return TypeLayout(fraud_type(fraud_type_name))


def value_id(value: object) -> int:
    """A text as the int64 that states keep; NONE where null."""
    return NONE if value is None else text_id(str(value))


def tile_amounts(amount_minor: int, log: int) -> dict[str, int]:
    """What an event adds to each tile column."""
    return {"count": 1, "amount": amount_minor, "log": log, "log_sq": log * log}


class BatchFeatures:
    """Reads and updates states event by event, then finishes all features at once.

    Args:
        layout: of the events' fraud type.
        states: of every entity of every event, by key; updated in place.
    """

    def __init__(self, layout: TypeLayout, states: Mapping[str, EntityState]) -> None:
        self._layout = layout
        self._states = states
        self._events: list[Event] = []
        self._rows: list[list[int]] = []
        self._ids: list[dict[str, int]] = []

    def observe(self, event: Event, keys: Mapping[str, str]) -> None:
        """Note what the event's entities had shown before, then add the event to them."""
        layout = self._layout
        ids = layout.ids(event)
        row = [NONE] * len(layout.place)
        amounts = tile_amounts(event.amount_minor, quantised_log_of(event.amount_minor))
        event_id = text_id(event.transaction_id)
        for name, key in keys.items():
            state = self._states[key]
            for place, value in zip(
                layout.places[name], state.read(event.event_time_us), strict=True
            ):
                row[place] = value
            state.add_event(event.event_time_us, event_id, amounts, ids)
        self._events.append(event)
        self._rows.append(row)
        self._ids.append(ids)

    def matrix(self) -> Floats:
        """The features of the observed events, shape (n, features), float64."""
        events, layout = self._events, self._layout
        table = np.array(self._rows, np.int64).reshape(len(events), len(layout.place))
        aggregates: dict[Aggregate, Ints] = {
            aggregate: np.ascontiguousarray(table[:, place])
            for aggregate, place in layout.place.items()
        }
        amount_minor = np.array([event.amount_minor for event in events], np.int64)
        inputs = ColumnInputs(
            np.array([event.event_time_us for event in events], np.int64),
            amount_minor,
            quantised_log(amount_minor),
            {field: _numbers(events, field) for field in layout.number_fields},
            {field: _texts(events, field) for field in layout.text_fields},
            {f: np.array([ids[f] for ids in self._ids], np.int64) for f in layout.changed},
            aggregates,
        )
        out = np.empty((len(events), len(layout.fraud_type.features)))
        finish(layout.fraud_type.features, inputs, out)
        return out


def _numbers(events: Sequence[Event], field: str) -> Floats:
    values = (event.fields[field] for event in events)
    return np.array([np.nan if value is None else float(value) for value in values])


def _texts(events: Sequence[Event], field: str) -> Texts:
    values: dict[str, int] = {}
    codes = []
    for event in events:
        value = event.fields[field]
        codes.append(-1 if value is None else values.setdefault(str(value), len(values)))
    return Texts(np.array(codes, np.int64), list(values))

"""Features of a few events against states at hand: the online path, without any storage."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property

import numpy as np

from feature_store.finishing import finish_rows
from feature_store.inputs import AMOUNT, LOG, TIME, ColumnInputs, Taken
from feature_store.online import Layout, no_events, value_names
from feature_store.own_columns import OwnColumns, numbers
from feature_store.plan import entity_plans
from feature_store.state_machine import EventColumns, LabelColumns
from feature_store.steps import steps
from fraud.domain.aggregates import NONE, Aggregate
from fraud.domain.event import Event, Scalar, field_kinds, text_id
from fraud.domain.features import Codes, Floats, Ints, Texts
from fraud.domain.fraud_type import FraudType
from fraud.types.registry import fraud_type


class TypeLayout:
    """A fraud type as the online path needs it; made once per process.

    Attributes:
        fraud_type: which.
        entities: layout of each entity's states, by its name.
        values: names of `EventColumns.values`.
    """

    def __init__(self, fraud_type: FraudType) -> None:
        plans = entity_plans(fraud_type)
        self.fraud_type = fraud_type
        self.values = value_names(plans)
        self.entities = {plan.entity.name: Layout(plan, self.values) for plan in plans}
        self.own = OwnColumns(fraud_type.features, self.values)
        columns: list[Aggregate | str] = [*self.own.names]
        columns += (a for layout in self.entities.values() for a in layout.plan.aggregates)
        self.columns = {name: place for place, name in enumerate(columns)}
        entities = [plan.entity for plan in plans]
        self._holders = [
            entity
            for entity in entities
            if not any(set(other.fields) < set(entity.fields) for other in entities)
        ]
        everything = range(len(fraud_type.features))
        self.steps, self.others = steps(fraud_type.features, everything, self.columns)

    def keys(self, event: Event) -> dict[str, str]:
        """Entity name to state key, for the entities the event has."""
        found = {}
        for name, layout in self.entities.items():
            key = layout.plan.entity.key(event.fields)
            if key is not None:
                found[name] = f"{event.fraud_type} {key}"
        return found

    def holders(self, event: Event) -> list[str]:
        """Keys of the entities the event has, but of those that narrow another one down.

        Events that share any entity share one of these.
        """
        keys = (entity.key(event.fields) for entity in self._holders)
        return [f"{event.fraud_type} {key}" for key in keys if key is not None]

    def table(self, events: Sequence[Event]) -> Ints:
        """All columns of some events, shape (columns, n), the aggregates as yet NONE."""
        table = np.full((len(self.columns), len(events)), NONE, np.int64)
        self.own.fill(events, table)
        return table

    def events(self, events: Sequence[Event], seqs: Sequence[int], table: Ints) -> EventColumns:
        """Events with their observation numbers, as the states are shown them."""
        return EventColumns(
            np.array(seqs, np.int64),
            table[self.columns[TIME]],
            np.array([text_id(event.transaction_id) for event in events], np.int64),
            table[self.columns[AMOUNT]],
            table[self.columns[LOG]],
            table[self.own.remembered],
        )

    def after_labels(
        self, name: str, states: Sequence[bytes | None], labels: LabelColumns, groups: Ints
    ) -> list[bytes]:
        """States of one kind of entity after fraud labels; see `Layout.advance`."""
        nobody = np.empty(0, np.int64)
        nothing = no_events(len(self.values))
        return self.entities[name].advance(states, nothing, nobody, labels, groups).states


def label_columns(labels: Iterable[tuple[int, int, Event]]) -> LabelColumns:
    """First fraud labels as columns: of each its number, when it was reported, its event."""
    rows = [
        (seq, reported_us, about.event_time_us, text_id(about.transaction_id))
        for seq, reported_us, about in labels
    ]
    table = np.array(rows, np.int64).reshape(len(rows), 4)
    return LabelColumns(*(np.ascontiguousarray(column) for column in table.T))


@cache
def type_layout(fraud_type_name: str) -> TypeLayout:
    """The layout of a declared fraud type."""
    return TypeLayout(fraud_type(fraud_type_name))


def warm_up(layout: TypeLayout) -> None:
    """Have the loops compiled, or loaded from their cache, before anybody waits for them."""
    fields = dict.fromkeys(field_kinds(layout.fraud_type.transaction))
    event = Event(layout.fraud_type.name, "warm-up", 0, 0, fields)
    keys = {name: name for name in layout.entities}
    _ = BatchFeatures(layout, [event], [keys], dict.fromkeys(keys)).matrix


class BatchFeatures:
    """What a batch of events sees, and the states it leaves.

    Args:
        layout: of the events' fraud type.
        events: in observation order.
        keys: of each event's entities, see `TypeLayout.keys`.
        states: by key, of every entity of every event; None where it was never seen.

    Attributes:
        states: by key, after the batch.

    Raises:
        StateUnavailable: a state was written for other features.
    """

    def __init__(
        self,
        layout: TypeLayout,
        events: Sequence[Event],
        keys: Sequence[Mapping[str, str]],
        states: Mapping[str, bytes | None],
    ) -> None:
        columns = layout.table(events)
        observed = layout.events(events, range(len(events)), columns)
        self.states: dict[str, bytes] = {}
        place = len(layout.own.names)
        for name, entity in layout.entities.items():
            groups: dict[str, int] = {}
            of_each = [
                groups.setdefault(each[name], len(groups)) if name in each else -1 for each in keys
            ]
            if groups:
                before = [states[key] for key in groups]
                after = entity.advance(before, observed, np.array(of_each, np.int64), reads=True)
                self.states.update(zip(groups, after.states, strict=True))
                columns[place : place + entity.size] = after.aggregates.T
            place += entity.size
        self._layout, self._events, self._columns = layout, events, columns

    @cached_property
    def matrix(self) -> Floats:
        """The events' features, shape (n, features): float32 values, held as float64."""
        return _matrix(self._layout, self._events, self._columns)


def _matrix(layout: TypeLayout, events: Sequence[Event], columns: Ints) -> Floats:
    """Values of features, shape (n, features)."""
    size = len(events)
    values = np.empty((len(layout.others), size))
    if layout.others:
        inputs = _inputs(layout, events, columns)
        for number, place in enumerate(layout.others):
            values[number] = layout.fraud_type.features[place].finish(inputs)
    out = np.empty((size, len(layout.fraud_type.features)), np.float32)
    log = layout.columns[LOG]
    finish_rows(columns, log, *layout.steps, values, np.arange(size), out)
    return out.astype(np.float64)


def _inputs(layout: TypeLayout, events: Sequence[Event], columns: Ints) -> ColumnInputs:
    """What features without a step are finished from."""
    return ColumnInputs(
        Taken(lambda name: columns[layout.columns[name]]),
        Taken(lambda field: np.array(numbers(events, field))),
        Taken(lambda field: _texts(events, field)),
        Taken(lambda wanted: _places_among(events, *wanted)),
        Taken(lambda aggregate: columns[layout.columns[aggregate]]),
    )


def _places_among(events: Sequence[Event], field: str, values: tuple[str, ...]) -> Codes:
    places: dict[Scalar, int] = {value: place for place, value in enumerate(values)}
    return np.array([places.get(event.fields[field], -1) for event in events], np.int32)


def _texts(events: Sequence[Event], field: str) -> Texts:
    values: dict[str, int] = {}
    codes = []
    for event in events:
        value = event.fields[field]
        codes.append(-1 if value is None else values.setdefault(str(value), len(values)))
    return Texts(np.array(codes, np.int32), list(values))

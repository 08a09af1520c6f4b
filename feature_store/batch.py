"""Features of a few events against states at hand: the online path, without any storage."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from itertools import accumulate, chain

import numpy as np

from feature_store.finishing import finish_rows
from feature_store.grouping import group_rows
from feature_store.inputs import AMOUNT, LOG, TIME, ColumnInputs, Taken
from feature_store.online import NO_LABELS, NOBODY, Layout, no_events, value_names
from feature_store.own_columns import OwnColumns, numbers
from feature_store.plan import entity_plans
from feature_store.state_machine import EventColumns, LabelColumns, Shown
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
        plans: of each kind of entity, by its name.
        values: names of `EventColumns.values`.
        columns: row of each aggregate and of each column of the events themselves in `table`.
        states: how states are read and moved on; kinds are numbered as in `plans`.
    """

    def __init__(self, fraud_type: FraudType) -> None:
        plans = entity_plans(fraud_type)
        self.fraud_type = fraud_type
        self.plans = {plan.entity.name: plan for plan in plans}
        self.values = value_names(plans)
        self._own = OwnColumns(fraud_type.features, self.values)
        columns: list[Aggregate | str] = [*self._own.names]
        columns += (aggregate for plan in plans for aggregate in plan.aggregates)
        self.columns = {name: row for row, name in enumerate(columns)}
        self.states = Layout(plans, self.columns)
        self._kinds = {name: kind for kind, name in enumerate(self.plans)}
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
        for name, plan in self.plans.items():
            key = plan.entity.key(event.fields)
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
        self._own.fill(events, table)
        return table

    def events(self, events: Sequence[Event], seqs: Sequence[int], table: Ints) -> EventColumns:
        """Events with their observation numbers, as the states are shown them."""
        return EventColumns(
            np.array(seqs, np.int64),
            table[self.columns[TIME]],
            np.array([text_id(event.transaction_id) for event in events], np.int64),
            table[self.columns[AMOUNT]],
            table[self.columns[LOG]],
            table[self._own.remembered],
        )

    def grouped(self, keys: Sequence[Mapping[str, str]]) -> tuple[dict[str, list[int]], list[int]]:
        """The rows of each entity, by its key, and each one's kind."""
        rows: dict[str, list[int]] = {}
        kinds: list[int] = []
        for name, kind in self._kinds.items():
            for row, own in enumerate(keys):
                key = own.get(name)
                if key in rows:
                    rows[key].append(row)
                elif key is not None:
                    rows[key] = [row]
                    kinds.append(kind)
        return rows, kinds

    def after_labels(
        self, name: str, states: Sequence[bytes | None], labels: LabelColumns, groups: Ints
    ) -> list[bytes]:
        """States of one kind of entity after fraud labels.

        Args:
            name: of the kind.
            states: one per entity, None where it was never seen.
            labels: first fraud labels of events, in observation order.
            groups: shape (labels,), whose each label is: a place in `states`.
        """
        count = len(states)
        nothing = no_events(len(self.values)), NOBODY, np.zeros(count + 1, np.int64)
        shown = Shown(*nothing, labels, *group_rows(groups, count))
        return self.states.advance([self._kinds[name]] * count, states, shown)

    def moved_on(
        self, name: str, state: bytes, events: EventColumns, labels: LabelColumns
    ) -> bytes:
        """The state of an entity after events and first fraud labels, in observation order."""
        mine = np.arange(len(events.seq)), np.array([0, len(events.seq)])
        theirs = np.arange(len(labels.seq)), np.array([0, len(labels.seq)])
        shown = Shown(events, *mine, labels, *theirs)
        return self.states.advance([self._kinds[name]], [state], shown)[0]

    def replayed(self, name: str, shown: Shown) -> list[bytes]:
        """The states of new entities of one kind after what they are shown."""
        return self.states.replayed(self._kinds[name], shown)


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
    keys = {name: name for name in layout.plans}
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
        rows, kinds = layout.grouped(keys)
        order = np.array([*chain.from_iterable(rows.values())], np.int64)
        starts = np.array([0, *accumulate(map(len, rows.values()))])
        columns = layout.table(events)
        observed = layout.events(events, range(len(events)), columns)
        shown = Shown(observed, order, starts, NO_LABELS, NOBODY, np.zeros(len(starts), np.int64))
        after = layout.states.advance(kinds, [states[key] for key in rows], shown, columns)
        self.states = dict(zip(rows, after, strict=True))
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

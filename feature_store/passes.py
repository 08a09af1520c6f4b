"""One entity's aggregates, for a part of its entities at a time, by the compiled kernels."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from feature_store import grouping, kernels, label_kernels, outcome_kernels
from feature_store.columns import History
from feature_store.gathering import Facts
from feature_store.inputs import AMOUNT, CODE, LABEL, LABELS_KNOWN, LOG, PLACE, TIME, VALUE_ID
from feature_store.label_kernels import NO_LABEL
from feature_store.plan import COLUMN_ORDER, EntityPlan
from fraud.domain.aggregates import (
    DISTINCT_MEMORY,
    NONE,
    OUTCOME_FIGURES,
    OUTCOME_PARTS,
    Aggregate,
    DistinctSum,
    FirstTime,
    FraudTime,
    LabelSum,
    LastPlace,
    LastPlaceTime,
    LastTime,
    LastValue,
    Lifetime,
    MaturedSum,
    OutcomesOf,
    TileSum,
)
from fraud.domain.features import Ints
from fraud.domain.windows import Window

PART_ROWS = 16_384
"""Events whose columns are computed and finished at a time: they stay in the cache."""


class Part(NamedTuple):
    """Some entities' events: a slice of the sorted history.

    Attributes:
        rows: of the history, by entity, then by observation.
        columns: shape (numbers, m), what is known of each event, see `EntityPass.columns`.
    """

    rows: Ints
    columns: Ints


class EntityPass:
    """A history sorted by one entity, and the columns that its features are made of.

    Args:
        plan: of the entity.
        guests: plain plans of entities that narrow it down, each by one field.
        history: all events and labels.
        facts: its columns; to be filled before the first part is computed.

    Attributes:
        entities: whose histories.
        columns: number of each aggregate and of each own column, in `Part.columns`.
    """

    def __init__(
        self,
        plan: EntityPlan,
        guests: Sequence[tuple[EntityPlan, str]],
        history: History,
        facts: Facts,
    ) -> None:
        self._plan = plan
        self._history = history
        self._facts = facts
        self.entities = [plan.entity, *(guest.entity for guest, _ in guests)]
        # Rows of the history by entity, then by observation; null entities left out.
        self._order, self._starts = history.grouped(plan.entity)
        self.columns: dict[Aggregate | str, int] = {}
        self._width = 0
        self._place_columns(guests)

    def _place_columns(self, guests: Sequence[tuple[EntityPlan, str]]) -> None:
        name, plan = self._plan.entity.name, self._plan
        names = own_names(plan, [field for _, field in guests])
        self._gathered = [each for each in names if self._facts.holds(each)]
        self._made = [each for each in names if each not in self._gathered]
        self._take(*self._gathered, *self._made)
        self._guests = [
            (field, self._take(Lifetime(guest), LastTime(guest), FirstTime(guest)))
            for guest, field in ((each.entity.name, field) for each, field in guests)
        ]
        self._tiers = [
            self._take(*(TileSum(name, w, column) for w in tier.windows for column in tier.columns))
            for tier in plan.tiers
        ]
        self._label_tiers = [
            self._take(*(LabelSum(name, window) for window in tier.windows))
            for tier in plan.label_tiers
        ]
        self._distinct = [
            self._take(*(DistinctSum(name, field, window) for window in windows))
            for field, windows in plan.distinct
        ]
        self._lifetime = self._take(Lifetime(name), LastTime(name), FirstTime(name))
        self._last_values = [self._take(LastValue(name, field)) for field in plan.last_fields]
        places = (LastPlace(name), LastPlaceTime(name))
        self._places = self._take(*(places if plan.has_place else ()))
        self._ks = sorted({a.k for a in plan.aggregates if isinstance(a, MaturedSum)})
        outcomes = (MaturedSum(name, k, column) for k in self._ks for column in ("count", "fraud"))
        self._matured = self._take(*outcomes)
        figures = [a for a in plan.aggregates if isinstance(a, OutcomesOf)]
        self._figures = self._take(*figures)
        numbers = [(OUTCOME_PARTS.index(a.part), OUTCOME_FIGURES.index(a.figure)) for a in figures]
        self._figure_numbers = np.array(numbers, np.int64).reshape(len(figures), 2)
        frauds = (FraudTime(name, "latest"), FraudTime(name, "earliest"))
        self._frauds = self._take(*(frauds if set(frauds) & set(plan.aggregates) else ()))

    def _take(self, *names: Aggregate | str) -> slice:
        """The next numbers for these columns."""
        begin = self._width
        for name in names:
            self.columns[name] = self._width
            self._width += 1
        return slice(begin, self._width)

    def parts(self) -> Iterator[tuple[int, int]]:
        """First and last-plus-one entity of every part."""
        return grouping.parts(self._starts, PART_ROWS)

    def part(self, begin: int, end: int, room: Ints) -> tuple[Part, Ints]:
        """Computes the columns of the entities `begin` to `end`, in `room` where it suffices.

        Args:
            begin: first entity.
            end: last entity plus one.
            room: memory of an earlier part, used again; shape (anything,).

        Returns:
            The part, valid until `room` is used again, and the room for the next one.
        """
        starts = self._starts[begin : end + 1]
        rows = self._order[starts[0] : starts[-1]]
        needed = self._width * len(rows)
        if needed > len(room):
            room = np.empty(needed + needed // 4, np.int64)
        columns = room[:needed].reshape(self._width, len(rows))
        self._facts.take(self._gathered, rows, columns[: len(self._gathered)])
        for name in self._made:
            is_void = self._history.is_void(name.removeprefix(f"{VALUE_ID} "))
            self._column(name, columns)[:] = NONE if is_void else self._history.own(name, rows)
        self._sums(starts - starts[0], columns)
        if self._plan.uses_labels:
            self._outcomes(starts - starts[0], columns)
        return Part(rows, columns), room

    def _sums(self, starts: Ints, columns: Ints) -> None:
        plan, size = self._plan, columns.shape[1]
        time_us = self._column(TIME, columns)
        for tier, place in zip(plan.tiers, self._tiers, strict=True):
            amount, log = self._column(AMOUNT, columns), self._column(LOG, columns)
            summed = np.array([COLUMN_ORDER.index(column) for column in tier.columns])
            out = columns[place].reshape(len(tier.windows), len(tier.columns), size)
            edges = _lengths(tier.windows), _delays(tier.windows)
            kernels.tile_sums(starts, time_us, amount, log, summed, tier.hop_us, *edges, out)
        for (field, windows), place in zip(plan.distinct, self._distinct, strict=True):
            codes, values = self._codes(field, columns)
            hops = np.array([window.hop_us for window in windows])
            edges, out = (_lengths(windows), _delays(windows)), columns[place]
            kernels.distinct_sums(
                starts, time_us, codes, values, DISTINCT_MEMORY, hops, *edges, out
            )
        kernels.lasts(starts, time_us, columns[self._lifetime])
        for field, place in self._guests:
            kernels.pair_lasts(starts, time_us, *self._codes(field, columns), columns[place])
        for field, place in zip(plan.last_fields, self._last_values, strict=True):
            value_ids = self._column(f"{VALUE_ID} {field}", columns)
            kernels.last_values(starts, value_ids, columns[place.start])
        if plan.has_place:
            out = columns[self._places]
            kernels.last_places(starts, time_us, self._column(PLACE, columns), out)

    def _outcomes(self, starts: Ints, columns: Ints) -> None:
        history, size = self._history, columns.shape[1]
        time_us = self._column(TIME, columns)
        label, known = self._column(LABEL, columns), self._column(LABELS_KNOWN, columns)
        if self._label_tiers or self._frauds.stop > self._frauds.start:
            labelled, label_starts = _labelled(label, starts)
            labels = label[labelled]
        for tier, place in zip(self._plan.label_tiers, self._label_tiers, strict=True):
            about = label_starts, labels, history.label_us[labels]
            edges = tier.hop_us, _lengths(tier.windows)
            label_kernels.label_sums(starts, time_us, known, *about, *edges, columns[place])
        if self._frauds.stop > self._frauds.start:
            out = columns[self._frauds]
            about = label_starts, labels, time_us[labelled]
            label_kernels.fraud_times(starts, known, *about, out)
        if self._plan.has_outcomes:
            outcome_kernels.outcomes(
                starts,
                time_us,
                label,
                known,
                self._column(LOG, columns),
                self._plan.maturity_us,
                np.array(self._ks, np.int64),
                columns[self._matured].reshape(len(self._ks), 2, size),
                self._figure_numbers,
                columns[self._figures],
            )

    def _codes(self, field: str, columns: Ints) -> tuple[Ints, int]:
        """A text field's codes, and how many there are."""
        values = len(self._history.texts[field].values)
        return self._column(f"{CODE} {field}", columns), values

    def _column(self, name: str, columns: Ints) -> Ints:
        column: Ints = columns[self.columns[name]]
        return column


def own_names(plan: EntityPlan, fields: Sequence[str] = ()) -> list[str]:
    """The columns of the events themselves that an entity's aggregates and features need.

    Args:
        plan: of the entity.
        fields: whose codes are needed besides.
    """
    names = [
        TIME,
        *((AMOUNT, LOG) if plan.tiers or plan.has_outcomes else ()),
        *((LABEL, LABELS_KNOWN) if plan.uses_labels else ()),
        *(f"{CODE} {field}" for field in (*fields, *(field for field, _ in plan.distinct))),
        *(f"{VALUE_ID} {field}" for field in plan.last_fields),
        *((PLACE,) if plan.has_place else ()),
    ]
    return list(dict.fromkeys(names))


def _labelled(label: Ints, starts: Ints) -> tuple[Ints, Ints]:
    """Places of the events with labels by entity, then by label, and where each entity starts."""
    places = np.flatnonzero(label != NO_LABEL)
    entity = np.searchsorted(starts, places, side="right") - 1
    order = np.lexsort((label[places], entity))
    return places[order], np.searchsorted(entity, np.arange(len(starts)))


def _lengths(windows: tuple[Window, ...]) -> Ints:
    return np.array([window.length_us for window in windows])


def _delays(windows: tuple[Window, ...]) -> Ints:
    return np.array([window.delay_us for window in windows])

"""One entity's aggregates, for a part of its entities at a time, by the compiled kernels."""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from feature_store import grouping, kernels
from feature_store.columns import History
from feature_store.inputs import AMOUNT, CODE, FRAUD_KNOWN, LOG, PLACE, SEQ, TIME, VALUE_ID
from feature_store.own_columns import PART_ROWS, OwnColumns, own_names
from feature_store.plan import COLUMN_ORDER, EntityPlan
from fraud.domain.aggregates import (
    DISTINCT_MEMORY,
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
        history: all events and labels.
        own: the events' own columns.

    Attributes:
        name: of the entity.
        order: rows of the history by entity, then by observation; null entities left out.
        absent: rows whose entity is null.
        columns: number of each aggregate and of each own column, in `Part.columns`.
    """

    def __init__(self, plan: EntityPlan, history: History, own: OwnColumns) -> None:
        self._plan = plan
        self._history = history
        self._own = own.table
        self._own_numbers = own.numbers(own_names(plan))
        self.name = plan.entity.name
        self.order, self._starts = history.grouped(plan.entity)
        self.absent = history.absent(plan.entity)
        self.columns: dict[Aggregate | str, int] = {}
        self._width = 0
        self._place_columns()

    @cached_property
    def _labels(self) -> tuple[Ints, Ints]:
        """Labels by entity, then by observation, and where each entity's start."""
        entity = grouping.group_numbers(self.order, self._starts, self._history.size)
        return grouping.group_rows(entity[self._history.label_row], len(self._starts) - 1)

    def _place_columns(self) -> None:
        name, plan = self.name, self._plan
        self._take(*own_names(plan))
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
        parts = [OutcomesOf(name, p, figure) for p in OUTCOME_PARTS for figure in OUTCOME_FIGURES]
        self._parts = self._take(*(parts if set(parts) & set(plan.aggregates) else ()))
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
        rows = self.order[starts[0] : starts[-1]]
        needed = self._width * len(rows)
        if needed > len(room):
            room = np.empty(needed + needed // 4, np.int64)
        columns = room[:needed].reshape(self._width, len(rows))
        grouping.take_rows(self._own, rows, self._own_numbers, columns)
        self._sums(starts - starts[0], columns)
        if self._plan.uses_labels:
            self._outcomes((begin, end), starts - starts[0], columns)
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
            codes = self._column(f"{CODE} {field}", columns)
            values = len(self._history.texts[field].values)
            hops = np.array([window.hop_us for window in windows])
            edges, out = (_lengths(windows), _delays(windows)), columns[place]
            kernels.distinct_sums(
                starts, time_us, codes, values, DISTINCT_MEMORY, hops, *edges, out
            )
        kernels.lasts(starts, time_us, columns[self._lifetime])
        for field, place in zip(plan.last_fields, self._last_values, strict=True):
            value_ids = self._column(f"{VALUE_ID} {field}", columns)
            kernels.last_values(starts, value_ids, columns[place.start])
        if plan.has_place:
            out = columns[self._places]
            kernels.last_places(starts, time_us, self._column(PLACE, columns), out)

    def _outcomes(self, entities: tuple[int, int], starts: Ints, columns: Ints) -> None:
        history = self._history
        all_labels, all_starts = self._labels
        label_starts = all_starts[entities[0] : entities[1] + 1]
        labels = all_labels[label_starts[0] : label_starts[-1]]
        label_starts = label_starts - label_starts[0]
        label_seq, label_us = history.label_seq[labels], history.label_us[labels]
        time_us, seq = self._column(TIME, columns), self._column(SEQ, columns)
        for tier, place in zip(self._plan.label_tiers, self._label_tiers, strict=True):
            about, lengths = (label_starts, label_seq, label_us), _lengths(tier.windows)
            kernels.label_sums(starts, time_us, seq, *about, tier.hop_us, lengths, columns[place])
        if self._ks:
            out = columns[self._matured].reshape(len(self._ks), 2, columns.shape[1])
            known, ks = self._column(FRAUD_KNOWN, columns), np.array(self._ks)
            kernels.matured_sums(starts, time_us, seq, known, self._plan.maturity_us, ks, out)
        if self._parts.stop > self._parts.start:
            known, log = self._column(FRAUD_KNOWN, columns), self._column(LOG, columns)
            shape = len(OUTCOME_PARTS), len(OUTCOME_FIGURES), columns.shape[1]
            out = columns[self._parts].reshape(shape)
            kernels.outcome_parts(starts, time_us, seq, known, log, self._plan.maturity_us, out)
        if self._frauds.stop > self._frauds.start:
            happened = history.time_us[history.label_row[labels]]
            out = columns[self._frauds]
            kernels.fraud_times(starts, seq, label_starts, label_seq, happened, out)

    def _column(self, name: str, columns: Ints) -> Ints:
        column: Ints = columns[self.columns[name]]
        return column


def _lengths(windows: tuple[Window, ...]) -> Ints:
    return np.array([window.length_us for window in windows])


def _delays(windows: tuple[Window, ...]) -> Ints:
    return np.array([window.delay_us for window in windows])

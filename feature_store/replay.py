"""States as if a history had been replayed event by event, computed for all entities at once.

A state holds only what the last windows can still reach, and each part of it follows from
the history as a whole: sums from the tiles above the final horizon, remembered values from
their last sightings, outcomes from the last events. `tests/feature_store/test_replay.py`
holds the bytes equal to those of a replay one event at a time.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from feature_store.batch import TypeLayout
from feature_store.columns import NEVER, History
from feature_store.online import EntityState, Layout
from feature_store.plan import Tier
from fraud.domain.aggregates import DISTINCT_MEMORY, NONE, OUTCOME_MEMORY, TileColumn
from fraud.domain.event import text_id
from fraud.domain.features import Ints
from fraud.domain.fraud_type import Entity
from fraud.domain.windows import LATENESS_HOPS


class Replayed(NamedTuple):
    """An entity's state after its whole history."""

    key: str
    state: EntityState
    last_seq: int


class _Lists(NamedTuple):
    """Columns of all entities one after another, and where each entity's part starts."""

    starts: list[int]
    columns: list[list[int]]

    def of(self, group: int, column: int) -> list[int]:
        return self.columns[column][self.starts[group] : self.starts[group + 1]]


class Replay:
    """Replays the histories of all entities of a fraud type.

    Args:
        layout: of the fraud type.
        history: its events and fraud labels.
        transaction_ids: of the events, in order.
    """

    def __init__(self, layout: TypeLayout, history: History, transaction_ids: list[str]) -> None:
        self._layout = layout
        self._history = history
        self._event_ids = np.array([text_id(each) for each in transaction_ids], np.int64)

    def entities(self, name: str) -> Iterator[Replayed]:
        """The states of every entity of this name, one after another."""
        layout = self._layout.entities[name]
        entity = _EntityReplay(layout, self._history, self._event_ids)
        for group in range(entity.count):
            yield Replayed(
                self._key(layout.plan.entity, entity.first_row[group]),
                entity.state(group),
                entity.last_seq[group],
            )

    def _key(self, entity: Entity, row: int) -> str:
        texts = [self._history.texts[field] for field in entity.fields]
        values = [text.values[text.codes[row]] for text in texts]
        return " ".join((self._layout.fraud_type.name, entity.name, *values))


class _EntityReplay:
    """All final states of one kind of entity, in columns."""

    def __init__(self, layout: Layout, history: History, event_ids: Ints) -> None:
        self._layout, self._history = layout, history
        plan = layout.plan
        self._order, self._starts = history.grouped(plan.entity)
        self.count = len(self._starts) - 1
        self._group = np.repeat(np.arange(self.count), np.diff(self._starts))
        group_of_row = np.full(history.size, -1, np.int64)
        group_of_row[self._order] = self._group
        self._time_us = history.time_us[self._order]
        self._latest = self._reduced(np.maximum, self._time_us)
        self.first_row: list[int] = self._order[self._starts[:-1]].tolist()
        self._labels(group_of_row[history.label_row])
        self._scalars()
        self._tiers = [self._tier(tier) for tier in plan.tiers]
        self._label_tiers = [self._label_tier(tier) for tier in plan.label_tiers]
        self._distinct = [self._recent(field) for field, _ in plan.distinct]
        self._last_values = [self._last(field) for field in plan.last_fields]
        self._places = self._last_place() if plan.has_place else None
        self._outcomes = self._last_outcomes(event_ids) if plan.has_outcomes else None

    def state(self, group: int) -> EntityState:
        """The final state of one entity."""
        state = EntityState(self._layout)
        state.count, state.latest_us, state.first_us, state.last_us = self._times[group]
        state.latest_fraud_us, state.earliest_fraud_us = self._frauds[group]
        for tier, lists in zip(
            (*state.tiers, *state.label_tiers), (*self._tiers, *self._label_tiers), strict=True
        ):
            tier.tiles = lists.of(group, 0)
            tier.sums = [lists.of(group, column + 1) for column in range(len(tier.sums))]
        state.distinct = [(lists.of(group, 0), lists.of(group, 1)) for lists in self._distinct]
        state.last_values = [values[group] for values in self._last_values]
        if self._places is not None:
            state.place, state.place_us = (column[group] for column in self._places)
        if self._outcomes is not None:
            state.outcome_ids, state.outcome_us, state.outcome_fraud = (
                self._outcomes.of(group, column) for column in range(3)
            )
        return state

    def _reduced(self, operation: np.ufunc, values: Ints) -> Ints:
        reduced: Ints = operation.reduceat(values, self._starts[:-1]) if self.count else values[:0]
        return reduced

    def _labels(self, groups: Ints) -> None:
        """The labels that act on these entities, by entity."""
        history, uses = self._history, self._layout.plan.uses_labels
        about = np.flatnonzero(groups >= 0) if uses else np.zeros(0, np.int64)
        about = about[np.argsort(groups[about], kind="stable")]
        self._label_group = groups[about]
        self._label_seq, self._label_us = history.label_seq[about], history.label_us[about]
        self._label_event_us = history.time_us[history.label_row[about]]

    def _scalars(self) -> None:
        ends = self._order[self._starts[1:] - 1]
        last_seq = self._history.seq[ends]
        np.maximum.at(last_seq, self._label_group, self._label_seq)
        self.last_seq: list[int] = last_seq.tolist()
        latest, earliest = np.full(self.count, NONE), np.full(self.count, NEVER)
        np.maximum.at(latest, self._label_group, self._label_event_us)
        np.minimum.at(earliest, self._label_group, self._label_event_us)
        earliest[earliest == NEVER] = NONE
        first, last = self._history.time_us[self.first_row], self._history.time_us[ends]
        times = (np.diff(self._starts), self._latest, first, last)
        self._times = list(zip(*(each.tolist() for each in times), strict=True))
        self._frauds = list(zip(latest.tolist(), earliest.tolist(), strict=True))

    def _summed(self, column: TileColumn) -> Ints:
        """What the sorted events add to a tile column."""
        if column == "count":
            return np.ones(len(self._order), np.int64)
        if column == "amount":
            return self._history.amount_minor[self._order]
        log = self._history.amount_log[self._order]
        return log if column == "log" else log * log

    def _tier(self, tier: Tier) -> _Lists:
        columns = [self._summed(column) for column in tier.columns]
        return self._tiles(tier, self._group, self._time_us, columns)

    def _label_tier(self, tier: Tier) -> _Lists:
        ones = np.ones(len(self._label_us), np.int64)
        return self._tiles(tier, self._label_group, self._label_us, [ones])

    def _tiles(self, tier: Tier, groups: Ints, time_us: Ints, columns: list[Ints]) -> _Lists:
        """Sums per entity and tile, for the tiles above each entity's final horizon."""
        tiles = time_us // tier.hop_us
        horizon = (self._latest - tier.reach_us) // tier.hop_us - LATENESS_HOPS
        kept = np.flatnonzero(tiles >= horizon[groups])
        kept = kept[np.lexsort((tiles[kept], groups[kept]))]
        groups, tiles = groups[kept], tiles[kept]
        is_new = np.ones(len(kept), np.bool_)
        is_new[1:] = (np.diff(groups) != 0) | (np.diff(tiles) != 0)
        begins = np.flatnonzero(is_new)
        sums = [np.add.reduceat(each[kept], begins) if len(begins) else kept for each in columns]
        return self._lists(groups[begins], [tiles[begins], *sums])

    def _recent(self, field: str) -> _Lists:
        """The values each entity showed last, oldest first, with their last sightings."""
        codes = self._history.texts[field].codes[self._order]
        places = np.flatnonzero(codes >= 0)
        by_value = places[np.lexsort((places, codes[places], self._group[places]))]
        is_last = np.ones(len(by_value), np.bool_)
        is_last[:-1] = (np.diff(self._group[by_value]) != 0) | (np.diff(codes[by_value]) != 0)
        last = np.sort(by_value[is_last])
        last = last[_from_end(self._group[last]) < DISTINCT_MEMORY]
        ids = self._history.value_ids(field)[self._order[last]]
        return self._lists(self._group[last], [ids, self._time_us[last]])

    def _last(self, field: str) -> list[int]:
        values = self._history.value_ids(field)[self._order]
        known = np.flatnonzero(values != NONE)
        last = np.full(self.count, NONE)
        last[self._group[known]] = values[known]  # of equal indices the last one stays
        found: list[int] = last.tolist()
        return found

    def _last_place(self) -> tuple[list[int], list[int]]:
        places = self._history.place_ids[self._order]
        known = np.flatnonzero(places != NONE)
        last, seen_us = np.full(self.count, NONE), np.full(self.count, NONE)
        last[self._group[known]] = places[known]  # of equal indices the last one stays
        seen_us[self._group[known]] = self._time_us[known]
        return last.tolist(), seen_us.tolist()

    def _last_outcomes(self, event_ids: Ints) -> _Lists:
        last = np.flatnonzero(_from_end(self._group) < OUTCOME_MEMORY)
        rows = self._order[last]
        fraud = (self._history.fraud_known_seq[rows] != NEVER).astype(np.int64)
        return self._lists(self._group[last], [event_ids[rows], self._time_us[last], fraud])

    def _lists(self, groups: Ints, columns: list[Ints]) -> _Lists:
        starts = np.searchsorted(groups, np.arange(self.count + 1))
        return _Lists(starts.tolist(), [column.tolist() for column in columns])


def _from_end(groups: Ints) -> Ints:
    """How many of the same group follow each place; groups are sorted."""
    if not len(groups):
        return groups
    ends = np.flatnonzero(np.append(np.diff(groups) != 0, True))
    behind: Ints = ends[np.searchsorted(ends, np.arange(len(groups)))] - np.arange(len(groups))
    return behind

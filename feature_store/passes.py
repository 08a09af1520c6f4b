"""One entity's aggregates over a whole history, by the compiled kernels."""

import numpy as np

from feature_store import kernels, place_kernels
from feature_store.columns import History
from feature_store.plan import EntityPlan, Tier
from fraud.domain.aggregates import (
    DISTINCT_MEMORY,
    NONE,
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
    TileSum,
)
from fraud.domain.features import Ints
from fraud.domain.windows import Window


class EntityPass:
    """Sorts a history by one entity and computes that entity's aggregates.

    Attributes:
        order: rows of the history by entity, then by observation; null entities left out.
        absent: rows whose entity is null.
    """

    def __init__(self, plan: EntityPlan, history: History) -> None:
        self._plan = plan
        self._history = history
        self._name = plan.entity.name
        codes = history.entity_codes(plan.entity)
        entities = int(codes.max(initial=-1)) + 1
        self.order, self._starts = kernels.group_rows(codes, entities)
        self.absent = np.flatnonzero(codes < 0)
        self._time_us = history.time_us[self.order]
        if plan.uses_labels:
            self._seq = history.seq[self.order]
            about = codes[history.label_row]
            self._labels, self._label_starts = kernels.group_rows(about, entities)

    def aggregates(self) -> dict[Aggregate, Ints]:
        """The plan's aggregates, sorted like `order`."""
        found: dict[Aggregate, Ints] = {}
        for tier in self._plan.tiers:
            found |= self._tile_sums(tier)
        for tier in self._plan.label_tiers:
            found |= self._label_sums(tier)
        found |= self._distinct_sums() | self._lasts() | self._places() | self._fraud_times()
        if self._plan.has_outcomes:
            found |= self._matured_sums()
        return {aggregate: found[aggregate] for aggregate in self._plan.aggregates}

    def _tile_sums(self, tier: Tier) -> dict[Aggregate, Ints]:
        values = np.empty((len(tier.columns), len(self.order)), np.int64)
        for place, column in enumerate(tier.columns):
            values[place] = self._history.summed(column, self.order)
        out = np.empty((len(tier.windows), len(tier.columns), len(self.order)), np.int64)
        lengths, delays = _lengths(tier.windows), _delays(tier.windows)
        kernels.tile_sums(self._starts, self._time_us, values, tier.hop_us, lengths, delays, out)
        return {
            TileSum(self._name, window, column): out[w, c]
            for w, window in enumerate(tier.windows)
            for c, column in enumerate(tier.columns)
        }

    def _label_sums(self, tier: Tier) -> dict[Aggregate, Ints]:
        out = np.zeros((len(tier.windows), len(self.order)), np.int64)
        kernels.label_sums(
            self._starts,
            self._time_us,
            self._seq,
            self._label_starts,
            self._history.label_seq[self._labels],
            self._history.label_us[self._labels],
            tier.hop_us,
            _lengths(tier.windows),
            out,
        )
        return {LabelSum(self._name, w): out[i] for i, w in enumerate(tier.windows)}

    def _fraud_times(self) -> dict[Aggregate, Ints]:
        if not any(isinstance(aggregate, FraudTime) for aggregate in self._plan.aggregates):
            return {}
        history = self._history
        out = np.full((2, len(self.order)), NONE, np.int64)
        kernels.fraud_times(
            self._starts,
            self._seq,
            self._label_starts,
            history.label_seq[self._labels],
            history.time_us[history.label_row[self._labels]],
            out,
        )
        return {FraudTime(self._name, "latest"): out[0], FraudTime(self._name, "earliest"): out[1]}

    def _matured_sums(self) -> dict[Aggregate, Ints]:
        ks = sorted({a.k for a in self._plan.aggregates if isinstance(a, MaturedSum)})
        out = np.empty((len(ks), 2, len(self.order)), np.int64)
        kernels.matured_sums(
            self._starts,
            self._time_us,
            self._seq,
            self._history.fraud_known_seq[self.order],
            self._plan.maturity_us,
            np.array(ks),
            out,
        )
        return {MaturedSum(self._name, k, "count"): out[i, 0] for i, k in enumerate(ks)} | {
            MaturedSum(self._name, k, "fraud"): out[i, 1] for i, k in enumerate(ks)
        }

    def _distinct_sums(self) -> dict[Aggregate, Ints]:
        found: dict[Aggregate, Ints] = {}
        for field, windows in self._plan.distinct:
            out = np.empty((len(windows), len(self.order)), np.int64)
            kernels.distinct_sums(
                self._starts,
                self._time_us,
                self._history.texts[field].codes[self.order],
                DISTINCT_MEMORY,
                np.array([window.hop_us for window in windows]),
                _lengths(windows),
                _delays(windows),
                out,
            )
            for place, window in enumerate(windows):
                found[DistinctSum(self._name, field, window)] = out[place]
        return found

    def _lasts(self) -> dict[Aggregate, Ints]:
        out = np.empty((3, len(self.order)), np.int64)
        kernels.lasts(self._starts, self._time_us, out)
        found: dict[Aggregate, Ints] = {
            Lifetime(self._name): out[0],
            LastTime(self._name): out[1],
            FirstTime(self._name): out[2],
        }
        for field in self._plan.last_fields:
            previous = np.empty(len(self.order), np.int64)
            kernels.last_values(self._starts, self._history.value_ids(field)[self.order], previous)
            found[LastValue(self._name, field)] = previous
        return found

    def _places(self) -> dict[Aggregate, Ints]:
        if not self._plan.has_place:
            return {}
        out = np.empty((2, len(self.order)), np.int64)
        places = self._history.place_ids[self.order]
        place_kernels.last_places(self._starts, self._time_us, places, out)
        return {LastPlace(self._name): out[0], LastPlaceTime(self._name): out[1]}


def _lengths(windows: tuple[Window, ...]) -> Ints:
    return np.array([window.length_us for window in windows])


def _delays(windows: tuple[Window, ...]) -> Ints:
    return np.array([window.delay_us for window in windows])

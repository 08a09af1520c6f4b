"""The online execution of the feature contract: one entity's state, event by event.

A state is what an entity has shown so far, cut to what its windows can still reach. It is
kept as bytes; decoding, reading, adding an event and encoding cost tens of microseconds.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping

from feature_store.encoding import Reader, Writer
from feature_store.plan import EntityPlan, Tier
from fraud.domain.aggregates import (
    DISTINCT_MEMORY,
    NONE,
    OUTCOME_MEMORY,
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
from fraud.domain.errors import StateUnavailable
from fraud.domain.windows import LATENESS_HOPS, Window

PLACE = "place"
"""Under which name an event's place stands among its values."""

STATE_VERSION = 1
"""Raised when the encoding of states changes."""

AmountColumns = Mapping[str, int]
"""What an event adds to each tile column: count, amount, log, log_sq."""


class _WindowRead:
    """One window of a tier in plain integers, and where its sums go among the aggregates."""

    __slots__ = ("delay_us", "hop_us", "reach_us", "targets")

    def __init__(self, window: Window, targets: list[tuple[int, int]]) -> None:
        self.hop_us, self.delay_us = window.hop_us, window.delay_us
        self.reach_us = window.delay_us + window.length_us
        self.targets = targets


_TAG_SIZE = 4


def _tag(plan: EntityPlan) -> bytes:
    """The first bytes of every state of a plan: what it remembers, as a short hash."""
    tiers = [
        [(tier.hop_us, tier.columns, tier.reach_us) for tier in each]
        for each in (plan.tiers, plan.label_tiers)
    ]
    fields = [field for field, _ in plan.distinct], plan.last_fields
    kept = plan.has_place, plan.has_outcomes, plan.uses_labels
    limits = LATENESS_HOPS, DISTINCT_MEMORY, OUTCOME_MEMORY
    content = (STATE_VERSION, plan.entity.fields, tiers, fields, kept, limits)
    return hashlib.blake2b(repr(content).encode(), digest_size=_TAG_SIZE).digest()


class Layout:
    """Where in a state each aggregate of a plan is read from; made once per plan."""

    def __init__(self, plan: EntityPlan) -> None:
        name = plan.entity.name
        place = {aggregate: number for number, aggregate in enumerate(plan.aggregates)}

        def targets(tier: Tier, window: Window) -> list[tuple[int, int]]:
            sums = [TileSum(name, window, column) for column in tier.columns]
            return [(c, place[a]) for c, a in enumerate(sums) if a in place]

        self.plan = plan
        self.tag = _tag(plan)
        self.size = len(plan.aggregates)
        self.tiers = [
            [_WindowRead(window, targets(tier, window)) for window in tier.windows]
            for tier in plan.tiers
        ]
        self.label_tiers = [
            [_WindowRead(window, [(0, place[LabelSum(name, window)])]) for window in tier.windows]
            for tier in plan.label_tiers
        ]
        self.distinct = [
            [_WindowRead(w, [(0, place[DistinctSum(name, field, w)])]) for w in windows]
            for field, windows in plan.distinct
        ]
        self.last_values = [place[LastValue(name, field)] for field in plan.last_fields]
        self.scalars = [
            (attribute, place[aggregate])
            for attribute, aggregate in (
                ("count", Lifetime(name)),
                ("last_us", LastTime(name)),
                ("first_us", FirstTime(name)),
                ("latest_fraud_us", FraudTime(name, "latest")),
                ("earliest_fraud_us", FraudTime(name, "earliest")),
                ("place", LastPlace(name)),
                ("place_us", LastPlaceTime(name)),
            )
            if aggregate in place
        ]
        ks = sorted({a.k for a in plan.aggregates if isinstance(a, MaturedSum)})
        self.matured = [
            (k, place.get(MaturedSum(name, k, "count")), place.get(MaturedSum(name, k, "fraud")))
            for k in ks
        ]


class TierState:
    """Sums per tile of one tile length; tiles ascend."""

    __slots__ = ("sums", "tier", "tiles")

    def __init__(self, tier: Tier, reader: Reader | None) -> None:
        self.tier = tier
        self.tiles: list[int] = reader.ascending() if reader else []
        self.sums: list[list[int]] = [reader.integers() if reader else [] for _ in tier.columns]

    def read(self, window: _WindowRead, now_us: int, latest_us: int, out: list[int]) -> None:
        """Put the window's sums, for an event at `now_us`, where they belong in `out`."""
        tiles = self.tiles
        first = (now_us - window.reach_us) // window.hop_us
        if latest_us != NONE:
            first = max(first, (latest_us - window.reach_us) // window.hop_us - LATENESS_HOPS)
        last = (now_us - window.delay_us) // window.hop_us
        low = bisect_left(tiles, first)
        high = len(tiles) if not tiles or tiles[-1] <= last else bisect_right(tiles, last)
        for column, place in window.targets:
            out[place] = sum(self.sums[column][low:high])

    def add(self, time_us: int, amounts: AmountColumns) -> None:
        """Add an event to its tile."""
        tile, tiles = time_us // self.tier.hop_us, self.tiles
        place = len(tiles) if not tiles or tiles[-1] < tile else bisect_left(tiles, tile)
        if place == len(tiles) or tiles[place] != tile:
            tiles.insert(place, tile)
            for sums, column in zip(self.sums, self.tier.columns, strict=True):
                sums.insert(place, amounts[column])
        else:
            for sums, column in zip(self.sums, self.tier.columns, strict=True):
                sums[place] += amounts[column]

    def prune(self, latest_us: int) -> None:
        """Forget the tiles that no window can reach any more."""
        horizon = (latest_us - self.tier.reach_us) // self.tier.hop_us - LATENESS_HOPS
        if self.tiles and self.tiles[0] < horizon:
            gone = bisect_left(self.tiles, horizon)
            del self.tiles[:gone]
            for sums in self.sums:
                del sums[:gone]

    def write(self, writer: Writer) -> None:
        """Append to the encoded state."""
        writer.ascending(self.tiles)
        for sums in self.sums:
            writer.integers(sums)


class EntityState:
    """What one entity has shown so far.

    Args:
        layout: what must be remembered and where it is read from.
        encoded: bytes of `encode`, or None for an entity never seen.

    Raises:
        StateUnavailable: the bytes were written for a plan that remembers something else.
    """

    __slots__ = (
        "count",
        "distinct",
        "earliest_fraud_us",
        "first_us",
        "label_tiers",
        "last_us",
        "last_values",
        "latest_fraud_us",
        "latest_us",
        "layout",
        "outcome_fraud",
        "outcome_ids",
        "outcome_us",
        "place",
        "place_us",
        "tiers",
    )

    def __init__(self, layout: Layout, encoded: bytes | None = None) -> None:
        plan = layout.plan
        self.layout = layout
        reader = _reader(layout, encoded) if encoded is not None else None
        scalars = reader.integers() if reader else [0, NONE, NONE, NONE, NONE, NONE]
        self.count = scalars[0]
        self.latest_us, self.first_us, self.last_us = scalars[1:4]
        self.latest_fraud_us, self.earliest_fraud_us = scalars[4:6]
        self.tiers = [TierState(tier, reader) for tier in plan.tiers]
        self.label_tiers = [TierState(tier, reader) for tier in plan.label_tiers]
        self.distinct: list[tuple[list[int], list[int]]] = [
            (reader.integers(), reader.integers()) if reader else ([], []) for _ in plan.distinct
        ]
        self.last_values: list[int] = (
            reader.integers() if reader else [NONE] * len(plan.last_fields)
        )
        with_place = reader.integers() if reader and plan.has_place else []
        self.place, self.place_us = with_place or (NONE, NONE)
        with_outcomes = reader if plan.has_outcomes else None
        self.outcome_ids: list[int] = with_outcomes.integers() if with_outcomes else []
        self.outcome_us: list[int] = with_outcomes.integers() if with_outcomes else []
        self.outcome_fraud: list[int] = with_outcomes.integers() if with_outcomes else []

    def encode(self) -> bytes:
        """The state as bytes; equal states encode equally."""
        writer = Writer()
        times = [self.latest_us, self.first_us, self.last_us]
        writer.integers([self.count, *times, self.latest_fraud_us, self.earliest_fraud_us])
        for tier in (*self.tiers, *self.label_tiers):
            tier.write(writer)
        for ids, seen_us in self.distinct:
            writer.integers(ids)
            writer.integers(seen_us)
        writer.integers(self.last_values)
        if self.layout.plan.has_place:
            writer.integers([self.place, self.place_us] if self.place != NONE else [])
        if self.layout.plan.has_outcomes:
            writer.integers(self.outcome_ids)
            writer.integers(self.outcome_us)
            writer.integers(self.outcome_fraud)
        return self.layout.tag + writer.getvalue()

    def read(self, now_us: int) -> list[int]:
        """The plan's aggregates, in order, for an event at `now_us` that comes next."""
        layout, latest_us = self.layout, self.latest_us
        out = [0] * layout.size
        for tier, windows in zip(self.tiers, layout.tiers, strict=True):
            for window in windows:
                tier.read(window, now_us, latest_us, out)
        for tier, windows in zip(self.label_tiers, layout.label_tiers, strict=True):
            for window in windows:
                tier.read(window, now_us, latest_us, out)
        for (_, seen_us), windows in zip(self.distinct, layout.distinct, strict=True):
            for window in windows:
                hop = window.hop_us
                first = (now_us - window.reach_us) // hop
                last = (now_us - window.delay_us) // hop
                total = sum(first <= seen // hop <= last for seen in seen_us)
                out[window.targets[0][1]] = total
        for value, place in zip(self.last_values, layout.last_values, strict=True):
            out[place] = value
        for attribute, place in layout.scalars:
            out[place] = getattr(self, attribute)
        if layout.matured:
            self._read_matured(now_us, out)
        return out

    def _read_matured(self, now_us: int, out: list[int]) -> None:
        ripe_us = now_us - self.layout.plan.maturity_us
        ripe = [
            fraud
            for happened, fraud in zip(self.outcome_us, self.outcome_fraud, strict=True)
            if happened <= ripe_us
        ]
        for k, count_place, fraud_place in self.layout.matured:
            last_k = ripe[-k:]
            if count_place is not None:
                out[count_place] = len(last_k)
            if fraud_place is not None:
                out[fraud_place] = sum(last_k)

    def add_event(
        self, time_us: int, event_id: int, amounts: AmountColumns, values: Mapping[str, int]
    ) -> None:
        """Take in an event.

        Args:
            time_us: its event time, microseconds UTC.
            event_id: `text_id` of its transaction_id.
            amounts: what it adds to the tile columns.
            values: its fields as int64, NONE where null.
        """
        plan = self.layout.plan
        for tier in self.tiers:
            tier.add(time_us, amounts)
        for (field, _), (ids, seen_us) in zip(plan.distinct, self.distinct, strict=True):
            _remember(ids, seen_us, values[field], time_us)
        for place, field in enumerate(plan.last_fields):
            if values[field] != NONE:
                self.last_values[place] = values[field]
        if plan.has_place and values[PLACE] != NONE:
            self.place, self.place_us = values[PLACE], time_us
        if plan.has_outcomes:
            self.outcome_ids.append(event_id)
            self.outcome_us.append(time_us)
            self.outcome_fraud.append(0)
            if len(self.outcome_ids) > OUTCOME_MEMORY:
                del self.outcome_ids[0], self.outcome_us[0], self.outcome_fraud[0]
        self.count += 1
        self.last_us = time_us
        if self.first_us == NONE:
            self.first_us = time_us
        self.latest_us = max(self.latest_us, time_us)
        for tier in (*self.tiers, *self.label_tiers):
            tier.prune(self.latest_us)

    def add_fraud_label(self, reported_us: int, event_us: int, event_id: int) -> None:
        """Take in the first fraud label of one of the entity's events.

        Args:
            reported_us: when it was reported, microseconds UTC.
            event_us: event time of the event it is about.
            event_id: `text_id` of that event's transaction_id.
        """
        for tier in self.label_tiers:
            tier.add(reported_us, {"count": 1})
            tier.prune(self.latest_us)
        self.latest_fraud_us = max(self.latest_fraud_us, event_us)
        earliest = self.earliest_fraud_us
        self.earliest_fraud_us = event_us if earliest == NONE else min(earliest, event_us)
        for place, known in enumerate(self.outcome_ids):
            if known == event_id:
                self.outcome_fraud[place] = 1


def _reader(layout: Layout, encoded: bytes) -> Reader:
    if not encoded.startswith(layout.tag):
        name = layout.plan.entity.name
        raise StateUnavailable(
            f"The state of a {name} was written for other features than those of this code.",
            remedy="Run the pipeline: it rebuilds the online states.",
            retry_after_s=60,
        )
    return Reader(encoded[_TAG_SIZE:])


def _remember(ids: list[int], seen_us: list[int], value: int, now_us: int) -> None:
    """Move a value to the recent end of the memory, forgetting the oldest where it is full."""
    if value == NONE:
        return
    if value in ids:
        place = ids.index(value)
        del ids[place], seen_us[place]
    elif len(ids) == DISTINCT_MEMORY:
        del ids[0], seen_us[0]
    ids.append(value)
    seen_us.append(now_us)

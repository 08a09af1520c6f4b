"""States packed into bytes and unpacked again, compiled.

Times are written as distances from the latest one, tiles as steps from its tile on, an
outcome's time together with the bit that says whether it was fraud: small numbers, few bytes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from feature_store.machine_code import compiled, inlined
from feature_store.state_bytes import Bytes, Ints, get, get_hash, put, put_hash
from fraud.domain.aggregates import DISTINCT_MEMORY, NONE, OUTCOME_MEMORY
from fraud.domain.windows import LATENESS_HOPS

COUNT, LATEST, FIRST, LAST, LATEST_FRAUD, EARLIEST_FRAUD, WHERE, WHERE_TIME = range(8)
"""Scalars of a state: times in microseconds, WHERE a packed place."""

_HEADER = 2  # bytes with the number of tiles of the longest tier
_SCALAR_BYTES = 128
_SPARE_TILES = 32  # tiles that may pile up before those out of reach are dropped


class Spec(NamedTuple):
    """A plan as integer arrays; -1 stands for "not wanted".

    Attributes:
        tier_hop: tile length of each tier, microseconds; tiers of labels come last.
        tier_reach: how far back its longest window looks.
        tier_columns: shape (tiers, 4), what is summed, as places in `plan.COLUMN_ORDER`.
        label_tiers: number of tiers of labels.
        window_tier: tier of each window.
        window_reach: delay plus length of each window.
        window_delay: its delay.
        window_out: shape (windows, 4), where each column's sum goes.
        distinct_value: which of an event's values each distinct count is about.
        seen_field: distinct count of each window over sightings.
        seen_hop: its tile length.
        seen_reach: its delay plus length.
        seen_delay: its delay.
        seen_out: where it goes.
        last_value: which of an event's values are kept as last values.
        last_out: where they go.
        place_value: which of an event's values is its place.
        scalar_out: where each scalar goes.
        maturity: age of a mature outcome, microseconds; -1 if no outcomes are kept.
        ks: numbers of matured outcomes that are asked for.
        matured_out: shape (ks, 2), where their count and the fraud among them go.
        has_logs: whether outcomes are kept with their log amounts.
        parts_wanted: whether any figure of a part of the outcomes is.
        parts_out: shape (parts, figures), where they go.
    """

    tier_hop: Ints
    tier_reach: Ints
    tier_columns: Ints
    label_tiers: int
    window_tier: Ints
    window_reach: Ints
    window_delay: Ints
    window_out: Ints
    distinct_value: Ints
    seen_field: Ints
    seen_hop: Ints
    seen_reach: Ints
    seen_delay: Ints
    seen_out: Ints
    last_value: Ints
    last_out: Ints
    place_value: int
    scalar_out: Ints
    maturity: int
    ks: Ints
    matured_out: Ints
    has_logs: int
    parts_wanted: int
    parts_out: Ints


_FIELDS = len(Spec._fields)


class Specs(NamedTuple):
    """Plans as two arrays, which are handed over to compiled code in no time.

    Attributes:
        numbers: those of all specs, one after another.
        starts: where each field of each spec begins, and where the last one ends.
        tiers: the most tiers that any of them has.
        tiles: the most tiles that one of them may come to hold, labels aside.
        fields: the most distinct counts.
        last_values: the most last values.
    """

    numbers: Ints
    starts: Ints
    tiers: int
    tiles: int
    fields: int
    last_values: int


def packed_specs(specs: Sequence[Spec]) -> Specs:
    """Specs one after another."""
    parts = [np.ravel(part) for spec in specs for part in spec]
    sizes = [0, *(len(part) for part in parts)]
    reaches = [tiles for spec in specs for tiles in (spec.tier_reach // spec.tier_hop).tolist()]
    return Specs(
        np.concatenate(parts),
        np.cumsum(sizes),
        tiers=max(len(spec.tier_hop) for spec in specs),
        tiles=max(reaches, default=0) + LATENESS_HOPS + 3 + _SPARE_TILES,
        fields=max(len(spec.distinct_value) for spec in specs),
        last_values=max(len(spec.last_value) for spec in specs),
    )


@inlined
def spec_at(specs: Specs, place: int) -> Spec:
    """The spec at a place."""
    n, at = specs.numbers, specs.starts[place * _FIELDS :]
    return Spec(
        tier_hop=n[at[0] : at[1]],
        tier_reach=n[at[1] : at[2]],
        tier_columns=n[at[2] : at[3]].reshape(-1, 4),
        label_tiers=n[at[3]],
        window_tier=n[at[4] : at[5]],
        window_reach=n[at[5] : at[6]],
        window_delay=n[at[6] : at[7]],
        window_out=n[at[7] : at[8]].reshape(-1, 4),
        distinct_value=n[at[8] : at[9]],
        seen_field=n[at[9] : at[10]],
        seen_hop=n[at[10] : at[11]],
        seen_reach=n[at[11] : at[12]],
        seen_delay=n[at[12] : at[13]],
        seen_out=n[at[13] : at[14]],
        last_value=n[at[14] : at[15]],
        last_out=n[at[15] : at[16]],
        place_value=n[at[16]],
        scalar_out=n[at[17] : at[18]],
        maturity=n[at[18]],
        ks=n[at[19] : at[20]],
        matured_out=n[at[20] : at[21]].reshape(-1, 2),
        has_logs=n[at[21]],
        parts_wanted=n[at[22]],
        parts_out=n[at[23] : at[24]].reshape(-1, 4),
    )


class Room(NamedTuple):
    """One unpacked state; sizes and its spec say how much of the arrays is in use."""

    scalars: Ints
    tiles: Ints
    sums: Ints
    tile_count: Ints
    seen_ids: Ints
    seen_us: Ints
    seen_count: Ints
    last: Ints
    outcome_ids: Ints
    outcome_us: Ints
    outcome_fraud: Ints
    outcome_log: Ints
    outcome_count: Ints


@inlined
def new_room(specs: Specs, tiles: int) -> Room:
    """A room for a state of any of the specs, in which every tier holds up to so many tiles."""
    tiers, fields = specs.tiers, specs.fields
    return Room(
        np.empty(8, np.int64),
        np.empty((tiers, tiles), np.int64),
        np.empty((tiers, 4, tiles), np.int64),
        np.empty(tiers, np.int64),
        np.empty((fields, DISTINCT_MEMORY), np.int64),
        np.empty((fields, DISTINCT_MEMORY), np.int64),
        np.empty(fields, np.int64),
        np.empty(specs.last_values, np.int64),
        np.empty(OUTCOME_MEMORY, np.int64),
        np.empty(OUTCOME_MEMORY, np.int64),
        np.empty(OUTCOME_MEMORY, np.int64),
        np.empty(OUTCOME_MEMORY, np.int64),
        np.empty(1, np.int64),
    )


@inlined
def clear(room: Room) -> None:
    """Make it the state of an entity that has shown nothing."""
    room.scalars[:] = NONE
    room.scalars[COUNT] = 0
    room.tile_count[:] = 0
    room.seen_count[:] = 0
    room.last[:] = NONE
    room.outcome_count[0] = 0


@inlined
def longest_tier(data: Bytes, at: int) -> int:
    """The number of tiles of a packed state's longest tier."""
    return int(np.int64(data[at])) | int(np.int64(data[at + 1])) << 8


@inlined
def _pack_scalars(room: Room, base: int, data: Bytes, at: int) -> int:
    scalars, known = room.scalars, 0
    for scalar in range(1, 8):
        known |= (scalars[scalar] != NONE) << scalar
    data[at] = known
    at = put(data, at + 1, scalars[COUNT])
    for scalar in range(1, 8):
        if scalars[scalar] != NONE:
            is_absolute = scalar in (LATEST, WHERE)
            at = put(data, at, scalars[scalar] - (0 if is_absolute else base))
    return at


@inlined
def _unpack_scalars(room: Room, data: Bytes, at: int) -> int:
    scalars, base, known = room.scalars, 0, int(np.int64(data[at]))
    scalars[COUNT], at = get(data, at + 1)
    for scalar in range(1, 8):
        if known >> scalar & 1:
            scalars[scalar], at = get(data, at)
            if scalar == LATEST:
                base = scalars[LATEST]
            elif scalar != WHERE:
                scalars[scalar] += base
    return at


@inlined
def _pack_tier(spec: Spec, room: Room, tier: int, base: int, data: Bytes, at: int) -> int:
    count, before = room.tile_count[tier], base // spec.tier_hop[tier]
    at = put(data, at, count)
    for k in range(count):
        at = put(data, at, room.tiles[tier, k] - before)
        before = room.tiles[tier, k]
    for c in range(4):
        if spec.tier_columns[tier, c] >= 0:
            for k in range(count):
                at = put(data, at, room.sums[tier, c, k])
    return at


@inlined
def _unpack_tier(spec: Spec, room: Room, tier: int, base: int, data: Bytes, at: int) -> int:
    count, at = get(data, at)
    tile = base // spec.tier_hop[tier]
    room.tile_count[tier] = count
    for k in range(count):
        step, at = get(data, at)
        tile += step
        room.tiles[tier, k] = tile
    for c in range(4):
        if spec.tier_columns[tier, c] >= 0:
            for k in range(count):
                room.sums[tier, c, k], at = get(data, at)
    return at


@compiled
def pack(spec: Spec, room: Room, data: Bytes, at: int) -> int:
    """Write the state at a place; returns the place behind it."""
    longest = room.tile_count.max() if len(room.tile_count) > 0 else 0
    data[at], data[at + 1] = longest & 255, longest >> 8
    base = max(room.scalars[LATEST], 0)
    at = _pack_scalars(room, base, data, at + _HEADER)
    for tier in range(len(spec.tier_hop)):
        at = _pack_tier(spec, room, tier, base, data, at)
    for field in range(len(spec.distinct_value)):
        at = put(data, at, room.seen_count[field])
        for k in range(room.seen_count[field]):
            at = put_hash(data, at, room.seen_ids[field, k])
            at = put(data, at, base - room.seen_us[field, k])
    for place in range(len(spec.last_value)):
        at = put_hash(data, at, room.last[place])
    if spec.maturity >= 0:
        at = put(data, at, room.outcome_count[0])
        for k in range(room.outcome_count[0]):
            at = put_hash(data, at, room.outcome_ids[k])
            at = put(data, at, (base - room.outcome_us[k]) << 1 | room.outcome_fraud[k])
            if spec.has_logs > 0:
                at = put(data, at, room.outcome_log[k])
    place_behind: int = at
    return place_behind


@compiled
def unpack(spec: Spec, data: Bytes, at: int, room: Room) -> None:
    """Read the state at a place into a room that was cleared."""
    at = _unpack_scalars(room, data, at + _HEADER)
    base = max(room.scalars[LATEST], 0)
    for tier in range(len(spec.tier_hop)):
        at = _unpack_tier(spec, room, tier, base, data, at)
    for field in range(len(spec.distinct_value)):
        room.seen_count[field], at = get(data, at)
        for k in range(room.seen_count[field]):
            room.seen_ids[field, k], at = get_hash(data, at)
            since, at = get(data, at)
            room.seen_us[field, k] = base - since
    for place in range(len(spec.last_value)):
        room.last[place], at = get_hash(data, at)
    if spec.maturity >= 0:
        room.outcome_count[0], at = get(data, at)
        for k in range(room.outcome_count[0]):
            room.outcome_ids[k], at = get_hash(data, at)
            since, at = get(data, at)
            room.outcome_us[k] = base - (since >> 1)
            room.outcome_fraud[k] = since & 1
            if spec.has_logs > 0:
                room.outcome_log[k], at = get(data, at)


@inlined
def most_bytes(spec: Spec, room: Room) -> int:
    """More bytes than the state can take."""
    size: int = _SCALAR_BYTES + 8 * len(spec.last_value)
    for tier in range(len(spec.tier_hop)):
        size += 10 + 50 * room.tile_count[tier]
    for field in range(len(spec.distinct_value)):
        size += 10 + 18 * room.seen_count[field]
    size += 10 + 22 * room.outcome_count[0]
    return size

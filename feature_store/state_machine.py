"""Compiled loops of the online execution: what entities have shown, one observation at a time.

Every state is unpacked into a `Room`, shown its events and labels in observation order, and
packed again. Before an event is added, the aggregates it sees are written to the table.
"""

from typing import NamedTuple

import numpy as np

from feature_store.machine_code import compiled, inlined
from feature_store.state_bytes import Bytes, Ints
from feature_store.state_packing import (
    COUNT,
    EARLIEST_FRAUD,
    FIRST,
    LAST,
    LATEST,
    LATEST_FRAUD,
    WHERE,
    WHERE_TIME,
    Room,
    Spec,
    Specs,
    clear,
    longest_tier,
    most_bytes,
    new_room,
    pack,
    spec_at,
    unpack,
)
from fraud.domain.aggregates import NONE, OUTCOME_MEMORY
from fraud.domain.windows import LATENESS_HOPS


class EventColumns(NamedTuple):
    """Events as columns, shape (m,); `values` has shape (fields, m)."""

    seq: Ints
    time_us: Ints
    event_id: Ints
    amount_minor: Ints
    amount_log: Ints
    values: Ints


class LabelColumns(NamedTuple):
    """First fraud labels of events as columns, shape (m,)."""

    seq: Ints
    reported_us: Ints
    event_us: Ints
    event_id: Ints


@inlined
def _first_at_least(tiles: Ints, count: int, wanted: int) -> int:
    """Place of the first of `tiles[:count]`, which ascend, that is >= wanted."""
    low, high = 0, count
    if count > 0 and tiles[count - 1] < wanted:
        return count
    while low < high:
        middle = (low + high) // 2
        if tiles[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _read_window(spec: Spec, room: Room, w: int, now: int, out: Ints) -> None:
    tier, latest = spec.window_tier[w], room.scalars[LATEST]
    hop, reach = spec.tier_hop[tier], spec.window_reach[w]
    first = (now - reach) // hop
    if latest != NONE:
        first = max(first, (latest - reach) // hop - LATENESS_HOPS)
    last = (now - spec.window_delay[w]) // hop
    tiles, count = room.tiles[tier], room.tile_count[tier]
    low = _first_at_least(tiles, count, first)
    high = _first_at_least(tiles, count, last + 1)
    for c in range(4):
        if spec.window_out[w, c] >= 0:
            total = 0
            for k in range(low, high):
                total += room.sums[tier, c, k]
            out[spec.window_out[w, c]] = total


@compiled
def _read(spec: Spec, room: Room, now: int, out: Ints) -> None:
    """The aggregates that an event at `now` sees, into `out` (aggregates,)."""
    for w in range(len(spec.window_tier)):
        _read_window(spec, room, w, now, out)
    _read_seen(spec, room, now, out)
    for place in range(len(spec.last_out)):
        if spec.last_out[place] >= 0:
            out[spec.last_out[place]] = room.last[place]
    for scalar in range(8):
        if spec.scalar_out[scalar] >= 0:
            out[spec.scalar_out[scalar]] = room.scalars[scalar]
    _read_matured(spec, room, now, out)
    if spec.parts_wanted > 0:
        _read_parts(spec, room, now, out)


@inlined
def _read_seen(spec: Spec, room: Room, now: int, out: Ints) -> None:
    for w in range(len(spec.seen_field)):
        field, hop = spec.seen_field[w], spec.seen_hop[w]
        begin = (now - spec.seen_reach[w]) // hop * hop
        end = ((now - spec.seen_delay[w]) // hop + 1) * hop
        total = 0
        for k in range(room.seen_count[field]):
            total += (begin <= room.seen_us[field, k]) & (room.seen_us[field, k] < end)
        out[spec.seen_out[w]] = total


@inlined
def _read_matured(spec: Spec, room: Room, now: int, out: Ints) -> None:
    for each in range(len(spec.ks)):
        count, fraud, k = 0, 0, room.outcome_count[0] - 1
        while k >= 0 and count < spec.ks[each]:
            if room.outcome_us[k] <= now - spec.maturity:
                count += 1
                fraud += room.outcome_fraud[k]
            k -= 1
        if spec.matured_out[each, 0] >= 0:
            out[spec.matured_out[each, 0]] = count
        if spec.matured_out[each, 1] >= 0:
            out[spec.matured_out[each, 1]] = fraud


@compiled
def _read_parts(spec: Spec, room: Room, now: int, out: Ints) -> None:
    figures = np.zeros((3, 4), np.int64)
    figures[:, 3] = NONE
    is_run = True
    for k in range(room.outcome_count[0] - 1, -1, -1):
        if room.outcome_us[k] > now - spec.maturity:
            part = 2
        elif room.outcome_fraud[k] == 0:
            part, is_run = 1, False
        elif is_run:
            part = 0
        else:
            continue
        if part == 0 or figures[part, 0] == 0:
            figures[part, 3] = room.outcome_us[k]
        figures[part, 0] += 1
        figures[part, 1] += room.outcome_log[k]
        figures[part, 2] = max(figures[part, 2], room.outcome_log[k])
    for part in range(3):
        for figure in range(4):
            if spec.parts_out[part, figure] >= 0:
                out[spec.parts_out[part, figure]] = figures[part, figure]


@inlined
def _drop_out_of_reach(spec: Spec, room: Room, tier: int) -> None:
    """Forget the tiles that no window can reach any more."""
    latest, tiles, count = room.scalars[LATEST], room.tiles[tier], room.tile_count[tier]
    if latest == NONE or count == 0:
        return
    horizon = (latest - spec.tier_reach[tier]) // spec.tier_hop[tier] - LATENESS_HOPS
    gone = _first_at_least(tiles, count, horizon)
    if gone > 0:
        for k in range(gone, count):
            tiles[k - gone] = tiles[k]
            for c in range(4):
                room.sums[tier, c, k - gone] = room.sums[tier, c, k]
        room.tile_count[tier] = count - gone


@compiled
def _add_to_tile(spec: Spec, room: Room, tier: int, time: int, amount: int, log: int) -> None:
    if room.tile_count[tier] == room.tiles.shape[1]:
        _drop_out_of_reach(spec, room, tier)
    tile, tiles, count = time // spec.tier_hop[tier], room.tiles[tier], room.tile_count[tier]
    place = _first_at_least(tiles, count, tile)
    if place == count or tiles[place] != tile:
        for k in range(count, place, -1):
            tiles[k] = tiles[k - 1]
            for c in range(4):
                room.sums[tier, c, k] = room.sums[tier, c, k - 1]
        tiles[place] = tile
        room.sums[tier, :, place] = 0
        room.tile_count[tier] = count + 1
    for c in range(4):
        column = spec.tier_columns[tier, c]
        if column == 0:
            room.sums[tier, c, place] += 1
        elif column == 1:
            room.sums[tier, c, place] += amount
        elif column == 2:
            room.sums[tier, c, place] += log
        elif column == 3:
            room.sums[tier, c, place] += log * log


@inlined
def _remember(ids: Ints, times: Ints, count: int, value: int, now: int) -> int:
    """Move a value to the recent end, forgetting the oldest where the memory is full."""
    at = -1
    for k in range(count):
        at = max(at, k if ids[k] == value else -1)
    if at < 0 and count < len(ids):
        at, count = count, count + 1
    for k in range(max(at, 0), count - 1):
        ids[k] = ids[k + 1]
        times[k] = times[k + 1]
    ids[count - 1], times[count - 1] = value, now
    return count


@compiled
def _add_event(spec: Spec, room: Room, events: EventColumns, row: int) -> None:
    now, values, scalars = events.time_us[row], events.values[:, row], room.scalars
    for tier in range(len(spec.tier_hop) - spec.label_tiers):
        _add_to_tile(spec, room, tier, now, events.amount_minor[row], events.amount_log[row])
    for field in range(len(spec.distinct_value)):
        value = values[spec.distinct_value[field]]
        if value != NONE:
            ids, times = room.seen_ids[field], room.seen_us[field]
            room.seen_count[field] = _remember(ids, times, room.seen_count[field], value, now)
    for place in range(len(spec.last_value)):
        if values[spec.last_value[place]] != NONE:
            room.last[place] = values[spec.last_value[place]]
    if spec.place_value >= 0 and values[spec.place_value] != NONE:
        scalars[WHERE], scalars[WHERE_TIME] = values[spec.place_value], now
    if spec.maturity >= 0:
        _add_outcome(room, events.event_id[row], now, events.amount_log[row])
    scalars[COUNT] += 1
    scalars[LAST] = now
    if scalars[FIRST] == NONE:
        scalars[FIRST] = now
    scalars[LATEST] = max(scalars[LATEST], now)


@inlined
def _add_outcome(room: Room, event_id: int, now: int, log: int) -> None:
    count = room.outcome_count[0]
    if count == OUTCOME_MEMORY:
        count -= 1
        for k in range(count):
            room.outcome_ids[k] = room.outcome_ids[k + 1]
            room.outcome_us[k] = room.outcome_us[k + 1]
            room.outcome_fraud[k] = room.outcome_fraud[k + 1]
            room.outcome_log[k] = room.outcome_log[k + 1]
    room.outcome_ids[count], room.outcome_us[count], room.outcome_fraud[count] = event_id, now, 0
    room.outcome_log[count] = log
    room.outcome_count[0] = count + 1


@compiled
def _add_label(spec: Spec, room: Room, labels: LabelColumns, row: int) -> None:
    tiers, happened, scalars = len(spec.tier_hop), labels.event_us[row], room.scalars
    nothing = int(np.int64(0))  # typed: a literal would compile the callee once more
    for tier in range(tiers - spec.label_tiers, tiers):
        _add_to_tile(spec, room, tier, labels.reported_us[row], nothing, nothing)
    scalars[LATEST_FRAUD] = max(scalars[LATEST_FRAUD], happened)
    earliest = scalars[EARLIEST_FRAUD]
    scalars[EARLIEST_FRAUD] = happened if earliest == NONE else min(earliest, happened)
    for k in range(room.outcome_count[0]):
        if room.outcome_ids[k] == labels.event_id[row]:
            room.outcome_fraud[k] = 1


@inlined
def _most_tiles(specs: Specs, data: Bytes, starts: Ints, label_starts: Ints) -> int:
    """Tiles that any tier of any of the states may come to hold."""
    most = specs.tiles
    for entity in range(len(starts) - 1):
        longest = 0
        if starts[entity + 1] > starts[entity]:
            longest = longest_tier(data, starts[entity])
        # labels may be reported long after an entity's last event, out of any bound
        most = max(most, longest + label_starts[entity + 1] - label_starts[entity])
    return most


class Shown(NamedTuple):
    """What some entities are shown.

    Attributes:
        events: of any of the entities.
        order: rows of `events` by entity, then by observation.
        starts: shape (entities + 1,), where each entity's rows begin in `order`.
        labels: about any of their events.
        label_order: rows of `labels` by entity, then by observation.
        label_starts: shape (entities + 1,), where each entity's rows begin in `label_order`.
    """

    events: EventColumns
    order: Ints
    starts: Ints
    labels: LabelColumns
    label_order: Ints
    label_starts: Ints


@inlined
def _end_of_kind(kinds: Ints, begin: int) -> int:
    """Place behind the entities from `begin` on that are of one kind."""
    end = begin + 1
    while end < len(kinds) and kinds[end] == kinds[begin]:
        end += 1
    return end


@compiled
def advance(
    specs: Specs, kinds: Ints, data: Bytes, starts: Ints, shown: Shown, table: Ints
) -> tuple[Bytes, Ints]:
    """Show entities their events and labels in observation order.

    Args:
        specs: of the kinds of entities.
        kinds: shape (entities,), the place of each entity's spec; equal ones best together.
        data: their packed states one after another; no bytes for a new entity.
        starts: shape (entities + 1,), where each state begins.
        shown: what they are shown.
        table: shape (aggregates, events), receives what each event sees; no columns if not
            wanted.

    Returns:
        The new packed states and where each begins.
    """
    room = new_room(specs, _most_tiles(specs, data, starts, shown.label_starts))
    out = np.empty(2 * len(data) + 4096, np.uint8)
    ends = np.zeros(len(starts), np.int64)
    # Taken out of the tuples once: each time counts as a reference to every array.
    events, order, event_starts, labels, label_order, label_starts = shown
    begin = 0
    while begin < len(kinds):
        spec, end = spec_at(specs, kinds[begin]), _end_of_kind(kinds, begin)
        for entity in range(begin, end):
            clear(room)
            if starts[entity + 1] > starts[entity]:
                unpack(spec, data, starts[entity], room)
            label, last = label_starts[entity], label_starts[entity + 1]
            for place in range(event_starts[entity], event_starts[entity + 1]):
                row = order[place]
                while label < last and labels.seq[label_order[label]] < events.seq[row]:
                    _add_label(spec, room, labels, label_order[label])
                    label += 1
                if table.shape[1] > 0:
                    _read(spec, room, events.time_us[row], table[:, row])
                _add_event(spec, room, events, row)
            while label < last:
                _add_label(spec, room, labels, label_order[label])
                label += 1
            for tier in range(len(spec.tier_hop)):
                _drop_out_of_reach(spec, room, tier)
            needed = ends[entity] + most_bytes(spec, room)
            if needed > len(out):
                larger = np.empty(2 * needed, np.uint8)
                larger[: ends[entity]] = out[: ends[entity]]
                out = larger
            ends[entity + 1] = pack(spec, room, out, ends[entity])
        begin = end
    return out[: ends[-1]], ends

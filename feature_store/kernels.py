"""Compiled loops of the offline execution: one pass over each entity's history.

Every kernel gets columns sorted by entity and, within an entity, by observation; entity `g`
has the places `starts[g] : starts[g + 1]`. Results stand at the same places. All arithmetic
is on int64. Entities are independent of each other and no kernel holds the interpreter lock,
so several threads work on several parts of a history.
"""

import numpy as np
from numpy.typing import NDArray

from feature_store.ascending import (
    BEYOND,
    SENTINELS,
    copied_if_ascending,
    difference,
    first_inside,
    number,
    running_totals,
    tile_edges,
)
from feature_store.machine_code import compiled, inlined
from fraud.domain.aggregates import NONE
from fraud.domain.windows import LATENESS_HOPS

Ints = NDArray[np.int64]


@inlined
def walk(tiles: Ints, hint: int, wanted: int) -> int:
    """Place of the first of `tiles` that is >= wanted, from a near guess.

    BEYOND stands behind the last tile. Most guesses are right or a little short, one cannot
    tell which: the first steps are additions, so that the processor need not guess, too.
    """
    place = hint
    place += int(tiles[place] < wanted)
    place += int(tiles[place] < wanted)
    while tiles[place] < wanted:
        place += 1
    while place > 0 and tiles[place - 1] >= wanted:
        place -= 1
    return place


@inlined
def largest_group(starts: Ints) -> int:
    """Size of the largest group."""
    largest = 0
    for group in range(len(starts) - 1):
        largest = max(largest, starts[group + 1] - starts[group])
    return largest


@inlined
def tile_of(time_us: int, hop: int, per_us: float) -> tuple[int, int]:
    """`divmod(time_us, hop)`; by a multiplication, which is within one of the truth."""
    tile = int(time_us * per_us)
    rest = time_us - tile * hop
    if rest < 0:
        return tile - 1, rest + hop
    if rest >= hop:
        return tile + 1, rest - hop
    return tile, rest


@inlined
def _addend(column: int, amount: int, log: int) -> int:
    """What an event adds to a tile column, numbered as in `plan.COLUMN_ORDER`."""
    if column == 0:
        return 1
    if column == 1:
        return amount
    return log if column == 2 else log * log


@inlined
def add_to_tile(
    tiles: Ints, sums: Ints, count: int, tile: int, columns: Ints, amount: int, log: int
) -> int:
    """Add an event to running sums per tile; returns the new number of tiles.

    `sums[k]` is the sum over tiles `0 .. k-1`; tiles ascend, and BEYOND follows. A late event
    shifts what lies behind it.
    """
    place = count - 1
    if count == 0 or tiles[place] < tile:
        place = count
        tiles[place], tiles[place + 1] = tile, BEYOND
        for c in range(len(columns)):
            sums[place + 1, c] = sums[place, c]
        count += 1
    elif tiles[place] > tile:
        while place > 0 and tiles[place - 1] >= tile:
            place -= 1
        if tiles[place] != tile:
            count += 1
            for k in range(count, place, -1):
                tiles[k] = tiles[k - 1]
                for c in range(len(columns)):
                    sums[k, c] = sums[k - 1, c]
            tiles[place] = tile
    for k in range(place + 1, count + 1):
        for c in range(len(columns)):
            sums[k, c] += _addend(columns[c], amount, log)
    return count


@compiled
def tile_sums(
    starts: Ints,
    time_us: Ints,
    amount: Ints,
    log: Ints,
    columns: Ints,
    hop: int,
    lengths: Ints,
    delays: Ints,
    out: Ints,
) -> None:
    """Sums over event windows -> `out` (windows, columns, n)."""
    largest = largest_group(starts)
    times = np.empty(largest + SENTINELS, np.int64)
    edges, places = np.empty((2, largest), np.int64), np.empty((2, largest), np.int64)
    totals = np.empty((len(columns), largest), np.int64)
    for group in range(len(starts) - 1):
        begin, end = starts[group], starts[group + 1]
        size = end - begin
        if not copied_if_ascending(time_us[begin:end], times):
            _sums_by_tile(begin, end, time_us, amount, log, columns, hop, lengths, delays, out)
            continue
        begins, rests = edges[0, :size], edges[1, :size]
        low, high = places[0, :size], places[1, :size]
        tile_edges(times, hop, begins, rests)
        for c in range(len(columns)):
            if columns[c] > 0:
                running_totals(columns[c], amount[begin:end], log[begin:end], totals[c])
        for w in range(len(lengths)):
            first_inside(times, begins, rests, delays[w] + lengths[w], hop, low)
            if delays[w] > 0:
                first_inside(times, begins, rests, delays[w] - hop, hop, high)
            for i in range(size):
                high[i] = min(high[i], i) if delays[w] > 0 else i
            for c in range(len(columns)):
                if columns[c] > 0:
                    difference(totals[c], low, high, out[w, c, begin:end])
                else:
                    number(low, high, out[w, c, begin:end])


@compiled
def _sums_by_tile(
    begin: int,
    end: int,
    time_us: Ints,
    amount: Ints,
    log: Ints,
    columns: Ints,
    hop: int,
    lengths: Ints,
    delays: Ints,
    out: Ints,
) -> None:
    """`tile_sums` of the events of one entity, `begin` to `end`, some of which came late.

    A time is divided by the hop once, into tile and rest; the edges of every window follow by
    `floor((t - back) / hop) = tile - back_tiles - (rest < back_rest)`.
    """
    windows, width = len(lengths), len(columns)
    per_us = 1.0 / hop
    reach_tiles = (delays + lengths) // hop
    reach_rest = (delays + lengths) - reach_tiles * hop
    delay_tiles = delays // hop
    delay_rest = delays - delay_tiles * hop
    tiles = np.empty(end - begin + 1, np.int64)
    sums = np.empty((end - begin + 1, width), np.int64)
    low_hints, high_hints = np.zeros(windows, np.int64), np.zeros(windows, np.int64)
    sums[0], tiles[0] = 0, BEYOND
    count, latest, latest_tile, latest_rest = 0, NONE, 0, 0
    for place in range(begin, end):
        now = time_us[place]
        tile, rest = tile_of(now, hop, per_us)
        for w in range(windows):
            first = tile - reach_tiles[w] - (rest < reach_rest[w])
            if latest > now:  # else the window itself ends above the horizon
                behind = latest_tile - reach_tiles[w] - (latest_rest < reach_rest[w])
                first = max(first, behind - LATENESS_HOPS)
            last = tile - delay_tiles[w] - (rest < delay_rest[w])
            low = walk(tiles, low_hints[w], first)
            high = count
            if count > 0 and tiles[count - 1] > last:
                high = walk(tiles, high_hints[w], last + 1)
            low_hints[w], high_hints[w] = low, high
            low = min(low, high)
            for c in range(width):
                out[w, c, place] = sums[high, c] - sums[low, c]
        count = add_to_tile(tiles, sums, count, tile, columns, amount[place], log[place])
        if now > latest:
            latest, latest_tile, latest_rest = now, tile, rest


@inlined
def _forget(codes: Ints, when: Ints, places: Ints, length: int, memory: int) -> int:
    """Close the gaps of a log of sightings, keeping the `memory` last ones; its new length."""
    surplus = -memory
    for k in range(length):
        surplus += codes[k] >= 0
    kept = 0
    for k in range(length):
        if codes[k] >= 0:
            surplus -= 1
            if surplus < 0:
                codes[kept], when[kept] = codes[k], when[k]
                places[codes[k]] = kept
                kept += 1
    return kept


@compiled
def distinct_sums(
    starts: Ints,
    time_us: Ints,
    codes: Ints,
    values: int,
    memory: int,
    hops: Ints,
    lengths: Ints,
    delays: Ints,
    out: Ints,
) -> None:
    """Recently seen values whose last sighting lies in the window -> `out` (windows, n).

    `codes` are the field's values as integers below `values`, -1 where null. The `memory`
    most recently seen values are remembered, the oldest is forgotten first.
    """
    if values == 0:
        out[:] = 0
        return
    largest = largest_group(starts)
    times, scratch = np.empty(largest + SENTINELS, np.int64), np.empty((3, largest), np.int64)
    places = np.empty(values, np.int64)
    seen, when = np.empty(2 * memory, np.int64), np.empty(2 * memory, np.int64)
    is_delayed = delays.any()
    for group in range(len(starts) - 1):
        begin, end = starts[group], starts[group + 1]
        own, size = codes[begin:end], end - begin
        if is_delayed or not copied_if_ascending(time_us[begin:end], times):
            edges = hops, lengths, delays
            _distinct_by_log(
                time_us[begin:end], own, memory, *edges, seen, when, places, out[:, begin:end]
            )
            continue
        begins, rests, low = scratch[0, :size], scratch[1, :size], scratch[2, :size]
        for w in range(len(hops)):
            tile_edges(times, hops[w], begins, rests)
            first_inside(times, begins, rests, lengths[w], hops[w], low)
            _distinct_since(low, own, memory, places, out[w, begin:end])


@inlined
def _distinct_since(low: Ints, codes: Ints, memory: int, places: Ints, out: Ints) -> None:
    """Values seen from `low`, which rises, to each event itself, excluded -> `out`.

    A value is inside as long as its last sighting is.
    """
    left, inside = 0, 0
    for i in range(len(codes)):
        while left < low[i]:
            inside -= int(codes[left] >= 0 and places[codes[left]] == left)
            left += 1
        out[i] = min(inside, memory)
        code = codes[i]
        if code >= 0:
            former = places[code]  # holds only where `codes` confirms it
            is_inside = left <= former < i and codes[former] == code
            inside += int(not is_inside)
            places[code] = i


@compiled
def _distinct_by_log(
    time_us: Ints,
    codes: Ints,
    memory: int,
    hops: Ints,
    lengths: Ints,
    delays: Ints,
    seen: Ints,
    when: Ints,
    places: Ints,
    out: Ints,
) -> None:
    """`distinct_sums` of one entity, whatever its times.

    Each sighting is appended to a log, the value's former one is struck out (-1). No sighting
    lies further than `lag` before an earlier one, so a search from the end can stop early.
    `places` holds only where `seen` confirms it.
    """
    length, latest, lag = 0, NONE, 0
    for place in range(len(time_us)):
        now = time_us[place]
        if now < latest:
            lag = max(lag, latest - now)
        latest = max(latest, now)
        for w in range(len(hops)):
            out[w, place] = 0
            if length == 0:
                continue
            begin_us = (now - delays[w] - lengths[w]) // hops[w] * hops[w]
            end_us = ((now - delays[w]) // hops[w] + 1) * hops[w]
            total, known, k = 0, 0, length - 1
            while k >= 0 and known < memory and when[k] + lag >= begin_us:
                known += seen[k] >= 0
                total += (seen[k] >= 0) & (begin_us <= when[k]) & (when[k] < end_us)
                k -= 1
            out[w, place] = total
        code = codes[place]
        if code >= 0:
            if length == len(seen):
                length = _forget(seen, when, places, length, memory)
            former = places[code]
            if 0 <= former < length and seen[former] == code:
                seen[former] = -1
            seen[length], when[length], places[code] = code, now, length
            length += 1


@compiled
def lasts(starts: Ints, time_us: Ints, out: Ints) -> None:
    """Lifetime count, last and first event time -> `out` (3, n)."""
    for group in range(len(starts) - 1):
        begin = starts[group]
        for place in range(begin, starts[group + 1]):
            out[0, place] = place - begin
            out[1, place] = time_us[place - 1] if place > begin else NONE
            out[2, place] = time_us[begin] if place > begin else NONE


@compiled
def pair_lasts(starts: Ints, time_us: Ints, codes: Ints, values: int, out: Ints) -> None:
    """`lasts` of each entity's events with the same code -> `out` (3, n); NONE where it is -1.

    `codes` are below `values`.
    """
    latest = np.empty(values, np.int64)  # holds only where `codes` confirms it
    for group in range(len(starts) - 1):
        begin = starts[group]
        for place in range(begin, starts[group + 1]):
            code = codes[place]
            out[0, place], out[1, place], out[2, place] = 0, NONE, NONE
            if code < 0:
                out[0, place] = NONE
                continue
            former = latest[code]
            if begin <= former < place and codes[former] == code:
                out[0, place] = out[0, former] + 1
                out[1, place] = time_us[former]
                out[2, place] = out[2, former] if out[0, former] > 0 else time_us[former]
            latest[code] = place


@compiled
def last_values(starts: Ints, value_ids: Ints, out: Ints) -> None:
    """The value before each event of a field, NONE where there was none -> `out` (n)."""
    for group in range(len(starts) - 1):
        previous = NONE
        for place in range(starts[group], starts[group + 1]):
            out[place] = previous
            if value_ids[place] != NONE:
                previous = value_ids[place]


@compiled
def last_places(starts: Ints, time_us: Ints, place_ids: Ints, out: Ints) -> None:
    """Where and when each entity was seen last before each event -> `out` (2, n)."""
    for group in range(len(starts) - 1):
        place, seen_us = NONE, NONE
        for row in range(starts[group], starts[group + 1]):
            out[0, row] = place
            out[1, row] = seen_us
            if place_ids[row] != NONE:
                place, seen_us = place_ids[row], time_us[row]

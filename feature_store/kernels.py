"""Compiled loops of the offline execution: one pass over each entity's history.

Every kernel gets columns sorted by entity and, within an entity, by observation; entity `g`
has the places `starts[g] : starts[g + 1]`. Results stand at the same places. All arithmetic
is on int64, entities are independent of each other, and so the loops run on all cores.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from fraud.domain.aggregates import NONE, OUTCOME_MEMORY
from fraud.domain.windows import LATENESS_HOPS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_compile = numba.njit(cache=True, nogil=True, parallel=True, error_model="numpy")
_single = numba.njit(cache=True, nogil=True, error_model="numpy")
_inline = numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")


@_single
def group_rows(codes: Ints, count: int) -> tuple[Ints, Ints]:
    """Rows by code, each code's rows in order, and where each of `count` codes starts.

    A counting sort; rows whose code is negative are left out.
    """
    starts = np.zeros(count + 1, np.int64)
    for code in codes:
        if code >= 0:
            starts[code + 1] += 1
    starts = np.cumsum(starts)
    free = starts[:-1].copy()
    order = np.empty(starts[-1], np.int64)
    for row in range(len(codes)):
        code = codes[row]
        if code >= 0:
            order[free[code]] = row
            free[code] += 1
    return order, starts


@_single
def scatter(values: Floats, rows: Ints, places: Ints, out: Floats) -> None:
    """Put `values` (m, k) into columns `places` of the rows `rows` of `out` (n, features)."""
    for i in range(len(rows)):
        for k in range(len(places)):
            out[rows[i], places[k]] = values[i, k]


@_inline
def _walk(tiles: Ints, count: int, hint: int, wanted: int) -> int:
    """Place of the first of `tiles[:count]` (ascending) that is >= wanted, from a near guess."""
    place = min(hint, count)
    while place < count and tiles[place] < wanted:
        place += 1
    while place > 0 and tiles[place - 1] >= wanted:
        place -= 1
    return place


@_inline
def _add_to_tile(tiles: Ints, sums: Ints, count: int, tile: int, amounts: Ints) -> int:
    """Add an event to running sums per tile; returns the new number of tiles.

    `sums[k]` is the sum over tiles `0 .. k-1`; tiles ascend. A late event shifts what
    lies behind it.
    """
    columns = sums.shape[1]
    place = _walk(tiles, count, count, tile)
    if place == count or tiles[place] != tile:
        for k in range(count, place, -1):
            tiles[k] = tiles[k - 1]
        for k in range(count + 1, place, -1):
            for c in range(columns):
                sums[k, c] = sums[k - 1, c]
        tiles[place] = tile
        count += 1
    for k in range(place + 1, count + 1):
        for c in range(columns):
            sums[k, c] += amounts[c]
    return count


@_compile
def tile_sums(
    starts: Ints, time_us: Ints, values: Ints, hop: int, lengths: Ints, delays: Ints, out: Ints
) -> None:
    """Sums over event windows: `values` (columns, n) -> `out` (windows, columns, n).

    A time is divided by the hop once, into tile and rest; the edges of every window follow by
    `floor((t - back) / hop) = tile - back_tiles - (rest < back_rest)`.
    """
    windows, columns = len(lengths), values.shape[0]
    reach_tiles = (delays + lengths) // hop
    reach_rest = (delays + lengths) - reach_tiles * hop
    delay_tiles = delays // hop
    delay_rest = delays - delay_tiles * hop
    for group in numba.prange(len(starts) - 1):
        begin, end = starts[group], starts[group + 1]
        tiles = np.empty(end - begin, np.int64)
        sums = np.zeros((end - begin + 1, columns), np.int64)
        amounts = np.empty(columns, np.int64)
        low_hints, high_hints = np.zeros(windows, np.int64), np.zeros(windows, np.int64)
        count, latest, latest_tile, latest_rest = 0, NONE, 0, 0
        for place in range(begin, end):
            now = time_us[place]
            tile = now // hop
            rest = now - tile * hop
            for w in range(windows):
                first = tile - reach_tiles[w] - (rest < reach_rest[w])
                if latest > now:  # else the window itself ends above the horizon
                    behind = latest_tile - reach_tiles[w] - (latest_rest < reach_rest[w])
                    first = max(first, behind - LATENESS_HOPS)
                last = tile - delay_tiles[w] - (rest < delay_rest[w])
                low = _walk(tiles, count, low_hints[w], first)
                high = count
                if count > 0 and tiles[count - 1] > last:
                    high = _walk(tiles, count, high_hints[w], last + 1)
                low_hints[w], high_hints[w] = low, high
                for c in range(columns):
                    out[w, c, place] = sums[high, c] - sums[low, c] if high > low else 0
            for c in range(columns):
                amounts[c] = values[c, place]
            count = _add_to_tile(tiles, sums, count, tile, amounts)
            if now > latest:
                latest, latest_tile, latest_rest = now, tile, rest


@_compile
def label_sums(
    starts: Ints,
    time_us: Ints,
    seq: Ints,
    label_starts: Ints,
    label_seq: Ints,
    label_us: Ints,
    hop: int,
    lengths: Ints,
    out: Ints,
) -> None:
    """Fraud labels in windows over `reported_at` -> `out` (windows, n), which comes as zeros.

    `label_starts[g] : label_starts[g + 1]` are the labels about entity `g`, by observation.
    """
    one = np.ones(1, np.int64)
    for group in numba.prange(len(starts) - 1):
        begin, end = starts[group], starts[group + 1]
        label, labels_end = label_starts[group], label_starts[group + 1]
        if label == labels_end:
            continue
        tiles = np.empty(labels_end - label, np.int64)
        sums = np.zeros((labels_end - label + 1, 1), np.int64)
        count, latest = 0, NONE
        for place in range(begin, end):
            while label < labels_end and label_seq[label] < seq[place]:
                count = _add_to_tile(tiles, sums, count, label_us[label] // hop, one)
                label += 1
            now = time_us[place]
            for w in range(len(lengths) if count > 0 else 0):
                first = (now - lengths[w]) // hop
                if latest != NONE:
                    first = max(first, (latest - lengths[w]) // hop - LATENESS_HOPS)
                low = _walk(tiles, count, 0, first)
                high = _walk(tiles, count, count, now // hop + 1)
                out[w, place] = sums[high, 0] - sums[low, 0] if high > low else 0
            latest = max(latest, now)


@_compile
def fraud_times(
    starts: Ints, seq: Ints, label_starts: Ints, label_seq: Ints, label_event_us: Ints, out: Ints
) -> None:
    """Latest and earliest event time known to be fraud -> `out` (2, n), which comes as NONE."""
    for group in numba.prange(len(starts) - 1):
        label, labels_end = label_starts[group], label_starts[group + 1]
        if label == labels_end:
            continue
        latest, earliest = NONE, NONE
        for place in range(starts[group], starts[group + 1]):
            while label < labels_end and label_seq[label] < seq[place]:
                happened = label_event_us[label]
                latest = max(latest, happened)
                earliest = happened if earliest == NONE else min(earliest, happened)
                label += 1
            out[0, place] = latest
            out[1, place] = earliest


@_compile
def matured_sums(
    starts: Ints,
    time_us: Ints,
    seq: Ints,
    fraud_known_seq: Ints,
    maturity: int,
    ks: Ints,
    out: Ints,
) -> None:
    """Matured events among the last ones, and known fraud among them -> `out` (ks, 2, n).

    `fraud_known_seq` is, per event, the observation number of its fraud label (or the
    largest int64); `ks` ascends.
    """
    for group in numba.prange(len(starts) - 1):
        begin = starts[group]
        for place in range(begin, starts[group + 1]):
            ripe = time_us[place] - maturity
            count, fraud, k = 0, 0, 0
            for earlier in range(place - 1, max(begin, place - OUTCOME_MEMORY) - 1, -1):
                if time_us[earlier] > ripe:
                    continue
                count += 1
                if fraud_known_seq[earlier] < seq[place]:
                    fraud += 1
                while k < len(ks) and count == ks[k]:
                    out[k, 0, place] = count
                    out[k, 1, place] = fraud
                    k += 1
                if k == len(ks):
                    break
            while k < len(ks):
                out[k, 0, place] = count
                out[k, 1, place] = fraud
                k += 1


@_inline
def _remember(seen: Ints, when: Ints, count: int, code: int, now: int) -> int:
    """Move a value to the recent end, forgetting the oldest where the memory is full."""
    at = 0
    while at < count and seen[at] != code:
        at += 1
    if at == len(seen):
        at = 0
    elif at == count:
        count += 1
    for k in range(at, count - 1):
        seen[k] = seen[k + 1]
        when[k] = when[k + 1]
    seen[count - 1] = code
    when[count - 1] = now
    return count


@_compile
def distinct_sums(
    starts: Ints,
    time_us: Ints,
    codes: Ints,
    memory: int,
    hops: Ints,
    lengths: Ints,
    delays: Ints,
    out: Ints,
) -> None:
    """Recently seen values whose last sighting lies in the window -> `out` (windows, n).

    `codes` are the field's values as integers, -1 where null. The `memory` most recently
    seen values are remembered, the oldest is forgotten first.
    """
    for group in numba.prange(len(starts) - 1):
        seen = np.empty(memory, np.int64)
        when = np.empty(memory, np.int64)
        count = 0
        for place in range(starts[group], starts[group + 1]):
            now = time_us[place]
            for w in range(len(hops)):
                begin_us = (now - delays[w] - lengths[w]) // hops[w] * hops[w]
                end_us = ((now - delays[w]) // hops[w] + 1) * hops[w]
                total = 0
                for k in range(count):
                    total += begin_us <= when[k] < end_us
                out[w, place] = total
            if codes[place] >= 0:
                count = _remember(seen, when, count, codes[place], now)


@_compile
def lasts(starts: Ints, time_us: Ints, out: Ints) -> None:
    """Lifetime count, last and first event time -> `out` (3, n)."""
    for group in numba.prange(len(starts) - 1):
        begin = starts[group]
        for place in range(begin, starts[group + 1]):
            out[0, place] = place - begin
            out[1, place] = time_us[place - 1] if place > begin else NONE
            out[2, place] = time_us[begin] if place > begin else NONE


@_compile
def last_values(starts: Ints, value_ids: Ints, out: Ints) -> None:
    """The value before each event of a field, NONE where there was none -> `out` (n)."""
    for group in numba.prange(len(starts) - 1):
        previous = NONE
        for place in range(starts[group], starts[group + 1]):
            out[place] = previous
            if value_ids[place] != NONE:
                previous = value_ids[place]

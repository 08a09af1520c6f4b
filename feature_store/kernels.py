"""Compiled loops of the offline execution: one pass over each entity's history.

Every kernel gets the events of all entities as `order`, an array of row numbers sorted by
entity and, within an entity, by observation; `starts[g] : starts[g + 1]` are the places of
entity `g` in it. Results are written at the row's own number, so that columns need no
un-sorting. All arithmetic is on int64.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from fraud.domain.aggregates import NONE, OUTCOME_MEMORY
from fraud.domain.windows import LATENESS_HOPS

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_compile = numba.njit(cache=True, nogil=True, parallel=True, error_model="numpy")
_inline = numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")


@_inline
def _first_at_least(values: Ints, count: int, wanted: int) -> int:
    """Place of the first of `values[:count]` (ascending) that is >= wanted."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@_inline
def _add_to_tile(tiles: Ints, sums: Ints, count: int, tile: int, amounts: Ints) -> int:
    """Add an event to running sums per tile; returns the new number of tiles.

    `sums[k]` is the sum over tiles `0 .. k-1`; tiles ascend. A late event shifts what
    lies behind it.
    """
    columns = sums.shape[1]
    place = count if count == 0 or tiles[count - 1] < tile else _first_at_least(tiles, count, tile)
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
    order: Ints,
    starts: Ints,
    time_us: Ints,
    values: Ints,
    hop: int,
    lengths: Ints,
    delays: Ints,
    out: Ints,
) -> None:
    """Sums over event windows: `values` (n, columns) -> `out` (windows, columns, n)."""
    windows, columns = len(lengths), values.shape[1]
    for group in numba.prange(len(starts) - 1):
        begin, end = starts[group], starts[group + 1]
        tiles = np.empty(end - begin, np.int64)
        sums = np.zeros((end - begin + 1, columns), np.int64)
        count, latest = 0, NONE
        for place in range(begin, end):
            row = order[place]
            now = time_us[row]
            for w in range(windows):
                reach = delays[w] + lengths[w]
                first = (now - reach) // hop
                if latest != NONE:
                    first = max(first, (latest - reach) // hop - LATENESS_HOPS)
                last = (now - delays[w]) // hop
                low = _first_at_least(tiles, count, first)
                high = (
                    count
                    if count == 0 or tiles[count - 1] <= last
                    else _first_at_least(tiles, count, last + 1)
                )
                for c in range(columns):
                    out[w, c, row] = sums[high, c] - sums[low, c] if high > low else 0
            count = _add_to_tile(tiles, sums, count, now // hop, values[row])
            latest = max(latest, now)


@_compile
def label_sums(
    order: Ints,
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
    """Fraud labels in windows over `reported_at` -> `out` (windows, n).

    `label_starts[g] : label_starts[g + 1]` are the labels about entity `g`, by observation.
    """
    one = np.ones(1, np.int64)
    for group in numba.prange(len(starts) - 1):
        begin, end = starts[group], starts[group + 1]
        label, labels_end = label_starts[group], label_starts[group + 1]
        tiles = np.empty(labels_end - label, np.int64)
        sums = np.zeros((labels_end - label + 1, 1), np.int64)
        count, latest = 0, NONE
        for place in range(begin, end):
            row = order[place]
            while label < labels_end and label_seq[label] < seq[row]:
                count = _add_to_tile(tiles, sums, count, label_us[label] // hop, one)
                label += 1
            now = time_us[row]
            for w in range(len(lengths)):
                first = (now - lengths[w]) // hop
                if latest != NONE:
                    first = max(first, (latest - lengths[w]) // hop - LATENESS_HOPS)
                low = _first_at_least(tiles, count, first)
                high = _first_at_least(tiles, count, now // hop + 1)
                out[w, row] = sums[high, 0] - sums[low, 0] if high > low else 0
            latest = max(latest, now)


@_compile
def fraud_times(
    order: Ints,
    starts: Ints,
    seq: Ints,
    label_starts: Ints,
    label_seq: Ints,
    label_event_us: Ints,
    out: Ints,
) -> None:
    """Latest and earliest event time known to be fraud -> `out` (2, n)."""
    for group in numba.prange(len(starts) - 1):
        label, labels_end = label_starts[group], label_starts[group + 1]
        latest, earliest = NONE, NONE
        for place in range(starts[group], starts[group + 1]):
            row = order[place]
            while label < labels_end and label_seq[label] < seq[row]:
                happened = label_event_us[label]
                latest = max(latest, happened)
                earliest = happened if earliest == NONE else min(earliest, happened)
                label += 1
            out[0, row] = latest
            out[1, row] = earliest


@_compile
def matured_sums(
    order: Ints,
    starts: Ints,
    time_us: Ints,
    seq: Ints,
    fraud_known_seq: Ints,
    maturity: int,
    ks: Ints,
    out: Ints,
) -> None:
    """Matured events among the last ones, and known fraud among them -> `out` (ks, 2, n).

    `fraud_known_seq` is, per row, the observation number of its fraud label (or the largest
    int64); `ks` ascends.
    """
    for group in numba.prange(len(starts) - 1):
        begin = starts[group]
        for place in range(begin, starts[group + 1]):
            row = order[place]
            ripe = time_us[row] - maturity
            count, fraud, k = 0, 0, 0
            for earlier in range(place - 1, max(begin, place - OUTCOME_MEMORY) - 1, -1):
                other = order[earlier]
                if time_us[other] > ripe:
                    continue
                count += 1
                if fraud_known_seq[other] < seq[row]:
                    fraud += 1
                while k < len(ks) and count == ks[k]:
                    out[k, 0, row] = count
                    out[k, 1, row] = fraud
                    k += 1
                if k == len(ks):
                    break
            while k < len(ks):
                out[k, 0, row] = count
                out[k, 1, row] = fraud
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
    order: Ints,
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
            row = order[place]
            now = time_us[row]
            for w in range(len(hops)):
                first = (now - delays[w] - lengths[w]) // hops[w]
                last = (now - delays[w]) // hops[w]
                total = 0
                for k in range(count):
                    tile = when[k] // hops[w]
                    if first <= tile <= last:
                        total += 1
                out[w, row] = total
            if codes[row] >= 0:
                count = _remember(seen, when, count, codes[row], now)


@_compile
def lasts(
    order: Ints, starts: Ints, time_us: Ints, value_ids: Ints, out: Ints, out_values: Ints
) -> None:
    """Lifetime count, last and first event time -> `out` (3, n); last values of the fields.

    `value_ids` (fields, n) are the fields' values, NONE where null; `out_values` alike.
    """
    fields = value_ids.shape[0]
    for group in numba.prange(len(starts) - 1):
        begin = starts[group]
        previous = np.full(fields, NONE, np.int64)
        for place in range(begin, starts[group + 1]):
            row = order[place]
            out[0, row] = place - begin
            if place > begin:
                out[1, row] = time_us[order[place - 1]]
                out[2, row] = time_us[order[begin]]
            for f in range(fields):
                out_values[f, row] = previous[f]
                if value_ids[f, row] != NONE:
                    previous[f] = value_ids[f, row]

"""Compiled loops over fraud labels: what was known of an entity's events, and when.

Columns are as in `kernels.py`. A label is the number of an acting one, which rise with their
observation; `labels_known` is how many had been observed before each event. So a label acts on
an event if its number is below that.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from feature_store.kernels import BEYOND, Ints, add_to_tile, largest_group, walk
from fraud.domain.aggregates import NONE, OUTCOME_MEMORY, OUTCOME_PARTS
from fraud.domain.windows import LATENESS_HOPS

NO_LABEL = np.iinfo(np.int32).max
"""The label number of an event on which no fraud label acts."""

_RUN, _GENUINE, _UNMATURED = map(OUTCOME_PARTS.index, ("fraud_run", "genuine", "unmatured"))
_COUNT, _LOG, _LARGEST, _TIME = range(4)  # as in OUTCOME_FIGURES

Flags = NDArray[np.bool_]

_compile = numba.njit(cache=True, nogil=True, error_model="numpy")
_inline = numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")


@_compile
def label_sums(
    starts: Ints,
    time_us: Ints,
    labels_known: Ints,
    label_starts: Ints,
    labels: Ints,
    label_us: Ints,
    hop: int,
    lengths: Ints,
    out: Ints,
) -> None:
    """Fraud labels in windows over `reported_at` -> `out` (windows, n).

    `label_starts[g] : label_starts[g + 1]` are the labels about entity `g`, ascending.
    """
    columns = np.zeros(1, np.int64)  # a count and nothing else
    for group in range(len(starts) - 1):
        begin, end = starts[group], starts[group + 1]
        label, labels_end = label_starts[group], label_starts[group + 1]
        if label == labels_end:
            out[:, begin:end] = 0
            continue
        tiles = np.full(labels_end - label + 1, BEYOND)
        sums = np.zeros((labels_end - label + 1, 1), np.int64)
        count, latest = 0, NONE
        for place in range(begin, end):
            while label < labels_end and labels[label] < labels_known[place]:
                tile = label_us[label] // hop
                count = add_to_tile(tiles, sums, count, tile, columns, 0, 0)
                label += 1
            now = time_us[place]
            for w in range(len(lengths)):
                if count == 0:
                    out[w, place] = 0
                    continue
                first = (now - lengths[w]) // hop
                if latest != NONE:
                    first = max(first, (latest - lengths[w]) // hop - LATENESS_HOPS)
                low = walk(tiles, 0, first)
                high = walk(tiles, count, now // hop + 1)
                out[w, place] = sums[high, 0] - sums[low, 0] if high > low else 0
            latest = max(latest, now)


@_compile
def fraud_times(
    starts: Ints,
    labels_known: Ints,
    label_starts: Ints,
    labels: Ints,
    label_event_us: Ints,
    out: Ints,
) -> None:
    """Latest and earliest event time known to be fraud, NONE where none -> `out` (2, n)."""
    for group in range(len(starts) - 1):
        label, labels_end = label_starts[group], label_starts[group + 1]
        latest, earliest = NONE, NONE
        for place in range(starts[group], starts[group + 1]):
            while label < labels_end and labels[label] < labels_known[place]:
                happened = label_event_us[label]
                latest = max(latest, happened)
                earliest = happened if earliest == NONE else min(earliest, happened)
                label += 1
            out[0, place] = latest
            out[1, place] = earliest


@_inline
def _mature_end(time_us: Ints, first: int, place: int, hint: int, ripe: int) -> int:
    """Where the mature ones of the events `first` to `place` end, whose times ascend."""
    end = max(hint, first)
    while end < place and time_us[end] <= ripe:
        end += 1
    while end > first and time_us[end - 1] > ripe:
        end -= 1
    return end


@_inline
def _fraud_sums(
    frauds: Ints, count: int, begin: int, end: int, label: Ints, known: int, log: Ints
) -> tuple[int, int]:
    """Number and logs of the known frauds from `begin` to `end`.

    `frauds[:count]` are the places of the events that ever get a label, ascending.
    """
    found, total = 0, 0
    while count > 0 and frauds[count - 1] >= begin:
        count -= 1
        if frauds[count] < end and label[frauds[count]] < known:
            found += 1
            total += log[frauds[count]]
    return found, total


@_compile
def matured_sums(
    starts: Ints,
    time_us: Ints,
    label: Ints,
    labels_known: Ints,
    maturity: int,
    ks: Ints,
    out: Ints,
) -> None:
    """Matured events among the last ones, and known fraud among them -> `out` (ks, 2, n).

    `label` is each event's label, or NO_LABEL; `ks` ascends. Where times ascend, as they
    nearly always do, the mature ones of some successive events are the first ones.
    """
    frauds = np.empty(largest_group(starts), np.int64)
    for group in range(len(starts) - 1):
        begin = starts[group]
        end, unsorted, labelled = begin, begin, 0
        for place in range(begin, starts[group + 1]):
            first, ripe = max(begin, place - OUTCOME_MEMORY), time_us[place] - maturity
            if unsorted > first:
                _matured_one_by_one(place, first, ripe, time_us, label, labels_known, ks, out)
            else:
                end = _mature_end(time_us, first, place, end, ripe)
                for k in range(len(ks)):
                    count = min(ks[k], end - first)
                    known = labels_known[place]
                    fraud, _ = _fraud_sums(frauds, labelled, end - count, end, label, known, label)
                    out[k, 0, place] = count
                    out[k, 1, place] = fraud
            unsorted = place if place > begin and time_us[place] < time_us[place - 1] else unsorted
            frauds[labelled] = place
            labelled += int(label[place] != NO_LABEL)


@_inline
def _matured_one_by_one(
    place: int,
    first: int,
    ripe: int,
    time_us: Ints,
    label: Ints,
    labels_known: Ints,
    ks: Ints,
    out: Ints,
) -> None:
    count, fraud, k = 0, 0, 0
    for earlier in range(place - 1, first - 1, -1):
        if time_us[earlier] > ripe:
            continue
        count += 1
        fraud += label[earlier] < labels_known[place]
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
def _one_by_one(
    figures: Ints,
    begin: int,
    end: int,
    time_us: Ints,
    log: Ints,
    ripe: int,
    label: Ints,
    known: int,
) -> None:
    """All figures of the events from `begin` to `end`, the last one first."""
    figures[:] = 0
    figures[:, _TIME] = NONE
    is_run = True
    for place in range(end - 1, begin - 1, -1):
        if time_us[place] > ripe:
            part = _UNMATURED
        elif label[place] >= known:
            part, is_run = _GENUINE, False
        elif is_run:
            part = _RUN
        else:
            continue
        if part == _RUN or figures[part, _COUNT] == 0:
            figures[part, _TIME] = time_us[place]
        figures[part, _COUNT] += 1
        figures[part, _LOG] += log[place]
        figures[part, _LARGEST] = max(figures[part, _LARGEST], log[place])


@_inline
def _run_begin(first: int, end: int, label: Ints, known: int) -> int:
    """Where the known frauds begin that end the mature events `first` to `end`."""
    run = end
    while run > first and label[run - 1] < known:
        run -= 1
    return run


@_inline
def _span(part: int, first: int, run: int, end: int, place: int) -> tuple[int, int]:
    """Where a part begins and ends, if times ascend."""
    if part == _GENUINE:
        return first, run
    if part == _RUN:
        return run, end
    return end, place


@_inline
def _time_of(part: int, low: int, high: int, time_us: Ints) -> int:
    """The time that stands for a part, see `OutcomesOf`."""
    if low == high:
        return NONE
    time: int = time_us[low if part == _RUN else high - 1]
    return time


@_inline
def _largest_log(log: Ints, begin: int, end: int, label: Ints, known: int, part: int) -> int:
    """The largest log of a part that lies from `begin` to `end`."""
    found = 0
    for place in range(begin, end):
        if part != _GENUINE or label[place] >= known:
            found = max(found, log[place])
    return found


@_compile
def outcome_parts(
    starts: Ints,
    time_us: Ints,
    label: Ints,
    labels_known: Ints,
    log: Ints,
    maturity: int,
    wanted: Ints,
    out: Ints,
) -> None:
    """Figures of the parts of an entity's last events -> `out` (figures, n).

    `wanted` (figures, 2) says which: numbers of part and figure, as in `OUTCOME_PARTS` and
    `OUTCOME_FIGURES`; `label` is as in `matured_sums`. Where times ascend, the parts follow
    upon each other: genuine events (and frauds between them), the run, the unmatured ones.
    """
    largest = largest_group(starts)
    figures, frauds = np.empty((3, 4), np.int64), np.empty(largest, np.int64)
    totals = np.zeros(largest + 1, np.int64)  # running totals of logs
    for group in range(len(starts) - 1):
        begin = starts[group]
        end, unsorted, labelled = begin, begin, 0
        for place in range(begin, starts[group + 1]):
            first, ripe = max(begin, place - OUTCOME_MEMORY), time_us[place] - maturity
            known = labels_known[place]
            if unsorted > first:
                _one_by_one(figures, first, place, time_us, log, ripe, label, known)
                for k in range(len(wanted)):
                    out[k, place] = figures[wanted[k, 0], wanted[k, 1]]
            else:
                end = _mature_end(time_us, first, place, end, ripe)
                run = _run_begin(first, end, label, known)
                between = _fraud_sums(frauds, labelled, first, run, label, known, log)
                for k in range(len(wanted)):
                    part, figure = wanted[k, 0], wanted[k, 1]
                    low, high = _span(part, first, run, end, place)
                    if figure == _LARGEST:
                        out[k, place] = _largest_log(log, low, high, label, known, part)
                    elif figure == _TIME:
                        out[k, place] = _time_of(part, low, high, time_us)
                    else:
                        logs = totals[high - begin] - totals[low - begin]
                        whole = logs if figure == _LOG else high - low
                        out[k, place] = whole - (between[figure] if part == _GENUINE else 0)
            totals[place - begin + 1] = totals[place - begin] + log[place]
            unsorted = place if place > begin and time_us[place] < time_us[place - 1] else unsorted
            frauds[labelled] = place
            labelled += int(label[place] != NO_LABEL)

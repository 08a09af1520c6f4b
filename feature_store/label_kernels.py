"""Compiled loops over fraud labels: what was known of an entity's events, and when.

Columns are as in `kernels.py`. A label is the number of an acting one, which rise with their
observation; `labels_known` is how many had been observed before each event. So a label acts on
an event if its number is below that.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from feature_store.kernels import Ints, add_to_tile, largest_group, walk
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
    one = np.ones(1, np.int64)
    for group in range(len(starts) - 1):
        begin, end = starts[group], starts[group + 1]
        label, labels_end = label_starts[group], label_starts[group + 1]
        if label == labels_end:
            out[:, begin:end] = 0
            continue
        tiles = np.empty(labels_end - label, np.int64)
        sums = np.zeros((labels_end - label + 1, 1), np.int64)
        count, latest = 0, NONE
        for place in range(begin, end):
            while label < labels_end and labels[label] < labels_known[place]:
                count = add_to_tile(tiles, sums, count, label_us[label] // hop, one)
                label += 1
            now = time_us[place]
            for w in range(len(lengths)):
                if count == 0:
                    out[w, place] = 0
                    continue
                first = (now - lengths[w]) // hop
                if latest != NONE:
                    first = max(first, (latest - lengths[w]) // hop - LATENESS_HOPS)
                low = walk(tiles, count, 0, first)
                high = walk(tiles, count, count, now // hop + 1)
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
def _mature_end(time_us: Ints, first: int, place: int, unsorted: int, hint: int, ripe: int) -> int:
    """Where the mature ones of the events `first` to `place` end, or `place` if any may be.

    Where times ascend, as they nearly always do, the mature events are the first ones.
    """
    if unsorted > first:
        return place
    end = max(hint, first)
    while end < place and time_us[end] <= ripe:
        end += 1
    while end > first and time_us[end - 1] > ripe:
        end -= 1
    return end


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

    `label` is each event's label, or NO_LABEL; `ks` ascends.
    """
    for group in range(len(starts) - 1):
        begin = starts[group]
        end, unsorted = begin, begin
        for place in range(begin, starts[group + 1]):
            first, ripe = max(begin, place - OUTCOME_MEMORY), time_us[place] - maturity
            end = _mature_end(time_us, first, place, unsorted, end, ripe)
            count, fraud, k = 0, 0, 0
            for earlier in range(end - 1, first - 1, -1):
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
            if place > begin and time_us[place] < time_us[place - 1]:
                unsorted = place


@_inline
def _put_span(
    figures: Ints, begin: int, end: int, time_us: Ints, log: Ints, total: int, seeks: bool
) -> None:
    """The figures of a part that is the events from `begin` to `end`; `total` is of their logs."""
    figures[_COUNT] = end - begin
    figures[_LOG] = total
    if seeks:
        for place in range(begin, end):
            figures[_LARGEST] = max(figures[_LARGEST], log[place])
    if end > begin:
        figures[_TIME] = time_us[end - 1]


@_inline
def _put_each(
    figures: Ints,
    begin: int,
    end: int,
    time_us: Ints,
    log: Ints,
    ripe: int,
    label: Ints,
    known: int,
) -> None:
    """Add the events from `begin` to `end` one by one, the last one first."""
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
def _sought(wanted: Ints) -> Flags:
    """Of which parts the largest log is wanted."""
    seeks = np.zeros(3, np.bool_)
    for k in range(len(wanted)):
        seeks[wanted[k, 0]] |= wanted[k, 1] == _LARGEST
    return seeks


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
    `OUTCOME_FIGURES`; `label` is as in `matured_sums`. Where times ascend and no event has a
    label, parts are spans of events, whose logs are the difference of two running totals.
    """
    figures, seeks = np.empty((3, 4), np.int64), _sought(wanted)
    totals = np.empty(largest_group(starts) + 1, np.int64)
    for group in range(len(starts) - 1):
        begin = starts[group]
        end, unsorted, labelled = begin, begin, begin - 1
        totals[0] = 0
        for place in range(begin, starts[group + 1]):
            first, ripe = max(begin, place - OUTCOME_MEMORY), time_us[place] - maturity
            figures[:, :_TIME] = 0
            figures[:, _TIME] = NONE
            end = _mature_end(time_us, first, place, unsorted, end, ripe)
            rest = end
            if unsorted <= first:
                total = totals[place - begin] - totals[end - begin]
                part, is_sought = figures[_UNMATURED], seeks[_UNMATURED]
                _put_span(part, end, place, time_us, log, total, is_sought)
                if labelled < first:
                    total = totals[end - begin] - totals[first - begin]
                    part, is_sought = figures[_GENUINE], seeks[_GENUINE]
                    _put_span(part, first, end, time_us, log, total, is_sought)
                    rest = first
            known = labels_known[place]
            _put_each(figures, first, rest, time_us, log, ripe, label, known)
            for k in range(len(wanted)):
                out[k, place] = figures[wanted[k, 0], wanted[k, 1]]
            totals[place - begin + 1] = totals[place - begin] + log[place]
            if place > begin and time_us[place] < time_us[place - 1]:
                unsorted = place
            if label[place] != NO_LABEL:
                labelled = place

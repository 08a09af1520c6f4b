"""Compiled loops over the outcomes of an entity's last events; see `label_kernels.py`."""

import numpy as np

from feature_store.ascending import SENTINELS, copied_if_ascending, first_inside, running_totals
from feature_store.kernels import Ints, largest_group
from feature_store.label_kernels import NO_LABEL
from feature_store.machine_code import compiled, inlined
from fraud.domain.aggregates import NONE, OUTCOME_MEMORY, OUTCOME_PARTS

_RUN, _GENUINE, _UNMATURED = map(OUTCOME_PARTS.index, ("fraud_run", "genuine", "unmatured"))
_COUNT, _LOG, _LARGEST, _TIME = range(4)  # as in OUTCOME_FIGURES


@compiled
def outcomes(
    starts: Ints,
    time_us: Ints,
    label: Ints,
    labels_known: Ints,
    log: Ints,
    maturity: int,
    ks: Ints,
    matured: Ints,
    wanted: Ints,
    figures: Ints,
) -> None:
    """What became of an entity's last events.

    Args:
        starts: of the entities.
        time_us: event times.
        label: of each event its label, or NO_LABEL.
        labels_known: see above.
        log: quantised log amounts.
        maturity: of a label, in microseconds.
        ks: numbers of matured events to look at, ascending.
        matured: takes how many there are, and known fraud among them, shape (ks, 2, n).
        wanted: numbers of part and figure, as in `OUTCOME_PARTS` and `OUTCOME_FIGURES`,
            shape (figures, 2).
        figures: takes these figures of the parts of the last events, shape (figures, n).
    """
    largest = largest_group(starts)
    times, scratch = np.empty(largest + SENTINELS, np.int64), np.empty((7, largest), np.int64)
    table = np.empty((3, 4), np.int64)
    for group in range(len(starts) - 1):
        begin, end = starts[group], starts[group + 1]
        if copied_if_ascending(time_us[begin:end], times):
            of_group = label[begin:end], labels_known[begin:end], log[begin:end]
            own = matured[:, :, begin:end], wanted, figures[:, begin:end]
            _ascending_outcomes(times, *of_group, maturity, ks, *own, scratch[:, : end - begin])
            continue
        for place in range(begin, end):
            first, ripe = max(begin, place - OUTCOME_MEMORY), time_us[place] - maturity
            _matured_one_by_one(place, first, ripe, time_us, label, labels_known, ks, matured)
            known = labels_known[place]
            _one_by_one(table, first, place, time_us, log, ripe, label, known)
            for k in range(len(wanted)):
                figures[k, place] = table[wanted[k, 0], wanted[k, 1]]


@compiled
def _ascending_outcomes(
    times: Ints,
    label: Ints,
    known: Ints,
    log: Ints,
    maturity: int,
    ks: Ints,
    matured: Ints,
    wanted: Ints,
    figures: Ints,
    scratch: Ints,
) -> None:
    """`outcomes` of one entity whose times ascend.

    Then its last events are in turn: genuine ones and frauds between them, the run, those not
    matured. At first no event is taken for fraud; then labels, which are rare, say to which
    later events it was.
    """
    size = len(label)
    here, first, end, run, frauds, logs, totals = scratch
    for i in range(size):
        here[i], first[i], frauds[i], logs[i] = i, max(i - OUTCOME_MEMORY, 0), 0, 0
    first_inside(times, times[:size], frauds, maturity - 1, 1, end)
    for i in range(size):
        end[i] = min(max(end[i], first[i]), i)
        run[i] = end[i]
    for k in range(len(ks)):
        for i in range(size):
            matured[k, 0, i], matured[k, 1, i] = min(ks[k], end[i] - first[i]), 0
    _find_frauds(label, known, log, ks, scratch, matured)
    running_totals(2, log, log, totals)
    for k in range(len(wanted)):
        part, figure = wanted[k, 0], wanted[k, 1]
        if part == _UNMATURED:
            _figure(part, figure, end, here, times, label, known, log, totals, figures[k])
        elif part == _RUN:
            _figure(part, figure, run, end, times, label, known, log, totals, figures[k])
        else:
            _figure(part, figure, first, run, times, label, known, log, totals, figures[k])
            _without_frauds(figure, end, run, frauds, logs, totals, figures[k])


@inlined
def _find_frauds(
    label: Ints, known: Ints, log: Ints, ks: Ints, scratch: Ints, matured: Ints
) -> None:
    """Tells later events of each fraud: adds to `matured`, `frauds`, `logs`, and sets `run`."""
    _, first, end, run, frauds, logs, _ = scratch
    for fraud in range(len(label)):
        if label[fraud] == NO_LABEL:
            continue
        for i in range(fraud + 1, min(fraud + OUTCOME_MEMORY + 1, len(label))):
            if fraud < end[i] and label[fraud] < known[i]:
                frauds[i] += 1
                logs[i] += log[fraud]
                if fraud == end[i] - 1:
                    run[i] = _run_begin(first[i], end[i], label, known[i])
                for k in range(len(ks)):
                    matured[k, 1, i] += int(fraud >= end[i] - ks[k])


@inlined
def _without_frauds(
    figure: int, end: Ints, run: Ints, frauds: Ints, logs: Ints, totals: Ints, out: Ints
) -> None:
    """Takes the frauds that lie before the run off a figure of all events before it."""
    if figure == _COUNT:
        for i in range(len(out)):
            out[i] -= frauds[i] - (end[i] - run[i])
    elif figure == _LOG:
        for i in range(len(out)):
            out[i] -= logs[i] - (totals[end[i]] - totals[run[i]])


@compiled
def _figure(
    part: int,
    figure: int,
    low: Ints,
    high: Ints,
    times: Ints,
    label: Ints,
    known: Ints,
    log: Ints,
    totals: Ints,
    out: Ints,
) -> None:
    """A figure of the events from `low` to `high` -> `out`."""
    if figure == _COUNT:
        for i in range(len(out)):
            out[i] = high[i] - low[i]
    elif figure == _LOG:
        for i in range(len(out)):
            out[i] = totals[high[i]] - totals[low[i]]
    elif figure == _TIME:
        for i in range(len(out)):
            time_us = times[low[i] if part == _RUN else max(high[i], 1) - 1]
            out[i] = time_us if low[i] < high[i] else NONE
    elif part == _UNMATURED:
        _largest_since(low, log, out)
    else:
        _largest_between(part, low, high, label, known, log, out)


@inlined
def _largest_between(
    part: int, low: Ints, high: Ints, label: Ints, known: Ints, log: Ints, out: Ints
) -> None:
    """The largest log of a matured part that lies from `low` to `high` -> `out`."""
    for i in range(len(out)):
        out[i] = 0
        for place in range(low[i], high[i]):
            if part == _RUN or label[place] >= known[i]:
                out[i] = max(out[i], log[place])


@inlined
def _largest_since(low: Ints, log: Ints, out: Ints) -> None:
    """The largest log from `low`, which rises, to each event itself, excluded -> `out`.

    Events up to `middle` have the largest from them to it in `largest`; `later` is that of
    the others. So each event is looked at twice, however many there are at a time.
    """
    largest = np.empty(len(log), np.int64)
    middle, later = 0, 0
    for i in range(len(log)):
        if low[i] >= middle:
            middle, later, most = i, 0, 0
            for place in range(i - 1, low[i] - 1, -1):
                most = max(most, log[place])
                largest[place] = most
        out[i] = max(largest[low[i]], later) if low[i] < middle else later
        later = max(later, log[i])


@inlined
def _run_begin(first: int, end: int, label: Ints, known: int) -> int:
    """Where the known frauds begin that end the mature events `first` to `end`."""
    run = end
    while run > first and label[run - 1] < known:
        run -= 1
    return run


@inlined
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


@inlined
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

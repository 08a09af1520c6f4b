"""Windows over the events of one entity whose times ascend, as they nearly always do.

Then the events of a window are successive ones, and no tiles are needed: the first and the
last of them move on from event to event, and sums are differences of running totals. What can
be done for all events of an entity at once is a loop of its own, which the processor's vector
instructions take.
"""

import numpy as np
from numpy.typing import NDArray

from feature_store.machine_code import inlined
from fraud.domain.aggregates import NONE

Ints = NDArray[np.int64]

BEYOND = np.iinfo(np.int64).max
"""Stands behind the last time or tile of a list."""

SENTINELS = 3
"""How many of them `move_on` may look at."""


@inlined
def copied_if_ascending(time_us: Ints, times: Ints) -> bool:
    """Copies the times, with `SENTINELS` behind them; whether they ascend."""
    falls, previous = 0, NONE
    for i in range(len(time_us)):
        falls += int(time_us[i] < previous)
        previous = time_us[i]
        times[i] = previous
    times[len(time_us) : len(time_us) + SENTINELS] = BEYOND
    return falls == 0


@inlined
def tile_edges(times: Ints, hop: int, begins: Ints, rests: Ints) -> None:
    """Where the tile of each time begins, and how long before it that was.

    By a multiplication instead of a division: it is within one of the truth.
    """
    per_us = 1.0 / hop
    for i in range(len(begins)):
        rest = times[i] - int(times[i] * per_us) * hop
        rest += hop if rest < 0 else 0
        rest -= hop if rest >= hop else 0
        begins[i], rests[i] = times[i] - rest, rest


@inlined
def first_inside(times: Ints, begins: Ints, rests: Ints, back: int, hop: int, found: Ints) -> None:
    """Of each event, the first one that is in the tile of `back` before it, or later.

    That tile begins at `floor((t - back) / hop) * hop`. The first steps are additions, so that
    the processor need not guess how far it goes; it is seldom further.
    """
    whole = back // hop * hop
    part = back - whole
    place, one, two = np.uint64(0), np.uint64(1), np.uint64(2)  # unsigned: none counts from the end
    for i in range(len(begins)):
        edge = begins[i] - whole - (hop if rests[i] < part else 0)
        steps = np.uint64(times[place] < edge) + np.uint64(times[place + one] < edge)
        place += steps + np.uint64(times[place + two] < edge)
        while times[place] < edge:
            place += one
        found[i] = place


@inlined
def running_totals(column: int, amount: Ints, log: Ints, totals: Ints) -> None:
    """Totals of what stands before each event, columns as in `plan.COLUMN_ORDER`."""
    total = 0
    for i in range(len(amount)):
        totals[i] = total
        if column == 1:
            total += amount[i]
        else:
            total += log[i] if column == 2 else log[i] * log[i]


@inlined
def difference(totals: Ints, low: Ints, high: Ints, out: Ints) -> None:
    """What the events from `low` to `high` add up to -> `out`."""
    for i in range(len(out)):
        begin, end = low[i], high[i]
        out[i] = totals[np.uint64(end)] - totals[np.uint64(min(begin, end))]


@inlined
def number(low: Ints, high: Ints, out: Ints) -> None:
    """How many events there are from `low` to `high` -> `out`."""
    for i in range(len(out)):
        out[i] = max(high[i] - low[i], 0)

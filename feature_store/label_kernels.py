"""Compiled loops over fraud labels: what was known of an entity's events, and when.

Columns are as in `kernels.py`. A label is the number of an acting one, which rise with their
observation; `labels_known` is how many had been observed before each event. So a label acts on
an event if its number is below that.
"""

import numpy as np

from feature_store.ascending import BEYOND
from feature_store.kernels import Ints, add_to_tile, tile_of, walk
from feature_store.machine_code import compiled
from fraud.domain.aggregates import NONE
from fraud.domain.windows import LATENESS_HOPS

NO_LABEL = np.iinfo(np.int32).max
"""The label number of an event on which no fraud label acts."""


@compiled
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
    per_us = 1.0 / hop
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
                tile, _ = tile_of(label_us[label], hop, per_us)
                count = add_to_tile(tiles, sums, count, tile, columns, 0, 0)
                label += 1
            now = time_us[place]
            for w in range(len(lengths)):
                if count == 0:
                    out[w, place] = 0
                    continue
                first, _ = tile_of(now - lengths[w], hop, per_us)
                if latest > now:  # else the window itself ends above the horizon
                    behind, _ = tile_of(latest - lengths[w], hop, per_us)
                    first = max(first, behind - LATENESS_HOPS)
                last, _ = tile_of(now, hop, per_us)
                low, high = walk(tiles, 0, first), walk(tiles, count, last + 1)
                out[w, place] = sums[high, 0] - sums[low, 0] if high > low else 0
            latest = max(latest, now)


@compiled
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

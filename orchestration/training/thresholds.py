"""Thresholds: from which probability on to review, to block, and to call it critical."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from fraud.domain.policy import Costs, Thresholds
from orchestration.training.metrics import cost_per_event
from orchestration.training.split import Sample

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CRITICAL_PRECISION = 0.99
"""Alerts at or above the critical threshold are to be fraud this often."""


def choose_thresholds(
    probability: Floats, sample: Sample, costs: Costs, fallback: Thresholds
) -> Thresholds:
    """The thresholds that would have cost least on a sample, within the analysts' capacity.

    Ranked by probability, the first events are blocked, the next reviewed, the rest
    approved; both borders are found exactly. No more are reviewed per day, on average, than
    `costs.daily_reviews`. Critical starts where blocked events are fraud at least 99 % of
    the time; it blocks as well, so it costs nothing to choose.

    Args:
        probability: calibrated, shape (n,).
        sample: the events they belong to; never the ones reported on.
        costs: of the fraud type.
        fallback: answered where the sample holds no fraud.
    """
    if not sample.is_fraud.any():
        return fallback
    order = np.argsort(-probability, kind="stable")
    ranked, is_fraud = probability[order], sample.is_fraud[order]
    approve, review, block = cost_per_event(is_fraud, sample.amount_minor[order], costs)
    capacity = int(costs.daily_reviews * sample.days)
    borders = _borders(ranked)
    blocked, alerted = _cheapest(
        np.append(0.0, np.cumsum(block - approve))[borders],
        np.append(0.0, np.cumsum(review - approve))[borders],
        borders,
        capacity,
    )
    block_at, review_at = _between(ranked, blocked), _between(ranked, alerted)
    return Thresholds(review_at, block_at, max(block_at, _critical(ranked, is_fraud, borders)))


def _borders(ranked: Floats) -> Ints:
    """Numbers of leading events that a threshold can separate from the rest, 0 included."""
    changes = np.flatnonzero(np.diff(ranked) != 0) + 1
    return np.concatenate(([0], changes, [len(ranked)])).astype(np.int64)


def _cheapest(blocking: Floats, reviewing: Floats, borders: Ints, capacity: int) -> tuple[int, int]:
    """How many to block and how many to alert: least cost, at most `capacity` in between.

    Blocking the first B events and reviewing up to the A-th adds
    `blocking(B) + reviewing(A) - reviewing(B)` to the cost of approving all of them; a
    sliding minimum of `reviewing` finds the best pair in one pass.

    Args:
        blocking: added cost of blocking the events before each border, cumulative.
        reviewing: the same for reviewing them.
        borders: numbers of leading events, rising.
        capacity: most events to review.
    """
    best = (np.inf, 0, 0)
    window: deque[int] = deque()
    ahead = 0
    for place, count in enumerate(borders):
        while ahead < len(borders) and borders[ahead] - count <= capacity:
            while window and reviewing[window[-1]] >= reviewing[ahead]:
                window.pop()
            window.append(ahead)
            ahead += 1
        while window[0] < place:
            window.popleft()
        cost = blocking[place] + reviewing[window[0]] - reviewing[place]
        if cost < best[0]:
            best = (cost, int(count), int(borders[window[0]]))
    return best[1], best[2]


def _critical(ranked: Floats, is_fraud: NDArray[np.bool_], borders: Ints) -> float:
    """Least probability above which fraud has the share CRITICAL_PRECISION."""
    precision = np.cumsum(is_fraud)[borders[1:] - 1] / borders[1:]
    enough = borders[1:][precision >= CRITICAL_PRECISION]
    return _between(ranked, int(enough[-1]) if len(enough) else 0)


def _between(ranked: Floats, count: int) -> float:
    """A probability that separates the first `count` events from the next."""
    above = ranked[count - 1] if count else 1.0
    below = ranked[count] if count < len(ranked) else 0.0
    middle = (above + below) / 2.0
    return float(middle if middle > below else above)

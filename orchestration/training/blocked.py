"""How good decisions to block are, although what is blocked never shows what it was.

What was let through at random stands for what was not: each with the weight 1 / propensity
(Horvitz & Thompson 1952), the share of fraud as the ratio of two such sums (Hajek 1971).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

STANDARD_ERRORS = 1.96
"""Half a 95 % interval of a normal estimate."""


@dataclass(frozen=True)
class BlockQuality:
    """The precision of decisions to block.

    Attributes:
        precision: share of fraud among them, weighted; NaN where nothing was let through.
        low: lower end of its 95 % interval.
        high: its upper end.
        blocked: decisions to block, with what was let through of them.
        let_through: of these, those let through whose truth is known.
        covered: share of them that had a chance of being let through; the rest came when the
            day's budget was spent, and the precision says nothing of it.
    """

    precision: float
    low: float
    high: float
    blocked: int
    let_through: int
    covered: float


def block_quality(propensity: Floats, is_let_through: Flags, is_fraud: Flags) -> BlockQuality:
    """The precision of decisions that the model alone would block.

    Args:
        propensity: chance of each to be let through, shape (n,); 0 where the budget was spent.
        is_let_through: which ones were, and have a known truth, shape (n,).
        is_fraud: their truth; what it says of the others is never looked at, shape (n,).
    """
    seen = is_let_through & (propensity > 0)
    weight = 1.0 / propensity[seen]
    fraud = is_fraud[seen].astype(np.float64)
    count, covered = len(propensity), float(np.mean(propensity > 0)) if len(propensity) else 0.0
    if not seen.any():
        return BlockQuality(np.nan, np.nan, np.nan, count, 0, covered)
    precision = float(weight @ fraud / weight.sum())
    # Linearised variance of a ratio under Poisson sampling (Sarndal et al. 1992, section 5.6).
    residual = (1.0 - propensity[seen]) * (weight * (fraud - precision)) ** 2
    error = STANDARD_ERRORS * float(np.sqrt(residual.sum())) / float(weight.sum())
    low, high = max(0.0, precision - error), min(1.0, precision + error)
    return BlockQuality(precision, low, high, count, int(seen.sum()), covered)


def row_weights(propensity: Floats, is_let_through: Flags) -> Floats:
    """The weight of each decided event in training or in a metric, shape (n,).

    Args:
        propensity: NaN where the event was not blocked, or had to stay so.
        is_let_through: whether it was let through.

    Returns:
        1 for what was never to be blocked, 1 / propensity for what was let through, and 0 for
        what stayed blocked: others stand for it.
    """
    weight = np.ones(len(propensity))
    would_block = ~np.isnan(propensity)
    weight[would_block] = 0.0
    weight[is_let_through] = 1.0 / propensity[is_let_through]
    return weight

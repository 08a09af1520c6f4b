"""Confidence intervals, and champion against challenger, by bootstrap over customers.

A customer's events resemble each other, so events are no independent draws: resampling them
one by one would make every interval too narrow. Whole customers are drawn with replacement
instead (the cluster bootstrap of Field & Welsh 2007), as weights: a customer drawn twice counts
twice. Scores are sorted once; each resample then costs two cumulative sums.

Champion and challenger are compared on the same rows under the same draws (a paired test), so
what is easy or hard for both of them cancels out of the difference.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fraud.domain.errors import ContractError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Statistic = Callable[[Floats], float]
"""Weight per customer, shape (C,) -> the figure; NaN where the draw leaves it undefined."""

RESAMPLES = 500
CONFIDENCE = 0.95
SEED = 7

MetricName = Literal["average_precision", "roc_auc", "recall_at_1pct_fpr"]


@dataclass(frozen=True)
class Interval:
    """A figure of a sample and where it may lie in another one like it.

    Attributes:
        value: of the sample itself.
        low: lower end of the percentile interval.
        high: its upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A challenger's figure less the champion's, on the same rows.

    Attributes:
        metric: which figure.
        champion: the champion's.
        challenger: the challenger's.
        difference: challenger less champion, with its interval.
        p_value: two-sided, of no difference (Davison & Hinkley 1997, section 4.4).
        resamples: draws of customers.
        customers: drawn from.
    """

    metric: str
    champion: float
    challenger: float
    difference: Interval
    p_value: float
    resamples: int
    customers: int


class RankedSample:
    """Scores sorted once, so that weighted ranking figures cost a few passes.

    Args:
        scores: shape (n,); higher is more suspicious.
        labels: truth, shape (n,).
        customers: number of each event's customer, from 0, shape (n,).
    """

    def __init__(self, scores: Floats, labels: Flags, customers: Ints) -> None:
        order = np.argsort(-scores, kind="stable")
        self._customers = customers[order]
        self._is_fraud = labels[order].astype(np.float64)
        # Equal scores are one step of every curve.
        self._steps = np.append(np.flatnonzero(np.diff(scores[order]) != 0), len(scores) - 1)

    def _flagged(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weight of the fraud and of the genuine events down to each step."""
        weight = weights[self._customers]
        fraud = np.cumsum(weight * self._is_fraud)[self._steps]
        genuine = np.cumsum(weight * (1.0 - self._is_fraud))[self._steps]
        return fraud, genuine

    def average_precision(self, weights: Floats) -> float:
        """As `sklearn.metrics.average_precision_score` with these weights."""
        fraud, genuine = self._flagged(weights)
        if fraud[-1] == 0:
            return np.nan
        precision = fraud / np.maximum(fraud + genuine, 1.0)
        return float(np.diff(fraud, prepend=0.0) @ precision / fraud[-1])

    def roc_auc(self, weights: Floats) -> float:
        """As `sklearn.metrics.roc_auc_score` with these weights."""
        fraud, genuine = self._flagged(weights)
        if fraud[-1] == 0 or genuine[-1] == 0:
            return np.nan
        middle = fraud - np.diff(fraud, prepend=0.0) / 2.0
        return float(np.diff(genuine, prepend=0.0) @ middle / (fraud[-1] * genuine[-1]))

    def recall_at_1pct_fpr(self, weights: Floats) -> float:
        """The largest recall with at most 1 % of the genuine events flagged."""
        fraud, genuine = self._flagged(weights)
        if fraud[-1] == 0:
            return np.nan
        allowed = int(np.searchsorted(genuine, 0.01 * genuine[-1], side="right"))
        return float(fraud[allowed - 1] / fraud[-1]) if allowed else 0.0


def numbered(customers: NDArray[Any]) -> tuple[Ints, int]:
    """Customers of any kind, shape (n,), as numbers from 0, and how many there are."""
    names, codes = np.unique(customers.astype(str), return_inverse=True)
    return codes.astype(np.int64), len(names)


def intervals(
    statistics: Mapping[str, Statistic],
    customers: int,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Interval]:
    """95 % percentile intervals of several figures under the same draws.

    Args:
        statistics: figures by name.
        customers: how many there are to draw from.
        resamples: number of draws.
        seed: of the draws.
    """
    drawn = _drawn(statistics, customers, resamples, seed)
    everyone = np.ones(customers)
    return {
        name: _interval(statistic(everyone), drawn[name]) for name, statistic in statistics.items()
    }


def compare(
    champion_scores: Floats,
    challenger_scores: Floats,
    labels: Flags,
    customers: NDArray[Any],
    *,
    metric: MetricName = "average_precision",
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Whether a challenger ranks better than the champion: a paired bootstrap over customers.

    Args:
        champion_scores: of the running model, shape (n,).
        challenger_scores: of the new one on the same rows, shape (n,).
        labels: truth of these rows, shape (n,).
        customers: whose they are (the fraud type's subject), shape (n,).
        metric: what is compared.
        resamples: number of draws.
        seed: of the draws; equal arguments give an equal answer.

    Raises:
        ContractError: the arguments differ in length, or hold no fraud or no genuine event.
    """
    labels = np.asarray(labels, bool)
    lengths = {len(champion_scores), len(challenger_scores), len(labels), len(customers)}
    if len(lengths) > 1 or len(np.unique(labels)) < 2:
        raise ContractError(
            f"Cannot compare on columns of {sorted(lengths)} rows with {int(labels.sum())} frauds.",
            remedy="Give both models' scores of the same rows, some fraud and some genuine.",
        )
    codes, count = numbered(customers)
    champion = getattr(RankedSample(np.asarray(champion_scores), labels, codes), metric)
    challenger = getattr(RankedSample(np.asarray(challenger_scores), labels, codes), metric)

    def difference(weights: Floats) -> float:
        return float(challenger(weights) - champion(weights))

    drawn = _drawn({metric: difference}, count, resamples, seed)[metric]
    everyone = np.ones(count)
    return Comparison(
        metric=metric,
        champion=champion(everyone),
        challenger=challenger(everyone),
        difference=_interval(difference(everyone), drawn),
        p_value=_p_value(drawn),
        resamples=resamples,
        customers=count,
    )


def _drawn(
    statistics: Mapping[str, Statistic], customers: int, resamples: int, seed: int
) -> dict[str, Floats]:
    """Figures of the draws where they are defined, by name."""
    random = np.random.default_rng(seed)
    figures = np.empty((resamples, len(statistics)))
    for draw in range(resamples):
        chosen = random.integers(0, customers, customers)
        weights = np.bincount(chosen, minlength=customers).astype(np.float64)
        figures[draw] = [statistic(weights) for statistic in statistics.values()]
    by_name = zip(statistics, figures.T, strict=True)
    return {name: column[~np.isnan(column)] for name, column in by_name}


def _interval(value: float, drawn: Floats) -> Interval:
    if len(drawn) == 0:
        return Interval(value, np.nan, np.nan)
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high))


def _p_value(drawn: Floats) -> float:
    """Twice the share of draws on the rarer side of zero, each side counted one too many."""
    not_above, not_below = int((drawn <= 0).sum()) + 1, int((drawn >= 0).sum()) + 1
    return min(1.0, 2.0 * min(not_above, not_below) / (len(drawn) + 1))

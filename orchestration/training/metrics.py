"""What a fraud team reads of a model: ranking, alerts, money."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from fraud.domain.policy import Costs, Thresholds
from fraud.domain.windows import DAY_US
from orchestration.training.calibration import reliability
from orchestration.training.split import Sample

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

CARDS_PER_DAY = 100


def ranking_metrics(score: Floats, is_fraud: Flags) -> dict[str, float]:
    """ROC AUC, average precision and recall at 1 % false positives, from scores (n,)."""
    return {
        "roc_auc": float(roc_auc_score(is_fraud, score)),
        "average_precision": float(average_precision_score(is_fraud, score)),
        "recall_at_1pct_fpr": recall_at_fpr(score, is_fraud, 0.01),
    }


def recall_at_fpr(score: Floats, is_fraud: Flags, rate: float) -> float:
    """The largest recall any threshold reaches with at most `rate` of the genuine flagged."""
    order = np.argsort(-score, kind="stable")
    flagged_genuine = np.cumsum(~is_fraud[order])
    flagged_fraud = np.cumsum(is_fraud[order])
    is_last_of_tie = np.append(np.diff(score[order]) != 0, True)
    allowed = is_last_of_tie & (flagged_genuine <= rate * flagged_genuine[-1])
    if not allowed.any():
        return 0.0
    return float(flagged_fraud[allowed].max() / flagged_fraud[-1])


def card_precision(
    score: Floats,
    is_fraud: Flags,
    subject: NDArray[np.object_],
    day: Ints,
    k: int = CARDS_PER_DAY,
) -> float:
    """Card precision at k (CP@k) of Le Borgne et al., Fraud Detection Handbook, chapter 4.

    Each day, analysts look at the k customers with the highest maximum score of that day,
    leaving out customers whose fraud they found on an earlier day. The metric is the share
    of those k who had a fraud that day, averaged over the days. Among equal scores the
    customer seen first that day goes first.

    Args:
        score: shape (n,).
        is_fraud: shape (n,).
        subject: the customer of each event, shape (n,); for other fraud types whoever their
            declaration calls the subject.
        day: number of the day of each event, shape (n,).
        k: customers looked at per day.
    """
    customers, customer = np.unique(subject.astype(str), return_inverse=True)
    is_found = np.zeros(len(customers), bool)
    precisions = []
    for today in np.unique(day):
        rows = np.flatnonzero((day == today) & ~is_found[customer])
        highest_first = rows[np.argsort(-score[rows], kind="stable")]
        seen, first = np.unique(customer[highest_first], return_index=True)
        looked_at = seen[np.argsort(first, kind="stable")[:k]]
        with_fraud = np.unique(customer[rows[is_fraud[rows]]])
        found = np.intersect1d(looked_at, with_fraud)
        is_found[found] = True
        precisions.append(len(found) / k)
    return float(np.mean(precisions))


def cost_minor(
    level_review: Flags, level_block: Flags, is_fraud: Flags, amount_minor: Ints, costs: Costs
) -> float:
    """What decisions cost in minor units: missed fraud, analysts' time, genuine sales lost.

    Args:
        level_review: events sent to an analyst, who finds the truth, shape (n,).
        level_block: events blocked, shape (n,); the others are approved.
        is_fraud: truth, shape (n,).
        amount_minor: shape (n,).
        costs: of the fraud type.
    """
    approve, review, block = cost_per_event(is_fraud, amount_minor, costs)
    return float(np.where(level_block, block, np.where(level_review, review, approve)).sum())


def cost_per_event(
    is_fraud: Flags, amount_minor: Ints, costs: Costs
) -> tuple[Floats, Floats, Floats]:
    """What approving, reviewing and blocking each event would cost, minor units, (n,) each."""
    missed = amount_minor * costs.missed_fraud_share + costs.missed_fraud_minor
    approve = np.where(is_fraud, missed, 0.0)
    review = np.full(len(is_fraud), float(costs.review_minor))
    lost = amount_minor * costs.false_block_share + costs.false_block_minor
    block = np.where(is_fraud, 0.0, lost)
    return approve, review, block


def decision_metrics(
    probability: Floats, sample: Sample, thresholds: Thresholds, costs: Costs
) -> dict[str, float]:
    """How the decisions under these thresholds would have turned out on a sample."""
    is_fraud = sample.is_fraud
    block = probability >= thresholds.block
    alert = probability >= thresholds.review
    review = alert & ~block
    cost = cost_minor(review, block, is_fraud, sample.amount_minor, costs)
    nothing = np.zeros(len(is_fraud), bool)
    cost_unguarded = cost_minor(nothing, nothing, is_fraud, sample.amount_minor, costs)
    return {
        "accuracy": float(np.mean(alert == is_fraud)),
        "precision_alert": _share(is_fraud, alert),
        "recall_alert": _share(alert, is_fraud),
        "precision_block": _share(is_fraud, block),
        "recall_block": _share(block, is_fraud),
        "alerts_per_day": float(alert.sum() / sample.days),
        "reviews_per_day": float(review.sum() / sample.days),
        "blocks_per_day": float(block.sum() / sample.days),
        "cost_minor": cost,
        "cost_minor_per_day": cost / sample.days,
        "saved_minor": cost_unguarded - cost,
        "saved_share": 1.0 - cost / cost_unguarded if cost_unguarded else 0.0,
    }


def evaluate(
    probability: Floats, sample: Sample, thresholds: Thresholds, costs: Costs
) -> Mapping[str, float]:
    """All metrics of calibrated probabilities (n,) on a sample, by name."""
    quality = reliability(probability, sample.is_fraud)
    metrics = ranking_metrics(probability, sample.is_fraud)
    metrics["card_precision_100"] = card_precision(
        probability, sample.is_fraud, sample.subject, sample.time_us // DAY_US
    )
    metrics |= decision_metrics(probability, sample, thresholds, costs)
    metrics |= {
        "expected_calibration_error": quality.expected_error,
        "brier": quality.brier,
        "rows": float(len(sample)),
        "frauds": float(sample.frauds),
        "known_share": sample.known_share,
    }
    return metrics


def _share(of: Flags, among: Flags) -> float:
    """The share of `among` that is `of`; 0 where there is nothing among."""
    return float((of & among).sum() / max(1, among.sum()))

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from fraud.domain.policy import Costs, Thresholds
from orchestration.training.metrics import (
    card_precision,
    cost_minor,
    evaluate,
    ranking_metrics,
    recall_at_fpr,
)
from tests.orchestration.training.builders import a_split


def slow_card_precision(
    score: np.ndarray, is_fraud: np.ndarray, user_id: np.ndarray, day: np.ndarray, k: int
) -> float:
    """The protocol once more, in plain loops over dicts."""
    found: set[str] = set()
    precisions = []
    for today in sorted(set(day)):
        best: dict[str, float] = {}
        guilty: set[str] = set()
        for place in range(len(score)):
            user = user_id[place]
            if day[place] != today or user in found:
                continue
            best[user] = max(best.get(user, -np.inf), score[place])
            if is_fraud[place]:
                guilty.add(user)
        top = sorted(best, key=lambda user: -best[user])[:k]
        hits = [user for user in top if user in guilty]
        found |= set(hits)
        precisions.append(len(hits) / k)
    return sum(precisions) / len(precisions)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 7, 100])
def test_card_precision_against_plain_loops(seed: int, k: int) -> None:
    random = np.random.default_rng(seed)
    count = 3000
    score = random.permutation(count) / count  # no ties: their order is ours to choose
    is_fraud = random.random(count) < 0.02 + 0.2 * score**8
    user_id = np.array([f"u{n}" for n in random.integers(0, 400, count)], object)
    day = np.sort(random.integers(0, 7, count))
    expected = slow_card_precision(score, is_fraud, user_id, day, k)
    assert card_precision(score, is_fraud, user_id, day, k) == pytest.approx(expected, abs=1e-12)
    shuffled = random.permutation(count)  # rows need not come by day
    assert card_precision(
        score[shuffled], is_fraud[shuffled], user_id[shuffled], day[shuffled], k
    ) == pytest.approx(expected, abs=1e-12)


def test_card_precision_by_hand() -> None:
    # Day 0: a and b are looked at, a is fraud: 1/2. Day 1: a is gone, so b and c: c is: 1/2.
    score = np.array([0.9, 0.8, 0.1, 0.9, 0.3, 0.5])
    is_fraud = np.array([True, False, True, True, False, True])
    user_id = np.array(["a", "b", "c", "a", "b", "c"], object)
    day = np.array([0, 0, 0, 1, 1, 1])
    assert card_precision(score, is_fraud, user_id, day, 2) == 0.5


def test_a_card_counts_as_found_by_any_of_its_events() -> None:
    # The customer's highest score is on a genuine event; the day's other event is the fraud.
    score, is_fraud = np.array([0.9, 0.1]), np.array([False, True])
    user_id, day = np.array(["a", "a"], object), np.zeros(2, int)
    assert card_precision(score, is_fraud, user_id, day, 1) == 1.0


def test_ranking_metrics_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    is_fraud = random.random(5000) < 0.03
    score = np.round(random.random(5000) + 0.4 * is_fraud, 2)  # many ties
    metrics = ranking_metrics(score, is_fraud)
    assert metrics["roc_auc"] == roc_auc_score(is_fraud, score)
    assert metrics["average_precision"] == average_precision_score(is_fraud, score)
    fpr, tpr, _ = roc_curve(is_fraud, score, drop_intermediate=False)
    assert metrics["recall_at_1pct_fpr"] == pytest.approx(tpr[fpr <= 0.01].max(), abs=1e-12)


def test_recall_at_fpr_by_hand() -> None:
    score = np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    is_fraud = np.array([True, False, True, False, True, False, False, False, False, False])
    assert recall_at_fpr(score, is_fraud, 0.0) == pytest.approx(1 / 3)
    assert recall_at_fpr(score, is_fraud, 1 / 7) == pytest.approx(2 / 3)
    assert recall_at_fpr(np.zeros(10), is_fraud, 0.5) == 0.0  # one tie: all or nobody


def test_cost_by_hand() -> None:
    costs = Costs(
        review_minor=300,
        false_block_share=0.1,
        missed_fraud_share=1.0,
        false_block_minor=40,
        missed_fraud_minor=1500,
        daily_reviews=100,
    )
    is_fraud = np.array([True, True, True, False, False, False])
    amount = np.array([10_000, 10_000, 10_000, 5_000, 5_000, 5_000])
    review = np.array([False, True, False, False, True, False])
    block = np.array([False, False, True, False, False, True])
    # missed fraud 10 000 + 1 500; two reviews 600; a genuine 5 000 blocked: 500 + 40.
    assert cost_minor(review, block, is_fraud, amount, costs) == 11_500 + 600 + 540


def test_evaluation_by_hand() -> None:
    test = a_split().test
    probability = np.where(test.is_fraud, 0.9, 0.01)
    probability[np.flatnonzero(test.is_fraud)[0]] = 0.02  # one missed
    probability[np.flatnonzero(~test.is_fraud)[:2]] = (0.9, 0.3)  # one blocked, one reviewed
    metrics = evaluate(probability, test, Thresholds(0.2, 0.5, 0.95), Costs())
    frauds, rows = test.frauds, len(test)
    assert metrics["accuracy"] == pytest.approx(1 - 3 / rows)
    assert metrics["recall_alert"] == pytest.approx((frauds - 1) / frauds)
    assert metrics["precision_alert"] == pytest.approx((frauds - 1) / (frauds + 1))
    assert metrics["precision_block"] == pytest.approx((frauds - 1) / frauds)
    assert metrics["alerts_per_day"] == pytest.approx((frauds + 1) / 10)
    assert metrics["reviews_per_day"] == pytest.approx(1 / 10)
    assert metrics["saved_minor"] > 0
    assert metrics["known_share"] == 1.0

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fraud.domain.errors import ContractError
from orchestration.training.bootstrap import RankedSample, compare, intervals, numbered
from orchestration.training.metrics import recall_at_fpr


def a_sample(
    seed: int, customers: int = 200, count: int = 4000
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with ties, truth, and customers of whom some are defrauded throughout."""
    random = np.random.default_rng(seed)
    customer = random.integers(0, customers, count)
    is_fraud = random.random(count) < np.where(customer % 10 == 0, 0.3, 0.01)
    score = np.round(random.normal(2.0 * is_fraud, 1.0), 2)
    return score, is_fraud, customer


@pytest.mark.parametrize("seed", range(3))
def test_weighted_figures_are_those_of_customers_repeated(seed: int) -> None:
    score, is_fraud, customer = a_sample(seed)
    weights = np.random.default_rng(seed).integers(0, 4, 200)
    ranked = RankedSample(score, is_fraud, customer)
    rows = np.repeat(np.arange(len(score)), weights[customer])
    repeated = is_fraud[rows], score[rows]
    w = weights.astype(np.float64)
    assert ranked.average_precision(w) == pytest.approx(average_precision_score(*repeated))
    assert ranked.roc_auc(w) == pytest.approx(roc_auc_score(*repeated))
    assert ranked.recall_at_1pct_fpr(w) == pytest.approx(
        recall_at_fpr(score[rows], is_fraud[rows], 0.01)
    )


def test_an_interval_covers_the_figure_of_other_customers_about_as_often_as_it_says() -> None:
    truth = np.mean([_auc(*a_sample(1000 + seed)[:2]) for seed in range(50)])
    covered = 0
    for seed in range(40):
        score, is_fraud, customer = a_sample(seed)
        ranked = RankedSample(score, is_fraud, customer)
        found = intervals({"auc": ranked.roc_auc}, 200, resamples=100)["auc"]
        assert found.low < found.value < found.high
        covered += found.low <= truth <= found.high
    assert covered >= 32  # of 40: with only 20 defrauded customers, 95 % are rather 90 %


def _auc(score: np.ndarray, is_fraud: np.ndarray) -> float:
    return float(roc_auc_score(is_fraud, score))


def test_customers_that_stay_alike_widen_the_interval() -> None:
    # Thirty customers, each with a score of their own: their events say nothing new.
    random = np.random.default_rng(0)
    customer = np.repeat(np.arange(30), 100)
    is_fraud = np.repeat(random.random(30) < 0.3, 100)
    score = np.repeat(random.random(30), 100)
    by_customer = _width(score, is_fraud, customer, 30)
    by_event = _width(score, is_fraud, np.arange(3000), 3000)
    assert by_customer > 4 * by_event


def _width(score: np.ndarray, is_fraud: np.ndarray, customer: np.ndarray, count: int) -> float:
    ranked = RankedSample(score, is_fraud, customer)
    found = intervals({"auc": ranked.roc_auc}, count, resamples=200)["auc"]
    return found.high - found.low


def test_a_better_challenger_is_told_from_an_equal_one() -> None:
    score, is_fraud, customer = a_sample(5)
    random = np.random.default_rng(5)
    worse = score + random.normal(0.0, 1.5, len(score))
    better = compare(worse, score, is_fraud, customer.astype(str))
    assert better.difference.low > 0
    assert better.p_value < 0.01
    assert better.difference.value == pytest.approx(better.challenger - better.champion)
    assert better.challenger == pytest.approx(average_precision_score(is_fraud, score))
    one, other = (score + random.normal(0.0, 0.01, len(score)) for _ in range(2))
    equal = compare(one, other, is_fraud, customer)
    assert equal.difference.low < 0 < equal.difference.high
    assert equal.p_value > 0.05
    same = compare(score, score, is_fraud, customer)
    assert (same.difference.value, same.p_value) == (0.0, 1.0)


def test_pairing_sees_what_two_separate_intervals_would_not() -> None:
    score, is_fraud, customer = a_sample(6)
    worse = score + np.random.default_rng(6).normal(0.0, 0.6, len(score))
    paired = compare(worse, score, is_fraud, customer, metric="roc_auc")
    codes, count = numbered(customer)
    alone = [
        intervals({"auc": RankedSample(each, is_fraud, codes).roc_auc}, count)["auc"]
        for each in (worse, score)
    ]
    assert paired.difference.low > 0
    assert alone[0].high > alone[1].low


def test_equal_arguments_give_an_equal_answer() -> None:
    score, is_fraud, customer = a_sample(7)
    first, second = (compare(score, -score, is_fraud, customer, resamples=50) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("is_fraud", [np.zeros(4, bool), np.ones(4, bool), np.ones(3, bool)])
def test_what_cannot_be_compared_is_refused(is_fraud: np.ndarray) -> None:
    with pytest.raises(ContractError, match="frauds"):
        compare(np.arange(4.0), np.arange(4.0), is_fraud, np.arange(4))

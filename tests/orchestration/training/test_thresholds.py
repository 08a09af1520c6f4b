import dataclasses

import numpy as np
import pytest

from fraud.domain.policy import Costs, Thresholds
from orchestration.training.metrics import cost_minor
from orchestration.training.split import Sample
from orchestration.training.thresholds import choose_thresholds
from tests.orchestration.training.builders import a_split

FALLBACK = Thresholds(0.3, 0.7, 0.95)


def a_small_sample(seed: int, count: int = 60) -> tuple[Sample, np.ndarray]:
    random = np.random.default_rng(seed)
    full = a_split().test
    is_fraud = random.random(count) < 0.3
    probability = np.round(np.clip(random.normal(0.2 + 0.4 * is_fraud, 0.2), 0.01, 0.99), 2)
    sample = dataclasses.replace(
        full,
        is_fraud=is_fraud,
        amount_minor=random.integers(100, 20_000, count),
        end=full.start + (full.end - full.start) / 10,  # one day
    )
    return sample, probability


def cost_of(
    sample: Sample, probability: np.ndarray, review: float, block: float, costs: Costs
) -> float:
    blocked = probability >= block
    return cost_minor(
        (probability >= review) & ~blocked, blocked, sample.is_fraud, sample.amount_minor, costs
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("daily_reviews", [0, 5, 1000])
def test_no_pair_of_thresholds_is_cheaper(seed: int, daily_reviews: int) -> None:
    sample, probability = a_small_sample(seed)
    costs = Costs(daily_reviews=daily_reviews)
    chosen = choose_thresholds(probability, sample, costs, FALLBACK)
    grid = [*np.unique(probability), 1.0]
    best = min(
        cost_of(sample, probability, review, block, costs)
        for block in grid
        for review in grid
        if review <= block
        and ((probability >= review) & (probability < block)).sum() <= daily_reviews
    )
    assert cost_of(sample, probability, chosen.review, chosen.block, costs) == pytest.approx(best)
    reviewed = (probability >= chosen.review) & (probability < chosen.block)
    assert reviewed.sum() <= daily_reviews


def test_critical_alerts_are_nearly_all_fraud() -> None:
    sample, _ = a_small_sample(0, count=500)
    probability = np.linspace(0.001, 0.999, 500)
    is_fraud = probability > 0.6
    is_fraud[np.searchsorted(probability, 0.8)] = False
    sample = dataclasses.replace(sample, is_fraud=is_fraud)
    chosen = choose_thresholds(probability, sample, Costs(), FALLBACK)
    assert is_fraud[probability >= chosen.critical].mean() >= 0.99
    assert chosen.block <= chosen.critical < 0.9


def test_without_fraud_the_declared_thresholds_stay() -> None:
    sample, probability = a_small_sample(0)
    sample = dataclasses.replace(sample, is_fraud=np.zeros(len(sample), bool))
    assert choose_thresholds(probability, sample, Costs(), FALLBACK) is FALLBACK

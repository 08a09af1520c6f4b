import dataclasses

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss

from fraud.domain.policy import Thresholds
from fraud.types.credit_card import CATEGORIES, CREDIT_CARD
from orchestration.training.evaluation import Slice, metric_intervals, slices
from orchestration.training.metrics import evaluate
from orchestration.training.split import Sample
from tests.orchestration.training.builders import a_split

THRESHOLDS = Thresholds(review=0.3, block=0.6, critical=0.9)


@pytest.fixture(scope="module")
def sample() -> Sample:
    """Test days whose events are groceries on even places, travel on the others."""
    test = a_split().test
    features = test.features.copy()
    place = CREDIT_CARD.feature_names.index("merchant_category_code")
    features[::2, place] = CATEGORIES.index("grocery")
    features[1::2, place] = CATEGORIES.index("travel")
    return dataclasses.replace(test, features=features)


@pytest.fixture(scope="module")
def probability(sample: Sample) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0.0, 0.15, len(sample))
    return np.clip(0.1 + 0.4 * sample.is_fraud + noise, 0.001, 0.999)


def test_intervals_are_around_the_figures_of_the_sample(
    sample: Sample, probability: np.ndarray
) -> None:
    found = metric_intervals(probability, sample, THRESHOLDS, CREDIT_CARD)
    metrics = evaluate(probability, sample, THRESHOLDS, CREDIT_CARD.costs)
    for name in ("average_precision", "roc_auc", "recall_at_1pct_fpr", "brier"):
        assert found[name].value == pytest.approx(metrics[name])
    saved = metrics["saved_minor"] / sample.days
    assert found["saved_minor_per_day"].value == pytest.approx(saved)
    assert found["brier"].value == pytest.approx(brier_score_loss(sample.is_fraud, probability))
    for interval in found.values():
        assert interval.low < interval.value < interval.high


def by_kind(found: list[Slice], kind: str) -> list[Slice]:
    return [part for part in found if part.kind == kind]


def test_slices_cut_the_days_by_week_amount_and_category(
    sample: Sample, probability: np.ndarray
) -> None:
    found = list(slices(probability, sample, THRESHOLDS, CREDIT_CARD))
    assert [part.name for part in by_kind(found, "week")] == ["from 2026-02-13", "from 2026-02-20"]
    for kind in ("week", "amount", "merchant_category"):
        parts = by_kind(found, kind)
        assert sum(part.events for part in parts) == len(sample)
        assert sum(part.frauds for part in parts) == sample.frauds
    travel = by_kind(found, "merchant_category")[1]
    inside = np.arange(len(sample)) % 2 == 1
    assert travel.name == "travel"
    assert travel.average_precision == pytest.approx(
        average_precision_score(sample.is_fraud[inside], probability[inside])
    )
    alert = probability[inside] >= THRESHOLDS.review
    assert travel.recall_alert == pytest.approx(alert[sample.is_fraud[inside]].mean())
    assert travel.alert_share == pytest.approx(alert[~sample.is_fraud[inside]].mean())


def test_a_slice_with_hardly_any_fraud_is_left_out(sample: Sample, probability: np.ndarray) -> None:
    few = sample.is_fraud & (np.cumsum(sample.is_fraud) <= 4)
    poor = dataclasses.replace(sample, is_fraud=few)
    assert list(slices(probability, poor, THRESHOLDS, CREDIT_CARD)) == []

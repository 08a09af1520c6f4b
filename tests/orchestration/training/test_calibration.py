import numpy as np
import pytest

from bentos.scoring.manifest import Calibration
from bentos.scoring.model import to_probabilities
from orchestration.training.calibration import LEAST_SLOPE, fit_sigmoid, reliability


def sample(count: int = 200_000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    logit = random.normal(-3.0, 2.0, count)
    return logit, random.random(count) < 1 / (1 + np.exp(-logit))


def test_a_known_distortion_is_undone() -> None:
    logit, is_fraud = sample()
    raw = 1 / (1 + np.exp(-(logit + 2.0) / 0.5))  # twice too sure, and shifted by sampling
    calibration = fit_sigmoid(raw, is_fraud, 1e-9)
    # True values .5 and -2; about three standard errors at this size.
    assert calibration.a == pytest.approx(0.5, abs=0.01)
    assert calibration.b == pytest.approx(-2.0, abs=0.03)
    probability = to_probabilities(calibration.margins(raw))
    assert probability.mean() == pytest.approx(is_fraud.mean(), rel=1e-3)
    assert reliability(probability, is_fraud).expected_error < 0.002
    assert reliability(raw, is_fraud).expected_error > 0.02


def test_calibration_is_strictly_rising_up_to_the_ends() -> None:
    calibration = Calibration(a=0.7, b=-1.0, squeeze=1e-3)
    raw = np.concatenate(
        ([0.0], np.geomspace(1e-9, 0.5, 200), 1 - np.geomspace(0.4, 1e-9, 200), [1])
    )
    margins = calibration.margins(raw)
    assert np.isfinite(margins).all()
    assert (np.diff(margins) > 0).all()


def test_a_model_that_ranks_backwards_stays_rising() -> None:
    logit, is_fraud = sample(20_000)
    calibration = fit_sigmoid(1 / (1 + np.exp(logit)), is_fraud, 1e-6)
    assert calibration.a == LEAST_SLOPE


def test_separable_truth_does_not_run_away() -> None:
    raw = np.array([0.1] * 50 + [0.9] * 5)
    calibration = fit_sigmoid(raw, raw > 0.5, 1e-6)
    low, high = to_probabilities(calibration.margins(np.array([0.1, 0.9])))
    # Platt's targets: (5 + 1) / (5 + 2) and 1 / (50 + 2), instead of 1 and 0.
    assert high == pytest.approx(6 / 7, abs=1e-3)
    assert low == pytest.approx(1 / 52, abs=1e-3)


def test_reliability_against_its_definition() -> None:
    probability = np.array([0.1] * 10 + [0.8] * 10)
    is_fraud = np.array([True, *[False] * 9, *[True] * 6, *[False] * 4])
    quality = reliability(probability, is_fraud, bins=2)
    assert quality.count.sum() == 20
    assert quality.brier == pytest.approx((0.81 + 9 * 0.01 + 6 * 0.04 + 4 * 0.64) / 20)


def test_reliability_of_perfect_bins_is_zero() -> None:
    probability = np.full(1000, 0.25)
    is_fraud = np.arange(1000) % 4 == 0
    assert reliability(probability, is_fraud).expected_error < 0.02  # bins of a few events

"""Probability calibration: a strictly rising sigmoid on the log-odds, and how true it is.

Platt 1999, "Probabilistic Outputs for Support Vector Machines", with the targets and the
Newton iteration of Lin, Lin & Weng 2007. It also undoes the shift that subsampling the
genuine events puts on the log-odds: the offset `b` absorbs it.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bentos.scoring.manifest import Calibration
from bentos.scoring.model import to_probabilities

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LEAST_SLOPE = 1e-3
"""A model that ranks backwards gets this slope: the calibration must stay rising."""


def fit_sigmoid(raw: Floats, is_fraud: Flags, squeeze: float) -> Calibration:
    """The sigmoid that best explains the truth of a sample the model never saw.

    Args:
        raw: the model's probabilities, shape (n,).
        is_fraud: truth, shape (n,).
        squeeze: see `Calibration`; about half the smallest step between two raw values.
    """
    frauds = int(is_fraud.sum())
    genuine = len(is_fraud) - frauds
    target = np.where(is_fraud, (frauds + 1.0) / (frauds + 2.0), 1.0 / (genuine + 2.0))
    identity = Calibration(a=1.0, b=0.0, squeeze=squeeze)
    logit = identity.margins(raw)
    a, b = _newton(logit, target)
    if a < LEAST_SLOPE:
        a, b = LEAST_SLOPE, float(np.log((frauds + 1.0) / (genuine + 1.0)))
    return Calibration(a=a, b=b, squeeze=squeeze)


def _newton(logit: Floats, target: Floats) -> tuple[float, float]:
    """Minimises the cross-entropy over (a, b) by Newton steps, halved until they descend."""
    design = np.column_stack((logit, np.ones_like(logit)))
    prior = float(target.mean())
    weights = np.array([0.0, np.log(prior / (1.0 - prior))])
    loss = _cross_entropy(design @ weights, target)
    for _ in range(100):
        p = to_probabilities(design @ weights)
        gradient = design.T @ (p - target)
        curvature = (design * (p * (1.0 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        scale = 1.0
        while scale > 1e-6:
            trial = weights - scale * step
            trial_loss = _cross_entropy(design @ trial, target)
            if trial_loss <= loss:
                break
            scale /= 2.0
        else:
            break
        settled = loss - trial_loss < 1e-12 * (1.0 + abs(loss))
        weights, loss = trial, trial_loss
        if settled:
            break
    return float(weights[0]), float(weights[1])


def _cross_entropy(margin: Floats, target: Floats) -> float:
    return float(np.sum(np.logaddexp(0.0, margin) - target * margin))


@dataclass(frozen=True)
class Reliability:
    """Predicted against observed, in bins of equally many events.

    Attributes:
        predicted: mean probability per bin.
        observed: share of fraud per bin.
        count: events per bin.
        expected_error: expected calibration error (ECE): mean |predicted - observed|, by count.
        brier: mean squared error of the probabilities (Brier 1950).
    """

    predicted: Floats
    observed: Floats
    count: NDArray[np.int64]
    expected_error: float
    brier: float


def reliability(probability: Floats, is_fraud: Flags, bins: int = 20) -> Reliability:
    """How true probabilities are, shape (n,).

    Bins hold equally many events, but the upper half of them share the riskiest two
    hundredths: fraud is rare, and equal bins would hide all of it in the last one.
    """
    order = np.argsort(probability, kind="stable")
    lower = np.linspace(0.0, 0.98, bins - bins // 2 + 1)
    upper = 1.0 - 0.02 * np.geomspace(1.0, 0.02, bins // 2)
    edges = np.unique(np.rint(np.append(np.union1d(lower, upper), 1.0) * len(order)).astype(int))
    groups = [order[low:high] for low, high in itertools.pairwise(edges)]
    predicted = np.array([probability[group].mean() for group in groups])
    observed = np.array([is_fraud[group].mean() for group in groups])
    count = np.array([len(group) for group in groups], dtype=np.int64)
    return Reliability(
        predicted=predicted,
        observed=observed,
        count=count,
        expected_error=float((np.abs(predicted - observed) * count).sum() / count.sum()),
        brier=float(np.mean((probability - is_fraud) ** 2)),
    )

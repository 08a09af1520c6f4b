"""From a split to trained candidates: fit, calibrate, set thresholds, export, measure.

The whole training in order: `train_candidate` for each name in `CANDIDATES`,
`tracking.log_candidate`, `promotion.decide`, `release.release`.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bentos.scoring.manifest import Calibration
from bentos.scoring.model import to_probabilities
from fraud.domain.fraud_type import FraudType
from fraud.domain.policy import Thresholds
from orchestration.training.calibration import fit_sigmoid
from orchestration.training.candidates import CANDIDATES, MAX_GENUINE, SEED, fit_candidate
from orchestration.training.evaluation import Report, report_on
from orchestration.training.export import ParityReport, check_parity, to_onnx
from orchestration.training.metrics import evaluate
from orchestration.training.plots import (
    calibration_plot,
    importance_plot,
    precision_recall_plot,
    slices_plot,
)
from orchestration.training.score_profile import ScoreProfile
from orchestration.training.split import Sample, Split
from orchestration.training.thresholds import choose_thresholds

TEST_SCORES = "test_scores"
"""Among the metrics: how the scores of the test sample are spread."""


@dataclass(frozen=True)
class TrainedCandidate:
    """All that is kept of a trained model; plain data, the estimator is not among it.

    Attributes:
        name: the candidate's.
        title: for people.
        params: hyper-parameters, seed and sampling.
        onnx_bytes: the exported graph.
        calibration: fitted on the validation sample.
        thresholds: chosen on the validation sample.
        metrics: by sample (`validation`, `test`), then by name; and `TEST_SCORES`.
        parity: graph against model.
        baseline: training median per feature.
        importances: share per feature name.
        plots: PNG bytes by name, of the test sample.
        report: intervals, weeks, segments and latency, of the test sample.
        fit_seconds: time the fit took.
    """

    name: str
    title: str
    params: Mapping[str, Any]
    onnx_bytes: bytes = field(repr=False)
    calibration: Calibration
    thresholds: Thresholds
    metrics: Mapping[str, Mapping[str, float]]
    parity: ParityReport
    baseline: tuple[float, ...]
    importances: Mapping[str, float]
    plots: Mapping[str, bytes] = field(repr=False)
    report: Report
    fit_seconds: float

    @property
    def onnx_sha256(self) -> str:
        """Hex digest of the graph."""
        return hashlib.sha256(self.onnx_bytes).hexdigest()


def train_candidate(
    name: str,
    split: Split,
    fraud_type: FraudType,
    *,
    seed: int = SEED,
    max_genuine: int = MAX_GENUINE,
    params: Mapping[str, Any] | None = None,
) -> TrainedCandidate:
    """Trains one candidate; equal arguments give an equal graph and equal metrics.

    The training sample fits the model, the validation sample its calibration and its
    thresholds; the test sample only reports.

    Args:
        name: one of `CANDIDATES`.
        split: of the fraud type's frame.
        fraud_type: whose features and costs.
        seed: of everything random.
        max_genuine: most genuine events to fit on.
        params: hyper-parameters that replace the candidate's own.
    """
    started = time.perf_counter()
    model = fit_candidate(
        name,
        split.train.features,
        split.train.is_fraud,
        seed=seed,
        max_genuine=max_genuine,
        params=params,
    )
    fit_seconds = time.perf_counter() - started

    raw = {sample.name: model.probabilities(sample.features) for sample in _evaluated(split)}
    calibration = fit_sigmoid(raw["validation"], split.validation.is_fraud, model.candidate.squeeze)
    answered = {name: to_probabilities(calibration.margins(value)) for name, value in raw.items()}
    thresholds = fraud_type.thresholds or choose_thresholds(
        answered["validation"], split.validation, fraud_type.costs, fraud_type.fallback_thresholds
    )
    metrics: dict[str, Mapping[str, float]] = {
        sample.name: evaluate(answered[sample.name], sample, thresholds, fraud_type.costs)
        for sample in _evaluated(split)
    }
    metrics[TEST_SCORES] = ScoreProfile.of(answered["test"], thresholds.review).plain()
    onnx_bytes = to_onnx(model, len(fraud_type.feature_names))
    importances = dict(zip(fraud_type.feature_names, model.importances().tolist(), strict=True))
    title, test = model.candidate.title, split.test
    report = report_on(answered["test"], test, thresholds, fraud_type, onnx_bytes)
    return TrainedCandidate(
        name=name,
        title=title,
        params={
            **model.candidate.params,
            **(params or {}),
            "seed": seed,
            "fitted_rows": model.fitted_rows,
            "genuine_share": model.genuine_share,
        },
        onnx_bytes=onnx_bytes,
        calibration=calibration,
        thresholds=thresholds,
        metrics=metrics,
        parity=check_parity(model, onnx_bytes, calibration, test.features),
        baseline=tuple(np.median(split.train.features, axis=0).tolist()),
        importances=importances,
        plots={
            "precision_recall": precision_recall_plot(
                title,
                answered["test"],
                test.is_fraud,
                thresholds,
                metrics["test"]["average_precision"],
            ),
            "calibration": calibration_plot(title, answered["test"], test.is_fraud),
            "importances": importance_plot(title, importances),
            "slices": slices_plot(title, report),
        },
        report=report,
        fit_seconds=fit_seconds,
    )


def train_candidates(
    split: Split,
    fraud_type: FraudType,
    *,
    names: Iterable[str] = tuple(CANDIDATES),
    seed: int = SEED,
    max_genuine: int = MAX_GENUINE,
    on_trained: Callable[[TrainedCandidate], None] = lambda candidate: None,
) -> list[TrainedCandidate]:
    """Trains several candidates in turn; see `train_candidate`.

    Args:
        split: of the fraud type's frame.
        fraud_type: whose features and costs.
        names: of `CANDIDATES`; all by default.
        seed: of everything random.
        max_genuine: most genuine events to fit on.
        on_trained: told of each as it is done, to show progress or to log it.
    """
    trained = []
    for name in names:
        trained.append(train_candidate(name, split, fraud_type, seed=seed, max_genuine=max_genuine))
        on_trained(trained[-1])
    return trained


def _evaluated(split: Split) -> tuple[Sample, Sample]:
    return split.validation, split.test

"""From a trained candidate to the signed bundle that serves it."""

import datetime as dt
from pathlib import Path

from bentos.scoring.bundle import write_bundle
from bentos.scoring.manifest import DataWindows, Manifest
from fraud.domain.fraud_type import FraudType
from orchestration.training.provenance import library_versions
from orchestration.training.split import Split
from orchestration.training.train import TrainedCandidate


def model_version(
    candidate: TrainedCandidate, fraud_type: FraudType, trained_at: dt.datetime
) -> str:
    """A name that sorts by time and says which graph: `credit_card-20260301T120000Z-1a2b3c4d`."""
    moment = trained_at.astimezone(dt.UTC)
    return f"{fraud_type.name}-{moment:%Y%m%dT%H%M%SZ}-{candidate.onnx_sha256[:8]}"


def manifest_of(
    candidate: TrainedCandidate,
    split: Split,
    fraud_type: FraudType,
    *,
    trained_at: dt.datetime,
    git_commit: str,
    mlflow_run_id: str,
) -> Manifest:
    """The manifest of a candidate.

    Args:
        candidate: to be served.
        split: it was trained on.
        fraud_type: it was trained for.
        trained_at: moment of training, aware.
        git_commit: of the code that trained it.
        mlflow_run_id: where it was logged.
    """
    return Manifest(
        fraud_type=fraud_type.name,
        model_version=model_version(candidate, fraud_type, trained_at),
        model_kind=candidate.name,
        schema_hash=fraud_type.schema_hash,
        feature_names=fraud_type.feature_names,
        onnx_sha256=candidate.onnx_sha256,
        calibration=candidate.calibration,
        thresholds=candidate.thresholds,
        baseline=candidate.baseline,
        metrics={name: dict(values) for name, values in candidate.metrics.items()},
        data_window=DataWindows(
            train=split.train.window, validation=split.validation.window, test=split.test.window
        ),
        label_cutoff=split.label_cutoff,
        trained_at=trained_at,
        git_commit=git_commit,
        mlflow_run_id=mlflow_run_id,
        libraries=library_versions(),
    )


def release(
    folder: Path, candidate: TrainedCandidate, manifest: Manifest, private_key_pem: bytes
) -> Path:
    """Writes the candidate's bundle below `folder`, under its version; returns where.

    Raises:
        BundleError: see `bentos.scoring.bundle.write_bundle`.
    """
    place = folder / manifest.model_version
    write_bundle(place, candidate.onnx_bytes, manifest, private_key_pem)
    return place

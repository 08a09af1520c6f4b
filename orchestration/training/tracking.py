"""Every training run in MLflow, and the models that passed their gates in its registry.

The registry is for people and for comparison. Serving never loads from it: what serves is the
signed bundle, and the registered version names it.
"""

import datetime as dt
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import mlflow
import mlflow.onnx
import numpy as np
import onnx
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import Schema, TensorSpec

from bentos.scoring.manifest import Manifest
from bentos.scoring.model import INPUT, OUTPUT
from fraud.domain.errors import UnavailableError
from fraud.domain.fraud_type import FraudType
from orchestration.training.provenance import library_versions
from orchestration.training.split import Sample, Split
from orchestration.training.train import TrainedCandidate

DESCRIPTION_LIMIT = 5_000
"""Characters of a version's description that MLflow's tables hold; the whole card is a file."""


@dataclass(frozen=True)
class LoggedRun:
    """Where a candidate was logged."""

    experiment_id: str
    run_id: str


def experiment_name(fraud_type: FraudType) -> str:
    """The experiment that holds all runs of a fraud type."""
    return f"fraud/{fraud_type.name}"


def registered_name(fraud_type_name: str) -> str:
    """The registered model whose versions passed the gates of a fraud type."""
    return f"fraud-{fraud_type_name}"


def log_candidate(
    candidate: TrainedCandidate,
    split: Split,
    fraud_type: FraudType,
    *,
    tracking_uri: str,
    trained_at: dt.datetime,
    git_commit: str = "",
    dagster_run_id: str = "",
) -> LoggedRun:
    """Logs one candidate as one run: parameters, metrics, plots, and the graph itself.

    Args:
        candidate: what was trained.
        split: on what.
        fraud_type: for what.
        tracking_uri: of the MLflow server.
        trained_at: moment of training, aware; names the run.
        git_commit: of the code.
        dagster_run_id: of the pipeline run, if any.

    Raises:
        UnavailableError: MLflow does not answer or refuses.
    """
    with _server(tracking_uri):
        mlflow.set_tracking_uri(tracking_uri)
        experiment = mlflow.set_experiment(experiment_name(fraud_type))
        run_name = f"{candidate.name} {trained_at.astimezone(dt.UTC):%Y-%m-%d %H:%M}"
        tags = _tags(candidate, split, fraud_type, git_commit, dagster_run_id)
        with mlflow.start_run(run_name=run_name, tags=tags) as run:
            mlflow.log_params(dict(candidate.params))
            _log_files(candidate)
            model = mlflow.onnx.log_model(
                onnx.load_model_from_string(candidate.onnx_bytes),
                name="model",
                signature=_signature(len(fraud_type.feature_names)),
                # Named, or MLflow starts a process to find out: seconds per run.
                pip_requirements=[f"onnxruntime=={library_versions()['onnxruntime']}"],
            )
            # After the model: of a run with metrics it would ask for the history of each.
            mlflow.log_metrics(_metrics(candidate), model_id=model.model_id)
        return LoggedRun(experiment.experiment_id, run.info.run_id)


def register_model(
    run_id: str, manifest: Manifest, card: str, fraud_type: FraudType, *, tracking_uri: str
) -> str:
    """Registers a run's model; returns the version. A run is registered once.

    Args:
        run_id: of the model that passed the gates.
        manifest: of its bundle; kept with the run.
        card: its model card, Markdown; kept with the run and shown as the description.
        fraud_type: it serves.
        tracking_uri: of the MLflow server.

    Raises:
        UnavailableError: MLflow does not answer or refuses.
    """
    name = registered_name(fraud_type.name)
    with _server(tracking_uri):
        client = mlflow.MlflowClient(tracking_uri=tracking_uri)
        client.log_text(run_id, card, "model_card.md")
        client.log_text(run_id, manifest.to_bytes().decode(), "manifest.json")
        if not client.search_registered_models(f"name='{name}'"):
            client.create_registered_model(
                name, description=f"Models of {fraud_type.title.lower()} that passed their gates."
            )
        model_id = _logged_model_id(client, run_id)
        version = _version_of(client, name, run_id) or client.create_model_version(
            name,
            source=f"models:/{model_id}",
            run_id=run_id,
            model_id=model_id,
            tags={
                "model_version": manifest.model_version,
                "schema_hash": manifest.schema_hash,
                "bundle_digest": manifest.digest,
            },
            description=card[:DESCRIPTION_LIMIT],
        )
        client.set_tag(run_id, "registered_version", str(version.version))
        return str(version.version)


@dataclass(frozen=True)
class RegisteredModel:
    """A model that passed its gates, as the registry keeps it.

    Attributes:
        bundle_digest: of its bundle; '' where none was noted.
        aliases: as what it is in service.
    """

    bundle_digest: str
    aliases: frozenset[str]


def registered_models(fraud_type_name: str, *, tracking_uri: str) -> dict[str, RegisteredModel]:
    """The registered models of a fraud type, by model version.

    Raises:
        UnavailableError: MLflow does not answer or refuses.
    """
    name = registered_name(fraud_type_name)
    with _server(tracking_uri):
        client = mlflow.MlflowClient(tracking_uri=tracking_uri)
        versions = _versions(client, name)
        aliases = client.get_registered_model(name).aliases if versions else {}
        return {
            str(each.tags.get("model_version", "")): RegisteredModel(
                str(each.tags.get("bundle_digest", "")),
                frozenset(alias for alias, version in aliases.items() if version == each.version),
            )
            for each in versions
        }


def point_aliases(
    fraud_type_name: str, wanted: Mapping[str, str | None], *, tracking_uri: str
) -> None:
    """Lets aliases of a registered model say who is in service.

    Args:
        fraud_type_name: whose models.
        wanted: the model version an alias shall name; None where it shall name none. A model
            that was never registered is named by none.
        tracking_uri: of the MLflow server.

    Raises:
        UnavailableError: MLflow does not answer or refuses.
    """
    name = registered_name(fraud_type_name)
    with _server(tracking_uri):
        client = mlflow.MlflowClient(tracking_uri=tracking_uri)
        known = {each.tags.get("model_version"): each.version for each in _versions(client, name)}
        if not known:
            return
        for alias, model_version in wanted.items():
            if model_version in known:
                client.set_registered_model_alias(name, alias, known[model_version])
            else:
                client.delete_registered_model_alias(name, alias)


def _version_of(client: mlflow.MlflowClient, name: str, run_id: str) -> ModelVersion | None:
    found = client.search_model_versions(f"name='{name}' and run_id='{run_id}'")
    return found[0] if found else None


def _versions(client: mlflow.MlflowClient, name: str) -> list[ModelVersion]:
    """All versions of a registered model; none where it was never registered."""
    if not client.search_registered_models(f"name='{name}'"):
        return []
    return list(client.search_model_versions(f"name='{name}'"))


def _logged_model_id(client: mlflow.MlflowClient, run_id: str) -> str:
    outputs = client.get_run(run_id).outputs
    models = outputs.model_outputs if outputs else []
    if not models:
        raise MlflowException(f"run {run_id} has no logged model")
    return str(models[0].model_id)


def _tags(
    candidate: TrainedCandidate,
    split: Split,
    fraud_type: FraudType,
    git_commit: str,
    dagster_run_id: str,
) -> dict[str, str]:
    def span(sample: Sample) -> str:
        return f"{sample.start:%Y-%m-%dT%H:%MZ}/{sample.end:%Y-%m-%dT%H:%MZ}"

    tags = {
        "fraud_type": fraud_type.name,
        "candidate": candidate.name,
        "schema_hash": fraud_type.schema_hash,
        "onnx_sha256": candidate.onnx_sha256,
        "train_window": span(split.train),
        "validation_window": span(split.validation),
        "test_window": span(split.test),
        "label_cutoff": f"{split.label_cutoff:%Y-%m-%dT%H:%MZ}",
        "git_commit": git_commit,
        "mlflow.source.git.commit": git_commit.removesuffix("-dirty"),
        "dagster_run_id": dagster_run_id,
    }
    return {name: value for name, value in tags.items() if value}


def _metrics(candidate: TrainedCandidate) -> dict[str, float]:
    return {
        **{
            f"{sample}/{name}": value
            for sample, metrics in candidate.metrics.items()
            for name, value in metrics.items()
        },
        "threshold/review": candidate.thresholds.review,
        "threshold/block": candidate.thresholds.block,
        "threshold/critical": candidate.thresholds.critical,
        "calibration/a": candidate.calibration.a,
        "calibration/b": candidate.calibration.b,
        **{
            f"test/{name}_{end}": getattr(interval, end)
            for name, interval in candidate.report.intervals.items()
            for end in ("low", "high")
            if np.isfinite(getattr(interval, end))
        },
        "latency/p50_us": candidate.report.latency.p50_us,
        "latency/p99_us": candidate.report.latency.p99_us,
        "parity/max_difference": candidate.parity.max_difference,
        "fit_seconds": candidate.fit_seconds,
    }


def _log_files(candidate: TrainedCandidate) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, png in candidate.plots.items():
            (Path(folder) / f"{name}.png").write_bytes(png)
        mlflow.log_artifacts(folder, "plots")
    mlflow.log_dict(dict(candidate.importances), "importances.json")
    rows = [asdict(part) for part in candidate.report.slices]
    if rows:
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        mlflow.log_table(columns, "slices.json")


def _signature(width: int) -> ModelSignature:
    narrow = np.dtype(np.float32)
    return ModelSignature(
        inputs=Schema([TensorSpec(narrow, (-1, width), INPUT)]),
        outputs=Schema([TensorSpec(narrow, (-1, 2), OUTPUT)]),
    )


@contextmanager
def _server(tracking_uri: str) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        raise UnavailableError(
            f"MLflow at {tracking_uri} did not take the run: {error.message}",
            remedy="See that its server runs and that its database is up to date.",
        ) from error

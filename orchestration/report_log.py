"""Reports in MLflow: a run per report, whose pages anybody with a browser can open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from fraud.domain.errors import UnavailableError
from fraud.domain.fraud_type import FraudType


@dataclass(frozen=True)
class LoggedReport:
    """Where a report was logged."""

    experiment_id: str
    run_id: str


def log_report(
    fraud_type: FraudType,
    title: str,
    metrics: Mapping[str, float],
    files: Sequence[Path],
    *,
    tracking_uri: str,
) -> LoggedReport:
    """Keep a report's files and its numbers in the fraud type's monitoring experiment.

    Raises:
        UnavailableError: MLflow does not answer or refuses.
    """
    client = mlflow.MlflowClient(tracking_uri=tracking_uri)
    name = f"fraud/{fraud_type.name}/monitoring"
    try:
        found = client.get_experiment_by_name(name)
        experiment_id = found.experiment_id if found else client.create_experiment(name)
        run = client.create_run(experiment_id, run_name=title)
        for metric, value in metrics.items():
            client.log_metric(run.info.run_id, metric, value)
        for file in files:
            client.log_artifact(run.info.run_id, str(file))
        client.set_terminated(run.info.run_id)
    except MlflowException as error:
        raise UnavailableError(
            f"MLflow at {tracking_uri} did not take the report: {error.message}",
            remedy="See that its server runs and that its database is up to date.",
        ) from error
    return LoggedReport(experiment_id, run.info.run_id)

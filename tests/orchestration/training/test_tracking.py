"""Logging to a real MLflow server."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pytest

from fraud.domain.errors import UnavailableError
from fraud.types.credit_card import CREDIT_CARD
from orchestration.training.release import manifest_of
from orchestration.training.split import Split
from orchestration.training.tracking import (
    LoggedRun,
    log_candidate,
    point_aliases,
    register_model,
)
from orchestration.training.train import TrainedCandidate, train_candidate
from tests.orchestration.mlflow_server import mlflow_server
from tests.orchestration.training.builders import a_split

TRAINED_AT = dt.datetime(2026, 3, 2, 4, 30, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri


@pytest.fixture(scope="module")
def split() -> Split:
    return a_split()


@pytest.fixture(scope="module")
def trained(split: Split) -> TrainedCandidate:
    return train_candidate("lightgbm", split, CREDIT_CARD, params={"num_iterations": 20})


@pytest.fixture(scope="module")
def logged(store: str, trained: TrainedCandidate, split: Split) -> LoggedRun:
    return log_candidate(
        trained,
        split,
        CREDIT_CARD,
        tracking_uri=store,
        trained_at=TRAINED_AT,
        git_commit="a" * 40,
        dagster_run_id="dagster-1",
    )


def test_a_run_holds_what_can_be_compared(
    store: str, logged: LoggedRun, trained: TrainedCandidate
) -> None:
    run = mlflow.MlflowClient(store).get_run(logged.run_id)
    assert mlflow.MlflowClient(store).get_experiment(logged.experiment_id).name == (
        "fraud/credit_card"
    )
    assert run.info.status == "FINISHED"
    assert run.data.params["num_leaves"] == "15"
    assert run.data.params["num_iterations"] == "20"
    for sample in ("validation", "test"):
        for name, value in trained.metrics[sample].items():
            assert run.data.metrics[f"{sample}/{name}"] == pytest.approx(value)
    assert run.data.metrics["parity/max_difference"] == trained.parity.max_difference
    model = mlflow.MlflowClient(store).get_logged_model(run.outputs.model_outputs[0].model_id)
    assert {metric.key: metric.value for metric in model.metrics} == run.data.metrics
    assert run.data.tags["schema_hash"] == CREDIT_CARD.schema_hash
    assert run.data.tags["git_commit"] == "a" * 40
    assert run.data.tags["dagster_run_id"] == "dagster-1"
    assert run.data.tags["train_window"].startswith("2026-01-01T00:00Z/")


def test_a_run_holds_its_pictures(store: str, logged: LoggedRun) -> None:
    files = mlflow.MlflowClient(store).list_artifacts(logged.run_id, "plots")
    assert {Path(file.path).name for file in files} == {
        "precision_recall.png",
        "calibration.png",
        "importances.png",
        "slices.png",
    }


def test_the_champion_is_found_by_its_alias(
    store: str, logged: LoggedRun, trained: TrainedCandidate, split: Split
) -> None:
    manifest = manifest_of(
        trained,
        split,
        CREDIT_CARD,
        trained_at=TRAINED_AT,
        git_commit="a" * 40,
        mlflow_run_id=logged.run_id,
    )
    version = register_model(logged.run_id, manifest, "# A card", CREDIT_CARD, tracking_uri=store)
    point_aliases("credit_card", {"champion": manifest.model_version}, tracking_uri=store)
    client = mlflow.MlflowClient(store)
    champion = client.get_model_version_by_alias("fraud-credit_card", "champion")
    assert (champion.version, champion.run_id) == (version, logged.run_id)
    assert champion.tags["model_version"] == manifest.model_version
    assert champion.tags["bundle_digest"] == manifest.digest
    assert champion.description == "# A card"

    again = register_model(logged.run_id, manifest, "# A card", CREDIT_CARD, tracking_uri=store)
    assert again == version  # a rerun makes no second version

    graph = mlflow.onnx.load_model("models:/fraud-credit_card@champion")
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    rows = split.test.features[:5].astype(np.float32)
    ours = onnxruntime.InferenceSession(trained.onnx_bytes)
    np.testing.assert_array_equal(
        session.run(None, {"features": rows})[0], ours.run(None, {"features": rows})[0]
    )


def test_aliases_follow_who_is_in_service(
    store: str, logged: LoggedRun, trained: TrainedCandidate, split: Split
) -> None:
    later = TRAINED_AT + dt.timedelta(days=30)
    run = log_candidate(trained, split, CREDIT_CARD, tracking_uri=store, trained_at=later)
    manifest = manifest_of(
        trained, split, CREDIT_CARD, trained_at=later, git_commit="", mlflow_run_id=run.run_id
    )
    register_model(run.run_id, manifest, "# Later", CREDIT_CARD, tracking_uri=store)
    name, client = "fraud-credit_card", mlflow.MlflowClient(store)
    champion = client.get_model_version_by_alias(name, "champion")
    assert champion.run_id == logged.run_id, "registering puts nothing into service"
    wanted = {"champion": manifest.model_version, "challenger": champion.tags["model_version"]}
    point_aliases("credit_card", wanted, tracking_uri=store)
    assert client.get_model_version_by_alias(name, "champion").run_id == run.run_id
    assert client.get_model_version_by_alias(name, "challenger").run_id == logged.run_id
    point_aliases("credit_card", {"challenger": None}, tracking_uri=store)
    assert set(client.get_registered_model(name).aliases) == {"champion"}
    point_aliases("ach", {"champion": "never registered"}, tracking_uri=store)


def test_a_server_that_refuses_is_named(
    store: str, trained: TrainedCandidate, split: Split
) -> None:
    manifest = manifest_of(
        trained, split, CREDIT_CARD, trained_at=TRAINED_AT, git_commit="", mlflow_run_id=""
    )
    with pytest.raises(UnavailableError, match=r"http://127.*id=nowhere.*See that its server"):
        register_model("nowhere", manifest, "# A card", CREDIT_CARD, tracking_uri=store)

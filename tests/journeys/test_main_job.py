"""The main job as a stranger sees it, on the real servers.

Simulator, lake, features, four models, champion, Bento, `/predict`, ledger, drift report.
"""

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from feature_store.lake import Lake
from feature_store.offline import feature_matrix
from feature_store.tail import tail_events
from feature_store.tail_frames import events_frame
from fraud.ledger.embedded import ledger_url
from fraud.ledger.pool import transaction
from fraud.types.credit_card import CREDIT_CARD
from tests.journeys.platform import Platform, left_running, running, small_world
from tests.servers import temporary_run_dir

pytestmark = pytest.mark.timeout(1500)

REPLY = {
    "transaction_id", "decision_id", "fraud_type", "fraud_probability", "risk_level",
    "recommended_action", "reasons", "rules", "model_version", "policy_version", "degraded",
    "scored_at", "replayed",
}  # fmt: skip


@pytest.fixture(scope="module")
def run_dir() -> Iterator[Path]:
    with temporary_run_dir() as folder:
        yield folder


@pytest.fixture(scope="module")
def environment(run_dir: Path, bento_dir: Path) -> dict[str, str]:
    return small_world(run_dir, bento_dir)


@pytest.fixture(scope="module")
def platform(environment: dict[str, str]) -> Iterator[Platform]:
    with running(environment) as platform:
        yield platform


@pytest.fixture(scope="module")
def api(platform: Platform) -> Iterator[httpx.Client]:
    token = platform.fraud("token").strip()
    with httpx.Client(
        base_url=f"http://127.0.0.1:{platform.settings.api_port}",
        headers={"authorization": f"Bearer {token}"},
        timeout=30,
    ) as client:
        yield client


def rows(platform: Platform, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    with transaction(ledger_url(platform.settings)) as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def a_payment(**changes: object) -> dict[str, object]:
    return {
        "transaction_id": f"JOURNEY_{uuid.uuid4().hex[:12]}",
        "amount": 42.5,
        "user_id": "USER_000001",
        "merchant_id": "MERCH_000001",
        "merchant_category": "electronics",
        **changes,
    }


def test_the_offered_request_answers_with_every_field(platform: Platform) -> None:
    done = subprocess.run(
        ["sh", "-c", platform.curl_line()], capture_output=True, text=True, check=True
    )
    reply = json.loads(done.stdout)
    assert set(reply) == REPLY
    assert reply["degraded"] is False


def test_a_decision_and_its_ledger_rows_belong_together(
    platform: Platform, api: httpx.Client
) -> None:
    body = a_payment()
    reply = api.post("/predict", json=body).json()
    found = rows(
        platform,
        "SELECT t.amount_minor, t.risk_level, d.probability, d.model_version, d.schema_hash, "
        "(SELECT count(*) FROM outbox o WHERE o.payload->>'transaction_id' = t.transaction_id), "
        "(SELECT count(*) FROM audit_log a WHERE a.object_id = t.transaction_id) "
        "FROM transactions t JOIN decisions d USING (transaction_id) WHERE transaction_id = %s",
        body["transaction_id"],
    )
    assert found == [
        (
            4250,
            reply["risk_level"],
            reply["fraud_probability"],
            reply["model_version"],
            CREDIT_CARD.schema_hash,
            1,
            1,
        )
    ]


def test_served_features_equal_what_training_would_compute(
    platform: Platform, api: httpx.Client
) -> None:
    """Lake and ledger, rebuilt offline, give the very bytes that serving used."""
    for number in range(5):
        body = a_payment(amount=10.0 * (number + 1), device_id="phone-1", country="US")
        assert api.post("/predict", json=body).status_code == 200
    lake = Lake(platform.settings.lake_url)
    history, labels = lake.events(CREDIT_CARD), lake.labels(CREDIT_CARD)
    with transaction(ledger_url(platform.settings)) as cursor:
        tail = tail_events(cursor, CREDIT_CARD, int(history["seq"].max()))
        served = events_frame(CREDIT_CARD, tail)
        cursor.execute("SELECT transaction_id, feature_values FROM decisions")
        stored = {each: np.frombuffer(bytes(values), "<f8") for each, values in cursor}
    assert len(served) >= 5
    matrix = feature_matrix(CREDIT_CARD, pd.concat([history, served], ignore_index=True), labels)
    rebuilt = matrix[len(history) :].astype(np.float64)
    for transaction_id, offline in zip(served["transaction_id"], rebuilt, strict=True):
        differing = np.flatnonzero(stored[transaction_id].view("i8") != offline.view("i8"))
        assert [CREDIT_CARD.feature_names[place] for place in differing] == []


def test_what_was_decided_is_replayed_exactly(platform: Platform, api: httpx.Client) -> None:
    for number in range(20):
        body = a_payment(amount=5.0 + number, user_id=f"USER_{number % 4 + 1:06}")
        assert api.post("/predict", json=body).status_code == 200
    outcome = json.loads(platform.fraud("replay", "--sample", "1000").splitlines()[-1])
    assert outcome["replayed"] >= 20
    assert outcome["identical"] == outcome["replayed"]


def test_four_comparable_models_were_trained_and_one_is_champion(platform: Platform) -> None:
    client = MlflowClient(platform.settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name("fraud/credit_card")
    runs = client.search_runs([experiment.experiment_id])
    kinds = {run.data.tags["candidate"] for run in runs}
    assert kinds >= {"logistic_regression", "random_forest", "xgboost", "lightgbm"}
    shared = set.intersection(*(set(run.data.metrics) for run in runs))
    assert any("average_precision" in name for name in shared)
    champion = client.get_model_version_by_alias("fraud-credit_card", "champion")
    deployed = rows(
        platform, "SELECT model_version, mlflow_run_id FROM deployments ORDER BY id DESC LIMIT 1"
    )
    assert deployed[0][1] == champion.run_id
    assert rows(platform, "SELECT count(*) FROM model_performance")[0][0] >= 4


def test_dagster_shows_the_run_and_its_checks(platform: Platform) -> None:
    url = f"http://127.0.0.1:{platform.settings.dagster_port}/graphql"
    query = """{
      runsOrError { ... on Runs { results { status jobName } } }
      assetNodes { assetKey { path } groupName description hasAssetChecks }
    }"""
    found = httpx.post(url, json={"query": query}, timeout=60).json()["data"]
    assert {"SUCCESS"} == {run["status"] for run in found["runsOrError"]["results"]}
    assets = found["assetNodes"]
    assert len({asset["groupName"] for asset in assets}) >= 5
    assert all(asset["description"] for asset in assets)
    assert any(asset["hasAssetChecks"] for asset in assets)


def test_a_drift_report_was_kept(platform: Platform) -> None:
    reports = sorted((platform.settings.run_dir / "reports" / "credit_card").rglob("drift.html"))
    assert reports
    assert "<html" in reports[-1].read_text()[:2000].lower()


def test_a_flipped_byte_keeps_the_champion_and_shows_in_health(
    platform: Platform, api: httpx.Client
) -> None:
    ((version, folder),) = rows(
        platform, "SELECT model_version, bundle_path FROM deployments ORDER BY id DESC LIMIT 1"
    )
    graph = next(Path(platform.settings.bundle_dir / folder).rglob("model.onnx"))
    whole = graph.read_bytes()
    try:
        graph.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
        deadline = 100
        while not (problem := champion(api).get("problem")) and deadline:
            deadline -= 1
            api.post("/predict", json=a_payment()).raise_for_status()
        assert problem
        reply = api.post("/predict", json=a_payment()).json()
        assert (reply["model_version"], reply["degraded"]) == (version, False)
    finally:
        graph.write_bytes(whole)


def champion(api: httpx.Client) -> dict[str, Any]:
    time.sleep(0.1)
    found: dict[str, Any] = api.get("/health").json()["champions"]["credit_card"]
    return found


def test_nothing_is_left_after_ctrl_c_and_a_second_start_does_not_train(
    platform: Platform, environment: dict[str, str], run_dir: Path
) -> None:
    """Runs last: it stops the platform of this module and starts it again."""
    trained = len(_runs(platform))
    platform.process.send_signal(2)
    assert platform.process.wait(60) == 0
    assert left_running(run_dir) == []
    with running(environment) as again:
        assert len(_runs(again)) == trained
        assert "first pipeline run" not in again.output.lower()
    assert left_running(run_dir) == []


def _runs(platform: Platform) -> list[Any]:
    client = MlflowClient(platform.settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name("fraud/credit_card")
    return list(client.search_runs([experiment.experiment_id]))

"""What /health, the probes and /metrics say, with the ledger there and away."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg2 import sql

from fraud.ledger.engine import connect, database_name
from tests.bentos.fraud_detector.detector import Detector, a_transaction, running
from tests.servers import temporary_run_dir


def test_health_says_what_serves(detector: Detector) -> None:
    body = httpx.get(f"{detector.url}/health").json()
    assert body["status"] == "ok"
    assert body["database"]["status"] == "ok"
    assert body["champions"]["credit_card"]["model_version"] == "model-1"
    assert body["champions"]["credit_card"]["promoted_at"].endswith("Z")
    assert body["schema"]["ledger"] == body["schema"]["ledger_expected"]
    assert set(body["schema"]["features"]) == {"credit_card"} | set(body["champions"])


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/health"])
def test_probes_are_open(detector: Detector, path: str) -> None:
    assert httpx.get(detector.url + path).status_code == 200


def samples(detector: Detector) -> dict[str, float]:
    """Every sample as `name{labels}`, of the credit_card lines."""
    answer = httpx.get(f"{detector.url}/metrics", headers=detector.headers(["metrics"]))
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics_count_decisions_replays_and_refusals(detector: Detector) -> None:
    before = samples(detector)
    body = a_transaction()
    decided = detector.predict(body).json()
    detector.predict(body)
    detector.predict_raw(b"{")
    after = samples(detector)

    def grown(start: str) -> float:
        names = [name for name in after if name.startswith(start)]
        return sum(after[name] - before.get(name, 0.0) for name in names)

    assert grown("fraud_predictions_total[") == 1
    assert grown("fraud_replays_total[") == 1
    assert grown("fraud_detected_total[") == (decided["recommended_action"] == "block")
    assert grown("prediction_duration_seconds_count[") == 2
    assert grown("fraud_batch_size_requests_count[") == 2
    assert grown("fraud_refused_requests_total[('problem', 'malformed-body')") == 1
    # 0.97 is the accuracy that the harness writes into its manifests.
    assert after["model_accuracy[('fraud_type', 'credit_card')]"] == 0.97


@pytest.fixture
def cut_off(new_ledger: Callable[[], str]) -> Iterator[tuple[Detector, Callable[[bool], None]]]:
    """A service, and a switch that takes its ledger away."""
    ledger = new_ledger()

    def allow(is_allowed: bool) -> None:
        name = sql.Identifier(database_name(ledger))
        connection = connect(ledger.replace(f"/{database_name(ledger)}?", "/postgres?"))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                    name, sql.SQL("true" if is_allowed else "false")
                )
            )
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (database_name(ledger),),
            )
        connection.close()

    with temporary_run_dir() as run_dir, running(run_dir, ledger, "model-1") as started:
        yield started, allow
        allow(True)


def test_without_the_ledger_rules_answer_and_its_return_takes_their_answers_in(
    cut_off: tuple[Detector, Callable[[bool], None]],
) -> None:
    detector, allow = cut_off
    body = a_transaction()
    assert detector.predict(body).status_code == 200
    allow(False)
    answer = detector.predict()
    assert answer.status_code == 200
    assert answer.json()["degraded"]
    assert answer.json()["recommended_action"] == "review"
    detector.look()
    seen = httpx.get(f"{detector.url}/health")
    assert (seen.status_code, seen.json()["status"]) == (200, "degraded")
    assert seen.json()["database"]["problem"] == "The ledger does not answer."
    assert seen.json()["journal"]["decisions"] == 1
    assert seen.json()["journal"]["breaker"] in ("open", "half_open")
    assert httpx.get(f"{detector.url}/readyz").status_code == 200
    # Who proves nothing is turned away all the same, though it cannot be recorded.
    assert httpx.post(f"{detector.url}/predict").status_code == 401
    allow(True)
    detector.look()
    deadline = time.monotonic() + 20
    while httpx.get(f"{detector.url}/health").json()["status"] != "ok":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert detector.predict(body).json()["replayed"]
    kept = detector.rows("SELECT decision_id FROM decisions WHERE degraded")
    assert kept == [(answer.json()["decision_id"],)]

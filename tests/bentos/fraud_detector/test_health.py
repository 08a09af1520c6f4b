"""What /health, the probes and /metrics say, with the ledger there and away."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg2 import sql

from fraud.ledger.engine import connect, database_name
from fraud.ledger.measurements import (
    AUDIT_CHECK,
    DRIFT,
    DRIFT_DISTANCE,
    LIVE_QUALITY,
    PLATFORM,
    Measurement,
    record_measurements,
)
from fraud.ledger.pool import transaction
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
    action = decided["recommended_action"]
    key = f"[('action', '{action}'), ('fraud_type', 'credit_card')]"
    assert grown(f"fraud_decided_amount_major_sum{key}") == 12.5
    assert grown(f"fraud_decided_amount_major_count{key}") == 1
    assert grown("fraud_score_ratio_count[") == 1
    for stage in ("queue", "score"):
        assert grown(f"fraud_stage_duration_seconds_count[('stage', '{stage}')]") == 2
    assert after["fraud_ledger_up[]"] == 1
    assert abs(after["fraud_clock_seconds[]"] - time.time()) < 60
    problem = "fraud_champion_problem[('fraud_type', '{}'), ('status', 'missing')]"
    assert after[problem.format("credit_card")] == 0
    assert after[problem.format("ach")] == 1


def test_what_was_measured_last_is_told_with_its_version(detector: Detector) -> None:
    detector.predict()
    assert not any(name.startswith("model_accuracy[") for name in samples(detector))
    quality = {"accuracy": 0.91, "precision": 0.4, "recall": 0.8}
    found = [
        Measurement("credit_card", LIVE_QUALITY, taken_at_us, values, version, decisions=500)
        for taken_at_us, values, version in (
            (1_000_000, quality | {"accuracy": 0.5}, "model-0"),
            (2_000_000, quality, "model-1"),
        )
    ]
    found.append(Measurement("credit_card", DRIFT_DISTANCE, 2_000_000, {"amount": 0.31}))
    found.append(Measurement("credit_card", DRIFT, 2_000_000, {"drifted": 1, "columns": 9}))
    found.append(Measurement(PLATFORM, AUDIT_CHECK, 2_000_000, {"findings": 0}))
    with transaction(detector.ledger) as cursor:
        record_measurements(cursor, found)
        cursor.execute("INSERT INTO outbox_sinks (sink) VALUES ('kafka')")
    deadline = time.monotonic() + 20  # the ledger is asked every 5 s at most
    now = samples(detector)
    while not any(name.startswith("model_accuracy[") for name in now):
        assert time.monotonic() < deadline
        time.sleep(0.2)
        now = samples(detector)
    labels = "[('fraud_type', 'credit_card'), ('model_version', 'model-1')]"
    assert {value for name, value in now.items() if name.startswith("model_accuracy[")} == {0.91}
    assert now[f"model_accuracy{labels}"] == 0.91
    assert now[f"fraud_live_recall_ratio{labels}"] == 0.8
    assert now[f"fraud_live_decisions{labels}"] == 500
    assert now["fraud_drift_distance[('feature', 'amount'), ('fraud_type', 'credit_card')]"] == 0.31
    assert now["fraud_drifted_features[('fraud_type', 'credit_card')]"] == 1
    assert now["fraud_audit_findings[]"] == 0
    assert now["fraud_outbox_oldest_seconds[('sink', 'kafka')]"] > 0  # nobody tells it here
    assert now["fraud_outbox_dead_letters[('sink', 'kafka')]"] == 0
    assert now["fraud_ledger_size_bytes[]"] > 1e6


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
    deadline = time.monotonic() + 20
    away = samples(detector)
    while away["fraud_ledger_up[]"] == 1:  # the module's other service counts there as well
        assert time.monotonic() < deadline
        detector.look()
        away = samples(detector)
    assert away["fraud_ledger_breaker_state[]"] > 0
    degraded = "fraud_degraded_decisions_total[('fraud_type', 'credit_card'), ('lack', '{}')]"
    assert away[degraded.format("history")] >= 1
    assert "fraud_ledger_size_bytes[]" not in away  # unknown, and not waited for
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

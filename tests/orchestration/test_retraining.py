"""When a model is trained again, and when not."""

import datetime as dt
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from fraud.domain.event import to_us
from fraud.ledger.measurements import DRIFT, LIVE_QUALITY, RETRAINING, Measurement
from fraud.ledger.measurements import record_measurements as record
from fraud.ledger.pool import ConnectionPool
from fraud.settings import Settings, load_settings
from fraud.types.credit_card import CREDIT_CARD
from orchestration.automation import jobs
from orchestration.resources import LedgerResource
from orchestration.retraining import need
from orchestration.sensors import LEAST_DECISIONS, ask_for_retraining, judged_after, sensors
from orchestration.serving import running_model
from tests.bentos.fraud_detector.detector import promote
from tests.orchestration.served_world import serve
from tests.servers import temporary_run_dir

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
PROMOTED = NOW - dt.timedelta(days=30)
HOUR = dt.timedelta(hours=1)


def drift(share: float, score: float = 0.0, served: int = 1, **more: Any) -> Measurement:
    values = {"drifted_share": share, "score_distance": score, "served": served}
    return a_measurement(DRIFT, values, **more)


def quality(decisions: int = 5_000, **values: float) -> Measurement:
    return a_measurement(LIVE_QUALITY, {"accuracy": 0.97, **values}, decisions=decisions)


def a_measurement(
    name: str,
    values: dict[str, float],
    at: dt.datetime = NOW - HOUR,
    version: str = "model-1",
    decisions: int = 5_000,
) -> Measurement:
    return Measurement("credit_card", name, to_us(at), values, version, decisions)


def reasons(*found: Measurement) -> tuple[str, ...]:
    return need(found, [], "model-1", PROMOTED, {"recall_alert": 0.7}).reasons


@pytest.mark.parametrize(
    "found",
    [
        drift(0.31),
        drift(0.0, score=0.2),
        quality(accuracy=0.79),
        quality(recall=0.54, frauds=50),
    ],
)
def test_drift_and_decay_are_reasons(found: Measurement) -> None:
    assert len(reasons(found)) == 1


@pytest.mark.parametrize(
    "found",
    [
        drift(0.29, score=0.05),
        drift(0.9, served=0),  # the log's own days, before anything was served
        drift(0.9, version="model-0"),  # about another model
        drift(0.9, at=PROMOTED - HOUR),  # from before it served
        quality(recall=0.56),
        quality(recall=0.3, frauds=49),  # chance alone may do that
        quality(decisions=999, accuracy=0.1),  # too few to tell
    ],
)
def test_these_are_not(found: Measurement) -> None:
    assert reasons(found) == ()


def test_each_request_waits_twice_as_long_until_a_new_champion_serves() -> None:
    requests = [a_measurement(RETRAINING, {"attempt": 3}, at=NOW)]
    waits = []
    for _ in range(7):
        found = need([drift(0.9)], requests, "model-1", PROMOTED, {})
        assert found.not_before is not None
        waits.append((found.not_before - NOW).days)
        assert not found.is_due(found.not_before - HOUR)
        assert found.is_due(found.not_before)
        requests.append(a_measurement(RETRAINING, {}, at=NOW - HOUR))
    assert waits == [1, 2, 4, 8, 16, 32, 32]
    assert need([drift(0.9)], requests, "model-1", NOW - HOUR / 2, {}).attempt == 1
    fresh = need([drift(0.9, at=NOW + HOUR)], requests, "model-1", NOW + HOUR / 2, {})
    assert fresh.is_due(NOW + HOUR)


def test_drift_alone_waits_until_newer_days_can_be_judged() -> None:
    """Also where a new champion serves, which learnt from the same old days."""
    requests = [a_measurement(RETRAINING, {}, at=NOW)]
    promoted = NOW + 5 * 24 * HOUR
    later = promoted + HOUR
    lag = dt.timedelta(days=21)
    drifted = need([drift(0.9, at=later)], requests, "model-1", promoted, {}, lag)
    assert (drifted.attempt, drifted.not_before) == (0, NOW + lag)
    decayed = [drift(0.9, at=later), a_measurement(LIVE_QUALITY, {"accuracy": 0.5}, at=later)]
    assert need(decayed, requests, "model-1", promoted, {}, lag).is_due(later)
    first = need([drift(0.9, at=later)], [], "model-1", promoted, {}, lag)
    assert first.is_due(later), "the first request is made at once"


@pytest.fixture
def told() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Where a webhook is told, and what it was told."""
    heard: list[dict[str, str]] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", heard
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings(
    new_ledger: Callable[[], str], told: tuple[str, list[dict[str, str]]]
) -> Iterator[Settings]:
    with temporary_run_dir() as run_dir:
        yield load_settings(
            run_dir=run_dir,
            database_url=new_ledger(),
            notify_webhook_url=told[0],
            notify_slack_url=told[0],
        )


def test_the_sensor_asks_once_and_tells_people(
    settings: Settings, told: tuple[str, list[dict[str, str]]]
) -> None:
    ledger, url = LedgerResource(settings=settings), settings.database_url
    assert url is not None
    assert "No model" in str(ask_for_retraining(ledger, settings, CREDIT_CARD, NOW))
    promote(settings, url, "model-1", at_us=to_us(PROMOTED))
    assert isinstance(ask_for_retraining(ledger, settings, CREDIT_CARD, NOW), dg.SkipReason)
    pool = ConnectionPool(url, size=1)
    with pool.transaction() as cursor:
        record(cursor, [drift(0.5)])
    pool.close()
    asked = ask_for_retraining(ledger, settings, CREDIT_CARD, NOW)
    assert isinstance(asked, dg.RunRequest)
    assert asked.tags["fraud/why"] == "50% of the features drifted."
    assert [sorted(each) for each in told[1]] == [["subject", "text"], ["text"]]
    assert told[1][0]["text"] == "50% of the features drifted."
    later = ask_for_retraining(ledger, settings, CREDIT_CARD, NOW + HOUR)
    assert isinstance(later, dg.SkipReason)
    assert "not before" in str(later.skip_message)
    served_by = running_model(ConnectionPool(url, size=1), settings, CREDIT_CARD)
    again = NOW + judged_after(served_by, CREDIT_CARD)
    early = ask_for_retraining(ledger, settings, CREDIT_CARD, again - HOUR)
    assert isinstance(early, dg.SkipReason)
    assert isinstance(ask_for_retraining(ledger, settings, CREDIT_CARD, again), dg.RunRequest)


def test_a_report_is_asked_for_once_there_is_enough_to_report_on(settings: Settings) -> None:
    ledger = LedgerResource(settings=settings)
    monitoring, maturity, retraining = sensors(CREDIT_CARD, jobs(CREDIT_CARD))

    def evaluated(sensor: dg.SensorDefinition = monitoring) -> Any:
        with (
            dg.DagsterInstance.ephemeral() as instance,
            dg.build_sensor_context(
                instance, resources={"ledger": ledger, "settings": settings}
            ) as context,
        ):
            return sensor.evaluate_tick(context)

    assert evaluated().run_requests == []
    pool, now = ConnectionPool(ledger.url(), size=1), dt.datetime.now(dt.UTC)
    serve(pool, now, LEAST_DECISIONS, age=dt.timedelta(hours=1))
    assert "labels since" in str(evaluated(maturity).skip_message)  # some fifty came
    assert "No model" in str(evaluated(retraining).skip_message)
    [asked] = evaluated().run_requests or []
    assert "500 decisions" in asked.tags["fraud/why"]
    with pool.transaction() as cursor:
        record(cursor, [drift(0.1, at=now - dt.timedelta(hours=2))])
    assert evaluated().run_requests == []  # enough for a day, but a day has not passed
    with pool.transaction() as cursor:
        record(cursor, [drift(0.1, at=now)])
    pool.close()
    assert "0 decisions" in str(evaluated().skip_message)

"""Grafana's boards: current, complete, and with data behind every query of every panel."""

import datetime as dt
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from prometheus_client import start_http_server

from bentos.stream.endpoints import read_endpoints
from bentos.stream.sinks.webhooks import WebhookSink
from dashboards.drift.report import Window, write_drift_report
from dashboards.grafana.build import FOLDER, built
from dashboards.grafana.panels import BOARDS
from fraud.domain.event import to_us
from fraud.ledger import measurements
from fraud.ledger.measurements import Measurement, record_measurements
from fraud.ledger.pool import ConnectionPool
from fraud.run.kafka.broker import Broker
from fraud.types.credit_card import CREDIT_CARD
from orchestration.assets.platform import audit_check
from orchestration.definitions import resources
from orchestration.live import (
    default_rates,
    judged_decisions,
    label_delays,
    live_quality,
    served_sample,
)
from tests.bentos.fraud_detector.detector import Detector, a_token, a_transaction, running
from tests.bentos.stream.builders import relaying
from tests.bentos.stream.places import WebhookPlace
from tests.bentos.stream.streams import Stream, settings_for
from tests.kafka import make_topic
from tests.orchestration.served_world import serve
from tests.prometheus_server import ask, prometheus
from tests.servers import temporary_run_dir

GRAFANA = FOLDER.parent


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_boards_are_current_and_whole(board: object) -> None:
    text = (FOLDER / f"{board.uid}.json").read_text()  # type: ignore[attr-defined]
    assert text == built(board)  # type: ignore[arg-type]
    content = json.loads(text)
    panels = [panel for panel in content["panels"] if panel["type"] != "row"]
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["datasource"]["uid"] == "fraud-prometheus"
        assert panel["targets"][0]["expr"]
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in content["panels"]]
    assert len(set(places)) == len(places)  # nothing lies on top of another


def test_provisioning_names_the_source_that_panels_use() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    assert [each["uid"] for each in sources["datasources"]] == ["fraud-prometheus"]
    assert {file.stem for file in FOLDER.glob("*.json")} == {board.uid for board in BOARDS}


@pytest.fixture(scope="module")
def service(new_ledger: Callable[[], str]) -> Iterator[Detector]:
    with temporary_run_dir() as run_dir, running(run_dir, new_ledger(), "model-1") as started:
        yield started


@pytest.fixture(scope="module")
def relay(service: Detector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a relay that tells a webhook shows its metrics, as `fraud relay` does."""
    place, stop = WebhookPlace(tmp_path_factory.mktemp("webhook")), threading.Event()
    [endpoint] = read_endpoints(place.folder / "webhooks.yaml")
    sink = WebhookSink(endpoint, stop)
    with relaying(service.ledger, sink, stop=stop) as metrics:
        server, thread = start_http_server(0, "127.0.0.1", metrics.registry)
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()
        thread.join()
    place.close()


@pytest.fixture(scope="module")
def stream(service: Detector, kafka: Broker) -> Stream:
    topic, dlq = "watched", "watched.dlq"
    for name in (topic, dlq):
        make_topic(kafka.address, name, partitions=2)
    settings = settings_for(service.settings.run_dir, service.ledger, kafka.address, topic)
    return Stream(settings, topic, dlq)


@pytest.fixture(scope="module")
def worker(stream: Stream) -> Iterator[str]:
    """Where a stream worker shows its metrics, as `fraud stream` does."""
    with stream.worker() as registry:
        server, thread = start_http_server(0, "127.0.0.1", registry)
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def watched(
    service: Detector, relay: str, worker: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A Prometheus that watches the service, the relay and the stream worker."""
    token = a_token(service.settings, ["metrics"], subject="prometheus", lifetime_s=3600)
    target, folder = service.url.removeprefix("http://"), tmp_path_factory.mktemp("prometheus")
    with prometheus(folder, target, token, {"relay": relay, "stream": worker}) as url:
        yield url


def measure(service: Detector, folder: Path) -> None:
    """What monitoring measures, of decisions that are in the service's ledger."""
    now = dt.datetime.now(dt.UTC)
    pool = ConnectionPool(service.ledger, size=4)
    maturity = dt.timedelta(microseconds=CREDIT_CARD.maturity_us)
    serve(pool, now, 500, age=maturity + dt.timedelta(days=1))
    serve(pool, now, 600, age=dt.timedelta(days=1), version="young", shift=300.0, seed=4)
    with pool.transaction() as cursor:
        judged = judged_decisions(cursor, CREDIT_CARD, now)
        delays = label_delays(cursor, CREDIT_CARD, now - dt.timedelta(days=9))
        old = served_sample(cursor, CREDIT_CARD, now - 3 * maturity, now - maturity)
        new = served_sample(cursor, CREDIT_CARD, now - dt.timedelta(days=2), now)
        assert old is not None
        assert new is not None
        columns = ["amount", "user_count_1h", "user_count_1d"]
        summary = write_drift_report(
            "Amounts rose",
            Window("before", old.start, old.end, old.rows),
            Window("after", new.start, new.end, new.rows),
            columns,
            folder,
        )
        assert list(summary.drifted) == ["amount"]
        found = {
            measurements.DRIFT: {"drifted": len(summary.drifted)},
            measurements.DRIFT_DISTANCE: summary.distances,
            measurements.DEFAULT_RATE: default_rates(new.rows, CREDIT_CARD),
            measurements.LIVE_QUALITY: live_quality(judged),
            measurements.LABEL_DELAY: delays,
        }
        taken = [
            Measurement("credit_card", name, to_us(now), values, "model-1", len(judged))
            for name, values in found.items()
        ]
        record_measurements(cursor, taken)
    pool.close()
    done = dg.materialize([audit_check], resources=resources(service.settings))
    assert done.success


def test_every_panel_has_data_while_the_service_works(
    service: Detector, stream: Stream, watched: str, tmp_path: Path
) -> None:
    measure(service, tmp_path)
    queries = {
        f"{board.title}: {panel.title}: {legend}": query.replace("$__rate_interval", "1m").replace(
            "$type", ".*"
        )
        for board in BOARDS
        for panel in board.panels
        for query, legend in panel.queries
    }
    deadline = time.monotonic() + 120
    empty = dict(queries)
    while empty:
        assert time.monotonic() < deadline, f"no data: {list(empty)}"
        for _ in range(20):
            body = a_transaction()
            assert service.predict(body).status_code == 200
            service.predict(body)  # a repetition
        stream.send([a_transaction(), b"{"])  # one is decided, one goes to the dead letters
        service.predict_raw(b"{")
        service.client.post("/predict", json=body, headers={"authorization": "Bearer x"})
        empty = {
            name: query
            for name, query in empty.items()
            if not any(math.isfinite(value) for value in ask(watched, query))
        }
        time.sleep(0.5)
    assert ask(watched, "sum(fraud_predictions_total)")[0] >= 20
    # The alert of the guide holds for what was measured: the world misses half of its fraud.
    assert ask(watched, "min(fraud_live_recall_ratio)")[0] == pytest.approx(0.5, abs=0.15)
    assert ask(watched, "max(fraud_drifted_features) > 0") == [1.0]

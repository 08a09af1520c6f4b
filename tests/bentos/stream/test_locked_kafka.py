"""Worker and relay on a broker that wants a login over TLS, and what is said without it."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from bentos.stream import running
from bentos.stream.kafka_client import make_topics
from bentos.stream.sinks.kafka import KafkaSink
from bentos.stream.stream_metrics import StreamMetrics
from fraud.domain.errors import SettingsError
from fraud.ledger.outbox import RESULTS_TOPIC
from fraud.ledger.pool import transaction
from fraud.ledger.sinks import sink_statuses
from fraud.run.kafka.broker import Broker
from tests.bentos.fraud_detector.detector import a_transaction
from tests.bentos.stream.builders import relaying
from tests.bentos.stream.locked_broker import Authority, LockedBroker, a_locked_broker
from tests.bentos.stream.streams import Stream, wait_until

COUNT = 20


@pytest.fixture(scope="module")
def locked(
    kafka_classpath: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LockedBroker]:
    with a_locked_broker(kafka_classpath, tmp_path_factory.mktemp("tls")) as broker:
        make_topics({"bootstrap.servers": broker.inside.address}, [RESULTS_TOPIC], partitions=1)
        yield broker


@pytest.fixture(scope="module")
def kafka(locked: LockedBroker) -> Broker:
    """The broker that `stream` sends to and reads from, without a login."""
    return locked.inside


@pytest.fixture(params=["password", "authority", "mechanism"])
def mistake(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, object], str]:
    """A setting that is wrong, and the words that have to be said about it."""
    if request.param == "password":
        wrong = tmp_path / "wrong"
        wrong.write_text("close sesame")
        return {"kafka_password_file": wrong}, "FRAUD_KAFKA_PASSWORD_FILE"
    if request.param == "authority":
        return {"kafka_ca_file": Authority(tmp_path, "theirs").file}, "FRAUD_KAFKA_CA_FILE"
    return {"kafka_sasl_mechanism": "PLAIN"}, "FRAUD_KAFKA_SASL_MECHANISM"


def results_of(stream: Stream, wanted: set[str]) -> list[str]:
    """The transactions, of those wanted, whose results are in the topic; one per message."""
    values = [json.loads(each.value or b"{}") for each in stream.read(RESULTS_TOPIC)]
    return [each["transaction_id"] for each in values if each["transaction_id"] in wanted]


def test_with_a_login_over_tls_all_comes_through(stream: Stream, locked: LockedBroker) -> None:
    bodies = [a_transaction() for _ in range(COUNT)]
    wanted = {str(body["transaction_id"]) for body in bodies}
    stream.send([*bodies, b"poison"])
    with stream.worker(**locked.outside):
        wait_until(lambda: stream.committed() == COUNT + 1, "the offsets")
    assert stream.decided() == dict.fromkeys(wanted, 1)
    assert len(stream.read(stream.dlq)) == 1
    settings, stop = stream.settings.replaced(**locked.outside), threading.Event()
    with relaying(settings.database_url or "", KafkaSink(settings, stop), stop=stop):
        wait_until(lambda: len(results_of(stream, wanted)) == COUNT, "the results")
    assert sorted(results_of(stream, wanted)) == sorted(wanted)


def test_a_worker_that_is_not_let_in_says_why_and_takes_nothing(
    stream: Stream,
    locked: LockedBroker,
    mistake: tuple[dict[str, object], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "ASK_AGAIN_S", 0.05)
    wrong, words = mistake
    stream.send([a_transaction(transaction_id=f"{stream.topic}-1")])
    settings = stream.settings.replaced(**{**locked.outside, **wrong})
    with pytest.raises(SettingsError, match=words) as caught:
        running.work_until(threading.Event(), settings, StreamMetrics(CollectorRegistry()))
    assert "does not let us in" in str(caught.value)
    assert stream.committed() == 0
    with stream.worker(**locked.outside):
        wait_until(lambda: stream.committed() == 1, "the offset")
    assert stream.decided() == {f"{stream.topic}-1": 1}


def test_a_relay_that_is_not_let_in_says_why_and_keeps_its_messages(
    stream: Stream, locked: LockedBroker, mistake: tuple[dict[str, object], str]
) -> None:
    wrong, words = mistake
    bodies = [a_transaction() for _ in range(COUNT)]
    wanted = {str(body["transaction_id"]) for body in bodies}
    stream.send(bodies)
    with stream.worker():
        wait_until(lambda: stream.committed() == COUNT, "the decisions")
    url = stream.settings.database_url or ""
    stop = threading.Event()
    sink = KafkaSink(stream.settings.replaced(**{**locked.outside, **wrong}), stop)
    with relaying(url, sink, stop=stop):
        wait_until(lambda: words in failure_of(url), "the failure")
    assert results_of(stream, wanted) == []
    again = threading.Event()
    sink = KafkaSink(stream.settings.replaced(**locked.outside), again)
    with relaying(url, sink, stop=again):
        wait_until(lambda: len(results_of(stream, wanted)) == COUNT, "the results")
        wait_until(lambda: not failure_of(url), "the end of the failure")


def failure_of(url: str) -> str:
    """What `fraud relay status` shows of the sink."""
    with transaction(url) as cursor:
        found = sink_statuses(cursor, "kafka")
    return (found[0].failure or "") if found else ""


def test_a_file_that_is_no_certificate_is_named(
    stream: Stream, locked: LockedBroker, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("hello")
    settings = stream.settings.replaced(**{**locked.outside, "kafka_ca_file": tmp_path / "ca.pem"})
    with pytest.raises(SettingsError, match="FRAUD_KAFKA_CA_FILE"):
        running.check_topics(settings, [stream.topic])

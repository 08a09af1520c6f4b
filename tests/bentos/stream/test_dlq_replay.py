"""Sending dead letters again, as an operator does."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from typer.testing import CliRunner

from bentos.stream import dlq_replay
from bentos.stream.dlq_replay import Choice
from fraud.cli import app
from fraud.domain.errors import UnavailableError
from fraud.run.kafka.broker import Broker
from tests.bentos.fraud_detector.detector import a_transaction
from tests.bentos.stream.streams import Stream, wait_until


@pytest.fixture
def replay(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    names = ("run_dir", "kafka_servers", "kafka_group", "kafka_topics", "kafka_dlq_topic")
    for name in names:
        monkeypatch.setenv(f"FRAUD_{name.upper()}", str(getattr(stream.settings, name)))

    def run(*options: str) -> str:
        result = CliRunner().invoke(app, ["stream", "replay-dlq", *options])
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_letters_are_sent_again_once(stream: Stream, replay: Callable[..., str]) -> None:
    """A card payment came where only ACH entries were expected, which is then put right."""
    stray = a_transaction(transaction_id="stray")
    stream.send([stray, b"never JSON"], headers={"trace": "t-1"})
    with stream.worker(kafka_topics=f"{stream.topic}=ach"):
        wait_until(lambda: stream.committed() == 2, "both letters")

    invalid = ("--reason", "invalid-field")
    assert "1 of 2 waiting letters would be sent" in replay("--dry-run", *invalid)
    assert "0 of 2 waiting letters would be sent" in replay("--dry-run", "--until", "2020-01-01")
    assert "1 of 2 waiting letters were sent" in replay(*invalid)
    assert "0 of 1 waiting letters were sent" in replay(*invalid)

    with stream.worker():
        wait_until(lambda: stream.decided() == {"stray": 1}, "its decision")
        assert "1 of 1 waiting letters were sent" in replay()
        wait_until(lambda: len(stream.read(stream.dlq)) == 5, "the next letter")  # 2 tombstones
    sent = {each.key: each for each in stream.read(stream.topic) if "dlq.replays" in each.headers}
    assert sent.keys() == {b"USER_001", b"poison"}
    assert sent[b"USER_001"].headers == {"trace": "t-1", "dlq.replays": "1"}
    again = [each for each in stream.read(stream.dlq) if each.headers.get("dlq.replays")]
    assert [(each.value, each.headers["dlq.replays"]) for each in again] == [(b"never JSON", "1")]


def test_replays_at_the_same_time_send_a_letter_once(
    stream: Stream, replay: Callable[..., str]
) -> None:
    stream.send([a_transaction(transaction_id="stray")])
    with stream.worker(kafka_topics=f"{stream.topic}=ach"):
        wait_until(lambda: stream.committed() == 1, "the letter")

    def send_again(number: int) -> int:
        try:
            return len(dlq_replay.replay(stream.settings, Choice(), is_dry=False).chosen)
        except UnavailableError:  # another one took over
            return 0

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(send_again, range(3))) <= 1
    replay()
    assert len([each for each in stream.read(stream.topic) if each.headers]) == 1


def test_a_letter_too_large_for_the_dlq_goes_without_its_value(
    stream: Stream, replay: Callable[..., str], kafka: Broker
) -> None:
    limit_the_size(kafka.address, stream.dlq, 2_000)
    stream.send([b"x" * 100_000, a_transaction(transaction_id="good")], key="one")
    with stream.worker():
        wait_until(lambda: stream.committed() == 2, "both")
    [letter] = stream.read(stream.dlq)
    assert (letter.value, letter.headers["dlq.value_left_out"]) == (b"", "100000")
    assert "cannot be sent again" in replay()
    assert stream.decided() == {"good": 1}


def limit_the_size(address: str, topic: str, limit: int) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    change = AlterConfigOpType.SET
    entry = ConfigEntry("max.message.bytes", str(limit), incremental_operation=change)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for done in admin.incremental_alter_configs([resource]).values():
        done.result()

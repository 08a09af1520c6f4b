"""`fraud relay`: what it shows, what it is told, and what it says of wrong settings."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fraud import cli
from fraud.ledger.dead_letters import bury, due_letters
from fraud.ledger.deliveries import Message, Refusal, lead, next_batch, note_failure, note_progress
from fraud.ledger.engine import connect
from tests.bentos.stream.builders import decide


@pytest.fixture
def url(new_ledger: Callable[[], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    made = new_ledger()
    monkeypatch.setenv("DATABASE_URL", made)
    monkeypatch.setenv("FRAUD_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return made


def run(*words: str) -> Result:
    return CliRunner().invoke(cli.app, ["relay", *words])


def refuse_first(url: str, sink: str) -> Message:
    """Deliver the outbox to a sink that refuses its first message and then is away."""
    connection = connect(url)
    assert lead(connection, sink)
    with connection, connection.cursor() as cursor:
        batch = next_batch(cursor, sink, 100)
        assert batch is not None
        bury(cursor, sink, [Refusal(batch.messages[0], "HTTP 422: no such user", attempts=3)])
        note_progress(cursor, sink, batch.after)
        note_failure(cursor, sink, "connection refused")
    connection.close()
    return batch.messages[0]


def test_refused_messages_are_shown_and_sent_again(url: str) -> None:
    assert run("status").exit_code == 0
    decide(url, ["tx-1", "tx-2"])
    refused = refuse_first(url, "webhook:desk")
    status = run("status")
    assert status.exit_code == 1
    assert "webhook:desk" in status.output
    assert "connection refused" in status.output
    dead = run("dead", "--sink", "webhook:desk")
    assert str(refused.outbox_id) in dead.output
    assert "HTTP 422: no such user" in dead.output
    assert "HTTP 422" not in run("dead", "--sink", "mongodb").output
    assert "again: 0" in run("retry", "999").output
    assert "again: 1" in run("retry", str(refused.outbox_id), "--sink", "webhook:desk").output
    assert "will be tried again" in run("dead").output
    connection = connect(url)
    with connection, connection.cursor() as cursor:
        assert [m.outbox_id for m in due_letters(cursor, "webhook:desk", 9)] == [refused.outbox_id]
    connection.close()


def test_a_sink_that_is_not_used_any_more_is_removed(url: str) -> None:
    decide(url, ["tx-1"])
    refuse_first(url, "webhook:desk")
    assert run("remove", "webhook:desk").exit_code == 0
    assert "webhook:desk" not in run("status").output
    gone = run("remove", "webhook:desk")
    assert gone.exit_code == 2
    assert "There is no sink 'webhook:desk'" in gone.output


@pytest.mark.parametrize(
    ("sinks", "what"),
    [
        ("", "names no sink"),
        ("kafka,rabbit", "'rabbit', which is no sink"),
        ("webhooks", "FRAUD_WEBHOOKS_FILE is not set"),
    ],
)
def test_wrong_sinks_are_named(
    url: str, monkeypatch: pytest.MonkeyPatch, sinks: str, what: str
) -> None:
    monkeypatch.setenv("FRAUD_RELAY_SINKS", sinks)
    result = run()
    assert result.exit_code == 2
    assert what in result.output


def test_a_port_that_is_taken_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("FRAUD_RELAY_METRICS_PORT", str(taken.getsockname()[1]))
        monkeypatch.setenv("FRAUD_RELAY_SINKS", "kafka")
        result = run()
    assert result.exit_code == 2
    assert "FRAUD_RELAY_METRICS_PORT" in result.output

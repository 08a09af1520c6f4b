"""Workers on a real broker and a real ledger."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg2 import sql

from fraud.ledger.engine import connect, database_name
from fraud.run.kafka.broker import Broker
from tests.bentos.fraud_detector.detector import a_transaction
from tests.bentos.stream.streams import Stream, value_of, wait_until
from tests.kafka import make_topic


def payments(count: int, users: int = 7) -> list[dict[str, object]]:
    return [a_transaction(user_id=f"USER_{number % users}") for number in range(count)]


@contextmanager
def ledger_away(stream: Stream, postgres_url: str) -> Iterator[None]:
    """The ledger takes no connection, and ends those it has."""
    name = database_name(stream.settings.database_url)
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    connection = connect(postgres_url, autocommit=True)
    try:
        with connection.cursor() as cursor:
            cursor.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
            yield
            cursor.execute(allow.format(sql.Identifier(name), sql.SQL("true")))
    finally:
        connection.close()


def test_every_message_is_decided_once_and_only_then_committed(stream: Stream) -> None:
    bodies = payments(60)
    stream.send(bodies + bodies[:20])
    with stream.worker() as metrics:
        wait_until(lambda: stream.committed() == 80, "the offsets")
        assert stream.decided() == {body["transaction_id"]: 1 for body in bodies}
        repeated = value_of(
            metrics, "fraud_stream_messages_total", topic=stream.topic, outcome="repeated"
        )
        assert repeated == 20
    assert stream.rows("SELECT count(*), count(DISTINCT key) FROM outbox") == [(60, 7)]
    [(actor, origin)] = stream.rows(
        "SELECT actor, origin FROM audit_log WHERE action = 'score' LIMIT 1"
    )
    assert actor == f"kafka:{stream.settings.kafka_group}"
    assert origin.startswith(f"{stream.topic}/")


def test_poison_goes_to_the_dlq_and_the_partition_moves_on(stream: Stream) -> None:
    known, good = a_transaction(), a_transaction()
    poison = {
        "malformed-body": b"\x00 not JSON",
        "invalid-field": json.dumps(a_transaction(amount="much")).encode(),
        "duplicate-conflict": json.dumps(known | {"amount": 99.0}).encode(),
    }
    too_large = json.dumps(a_transaction(merchant_category="x" * 300_000)).encode()
    stream.send([known, *poison.values(), too_large, good], key="one", headers={"trace": "t-1"})
    with stream.worker() as metrics:
        wait_until(lambda: stream.committed() == 6, "the offsets")
        died = value_of(metrics, "fraud_stream_dead_letters_total", reason="malformed-body")
    assert died == 2
    assert stream.decided() == {known["transaction_id"]: 1, good["transaction_id"]: 1}
    letters = stream.read(stream.dlq)
    assert [(each.headers["dlq.reason"], each.value) for each in letters] == [
        *poison.items(),
        ("malformed-body", too_large),
    ]
    first = letters[0]
    origin = [first.headers[f"dlq.{name}"] for name in ("topic", "partition", "offset")]
    assert first.key == "/".join(origin).encode()
    assert (origin[0], origin[2]) == (stream.topic, "1")
    assert (first.headers["dlq.key"], first.headers["trace"]) == ("one", "t-1")
    assert first.headers["dlq.failed_at"] >= first.headers["dlq.sent_at"] > "2026"
    refusals = stream.rows(
        "SELECT detail->>'problem' FROM audit_log WHERE action = 'refuse' ORDER BY position"
    )
    assert [each for (each,) in refusals] == ["malformed-body", "invalid-field", "malformed-body"]


def test_a_card_number_does_not_reach_the_dlq(stream: Stream) -> None:
    stream.send([a_transaction(merchant_id="4111111111111111")], key="one")
    with stream.worker():
        wait_until(lambda: stream.committed() == 1, "the offset")
    [letter] = stream.read(stream.dlq)
    assert (letter.headers["dlq.reason"], letter.headers["dlq.masked"]) == ("invalid-field", "1")
    assert b"411111******1111" in letter.value
    assert "4111111111111111" not in str(letter)


def test_a_topic_may_carry_one_fraud_type(stream: Stream) -> None:
    stream.send(
        [
            {"transaction_id": "ach-1", "amount": 10.0, "user_id": "U", "account_id": "A"},
            a_transaction(fraud_type="credit_card"),
        ]
    )
    with stream.worker(kafka_topics=f"{stream.topic}=ach"):
        wait_until(lambda: stream.committed() == 2, "the offsets")
    wrong = next(each for each in stream.read(stream.dlq) if b"MERCH_001" in each.value)
    assert "which is all that the topic carries" in wrong.headers["dlq.error"]


def test_a_worker_waits_for_its_ledger_and_stays_in_the_group(
    stream: Stream, postgres_url: str
) -> None:
    bodies = payments(40)
    with stream.worker() as metrics:
        stream.send(bodies[:20])
        wait_until(lambda: stream.committed() == 20, "the first half")
        joins = value_of(metrics, "fraud_stream_rebalances_total", event="assigned")
        with ledger_away(stream, postgres_url):
            stream.send(bodies[20:])
            wait_until(lambda: value_of(metrics, "fraud_stream_paused_partitions") > 0, "the pause")
            assert stream.committed() == 20
        wait_until(lambda: stream.committed() == 40, "the second half")
        assert value_of(metrics, "fraud_stream_rebalances_total", event="assigned") == joins
        assert value_of(metrics, "fraud_stream_paused_partitions") == 0
        assert value_of(metrics, "fraud_journal_decisions") == 0
    assert stream.decided() == {body["transaction_id"]: 1 for body in bodies}
    assert stream.rows("SELECT count(*) FROM decisions WHERE degraded") == [(0,)]
    assert stream.read(stream.dlq) == []


def test_workers_share_the_load_and_a_killed_one_loses_nothing(stream: Stream) -> None:
    bodies = payments(3_000, users=40)
    with stream.process(kafka_instance="a") as first:
        stream.send(bodies[:1_500])
        wait_until(stream.decided, "the first worker to decide")
        first.kill()
        first.wait()
        stream.send(bodies[1_500:])
    with stream.process(kafka_instance="a") as again, stream.worker() as metrics:
        # The name's session is still open, so it has its partitions back at once.
        wait_until(lambda: value_of(metrics, "fraud_stream_assigned_partitions") == 2, "a share")
        wait_until(lambda: stream.committed() == 3_000, "every offset")
        again.send_signal(signal.SIGTERM)
        assert again.wait(60) == 0
    assert stream.decided() == {body["transaction_id"]: 1 for body in bodies}
    ordered = stream.rows("SELECT user_id, transaction_id FROM transactions ORDER BY seq")
    for user in {body["user_id"] for body in bodies}:
        sent = [body["transaction_id"] for body in bodies if body["user_id"] == user]
        assert [name for owner, name in ordered if owner == user] == sent


def test_another_broker_takes_over(stream: Stream, new_broker: Callable[..., Broker]) -> None:
    copies = {"offsets.topic.replication.factor": "2", "default.replication.factor": "2"}
    one = new_broker(properties=copies)
    other = new_broker(joins=one, properties=copies)
    make_topic(one.address, stream.topic, replicas=2)
    make_topic(one.address, stream.dlq, partitions=1, replicas=2)
    both = f"{one.address},{other.address}"
    abroad = Stream(stream.settings.replaced(kafka_servers=both), stream.topic, stream.dlq)
    bodies = payments(60)
    with abroad.worker():
        abroad.send(bodies[:30])
        wait_until(lambda: abroad.committed() == 30, "the first half")
        other.kill()
        abroad.send(bodies[30:])
        wait_until(lambda: abroad.committed() == 60, "the second half")
    assert abroad.decided() == {body["transaction_id"]: 1 for body in bodies}

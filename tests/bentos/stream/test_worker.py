"""Workers on a real broker and a real ledger."""

from tests.bentos.fraud_detector.detector import a_transaction
from tests.bentos.stream.streams import Stream, value_of, wait_until


def payments(count: int, users: int = 7) -> list[dict[str, object]]:
    return [a_transaction(user_id=f"USER_{number % users}") for number in range(count)]


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
    [(actor, origin)] = stream.rows("SELECT actor, origin FROM audit_log ORDER BY position LIMIT 1")
    assert actor == f"kafka:{stream.settings.kafka_group}"
    assert origin.startswith(f"{stream.topic}/")

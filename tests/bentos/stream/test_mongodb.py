"""The collection of the integration guide: its validator, its indexes, and what is written."""

import dataclasses
import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo.database import Database

from bentos.stream.sinks.mongodb import VALIDATOR, MongoSink
from fraud.domain.decision import reply
from fraud.domain.errors import SinkUnavailable
from fraud.ledger.deliveries import Message, StoredTransaction
from fraud.ledger.outbox import ERASURES_TOPIC, RESULTS_TOPIC
from fraud.run.mongod import Mongod
from tests.fraud.ledger.builders import NOON_US, a_decision, a_reason, an_event
from tests.fraud.run.free_ports import closed_port

NewSink = Callable[[], MongoSink]
NOON = dt.datetime.fromtimestamp(NOON_US // 1_000_000, dt.UTC)


def a_message(outbox_id: int, transaction_id: str, probability: float = 0.25, **fields: Any) -> Any:
    event = an_event(transaction_id=transaction_id)
    decision = a_decision(event, fraud_probability=probability, reasons=(a_reason(),))
    return Message(
        outbox_id=outbox_id,
        topic=RESULTS_TOPIC,
        key="user-1",
        payload=json.dumps(reply(decision)),
        created_at=NOON,
        transaction=StoredTransaction(
            event_time=NOON, amount_minor=12_34, fields=json.dumps({**event.fields, **fields})
        ),
    )


def an_erasure(outbox_id: int, *transaction_ids: str) -> Message:
    payload = json.dumps({"erasure_id": "e", "transaction_ids": transaction_ids})
    return Message(outbox_id, ERASURES_TOPIC, "user-1", payload, NOON)


@pytest.fixture
def new_sink(mongod: Mongod, mongodb: Database[dict[str, Any]]) -> Iterator[NewSink]:
    made: list[MongoSink] = []

    def make() -> MongoSink:
        made.append(MongoSink(mongod.url, mongodb.name))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def sink(new_sink: NewSink) -> MongoSink:
    made = new_sink()
    made.prepare()
    return made


def rules_of(mongodb: Database[dict[str, Any]]) -> dict[str, Any]:
    [found] = mongodb.list_collections(filter={"name": "transactions"})
    return dict(found["options"])


def test_the_collection_is_the_guides(sink: MongoSink, mongodb: Database[dict[str, Any]]) -> None:
    properties = VALIDATOR["$jsonSchema"]["properties"]
    assert VALIDATOR["$jsonSchema"]["required"] == [
        "transaction_id",
        "timestamp",
        "amount",
        "user_id",
    ]
    assert {name: each["bsonType"] for name, each in properties.items()} == {
        "transaction_id": "string",
        "timestamp": "date",
        "amount": "double",
        "user_id": "string",
        "fraud_probability": "double",
        "risk_level": "string",
    }
    assert rules_of(mongodb)["validator"] == VALIDATOR
    indexes = mongodb["transactions"].index_information()
    assert {name: each.get("unique", False) for name, each in indexes.items()} == {
        "_id_": False,
        "transaction_id_1": True,
        "timestamp_1": False,
        "user_id_1": False,
        "fraud_probability_1": False,
    }


def test_a_collection_with_other_rules_is_corrected(
    new_sink: NewSink, mongodb: Database[dict[str, Any]]
) -> None:
    mongodb.create_collection("transactions", validator={"amount": {"$gt": 1_000_000}})
    sink = new_sink()
    sink.prepare()
    assert rules_of(mongodb)["validator"] == VALIDATOR
    assert "transaction_id_1" in mongodb["transactions"].index_information()
    sink.prepare()  # once more changes nothing
    assert sink.deliver([a_message(1, "tx-1")]) == []


def test_a_document_says_what_happened_and_what_was_decided(
    sink: MongoSink, mongodb: Database[dict[str, Any]]
) -> None:
    assert sink.deliver([a_message(7, "tx-1", 1.0, merchant_category="$category")]) == []
    found = mongodb["transactions"].find_one({"transaction_id": "tx-1"}, {"_id": 0})
    assert found is not None
    assert found["timestamp"] == NOON
    assert (found["amount"], found["amount_minor"]) == (12.34, 1234)
    assert (found["user_id"], found["merchant_id"]) == ("user-1", "merchant-1")
    assert found["merchant_category"] == "$category"
    assert type(found["fraud_probability"]) is float
    assert (found["fraud_probability"], found["risk_level"]) == (1.0, "LOW")
    assert found["recommended_action"] == "approve"
    assert found["reasons"][0]["code"] == "VELOCITY"
    assert found["message_id"] == 7


def test_a_type_without_users_is_kept_under_its_subject(
    sink: MongoSink, mongodb: Database[dict[str, Any]]
) -> None:
    assert sink.deliver([a_message(1, "tx-1", user_id=None)]) == []
    found = mongodb["transactions"].find_one({})
    assert found is not None
    assert found["user_id"] == "user-1"


def test_an_older_message_never_replaces_a_newer_one(
    sink: MongoSink, mongodb: Database[dict[str, Any]]
) -> None:
    def stored() -> tuple[Any, float]:
        [found] = mongodb["transactions"].find({})
        return found["_id"], found["fraud_probability"]

    sink.deliver([a_message(5, "tx-1", 0.5)])
    own_id, _ = stored()
    sink.deliver([a_message(4, "tx-1", 0.4)])
    assert stored() == (own_id, 0.5)
    sink.deliver([a_message(5, "tx-1", 0.5)])  # the same again
    assert stored() == (own_id, 0.5)
    sink.deliver([a_message(6, "tx-1", 0.6, merchant_category="$new")])
    assert stored() == (own_id, 0.6)
    sink.deliver([a_message(7, "tx-1", 0.7), a_message(8, "tx-1", 0.8)])
    assert stored() == (own_id, 0.8)


def test_several_relays_that_write_at_once_leave_the_newest(
    new_sink: NewSink, sink: MongoSink, mongodb: Database[dict[str, Any]]
) -> None:
    """One relay that lost its lead without knowing it may still be writing."""
    sinks = [sink, *(new_sink() for _ in range(3))]
    start = threading.Barrier(len(sinks))

    def write(own: MongoSink, first: int) -> None:
        start.wait(30)
        for number in range(first, 80, len(sinks)):
            assert own.deliver([a_message(number, f"tx-{number % 2}", number / 100)]) == []

    threads = [threading.Thread(target=write, args=(each, n)) for n, each in enumerate(sinks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = mongodb["transactions"].find({}).sort("transaction_id")
    assert [each["message_id"] for each in found] == [78, 79]


def test_what_breaks_the_schema_is_refused_with_the_reason(
    sink: MongoSink, mongodb: Database[dict[str, Any]]
) -> None:
    messages = [a_message(1, "tx-1"), a_message(2, "tx-2", user_id=5), a_message(3, "tx-3")]
    [refusal] = sink.deliver(messages)
    assert refusal.message.outbox_id == 2
    assert refusal.reason.startswith("DocumentValidationFailure")
    assert "user_id" in refusal.reason
    assert mongodb["transactions"].count_documents({}) == 2


def test_what_cannot_even_be_sent_is_found_among_many(
    sink: MongoSink, mongodb: Database[dict[str, Any]]
) -> None:
    messages = [a_message(number, f"tx-{number}") for number in range(9)]
    messages[4] = a_message(4, "tx-4", country="x" * (17 << 20))  # BSON ends at 16 MB
    [refusal] = sink.deliver(messages)
    assert refusal.message.outbox_id == 4
    assert "16" in refusal.reason
    assert mongodb["transactions"].count_documents({}) == 8


def test_an_erasure_in_the_same_batch_wins(
    sink: MongoSink, mongodb: Database[dict[str, Any]]
) -> None:
    sink.deliver([a_message(1, "tx-1"), a_message(2, "tx-2"), an_erasure(3, "tx-1", "unknown")])
    assert [each["transaction_id"] for each in mongodb["transactions"].find({})] == ["tx-2"]
    sink.deliver([an_erasure(4, "tx-2")])
    assert mongodb["transactions"].count_documents({}) == 0


def test_a_decision_whose_transaction_is_gone_is_refused(sink: MongoSink) -> None:
    message = Message(1, RESULTS_TOPIC, "user-1", "{}", NOON)
    [refusal] = sink.deliver([message])
    assert "no longer" in refusal.reason


def test_a_message_of_another_shape_is_refused(sink: MongoSink) -> None:
    strange = dataclasses.replace(a_message(1, "tx-1"), payload='{"transaction_id": "tx-1"}')
    [refusal] = sink.deliver([strange, a_message(2, "tx-2")])
    assert (refusal.message.outbox_id, refusal.reason) == (1, "KeyError: 'fraud_type'")


def test_a_server_that_is_away_says_so_without_its_password() -> None:
    url = f"mongodb://someone:secret@127.0.0.1:{closed_port()}/?serverSelectionTimeoutMS=200"
    sink = MongoSink(url, "nothing")
    with pytest.raises(SinkUnavailable, match="MongoDB does not take messages") as caught:
        sink.prepare()
    assert "secret" not in str(caught.value)
    sink.close()

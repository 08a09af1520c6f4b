"""Scoring over HTTP: the reply, its ledger rows, repetitions and batches."""

import json
from concurrent.futures import ThreadPoolExecutor

import orjson

from fraud.domain.decision import Decision, Reason, reply
from fraud.domain.rules import RiskLevel
from tests.bentos.fraud_detector.detector import Detector, a_transaction

REPLY_FIELDS = {
    *("transaction_id", "decision_id", "fraud_type", "fraud_probability", "risk_level"),
    *("recommended_action", "reasons", "rules", "model_version", "policy_version"),
    *("degraded", "scored_at", "replayed"),
}


def test_the_smallest_transaction_is_decided_and_remembered(detector: Detector) -> None:
    answer = detector.predict(a_transaction("T_SMALLEST"))
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == REPLY_FIELDS
    assert body["transaction_id"] == "T_SMALLEST"
    assert body["model_version"] == "model-1"
    assert not body["degraded"]
    assert not body["replayed"]
    stored = detector.rows(
        "SELECT d.decision_id::text, t.amount::text, d.actor FROM decisions d"
        " JOIN transactions t USING (transaction_id) WHERE transaction_id = 'T_SMALLEST'"
    )
    assert stored == [(body["decision_id"], "12.50", "checkout")]
    audited = detector.rows(
        "SELECT actor, outcome, origin FROM audit_log WHERE object_id = 'T_SMALLEST'"
    )
    assert audited == [("checkout", "success", "127.0.0.1")]


def test_every_field_of_a_card_payment_is_taken(detector: Detector) -> None:
    answer = detector.predict(
        timestamp="2026-01-15T10:30:00Z",
        fraud_type="credit_card",
        distance_from_home_km=25.5,
        foreign_transaction=False,
        card_present=True,
        used_chip=True,
        device_id="D1",
        country="DE",
    )
    assert answer.status_code == 200


def test_a_repetition_gets_the_first_answer(detector: Detector) -> None:
    body = a_transaction()
    first, again = detector.predict(body).json(), detector.predict(body).json()
    assert again == first | {"replayed": True}


def test_a_repetition_may_be_spelt_otherwise(detector: Detector) -> None:
    """Order of keys, number formats and a default that is named do not make another body."""
    content = a_transaction(amount=150.0)
    detector.predict(content)
    named = {"fraud_type": "credit_card", "amount": 150, "used_chip": None}
    respelt = dict(reversed(list((content | named).items())))
    assert detector.predict(respelt).json()["replayed"]


def test_another_body_for_a_known_transaction_is_a_conflict(detector: Detector) -> None:
    body = a_transaction()
    detector.predict(body)
    answer = detector.predict(body | {"amount": 99.0})
    assert answer.status_code == 409
    assert answer.json()["errors"][0]["field"] == "transaction_id"
    audited = detector.rows(
        f"SELECT outcome FROM audit_log WHERE object_id = '{body['transaction_id']}' ORDER BY"
        " position"
    )
    assert ("failure",) in audited


def test_fifty_concurrent_duplicates_make_one_decision(detector: Detector) -> None:
    body = a_transaction()
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: detector.predict(body), range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["decision_id"] for answer in answers}) == 1
    assert sum(not answer.json()["replayed"] for answer in answers) == 1


def test_a_batch_keeps_its_order_and_each_item_its_own_fate(detector: Detector) -> None:
    known = a_transaction()
    detector.predict(known)
    items: list[object] = [
        a_transaction("B_1"),
        a_transaction("B_2") | {"amount": -1},
        known,
        known | {"amount": 1.0},
        {"transaction_id": 5},
        "nothing",
        a_transaction("B_3"),
    ]
    answer = detector.client.post("/batch-predict", json={"transactions": items})
    assert answer.status_code == 200
    found = answer.json()["predictions"]
    fates = [
        each["error"]["status"] if "error" in each else ("again" if each["replayed"] else "new")
        for each in found
    ]
    assert fates == ["new", 422, "again", 409, 422, 422, "new"]
    ids = [each["transaction_id"] for each in found]
    assert ids == [
        "B_1",
        "B_2",
        known["transaction_id"],
        known["transaction_id"],
        None,
        None,
        "B_3",
    ]
    assert set(found[1]) == {"transaction_id", "error"}
    assert found[1]["error"]["errors"][0]["field"] == "amount"
    refused = detector.rows("SELECT 1 FROM audit_log WHERE object_id = 'B_2'")
    assert len(refused) == 1
    assert detector.rows("SELECT 1 FROM transactions WHERE transaction_id = 'B_2'") == []


def test_an_id_that_is_no_text_leaves_the_other_items_their_answers(detector: Detector) -> None:
    """Half a surrogate pair is JSON, but cannot be written in UTF-8."""
    good = json.dumps(a_transaction("B_WHOLE")).encode()
    items = b'{"transactions": [{"transaction_id": "half \\ud800"}, ' + good + b"]}"
    answer = detector.predict_raw(items, "/batch-predict")
    assert answer.status_code == 200, answer.text
    refused, decided = answer.json()["predictions"]
    assert refused["transaction_id"] == "half \ufffd"
    assert refused["error"]["status"] == 422
    assert decided["transaction_id"] == "B_WHOLE"


def test_a_batch_larger_than_a_micro_batch_is_decided_whole(detector: Detector) -> None:
    # 300 items need three scoring transactions of at most 128.
    items = [a_transaction(user_id=f"U{number % 7}") for number in range(300)]
    answer = detector.client.post("/batch-predict", json={"transactions": items})
    found = answer.json()["predictions"]
    assert [each["transaction_id"] for each in found] == [each["transaction_id"] for each in items]
    assert all("decision_id" in each for each in found)


def test_the_described_reply_is_the_real_one(detector: Detector) -> None:
    document = detector.client.get("/openapi.json").json()
    described = document["components"]["schemas"]["Decision"]
    assert set(described["required"]) == REPLY_FIELDS
    reason = Reason("CODE", "text", "amount", 1.0, 0.5)
    decision = Decision("t", "d", "f", 0.5, RiskLevel.HIGH, (reason,), (), "m", "p", False, 0)
    real = orjson.loads(orjson.dumps(reply(decision)))
    assert set(real) == REPLY_FIELDS
    items = described["properties"]["reasons"]["items"]
    assert set(real["reasons"][0]) == set(items["required"])

import datetime as dt
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg2.errors
import pytest

from fraud.domain.decision import Decision, reply
from fraud.domain.rules import RiskLevel
from fraud.ledger.decisions import (
    DecisionRecord,
    insert_decisions,
    known_transactions,
)
from fraud.ledger.pool import ConnectionPool
from tests.fraud.ledger.builders import NOON_US, a_decision, a_reason, a_record, an_event


def store(pool: ConnectionPool, *records: DecisionRecord) -> None:
    with pool.transaction() as cursor:
        insert_decisions(cursor, records)


def rows(pool: ConnectionPool, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    with pool.transaction() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def read_back(pool: ConnectionPool, transaction_ids: Sequence[str]) -> list[Decision]:
    with pool.transaction() as cursor:
        known = known_transactions(cursor, transaction_ids).decisions
    return [known[each].decision for each in transaction_ids]


def test_a_stored_decision_answers_the_same_again(ledger_pool: ConnectionPool) -> None:
    event = an_event()
    numbers = [14.0, 2.0, -0.0, 1e22, 1e300, 5e-324, 1 / 3]  # JSON writes some of them as integers
    reasons = tuple(a_reason(value=value, contribution=-value) for value in numbers)
    decision = a_decision(
        event,
        risk_level=RiskLevel.CRITICAL,
        reasons=(*reasons, a_reason(text='Ünicode, "quotes", back\\slash, % and %s\r\n')),
        rules=("CARD_TESTING", "MERCHANT_UNDER_ATTACK"),
        degraded=True,
    )
    record = a_record(event, decision)
    store(ledger_pool, record)
    with ledger_pool.transaction() as cursor:
        known = known_transactions(cursor, [event.transaction_id, "never-seen"]).decisions
    assert set(known) == {event.transaction_id}
    assert known[event.transaction_id].body_digest == record.body_digest
    assert known[event.transaction_id].decision == decision
    assert reply(known[event.transaction_id].decision) == reply(decision)


@pytest.mark.parametrize("probability", [0.0, 1.0, 0.30000000000000004, 1e-17, 5e-324])
def test_probabilities_keep_every_bit(ledger_pool: ConnectionPool, probability: float) -> None:
    event = an_event()
    store(ledger_pool, a_record(event, a_decision(event, fraud_probability=probability)))
    [decision] = read_back(ledger_pool, [event.transaction_id])
    assert decision.fraud_probability == probability


def test_a_batch_comes_back_whole(ledger_pool: ConnectionPool) -> None:
    records = [a_record() for _ in range(500)]  # the largest batch the service takes
    store(ledger_pool, *records)
    decisions = read_back(ledger_pool, [each.event.transaction_id for each in records])
    assert decisions == [each.decision for each in records]


def test_nothing_asked_nothing_done(ledger_pool: ConnectionPool) -> None:
    with ledger_pool.transaction() as cursor:
        insert_decisions(cursor, [])
        assert known_transactions(cursor, []).decisions == {}


def test_the_guides_columns_say_what_was_decided(ledger_pool: ConnectionPool) -> None:
    event = an_event(amount_minor=1_05)
    store(ledger_pool, a_record(event, a_decision(event, fraud_probability=0.98765)))
    [row] = rows(
        ledger_pool,
        """
        SELECT timestamp, amount::text, user_id, merchant_id, merchant_category,
            fraud_probability::text, risk_level, recommended_action, event_time,
            fields->>'country'
        FROM transactions WHERE transaction_id = %s
        """,
        event.transaction_id,
    )
    at = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=NOON_US)  # noqa: DTZ001
    assert row[:8] == (
        at,
        "1.05",
        "user-1",
        "merchant-1",
        "grocery",
        "0.9877",
        "LOW",
        "approve",
    )
    assert row[8] == at.replace(tzinfo=dt.UTC)
    assert row[9] == "DE"


def test_feature_values_keep_every_bit(ledger_pool: ConnectionPool) -> None:
    record = a_record()
    store(ledger_pool, record)
    [(stored,)] = rows(
        ledger_pool,
        "SELECT feature_values FROM decisions WHERE decision_id = %s",
        record.decision.decision_id,
    )
    assert bytes(stored) == np.array([1.5, -0.0, 1e300], dtype="<f8").tobytes()


@pytest.mark.parametrize("level", list(RiskLevel))
def test_alerts_are_for_levels_above_low(ledger_pool: ConnectionPool, level: RiskLevel) -> None:
    event = an_event()
    store(ledger_pool, a_record(event, a_decision(event, risk_level=level)))
    found = rows(
        ledger_pool,
        "SELECT alert_type, severity, status FROM fraud_alerts WHERE transaction_id = %s",
        event.transaction_id,
    )
    expected = [] if level is RiskLevel.LOW else [("MODEL_SCORE", level.name, "open")]
    assert found == expected


def test_an_alert_names_the_rule_that_fired(ledger_pool: ConnectionPool) -> None:
    event = an_event()
    decision = a_decision(
        event, risk_level=RiskLevel.HIGH, rules=("CARD_TESTING",), reasons=(a_reason(),)
    )
    store(ledger_pool, a_record(event, decision))
    [(alert_type, description)] = rows(
        ledger_pool,
        "SELECT alert_type, description FROM fraud_alerts WHERE transaction_id = %s",
        event.transaction_id,
    )
    assert alert_type == "CARD_TESTING"
    assert description == "block at probability 0.3000: Many payments in an hour."


def test_the_outbox_carries_the_reply(ledger_pool: ConnectionPool) -> None:
    card, applied = an_event(), an_event(fraud_type="account_opening", fields={"email": "x"})
    store(ledger_pool, a_record(card), a_record(applied, subject="x"))
    found = rows(
        ledger_pool,
        """
        SELECT topic, key, payload FROM outbox
        WHERE payload->>'transaction_id' IN (%s, %s) ORDER BY id
        """,
        card.transaction_id,
        applied.transaction_id,
    )
    assert [row[:2] for row in found] == [("fraud_results", "user-1"), ("fraud_results", "x")]
    [decision] = read_back(ledger_pool, [card.transaction_id])
    assert found[0][2] == reply(decision)


def test_a_card_payment_without_parties_is_refused(ledger_pool: ConnectionPool) -> None:
    record = a_record(an_event(fields={"user_id": "user-1"}))
    with pytest.raises(psycopg2.errors.CheckViolation):
        store(ledger_pool, record)


def test_a_second_decision_of_a_transaction_is_refused_as_such(
    ledger_pool: ConnectionPool,
) -> None:
    first, other = a_record(), a_record()
    store(ledger_pool, first)
    again = a_record(first.event, a_decision(first.event, fraud_probability=0.9))
    with pytest.raises(psycopg2.errors.UniqueViolation, match="transaction_id"):
        store(ledger_pool, other, again)
    with ledger_pool.transaction() as cursor:
        known = known_transactions(
            cursor, [first.event.transaction_id, other.event.transaction_id]
        ).decisions
    assert {key: value.decision for key, value in known.items()} == {
        first.event.transaction_id: first.decision
    }


def test_observation_numbers_are_not_given_twice(ledger_pool: ConnectionPool) -> None:
    first = a_record()
    store(ledger_pool, first)
    with pytest.raises(psycopg2.errors.UniqueViolation, match="fraud_type_seq"):
        store(ledger_pool, a_record()._replace(seq=first.seq))


def test_a_number_that_is_none_is_never_stored(ledger_pool: ConnectionPool) -> None:
    event = an_event()
    with pytest.raises(ValueError, match="not finite"):
        store(ledger_pool, a_record(event, a_decision(event, fraud_probability=float("nan"))))
    with ledger_pool.transaction() as cursor:
        assert known_transactions(cursor, [event.transaction_id]).decisions == {}


def test_of_two_writers_of_the_same_transactions_one_wins(ledger_pool: ConnectionPool) -> None:
    events = [an_event() for _ in range(20)]
    won: list[str] = []
    barrier = threading.Barrier(2)

    def write(name: str) -> None:
        for event in events:
            barrier.wait()
            record = a_record(event, a_decision(event, model_version=name))
            try:
                store(ledger_pool, record)
            except psycopg2.errors.UniqueViolation:
                continue
            won.append(event.transaction_id)

    writers = [threading.Thread(target=write, args=(name,)) for name in ("one", "two")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(won) == sorted(event.transaction_id for event in events)
    assert len(read_back(ledger_pool, won)) == len(events)

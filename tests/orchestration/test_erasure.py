"""A person is taken out of every store; everybody else's numbers stay what they were."""

from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from psycopg2 import sql

from bentos.scoring.replaying import a_sample, replay_decisions
from feature_store.materialize import materialize
from feature_store.offline import feature_matrix
from fraud.domain.decision import Decision
from fraud.domain.errors import InvalidField, UnavailableError
from fraud.ledger.audit_check import verify
from fraud.ledger.engine import connect
from fraud.ledger.erasure_requests import (
    receipt_of_request,
    request_erasure,
    waiting_requests,
)
from fraud.ledger.erasures import receipt_of
from fraud.ledger.pool import ConnectionPool
from fraud.security.encryption import field_protection
from fraud.settings import Settings, load_settings
from fraud.types.credit_card import CREDIT_CARD
from orchestration.assets.platform import erasures
from orchestration.erasure import Person, erase_person
from tests.bentos.scoring.past_worlds import Past, halves
from tests.bentos.scoring.worlds import a_request
from tests.protection import given_keys

WHO = "USER-TO-FORGET"
DEVICE = "DEVICE-TO-FORGET"
PLACE = {"latitude": 48.8, "longitude": 2.3}


@pytest.fixture
def pool(new_ledger):
    pool = ConnectionPool(new_ledger(), size=4)
    yield pool
    pool.close()


@pytest.fixture
def past(pool: ConnectionPool, tmp_path: Path) -> Past:
    """A lake with a rebuild behind it, and decisions about the person and others since."""
    (events, _), (labels, _), moment = halves(tmp_path / "given")
    past = Past(pool, tmp_path)
    past.clock.now_us = moment + 1_000_000
    theirs = events.index[events["user_id"] == events["user_id"].mode()[0]]
    events.loc[theirs, "user_id"] = WHO
    past.give_lake(events, labels)
    past.materialize()
    past.promote("v1", 1.0)
    past.score(6)
    for number in range(6):
        decide(past, f"P{number}", user_id=WHO, device_id=DEVICE, **PLACE)
        decide(past, f"Q{number}", user_id="B", device_id="d1")
    past.label("P1", "Q1")
    past.score(3)
    return past


@pytest.fixture
def settings(past: Past, monkeypatch: pytest.MonkeyPatch) -> Settings:
    keys = given_keys(past.folder)
    return load_settings(
        run_dir=past.folder / "run",
        database_url=past.pool.url,
        lake_url=str(past.folder / "lake"),
        **{name.removeprefix("FRAUD_").lower(): value for name, value in keys.items()},
    )


def decide(past: Past, name: str, **fields: object) -> Decision:
    from tests.bentos.scoring.past_worlds import LedgerRulesets

    request = a_request(name, time_us=past.clock.now_us, merchant_id="m1", **fields)
    with past._chain("scorer") as chain:
        [answer] = past._scorer(chain, LedgerRulesets(past.pool)).score([request])
    assert isinstance(answer, Decision)
    return answer


def states(pool: ConnectionPool) -> dict[str, bytes]:
    with pool.transaction() as cursor:
        cursor.execute("SELECT key, state FROM entity_state")
        return {key: bytes(state) for key, state in cursor.fetchall()}


def erased(settings: Settings, **more: str) -> dict:
    return erase_person(
        settings, Person({"user_id": WHO, **more}), actor="ann", reason="asked by letter"
    )


def everything(past: Past) -> dict[str, bytes]:
    found = {}
    with past.pool.transaction() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table)))
            found[table] = "\n".join(row for (row,) in cursor.fetchall()).encode()
    found["lake"] = past.lake.events(CREDIT_CARD).to_csv().encode()
    return found


def test_nothing_says_any_more_who_it_was(past: Past, settings: Settings) -> None:
    before = everything(past)
    assert WHO.encode() in before["transactions"]
    assert WHO.encode() in before["lake"]
    assert WHO.encode() in before["entity_state"]
    device = past.archive.protection.pseudonym("device_id", DEVICE)
    assert device.encode() in before["transactions"]
    receipt = erased(settings)
    for store, content in everything(past).items():
        assert WHO.encode() not in content, store
        assert device.encode() not in content, store
    counts = receipt["erased"]["credit_card"]
    assert counts["transactions"] == 6
    assert counts["lake_events"] > 0
    assert counts["states_removed"] > 0
    with past.pool.transaction() as cursor:
        assert receipt_of(cursor, receipt["erasure_id"]) == receipt
        cursor.execute("SELECT sealed FROM transactions WHERE transaction_id LIKE 'P%'")
        assert {row[0] for row in cursor.fetchall()} == {None}
        cursor.execute("SELECT payload FROM outbox WHERE topic = 'fraud_erasures'")
        [(payload,)] = cursor.fetchall()
    assert {f"P{number}" for number in range(6)} <= set(payload["transaction_ids"])


def test_states_are_those_of_a_rebuild_from_the_log(past: Past, settings: Settings) -> None:
    erased(settings)
    left = states(past.pool)
    events, labels = past.lake.events(CREDIT_CARD), past.lake.labels(CREDIT_CARD)
    materialize(CREDIT_CARD, events, labels, past.pool)
    assert states(past.pool) == left


def test_training_sees_the_same_numbers_but_for_positions(past: Past, settings: Settings) -> None:
    def frame() -> np.ndarray:
        lake = past.lake
        return feature_matrix(CREDIT_CARD, lake.events(CREDIT_CARD), lake.labels(CREDIT_CARD))

    before = frame()
    erased(settings)
    after = frame()
    places = [
        number
        for number, name in enumerate(CREDIT_CARD.feature_names)
        if name in ("user_km_since_last", "user_kmh_since_last")
    ]
    assert places
    np.testing.assert_array_equal(np.delete(before, places, 1), np.delete(after, places, 1))


def test_decisions_about_others_are_replayed_as_before(past: Past, settings: Settings) -> None:
    receipt = erased(settings)
    replays = replay_decisions(past.archive, a_sample(100, 1))
    gone = [each for each in replays if each.recorded.event.transaction_id.startswith("P")]
    others = [each for each in replays if each not in gone]
    assert len(gone) == 6
    assert all(receipt["erasure_id"] in each.obstacles[0] for each in gone)
    assert all("was erased on" in each.obstacles[0] for each in gone)
    assert len(others) == 15
    assert all(each.is_identical for each in others), [each.differences for each in others]


def test_a_device_that_others_use_keeps_their_history(past: Past, settings: Settings) -> None:
    decide(past, "SHARED", user_id=WHO, device_id="d1")
    shared = past.archive.protection.pseudonym("device_id", "d1")
    erased(settings)
    with past.pool.transaction() as cursor:
        cursor.execute(
            "SELECT fields ->> 'device_id' FROM transactions WHERE transaction_id = 'SHARED'"
        )
        assert cursor.fetchall() == [(shared,)]
    assert all(
        each.is_identical
        for each in replay_decisions(past.archive, a_sample(100, 1))
        if each.recorded.erasure is None
    )


def test_who_is_erased_twice_gets_the_same_receipt(past: Past, settings: Settings) -> None:
    receipt = erased(settings)
    assert erased(settings) == receipt
    decide(past, "NEW", user_id=WHO, device_id=DEVICE)
    again = erased(settings)
    assert again["erasure_id"] != receipt["erasure_id"]
    assert again["erased"]["credit_card"]["transactions"] == 1


def test_an_erasure_that_was_cut_off_is_finished(
    past: Past, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    import orchestration.erasure as module

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "rebuild_states", broken)
        with pytest.raises(KeyboardInterrupt):
            erased(settings)
    receipt = erased(settings)
    assert receipt["erased"]["credit_card"]["transactions"] == 6
    for store, content in everything(past).items():
        assert WHO.encode() not in content, store
    left = states(past.pool)
    past.materialize()
    assert states(past.pool) == left


def test_a_trial_changes_nothing(past: Past, settings: Settings) -> None:
    before = everything(past)
    shown = erase_person(settings, Person({"user_id": WHO}), actor="ann", reason="", is_trial=True)
    assert shown["credit_card"]["transactions"] == 6
    assert everything(past) == before


def test_the_audit_log_verifies_and_names_nobody(past: Past, settings: Settings) -> None:
    receipt = erased(settings)
    connection = connect(past.pool.url)
    try:
        assert verify(connection).is_intact
    finally:
        connection.close()
    with past.pool.transaction() as cursor:
        cursor.execute(
            "SELECT actor, outcome FROM audit_log WHERE object_id = %s", (receipt["erasure_id"],)
        )
        assert cursor.fetchall() == [("ann", "success")]


def test_states_that_are_being_rebuilt_are_waited_for(past: Past, settings: Settings) -> None:
    with past.pool.transaction() as cursor:
        cursor.execute(
            "UPDATE materialisations SET done_event_id = NULL, started_at = now() "
            "WHERE id = (SELECT max(id) FROM materialisations)"
        )
    with pytest.raises(UnavailableError, match="are being rebuilt"):
        erased(settings)


def test_what_was_requested_over_http_is_carried_out_by_dagster(
    past: Past, settings: Settings
) -> None:
    protection = field_protection(settings)
    with past.pool.transaction() as cursor:
        asked = request_erasure(
            cursor, {"user_id": WHO}, "asked by letter", "ann", past.clock(), protection
        )
        assert receipt_of_request(cursor, asked) is None
    for carried_out in (1, 0):
        done = dg.materialize([erasures], resources={"settings": settings})
        [event] = done.get_asset_materialization_events()
        assert event.materialization.metadata["erased"].value == carried_out
    with past.pool.transaction() as cursor:
        receipt = receipt_of_request(cursor, asked)
        assert waiting_requests(cursor, protection) == []
    assert receipt is not None
    assert receipt["erased"]["credit_card"]["transactions"] > 0
    assert WHO.encode() not in b"".join(everything(past).values())


def test_an_unknown_field_is_refused(settings: Settings) -> None:
    with pytest.raises(InvalidField, match="shoe_size"):
        erased(settings, shoe_size="43")

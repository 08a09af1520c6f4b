"""What every sink owes: each message once or more, in order, whatever dies meanwhile."""

import datetime as dt
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bentos.stream.sinks.mongodb import MongoSink
from fraud.ledger.dead_letters import dead_letters, retry
from fraud.ledger.decisions import insert_decisions
from fraud.ledger.outbox import announce_erasure, deliveries_of
from fraud.ledger.pool import transaction
from fraud.ledger.sinks import sink_statuses
from fraud.run.mongod import Mongod
from fraud.security.encryption import field_protection
from fraud.settings import load_settings
from tests.bentos.stream.builders import RelayProcess, decide, relaying, wait_for
from tests.bentos.stream.places import KafkaPlace, MongoPlace, Place, Told, WebhookPlace
from tests.fraud.ledger.builders import a_record, an_event
from tests.fraud.run.free_ports import closed_port, free_port

NOW = dt.datetime(2026, 9, 22, 12, tzinfo=dt.UTC)
_databases = itertools.count(1)


@pytest.fixture
def url(new_ledger: Callable[[], str]) -> str:
    return new_ledger()


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture(params=["mongodb", "kafka", "webhook"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made: KafkaPlace | MongoPlace | WebhookPlace
    if request.param == "kafka":
        made = KafkaPlace(request.getfixturevalue("kafka"))
    elif request.param == "mongodb":
        server = request.getfixturevalue("mongod")
        made = MongoPlace(server, f"relay_{next(_databases)}")
    else:
        made = WebhookPlace(tmp_path)
    yield made
    made.close()


def ids_of(told: list[Told]) -> set[str]:
    return {each.transaction_id for each in told}


def assert_in_order(told: list[Told], wanted: list[str]) -> None:
    """All that was wanted came; the first time each came, it came in this order."""
    first = dict.fromkeys(each.transaction_id for each in told if each.transaction_id in wanted)
    assert list(first) == wanted


def status_of(url: str, sink: str) -> tuple[int, int, str | None]:
    with transaction(url) as cursor:
        found = sink_statuses(cursor, sink)
    return (found[0].lag_messages, found[0].dead, found[0].failure) if found else (-1, 0, None)


def count_of(url: str, table: str) -> int:
    with transaction(url) as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        count: int = cursor.fetchall()[0][0]
    return count


class TestEverySink:
    def test_messages_come_in_the_order_of_their_key(
        self, url: str, place: Place, stop: threading.Event
    ) -> None:
        users = [f"user-{number}" for number in range(5)]
        of_user = {user: [f"{user}-{number:02}" for number in range(20)] for user in users}
        for number in range(20):
            for user in users:
                decide(url, [of_user[user][number]], user)
        with relaying(url, place.sink(stop), stop=stop):
            wait_for(lambda: len(ids_of(place.told())) == 100, "all messages")
        for user in users:
            assert_in_order(place.told(), of_user[user])

    def test_a_second_run_goes_on_where_the_first_one_ended(self, url: str, place: Place) -> None:
        for name in ("first", "second"):
            decide(url, [name])
            stop = threading.Event()
            with relaying(url, place.sink(stop), stop=stop):
                wait_for(lambda name=name: name in ids_of(place.told()), name)
                wait_for(lambda: status_of(url, place.name)[0] == 0, "progress")
        assert [each.transaction_id for each in place.told()] == ["first", "second"]

    def test_what_is_refused_waits_for_a_retry_and_holds_nothing_up(
        self, url: str, place: Place, stop: threading.Event
    ) -> None:
        decide(url, ["before", "refused", "after"])
        place.spoil(url, "refused")
        with relaying(url, place.sink(stop), stop=stop) as metrics:
            wait_for(lambda: ids_of(place.told()) == {"before", "after"}, "the others")
            wait_for(lambda: status_of(url, place.name)[:2] == (0, 1), "a dead letter")
            with transaction(url) as cursor:
                [letter] = dead_letters(cursor, place.name)
            assert letter.topic == "fraud_results"
            assert letter.reason
            counted = metrics.registry.get_sample_value
            label = {"sink": place.name}
            wait_for(lambda: counted("fraud_relay_delivered_total", label) == 2, "the count")
            assert counted("fraud_relay_dead_total", label) == 1
            place.mend(url, "refused")
            with transaction(url) as cursor:
                assert retry(cursor, place.name, [letter.outbox_id]) == 1
            wait_for(lambda: "refused" in ids_of(place.told()), "the retry")
            wait_for(lambda: status_of(url, place.name) == (0, 0, None), "no dead letters")

    def test_a_sink_that_is_away_loses_nothing(
        self, url: str, place: Place, stop: threading.Event
    ) -> None:
        wanted = [f"tx-{number}" for number in range(6)]
        with ExitStack() as stack:
            stack.enter_context(relaying(url, place.sink(stop), stop=stop))
            decide(url, wanted[:2])
            wait_for(lambda: len(ids_of(place.told())) == 2, "the first")
            wait_for(lambda: status_of(url, place.name)[0] == 0, "their answers")
            place.go()
            try:
                decide(url, wanted[2:4])
                wait_for(lambda: status_of(url, place.name)[0] == 2, "a lag")
                decide(url, wanted[4:])
            finally:
                place.come_back()
            wait_for(lambda: ids_of(place.told()) == set(wanted), "the rest")
            wait_for(lambda: status_of(url, place.name) == (0, 0, None), "a calm sink")
        assert_in_order(place.told(), wanted)

    def test_an_erasure_reaches_it_and_is_confirmed(
        self, url: str, place: Place, stop: threading.Event
    ) -> None:
        decide(url, ["kept", "erased-1", "erased-2"])
        with relaying(url, place.sink(stop), stop=stop):
            wait_for(lambda: len(ids_of(place.told())) == 3, "all messages")
            with transaction(url) as cursor:
                numbers = announce_erasure(cursor, "e-1", "x", ["erased-1", "erased-2"], NOW)

            def is_confirmed() -> bool:
                with transaction(url) as cursor:
                    found = deliveries_of(cursor, numbers)
                return [each.state for each in found] == ["delivered"]

            wait_for(is_confirmed, "the confirmation")
        assert sorted(place.erasures()) == ["erased-1", "erased-2"]
        assert "kept" in ids_of(place.told())

    def test_relays_killed_in_turn_lose_nothing(
        self, url: str, place: Place, tmp_path: Path
    ) -> None:
        users = [f"user-{number}" for number in range(3)]
        of_user: dict[str, list[str]] = {user: [] for user in users}
        logs = [tmp_path / f"log-{number}" for number in range(3)]

        def start(number: int) -> RelayProcess:
            environment = {
                **place.environment,
                "DATABASE_URL": url,
                "FRAUD_RUN_DIR": str(tmp_path / "run"),
                "FRAUD_RELAY_METRICS_PORT": str(free_port()),
            }
            return RelayProcess(environment, logs[number])

        def decide_more(count: int) -> None:
            for user in users:
                known = len(of_user[user])
                new = [f"{user}-{number:03}" for number in range(known, known + count)]
                decide(url, new, user)
                of_user[user] += new

        def leads(number: int) -> bool:
            return "this relay delivers" in logs[number].read_text()

        first = start(0)
        wait_for(lambda: first.check() and leads(0), "a leader")
        second = start(1)
        decide_more(10)
        wait_for(lambda: first.check() and len(place.told()) >= 30, "messages")
        assert not leads(1)
        assert len(place.told()) == 30, "nothing is delivered twice"
        decide_more(90)
        wait_for(lambda: first.check() and len(place.told()) > 30, "one more message")
        first.kill()
        decide_more(100)
        wait_for(lambda: second.check() and leads(1), "the other one")
        second.kill()
        third = start(2)
        wait_for(lambda: third.check() and len(ids_of(place.told())) == 600, "all messages")
        for user in users:
            assert_in_order(place.told(), of_user[user])
        assert len({(each.transaction_id, each.message_id) for each in place.told()}) == 600, (
            "a message that comes twice has the same id"
        )
        wait_for(lambda: status_of(url, place.name) == (0, 0, None), "the last note")
        assert third.end() == 0


def test_what_is_encrypted_stays_encrypted(
    url: str, stop: threading.Event, mongod: Mongod, tmp_path: Path
) -> None:
    protection = field_protection(load_settings(run_dir=tmp_path))
    applicant = {"device_id": "fingerprint-4711", "email_domain": "example.com"}
    event = an_event(fraud_type="account_opening", fields=applicant)
    record = a_record(protection.hidden(event))._replace(sealed=protection.sealed(event))
    with transaction(url) as cursor:
        insert_decisions(cursor, [record])
    place = MongoPlace(mongod, f"relay_{next(_databases)}")
    with relaying(url, place.sink(stop), stop=stop):
        [document] = wait_for(lambda: list(place.transactions.find({})), "the document")
    assert "fingerprint-4711" not in str(document)
    assert document["device_id"] == protection.hidden(event).fields["device_id"]
    assert protection.revealed(protection.hidden(event), document["sealed"]) == event
    place.close()


def test_a_dead_sink_holds_up_no_other(url: str, stop: threading.Event, tmp_path: Path) -> None:
    there = WebhookPlace(tmp_path)
    nowhere = MongoSink(f"mongodb://127.0.0.1:{closed_port()}", "nothing")
    with relaying(url, there.sink(stop), nowhere, stop=stop) as metrics:
        decide(url, [f"tx-{number}" for number in range(20)])
        wait_for(lambda: len(there.told()) == 20, "the other sink")
        wait_for(lambda: "MongoDB" in (status_of(url, "mongodb")[2] or ""), "the failure")
        retries = metrics.registry.get_sample_value
        wait_for(lambda: retries("fraud_relay_retries_total", {"sink": "mongodb"}), "a retry")
        assert status_of(url, "mongodb")[0] == 20
        assert status_of(url, there.name) == (0, 0, None)
    there.close()


def test_an_error_nobody_thought_of_shows_and_passes(
    url: str, stop: threading.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = WebhookPlace(tmp_path)
    monkeypatch.setattr("bentos.stream.sinks.webhooks.TYPES", {})
    decide(url, ["tx-1"])
    with relaying(url, place.sink(stop), stop=stop):
        wait_for(lambda: "KeyError" in (status_of(url, place.name)[2] or ""), "the failure")
        monkeypatch.undo()
        wait_for(lambda: status_of(url, place.name) == (0, 0, None), "a calm sink")
    assert [each.transaction_id for each in place.told()] == ["tx-1"]
    place.close()


def test_the_outbox_is_emptied_and_the_lag_measured(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bentos.stream.relay.LOOK_S", 0.1)
    place, stop = WebhookPlace(tmp_path), threading.Event()
    place.trouble = lambda: (503, {})
    label = {"sink": place.name}
    decide(url, ["tx-1", "tx-2"])
    with relaying(url, place.sink(stop), stop=stop, retention_s=0.0) as metrics:
        measured = metrics.registry.get_sample_value
        wait_for(lambda: measured("fraud_relay_lag_messages", label) == 2, "the lag")
        assert (measured("fraud_relay_lag_seconds", label) or 0) > 0
        assert measured("fraud_relay_is_leader", label) == 1
        place.trouble = lambda: None
        wait_for(lambda: measured("fraud_relay_lag_messages", label) == 0, "no lag")
        wait_for(lambda: count_of(url, "outbox") == 0, "an empty outbox")
    assert len(place.told()) == 2
    place.close()

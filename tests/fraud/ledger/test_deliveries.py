"""Messages for sinks: none skipped, none out of order, with real transactions that overlap."""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from fraud.ledger.dead_letters import (
    bury,
    dead_letters,
    due_letters,
    forget_erased,
    remove_letters,
    retry,
)
from fraud.ledger.deliveries import (
    Message,
    Refusal,
    clear_failure,
    lead,
    next_batch,
    note_failure,
    note_progress,
)
from fraud.ledger.engine import connect
from fraud.ledger.outbox import ERASURES_TOPIC, announce_erasure, deliveries_of
from fraud.ledger.sinks import prune, remove_sink, sink_statuses

NOW = dt.datetime(2026, 9, 22, 12, tzinfo=dt.UTC)
FAR_AHEAD = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)


def lead_at_last(connection: Connection, sink: str) -> None:
    """Lead a sink; the server needs a moment to see that the one before is gone."""
    deadline = time.monotonic() + 30
    while not lead(connection, sink):
        assert time.monotonic() < deadline, "another session leads it"
        time.sleep(0.01)


class Desk:
    """A session that leads one sink."""

    def __init__(self, url: str, sink: str = "archive") -> None:
        self.connection = connect(url)
        self.sink = sink
        lead_at_last(self.connection, sink)

    def take(self, limit: int = 100, *, is_noted: bool = True) -> list[Message]:
        with self.connection, self.connection.cursor() as cursor:
            batch = next_batch(cursor, self.sink, limit)
            if batch is None:
                return []
            if is_noted:
                note_progress(cursor, self.sink, batch.after)
            return list(batch.messages)

    def take_all(self, limit: int = 100) -> list[str]:
        """Keys of all messages there are, in the order they come."""
        keys = []
        for _ in range(1_000):
            messages = self.take(limit)
            keys += [each.key for each in messages]
            if not messages and not self.take(limit, is_noted=False):
                return keys
        raise AssertionError("it never ends")


def put(connection: Connection, *keys: str, transaction_id: str = "tx") -> None:
    with connection.cursor() as cursor:
        for key in keys:
            cursor.execute(
                "INSERT INTO outbox (topic, key, payload) "
                "VALUES ('fraud_results', %s, jsonb_build_object('transaction_id', %s::text))",
                (key, transaction_id),
            )


def call(connection: Connection, function: Callable[..., Any], *arguments: Any) -> Any:
    with connection, connection.cursor() as cursor:
        return function(cursor, *arguments)


@pytest.fixture
def url(new_ledger: Callable[[], str]) -> str:
    return new_ledger()


@pytest.fixture
def writers(url: str) -> Iterator[tuple[Connection, Connection]]:
    both = connect(url), connect(url)
    yield both
    for each in both:
        each.close()


def test_a_lower_number_that_commits_later_is_not_skipped(
    url: str, writers: tuple[Connection, Connection]
) -> None:
    slow, quick = writers
    desk = Desk(url)
    put(slow, "slow")  # takes the lower number and stays open
    put(quick, "quick")
    quick.commit()
    assert desk.take_all() == ["quick"]
    slow.commit()
    assert desk.take_all() == ["slow"]
    assert desk.take_all() == []


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_late_commits_between_small_batches_are_not_skipped(
    url: str, writers: tuple[Connection, Connection], limit: int
) -> None:
    slow, quick = writers
    desk = Desk(url)
    put(slow, "late-1", "late-2")
    put(quick, "a", "b", "c")
    quick.commit()
    taken = [each.key for each in desk.take(limit)]  # in the middle of what it began
    slow.commit()
    put(quick, "d")
    quick.commit()
    taken += desk.take_all(limit)
    assert sorted(taken) == ["a", "b", "c", "d", "late-1", "late-2"]
    assert taken[:3] == ["a", "b", "c"]


def test_what_was_rolled_back_holds_nothing_up(
    url: str, writers: tuple[Connection, Connection]
) -> None:
    one, other = writers
    desk = Desk(url)
    put(one, "never")
    put(other, "there")
    other.commit()
    one.rollback()
    assert desk.take_all() == ["there"]


def test_a_later_transaction_with_an_older_number_keeps_the_order_of_its_key(
    url: str, writers: tuple[Connection, Connection]
) -> None:
    """Its transaction has the lower number, since it began first and then waited."""
    began_first, committed_first = writers
    desk = Desk(url)
    with began_first.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()")
    put(committed_first, "user-1", transaction_id="earlier")
    committed_first.commit()
    put(began_first, "user-1", transaction_id="later")
    began_first.commit()
    payloads = [desk.take(1)[0].payload for _ in range(2)]
    assert ["earlier" in each for each in payloads] == [True, False]


def test_many_writers_and_a_reader_at_once_lose_and_double_nothing(url: str) -> None:
    desk = Desk(url)
    writers, each_writes = 4, 60

    def write(writer: int) -> None:
        connection = connect(url)
        for number in range(each_writes):
            put(connection, f"{writer}-{number}")
            connection.commit()
        connection.close()

    threads = [threading.Thread(target=write, args=(each,)) for each in range(writers)]
    for thread in threads:
        thread.start()
    taken: list[str] = []
    while any(thread.is_alive() for thread in threads):
        taken += [each.key for each in desk.take(7)]
    taken += desk.take_all()
    assert len(taken) == len(set(taken)) == writers * each_writes
    for writer in range(writers):
        mine = [key for key in taken if key.startswith(f"{writer}-")]
        assert mine == [f"{writer}-{number}" for number in range(each_writes)]


def test_what_was_not_noted_comes_again(url: str, writers: tuple[Connection, Connection]) -> None:
    put(writers[0], "a", "b")
    writers[0].commit()
    desk = Desk(url)
    first = desk.take(is_noted=False)
    assert [each.key for each in first] == ["a", "b"]
    assert desk.take() == first
    assert desk.take() == []


def test_one_session_leads_a_sink_and_another_takes_over(url: str) -> None:
    first, second = connect(url), connect(url)
    assert lead(first, "archive")
    assert not lead(second, "archive")
    assert lead(second, "another")
    first.close()
    lead_at_last(second, "archive")


def test_sinks_advance_on_their_own(url: str, writers: tuple[Connection, Connection]) -> None:
    put(writers[0], "a")
    writers[0].commit()
    one, other = Desk(url, "one"), Desk(url, "other")
    assert one.take_all() == ["a"]
    [behind] = [each for each in call(writers[0], sink_statuses) if each.sink == "other"]
    assert behind.lag_messages == 1
    assert behind.oldest_at is not None
    assert other.take_all() == ["a"]
    assert [each.lag_messages for each in call(writers[0], sink_statuses)] == [0, 0]


def test_the_lag_counts_what_is_left_of_a_target(
    url: str, writers: tuple[Connection, Connection]
) -> None:
    put(writers[0], *"abcde")
    writers[0].commit()
    desk = Desk(url)
    desk.take(2)
    [status] = call(writers[0], sink_statuses, "archive")
    assert status.lag_messages == 3


def test_a_failure_shows_until_it_is_over(url: str, writers: tuple[Connection, Connection]) -> None:
    desk = Desk(url)
    call(desk.connection, note_failure, "archive", "no route to host")
    [failing] = call(writers[0], sink_statuses)
    assert failing.failure == "no route to host"
    since = failing.failing_since
    call(desk.connection, note_failure, "archive", "still no route")
    [failing] = call(writers[0], sink_statuses)
    assert (failing.failure, failing.failing_since) == ("still no route", since)
    call(desk.connection, clear_failure, "archive")
    [well] = call(writers[0], sink_statuses)
    assert (well.failure, well.failing_since) == (None, None)


def test_a_ledger_restored_into_another_cluster_is_told_again(
    url: str, writers: tuple[Connection, Connection]
) -> None:
    """There, numbers of transactions begin anew: what was delivered cannot be told from them."""
    put(writers[0], "a", "b")
    writers[0].commit()
    before = Desk(url)
    assert before.take_all() == ["a", "b"]
    before.connection.close()
    with writers[0], writers[0].cursor() as cursor:
        cursor.execute("UPDATE outbox SET xid = '900000000'")
        cursor.execute("UPDATE outbox_sinks SET cluster = 1, delivered = '900000001:900000001:'")
    after = Desk(url)
    put(writers[0], "c")
    writers[0].commit()
    assert after.take_all() == ["a", "b", "c"]
    after.connection.close()
    assert Desk(url).take_all() == []


def test_messages_stay_until_every_sink_has_them(
    url: str, writers: tuple[Connection, Connection]
) -> None:
    put(writers[0], *"abc")
    writers[0].commit()
    one, other = Desk(url, "one"), Desk(url, "other")
    one.take_all()
    assert call(writers[0], prune, FAR_AHEAD, 100) == 0
    other.take_all()
    assert call(writers[0], prune, NOW - dt.timedelta(days=9999), 100) == 0  # all are younger
    assert call(writers[0], prune, FAR_AHEAD, 2) == 2
    assert call(writers[0], prune, FAR_AHEAD, 2) == 1


def test_nothing_is_removed_that_nobody_ever_read(
    url: str, writers: tuple[Connection, Connection]
) -> None:
    put(writers[0], "a")
    writers[0].commit()
    assert call(writers[0], prune, FAR_AHEAD, 100) == 0


def test_a_removed_sink_holds_nothing_back(
    url: str, writers: tuple[Connection, Connection]
) -> None:
    put(writers[0], "a")
    writers[0].commit()
    one, other = Desk(url, "one"), Desk(url, "other")
    one.take_all()
    call(other.connection, bury, "other", [Refusal(other.take()[0], "no")])
    assert call(writers[0], remove_sink, "other")
    assert not call(writers[0], remove_sink, "other")
    assert call(writers[0], prune, FAR_AHEAD, 100) == 1


def test_a_dead_letter_waits_in_the_outbox_until_it_is_delivered(
    url: str, writers: tuple[Connection, Connection]
) -> None:
    put(writers[0], "bad", "good")
    writers[0].commit()
    desk = Desk(url)
    bad, _ = desk.take()
    call(desk.connection, bury, "archive", [Refusal(bad, "not a date", attempts=2)])
    assert call(writers[0], prune, FAR_AHEAD, 100) == 1
    assert call(desk.connection, due_letters, "archive", 10) == []
    assert call(writers[0], retry, "archive", [bad.outbox_id]) == 1
    assert call(desk.connection, due_letters, "archive", 10) == [bad]
    call(desk.connection, bury, "archive", [Refusal(bad, "still not a date")])
    [letter] = call(writers[0], dead_letters)
    assert (letter.key, letter.reason, letter.attempts) == ("bad", "still not a date", 3)
    assert not letter.is_due
    assert call(writers[0], retry) == 1
    call(desk.connection, remove_letters, "archive", [bad])
    assert call(writers[0], dead_letters) == []
    assert call(writers[0], prune, FAR_AHEAD, 100) == 1


def test_an_erasure_is_confirmed_by_each_sink(
    url: str, writers: tuple[Connection, Connection]
) -> None:
    one, other = Desk(url, "one"), Desk(url, "other")
    ids = [f"tx-{number}" for number in range(1_001)]
    numbers = call(writers[0], announce_erasure, "er-1", "subject", ids, NOW)
    assert len(numbers) == 2
    states = {each.state for each in call(writers[0], deliveries_of, numbers)}
    assert states == {"waiting"}
    messages = one.take(1) + one.take(1)
    assert [each.topic for each in messages] == [ERASURES_TOPIC] * 2
    assert "2026-09-22T12:00:00Z" in messages[0].payload
    assert messages[1].payload.count("tx-") == 1
    one.take()
    found = call(writers[0], deliveries_of, numbers[1:])
    assert [(each.sink, each.state) for each in found] == [
        ("one", "delivered"),
        ("other", "waiting"),
    ]
    refused = other.take()
    call(other.connection, bury, "other", [Refusal(refused[0], "no")])
    found = call(writers[0], deliveries_of, numbers[:1])
    assert [each.state for each in found] == ["delivered", "refused"]


def test_an_erasure_drops_dead_letters_about_what_it_erased(
    url: str, writers: tuple[Connection, Connection]
) -> None:
    desk = Desk(url)
    put(writers[0], "user-1", transaction_id="erased")
    put(writers[0], "user-1", transaction_id="kept")
    writers[0].commit()
    refused = [Refusal(each, "no") for each in desk.take()]
    call(desk.connection, bury, "archive", refused)
    call(writers[0], announce_erasure, "er-1", "subject", ["erased"], NOW)
    call(desk.connection, forget_erased, "archive", desk.take())
    [left] = call(writers[0], dead_letters)
    assert left.outbox_id == refused[1].message.outbox_id

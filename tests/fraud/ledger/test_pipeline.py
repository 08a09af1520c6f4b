import time
from collections.abc import Iterator

import psycopg2.errors
import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from fraud.domain.errors import LedgerUnavailable
from fraud.ledger.engine import connect
from fraud.ledger.pool import ConnectionPool, transaction
from fraud.ledger.statement import Statement

ADD = Statement("add_to_word", ("text", "int"), "UPDATE words SET n = n + $2 WHERE word = $1")
TAKEN = "INSERT INTO words VALUES ('a;b', 1)"


@pytest.fixture
def pool(ledger_url: str) -> Iterator[ConnectionPool]:
    made = ConnectionPool(ledger_url, size=1, wait_s=0.1)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def words(ledger_url: str) -> Iterator[None]:
    with transaction(ledger_url) as cursor:
        cursor.execute("CREATE TABLE words (word text PRIMARY KEY, n int NOT NULL)")
        cursor.execute("INSERT INTO words VALUES ('a;b', 0), ('50 %', 0)")
    yield
    with transaction(ledger_url) as cursor:
        cursor.execute("DROP TABLE words")


def counts(url: str) -> dict[str, int]:
    with transaction(url) as cursor:
        cursor.execute("SELECT word, n FROM words")
        return dict(cursor.fetchall())


def run(pool: ConnectionPool, *statements: str, then: Exception | None = None) -> None:
    with pool.pipeline() as cursor:
        for statement in statements:
            cursor.execute(statement)
        if then is not None:
            cursor.execute("SELECT 1")
            cursor.fetchall()
            raise then


def add(pool: ConnectionPool, *before: str) -> None:
    with pool.pipeline() as cursor:
        for statement in before:
            cursor.execute(statement)
        ADD.execute(cursor, ("a;b", 1))


def ask_behind(pool: ConnectionPool, *statements: str) -> None:
    with pool.pipeline() as cursor:
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("SELECT n FROM words")
        cursor.answer()()


def hang_up_within(pool: ConnectionPool) -> None:
    killer = connect(pool.url, autocommit=True)
    with pool.pipeline() as cursor:
        cursor.execute("UPDATE words SET n = 7 WHERE word = 'a;b'")
        cursor.execute("SELECT pg_backend_pid()")
        [(pid,)] = cursor.fetchall()
        with killer.cursor() as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        killer.close()
        cursor.execute("SELECT 1")
        cursor.fetchall()


def test_statements_travel_with_the_next_question_and_with_the_commit(
    pool: ConnectionPool, ledger_url: str
) -> None:
    with pool.pipeline() as cursor:
        ADD.execute(cursor, ("a;b", 1))
        cursor.execute("SELECT n FROM words WHERE word = %s", ("a;b",))
        assert cursor.fetchall() == [(1,)]
        ADD.execute(cursor, ("50 %", 2))
        assert counts(ledger_url) == {"a;b": 0, "50 %": 0}  # nobody else sees it yet
    assert counts(ledger_url) == {"a;b": 1, "50 %": 2}


def test_a_block_that_raises_leaves_nothing(pool: ConnectionPool, ledger_url: str) -> None:
    with pytest.raises(RuntimeError, match="no"):
        run(pool, "UPDATE words SET n = 7", then=RuntimeError("no"))
    assert counts(ledger_url) == {"a;b": 0, "50 %": 0}
    with pool.connection() as lent:
        assert lent.info.transaction_status == TRANSACTION_STATUS_IDLE
        assert not lent.autocommit


def test_an_error_behind_other_statements_undoes_them_at_the_commit(
    pool: ConnectionPool, ledger_url: str
) -> None:
    with pytest.raises(psycopg2.errors.UniqueViolation):
        run(pool, "UPDATE words SET n = 7", TAKEN, "UPDATE words SET n = 8")
    assert counts(ledger_url) == {"a;b": 0, "50 %": 0}


def test_a_statement_whose_preparation_was_not_reached_is_prepared_again(
    pool: ConnectionPool, ledger_url: str
) -> None:
    with pytest.raises(psycopg2.errors.UniqueViolation):
        add(pool, TAKEN)
    add(pool)
    assert counts(ledger_url)["a;b"] == 1


def test_the_connection_serves_plain_transactions_again(
    pool: ConnectionPool, ledger_url: str
) -> None:
    add(pool)
    with pool.connection() as lent:
        with lent.cursor() as cursor:
            ADD.execute(cursor, ("a;b", 1))
        lent.rollback()
    assert counts(ledger_url)["a;b"] == 1


def test_a_server_that_hung_up_is_unavailable_and_replaced(
    pool: ConnectionPool, ledger_url: str
) -> None:
    with pytest.raises(LedgerUnavailable):
        hang_up_within(pool)
    assert counts(ledger_url)["a;b"] == 0
    add(pool)
    assert counts(ledger_url)["a;b"] == 1


def test_answers_can_wait_until_they_are_asked_for(pool: ConnectionPool) -> None:
    count = Statement("count_word", ("text",), "SELECT n FROM words WHERE word = $1")
    with pool.pipeline() as cursor:
        count.execute(cursor, ("a;b",))
        before = cursor.answer()
        ADD.execute(cursor, ("a;b", 5))
        count.execute(cursor, ("a;b",))
        after = cursor.answer()
        assert after() == [(5,)]
        assert before() == [(0,)]
        ADD.execute(cursor, ("a;b", 1))
        assert (before(), after()) == ([(0,)], [(5,)])  # what was told stays


def test_an_answer_tells_what_broke_before_it(pool: ConnectionPool, ledger_url: str) -> None:
    with pytest.raises(psycopg2.errors.UniqueViolation):
        ask_behind(pool, "UPDATE words SET n = 7", TAKEN)
    assert counts(ledger_url) == {"a;b": 0, "50 %": 0}


def test_waiting_costs_nothing_even_after_much_was_sent(pool: ConnectionPool) -> None:
    measure = Statement("measure_slowly", ("text",), "SELECT length($1), pg_sleep(1)")
    text = "x" * 20_000_000  # more than the socket takes at once
    with pool.pipeline() as cursor:
        measure.execute(cursor, (text,))
        began_s = time.thread_time()
        [(length, _)] = cursor.fetchall()
        waited_s = time.thread_time() - began_s
    assert int(length) == len(text)
    assert waited_s < 0.6  # of CPU; a second where it asks again and again

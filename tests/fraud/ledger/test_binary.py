"""What goes in binary comes back as it went, and means what a literal would."""

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg2.errors
import pytest

from fraud.ledger.engine import connect
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.statement import Statement

KINDS = ("text[]", "bigint[]", "int[]", "varchar[]", "bytea", "text", "jsonb", "bigint")
TEXTS = ["", "plain", 'quo"ted', "back\\slash", "{brace,d}", "NULL", "ünï 💳"]
VALUES = [
    (
        TEXTS,
        [-(2**63), 0, 2**63 - 1],
        [-(2**31), 7],
        ["v"],
        bytes(range(256)),
        "it's",
        '{"a":1}',
        5,
    ),
    ([], [], [], [], b"", "", "[]", -5),
    (["one"], [1], [1], TEXTS, b"\x00" * 300_000, "ü" * 100_000, '"x"', 0),
]
ECHO = Statement(
    "test_echo", KINDS, "SELECT $1, $2, $3, $4, $5, $6, $7, $8, NULL::text, true, 1.5::float8"
)
BINARY_ECHO = Statement(
    "test_binary_echo",
    ("text[]", "bigint[]", "int[]", "bytea"),
    "SELECT $1, $2, $3, $4",
    row=("text[]", "bigint[]", "int[]", "bytea"),
)


@pytest.fixture
def pool(ledger_url: str) -> Iterator[ConnectionPool]:
    made = ConnectionPool(ledger_url, size=1, wait_s=0.1)
    yield made
    made.close()


def echo(pool: ConnectionPool, values: Sequence[Any]) -> tuple[Any, ...]:
    with pool.pipeline() as pipelined:
        ECHO.execute(pipelined, values)
        return pipelined.fetchall()[0]


def plain(row: tuple[Any, ...]) -> list[Any]:
    return [bytes(each) if isinstance(each, memoryview) else each for each in row]


@pytest.mark.parametrize("values", VALUES, ids=["various", "empty", "large"])
def test_a_pipeline_answers_as_a_plain_cursor_does(
    pool: ConnectionPool, values: tuple[Any, ...]
) -> None:
    piped = echo(pool, values)
    with pool.transaction() as cursor:
        ECHO.execute(cursor, values)
        [expected] = cursor.fetchall()
    assert plain(piped) == plain(expected)
    assert plain(piped)[:6] == list(values[:6])
    assert piped[8:] == (None, True, 1.5)


@pytest.mark.parametrize("values", VALUES, ids=["various", "empty", "large"])
def test_rows_in_binary_are_read_as_they_were_sent(
    pool: ConnectionPool, values: tuple[Any, ...]
) -> None:
    sent = (*values[:3], values[4])
    with pool.pipeline() as pipelined:
        BINARY_ECHO.execute(pipelined, sent)
        assert pipelined.fetchall() == [sent]
    with pool.transaction() as cursor:
        BINARY_ECHO.execute(cursor, sent)
        assert plain(cursor.fetchall()[0]) == list(sent)


def test_each_statement_answers_in_its_own_form(pool: ConnectionPool) -> None:
    with pool.pipeline() as pipelined:
        pipelined.execute("SELECT 'ignored', 1")
        BINARY_ECHO.execute(pipelined, ([], [1], [2], b"3"))
        assert pipelined.fetchall() == [([], [1], [2], b"3")]
        BINARY_ECHO.execute(pipelined, ([], [1], [2], b"3"))
        pipelined.execute("SELECT 'last', 1")
        assert pipelined.fetchall() == [("last", 1)]
        pipelined.execute("CREATE TEMP TABLE nothing ()")
        assert pipelined.fetchall() == []


def test_a_zero_byte_in_a_text_is_refused_and_never_cuts_it_short(pool: ConnectionPool) -> None:
    values = list(VALUES[1])
    values[5] = "before\0after"
    with pytest.raises(psycopg2.errors.CharacterNotInRepertoire):
        echo(pool, values)


def test_what_was_taken_along_may_start_before_anybody_waits(pool: ConnectionPool) -> None:
    other = connect(pool.url, autocommit=True)
    with pool.pipeline() as pipelined, other.cursor() as cursor:
        pipelined.execute("SELECT pg_advisory_xact_lock(20260101)")
        pipelined.start()
        taken = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 20260101"
        for _ in range(1000):
            cursor.execute(taken)
            if cursor.fetchall() == [(1,)]:
                break
            cursor.execute("SELECT pg_sleep(0.01)")
        else:
            pytest.fail("the server waited for more")
    other.close()


@pytest.mark.parametrize("count", [0, 1, 400])
def test_places_of_rows_go_back_to_the_same_rows(pool: ConnectionPool, count: int) -> None:
    places = "SELECT array_agg(ctid), count(*) FROM (SELECT ctid FROM pg_proc LIMIT $1) AS found"
    back = "SELECT count(*) FROM pg_proc WHERE ctid = ANY($1) AND $1 = ARRAY(SELECT unnest($1))"
    with pool.pipeline() as cursor:
        read = Statement("test_places", ("bigint",), places, row=("tid[]", "bigint"))
        read.execute(cursor, (count,))
        [(found, _)] = cursor.fetchall()
        Statement("test_places_back", ("tid[]",), back).execute(cursor, (found or [],))
        assert cursor.fetchall() == [(count,)]
        assert len(set(found or [])) == count

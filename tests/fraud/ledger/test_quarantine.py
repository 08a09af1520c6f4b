import datetime as dt
import decimal
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from fraud.ledger.pool import ConnectionPool
from fraud.ledger.quarantine import ROWS_PER_STATEMENT, RefusedRow, quarantine_rows
from tests.protection import a_protection


def keep(pool: ConnectionPool, ingest_id: str, *rows: RefusedRow) -> int:
    with pool.transaction() as cursor:
        return quarantine_rows(cursor, "credit_card", "cards.csv", ingest_id, rows, a_protection())


def kept(pool: ConnectionPool, ingest_id: str) -> list[tuple[Any, ...]]:
    with pool.transaction() as cursor:
        cursor.execute(
            """
            SELECT fraud_type, source, row_number, raw, reason FROM quarantine
            WHERE ingest_id = %s ORDER BY row_number
            """,
            (ingest_id,),
        )
        return cursor.fetchall()


def test_a_refused_row_is_kept_as_it_came(ledger_pool: ConnectionPool) -> None:
    raw = {"transaction_id": "tx-1", "amount": "-5", "note": None, "chip": True, "n": 2}
    assert keep(ledger_pool, "one", RefusedRow(7, raw, "amount: must not be negative")) == 1
    expected = ("credit_card", "cards.csv", 7, raw, "amount: must not be negative")
    assert kept(ledger_pool, "one") == [expected]


def test_an_ingest_that_is_repeated_keeps_each_row_once(ledger_pool: ConnectionPool) -> None:
    row = RefusedRow(1, {"a": "1"}, "bad")
    assert [keep(ledger_pool, "twice", row) for _ in range(2)] == [1, 0]
    assert len(kept(ledger_pool, "twice")) == 1


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("a\x00b", "a\\u0000b"),
        ("\ud800", "\\ud800"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        pytest.param(np.float64("nan"), "nan", id="numpy nan"),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (decimal.Decimal("1.10"), "1.10"),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00+00:00"),
        (b"\xff", "b'\\xff'"),
        ([1, "x\x00", {"k": float("inf")}], [1, "x\\u0000", {"k": "inf"}]),
        (10**30, 10**30),
    ],
)
def test_whatever_came_can_be_kept(
    ledger_pool: ConnectionPool, value: object, stored: object
) -> None:
    ingest_id = f"value {value!r}"[:60].encode("ascii", "backslashreplace").decode()
    raw: Mapping[str, object] = {"column\x00": value}
    keep(ledger_pool, ingest_id, RefusedRow(1, raw, "bad \x00 value"))
    [(_, _, _, found, reason)] = kept(ledger_pool, ingest_id)
    assert found == {"column\\u0000": stored}
    assert reason == "bad \\u0000 value"


def test_many_rows_in_pieces(ledger_pool: ConnectionPool) -> None:
    count = ROWS_PER_STATEMENT + 3  # one more statement than one
    rows = [RefusedRow(n, {"n": n}, "bad") for n in range(count)]
    assert keep(ledger_pool, "many", *rows) == count
    assert len(kept(ledger_pool, "many")) == count

import psycopg2.errors
import pytest

from fraud.ledger.engine import connect
from fraud.ledger.statement import Statement

DOUBLE = Statement("test_double", ("bigint", "text[]"), "SELECT $1 * 2, cardinality($2)")
NOTHING = Statement("test_nothing", (), "SELECT 1")


def test_a_statement_is_prepared_once_per_connection(ledger_url: str) -> None:
    connections = [connect(ledger_url), connect(ledger_url)]
    for connection in connections:
        with connection.cursor() as cursor:
            for number in (1, 2):
                DOUBLE.execute(cursor, (number, ["a", "b"]))
                assert cursor.fetchall() == [(number * 2, 2)]
            cursor.execute("SELECT generic_plans + custom_plans FROM pg_prepared_statements")
            assert cursor.fetchall() == [(2,)]
        connection.close()


def test_it_stays_prepared_when_its_transaction_fails(ledger_url: str) -> None:
    connection = connect(ledger_url)
    with connection.cursor() as cursor:
        DOUBLE.execute(cursor, (1, []))
        connection.rollback()
        DOUBLE.execute(cursor, (3, []))
        assert cursor.fetchall() == [(6, 0)]
    connection.close()


def test_one_that_cannot_be_prepared_is_not_taken_for_prepared(ledger_url: str) -> None:
    broken = Statement("test_broken", ("text",), "SELECT no_such_column, $1")
    connection = connect(ledger_url)
    with connection.cursor() as cursor:
        for _ in range(2):
            with pytest.raises(psycopg2.errors.UndefinedColumn):
                broken.execute(cursor, ("x",))
            connection.rollback()
    connection.close()


def test_one_without_parameters(ledger_url: str) -> None:
    connection = connect(ledger_url)
    with connection.cursor() as cursor:
        for _ in range(2):
            NOTHING.execute(cursor, ())
            assert cursor.fetchall() == [(1,)]
    connection.close()

from collections.abc import Callable
from typing import Any

import psycopg2.errors
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import fraud.ledger.tables  # noqa: F401 - it fills the metadata
from fraud.domain.errors import LedgerUnavailable, SettingsError
from fraud.ledger.columns import metadata
from fraud.ledger.engine import UTC_SESSION, connect, ensure_database, make_engine
from fraud.ledger.pool import transaction
from fraud.ledger.schema import SERVICE_ROLE, current_revision, head_revision, migrate

COLUMNS = """
SELECT table_name, column_name, data_type, character_maximum_length, numeric_precision,
    numeric_scale, is_nullable, column_default, is_identity, generation_expression,
    collation_name
FROM information_schema.columns
WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2
"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2
"""
OPTIONS = """
SELECT relname, reloptions::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1
"""

GUIDE = {
    ("transactions", "transaction_id"): ("character varying", 50),
    ("transactions", "timestamp"): ("timestamp without time zone", None),
    ("transactions", "amount"): ("numeric", None),
    ("transactions", "user_id"): ("character varying", 50),
    ("transactions", "merchant_id"): ("character varying", 50),
    ("transactions", "merchant_category"): ("character varying", 100),
    ("transactions", "fraud_probability"): ("numeric", None),
    ("transactions", "risk_level"): ("character varying", 20),
    ("transactions", "recommended_action"): ("character varying", 50),
    ("transactions", "created_at"): ("timestamp without time zone", None),
    ("fraud_alerts", "transaction_id"): ("character varying", 50),
    ("fraud_alerts", "alert_type"): ("character varying", 50),
    ("fraud_alerts", "severity"): ("character varying", 20),
    ("fraud_alerts", "description"): ("text", None),
    ("fraud_alerts", "status"): ("character varying", 20),
    ("fraud_alerts", "created_at"): ("timestamp without time zone", None),
    ("model_performance", "model_type"): ("character varying", 50),
    ("model_performance", "fraud_type"): ("character varying", 50),
    ("model_performance", "accuracy"): ("numeric", None),
    ("model_performance", "roc_auc"): ("numeric", None),
    ("model_performance", "training_date"): ("timestamp without time zone", None),
    ("model_performance", "created_at"): ("timestamp without time zone", None),
}
"""The columns of the integration guide, section 3.1: type and longest text."""


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def from_metadata_url(postgres_url: str) -> str:
    url = ensure_database(postgres_url, "from_metadata")
    engine = make_engine(url)
    metadata.create_all(engine)
    engine.dispose()
    return url


def test_alembic_sees_no_difference_to_the_metadata(ledger_url: str) -> None:
    engine = make_engine(ledger_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


@pytest.mark.parametrize("query", [COLUMNS, CONSTRAINTS, OPTIONS])
def test_migrations_make_what_the_metadata_says(
    ledger_url: str, from_metadata_url: str, query: str
) -> None:
    migrated = [row for row in rows(ledger_url, query) if row[0] != "alembic_version"]
    assert migrated
    assert migrated == rows(from_metadata_url, query)


def test_migrations_make_the_same_indexes(ledger_url: str, from_metadata_url: str) -> None:
    migrated = [row for row in rows(ledger_url, INDEXES) if "alembic_version" not in row[0]]
    assert migrated == rows(from_metadata_url, INDEXES)


def test_the_integration_guides_columns_are_there(ledger_url: str) -> None:
    found = {(row[0], row[1]): (row[2], row[3]) for row in rows(ledger_url, COLUMNS)}
    assert {key: found.get(key) for key in GUIDE} == GUIDE


def test_migrating_again_changes_nothing(ledger_url: str) -> None:
    assert current_revision(ledger_url) == head_revision()
    assert migrate(ledger_url) == head_revision()


def test_a_database_without_a_ledger_says_so(postgres_url: str) -> None:
    assert current_revision(ensure_database(postgres_url, "empty")) is None


def test_down_and_up_again(new_ledger: Callable[[], str]) -> None:
    from alembic import command
    from alembic.config import Config

    from fraud.ledger import schema

    url = new_ledger()
    engine = make_engine(url)
    with engine.connect() as connection:
        config: Config = schema._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        connection.commit()
    engine.dispose()
    assert current_revision(url) is None
    left = rows(url, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    assert {row[0] for row in left} == {"alembic_version", "alembic_version_pkc"}
    assert migrate(url) == head_revision()


def test_a_ledger_of_a_newer_version_is_one_clear_error(new_ledger: Callable[[], str]) -> None:
    url = new_ledger()
    with transaction(url) as cursor:
        cursor.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SettingsError, match=r"9999.*newer"):
        migrate(url)


def test_migrating_an_absent_server_is_one_clear_error() -> None:
    with pytest.raises(LedgerUnavailable, match="does not answer"):
        migrate("postgresql://somebody:hunter2@127.0.0.1:1/fraud")


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"],
)
@pytest.mark.parametrize("role", [None, SERVICE_ROLE])
def test_nobody_changes_the_audit_log(ledger_url: str, statement: str, role: str | None) -> None:
    options = UTC_SESSION + (f" -c role={role}" if role else "")
    connection = connect(ledger_url, options=options)
    with (
        connection.cursor() as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege, match=r"audit[ _]log"),
    ):
        cursor.execute(statement)
    connection.close()


@pytest.mark.parametrize("table", ["transactions", "decisions", "deployments", "audit_log"])
def test_the_serving_role_never_deletes_history(ledger_url: str, table: str) -> None:
    connection = connect(ledger_url, options=f"-c role={SERVICE_ROLE}")
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute(f"DELETE FROM {table}")
    connection.close()


def test_states_are_kept_uncompressed(ledger_url: str) -> None:
    query = """
        SELECT attstorage FROM pg_attribute
        WHERE attrelid = 'entity_state'::regclass AND attname = 'state'
    """
    assert rows(ledger_url, query) == [("e",)]  # e: EXTERNAL

"""What the ledger's tables have in common: names of constraints, types and columns."""

from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Identity, MetaData, String, text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

TransactionId = String(50, collation="C")
Moment = DateTime(timezone=True)
UTC_NOW = text("(now() AT TIME ZONE 'UTC')")
NOW = text("now()")
EMPTY_LIST = text("'[]'::jsonb")
EMPTY_OBJECT = text("'{}'::jsonb")

GROWING = {"autovacuum_vacuum_insert_threshold": 250_000, "autovacuum_analyze_threshold": 250_000}
"""Of tables that every decision adds a row to. By PostgreSQL's own measure, a tenth or a fifth
more, all of them would be due every minute while a ledger is young and busy, and all at once: on
two processors that is felt in the answers. They are read by their keys, which asks for little."""


def row_id() -> Column[int]:
    """A primary key the server counts up."""
    return Column("id", BigInteger, Identity(always=False), primary_key=True)


def fraud_type(**options: Any) -> Column[str]:
    """The fraud type a row belongs to."""
    return Column("fraud_type", String(50), nullable=False, **options)

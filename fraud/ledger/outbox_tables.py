"""Tables of the outbox: what is to be told, how far each sink was told, and what it refused."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text
from sqlalchemy import text as sql_text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

from fraud.ledger.columns import GROWING, NOW, Moment, metadata, row_id

SinkName = String(100)


class _Xid8(UserDefinedType[int]):
    """PostgreSQL's number of a transaction, which never comes again."""

    cache_ok = True

    def get_col_spec(self, **options: Any) -> str:
        return "XID8"


class _Snapshot(UserDefinedType[str]):
    """PostgreSQL's account of which transactions are over."""

    cache_ok = True

    def get_col_spec(self, **options: Any) -> str:
        return "PG_SNAPSHOT"


ischema_names |= {"xid8": _Xid8, "pg_snapshot": _Snapshot}  # so that reflection knows them

outbox = Table(
    "outbox",
    metadata,
    row_id(),
    Column("topic", String(100), nullable=False),
    Column("key", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("created_at", Moment, nullable=False, server_default=NOW),
    Column(
        "xid",
        _Xid8,
        nullable=False,
        server_default=sql_text("pg_current_xact_id()"),
        comment="The transaction that wrote it.",
    ),
    Index("ix_outbox_xid", "xid"),
    postgresql_with=GROWING,
)

outbox_sinks = Table(
    "outbox_sinks",
    metadata,
    Column("sink", SinkName, primary_key=True),
    Column(
        "delivered",
        _Snapshot,
        nullable=False,
        server_default=sql_text("'1:1:'::pg_snapshot"),
        comment="All that it sees was delivered.",
    ),
    Column("target", _Snapshot, comment="What is being delivered: all that it sees beyond that."),
    Column(
        "last_id",
        BigInteger,
        nullable=False,
        server_default=sql_text("'0'"),
        comment="How far, within the target.",
    ),
    Column("failure", Text, comment="Why nothing can be delivered now."),
    Column("failing_since", Moment),
    Column(
        "cluster",
        BigInteger,
        comment="System identifier of the cluster whose transactions the snapshots name.",
    ),
    postgresql_with={"fillfactor": 20},
)

outbox_dead_letters = Table(
    "outbox_dead_letters",
    metadata,
    Column("outbox_id", BigInteger, ForeignKey("outbox.id"), primary_key=True),
    Column("sink", SinkName, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("died_at", Moment, nullable=False, server_default=NOW),
    Column(
        "is_due",
        Boolean,
        nullable=False,
        server_default=sql_text("false"),
        comment="Somebody asked for another try.",
    ),
    Index("ix_outbox_dead_letters_due", "sink", postgresql_where=sql_text("is_due")),
)

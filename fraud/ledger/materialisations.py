"""Which part of the log the online states were rebuilt from, and when.

Between two rebuilds the states see what the ledger itself takes in. So these records say
what any decision could have seen: without them a log that grew since could not tell.
"""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, Index, Table, text

from fraud.ledger.columns import Moment, fraud_type, metadata, row_id
from fraud.ledger.statement import Cursor

materialisations = Table(
    "materialisations",
    metadata,
    row_id(),
    fraud_type(),
    Column("first_event_seq", BigInteger, nullable=False, comment="Of the lake; 0 for none."),
    Column("last_event_seq", BigInteger, nullable=False),
    Column("first_label_seq", BigInteger, nullable=False, comment="Of the lake; 0 for none."),
    Column("last_label_seq", BigInteger, nullable=False),
    Column(
        "ledger_events_after",
        BigInteger,
        nullable=False,
        comment="Observation number above which the ledger's events were added.",
    ),
    Column("ledger_labels_after", BigInteger, nullable=False, comment="Likewise."),
    Column(
        "last_event_id",
        BigInteger,
        nullable=False,
        comment="Last transaction that was there when it began.",
    ),
    Column("last_label_id", BigInteger, nullable=False, comment="Last label, likewise."),
    Column(
        "done_event_id",
        BigInteger,
        comment="Last transaction that was there when it was done; null until then.",
    ),
    Column("started_at", Moment, nullable=False, server_default=text("now()")),
    Index("ix_materialisations_fraud_type_id", "fraud_type", "id"),
)


@dataclass(frozen=True, slots=True)
class Materialisation:
    """A rebuild of all online states of a fraud type; see the columns of the table."""

    first_event_seq: int
    last_event_seq: int
    first_label_seq: int
    last_label_seq: int
    ledger_events_after: int
    ledger_labels_after: int
    last_event_id: int
    last_label_id: int
    started_at: dt.datetime
    done_event_id: int | None = None


_COLUMNS = """
    first_event_seq, last_event_seq, first_label_seq, last_label_seq, ledger_events_after,
    ledger_labels_after, last_event_id, last_label_id, started_at
"""


def begin_materialisation(cursor: Cursor, fraud_type: str, begun: Materialisation) -> int:
    """Record that states are being rebuilt, before the first of them is; return its number."""
    cursor.execute(
        f"""
        INSERT INTO materialisations (fraud_type, {_COLUMNS})
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (
            fraud_type,
            *(begun.first_event_seq, begun.last_event_seq),
            *(begun.first_label_seq, begun.last_label_seq),
            *(begun.ledger_events_after, begun.ledger_labels_after),
            *(begun.last_event_id, begun.last_label_id, begun.started_at),
        ),
    )
    number: int = cursor.fetchall()[0][0]
    return number


def end_materialisation(cursor: Cursor, number: int, done_event_id: int) -> None:
    """Record that all states are rebuilt."""
    cursor.execute(
        "UPDATE materialisations SET done_event_id = %s WHERE id = %s", (done_event_id, number)
    )


def materialisations_of(cursor: Cursor, fraud_type: str) -> list[Materialisation]:
    """All rebuilds of a fraud type, in the order they began."""
    cursor.execute(
        f"SELECT {_COLUMNS}, done_event_id FROM materialisations WHERE fraud_type = %s ORDER BY id",
        (fraud_type,),
    )
    return [Materialisation(*row) for row in cursor.fetchall()]

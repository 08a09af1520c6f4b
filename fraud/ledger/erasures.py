"""Persons taken out of the ledger: their rows stay as statistics that are nobody's.

A row keeps amount, time, merchant and decision, which merchants' aggregates and models rest
on. Whatever identifies the person becomes a *tombstone*, a name that is made with a random
salt and means nobody once the salt is gone; what was sealed is deleted.
"""

import datetime as dt
import hmac
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Index, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from fraud.domain.errors import NotFound
from fraud.ledger.columns import Moment, metadata
from fraud.ledger.statement import Cursor

TOMBSTONE = "erased-"
"""How the names of persons begin who were erased."""

erasures = Table(
    "erasures",
    metadata,
    Column("erasure_id", UUID(as_uuid=False), primary_key=True),
    Column(
        "subject_hash",
        LargeBinary,
        nullable=False,
        comment="Keyed hash of whose data was erased.",
    ),
    Column("requested_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_at", Moment, nullable=False),
    Column(
        "salt", LargeBinary, comment="What tombstones are made with; null once all of them are set."
    ),
    Column("erased_at", Moment),
    Column("receipt", JSONB, comment="What was found and erased, as counts."),
    Index("ix_erasures_subject_hash", "subject_hash"),
)


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure under way.

    Attributes:
        erasure_id: names it, in the receipt and in every row.
        salt: what its tombstones are made with.
    """

    erasure_id: str
    salt: bytes

    def tombstone(self, field: str, value: str) -> str:
        """What stands for a value from now on; the same in every store."""
        digest = hmac.digest(self.salt, f"{field}\0{value}".encode(), "sha256")
        return TOMBSTONE + urlsafe_b64encode(digest[:12]).decode()


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A transaction of the person, as the ledger has it."""

    row_id: int
    transaction_id: str
    fields: Mapping[str, Any]


def begin_erasure(
    cursor: Cursor, erasure_id: str, subject_hash: bytes, actor: str, reason: str
) -> Erasure:
    """Begin an erasure, or take up the one of this person that was cut off."""
    cursor.execute(
        "SELECT erasure_id, salt FROM erasures WHERE subject_hash = %s AND salt IS NOT NULL",
        (subject_hash,),
    )
    for known, salt in cursor.fetchall():
        return Erasure(known, bytes(salt))
    begun = Erasure(erasure_id, secrets.token_bytes(32))
    cursor.execute(
        """
        INSERT INTO erasures (erasure_id, subject_hash, requested_by, reason, requested_at, salt)
        VALUES (%s, %s, %s, %s, now(), %s)
        """,
        (begun.erasure_id, subject_hash, actor, reason, begun.salt),
    )
    return begun


def end_erasure(
    cursor: Cursor, erasure: Erasure, erased_at: dt.datetime, receipt: Mapping[str, object]
) -> None:
    """Keep the receipt and forget the salt: no tombstone can be traced back after this."""
    cursor.execute(
        "UPDATE erasures SET salt = NULL, erased_at = %s, receipt = %s WHERE erasure_id = %s",
        (erased_at, json.dumps(receipt), erasure.erasure_id),
    )


def earlier_receipt(cursor: Cursor, subject_hash: bytes) -> dict[str, Any] | None:
    """The receipt of the last finished erasure of this person."""
    cursor.execute(
        """
        SELECT receipt FROM erasures WHERE subject_hash = %s AND receipt IS NOT NULL
        ORDER BY erased_at DESC LIMIT 1
        """,
        (subject_hash,),
    )
    found = cursor.fetchall()
    return dict(found[0][0]) if found else None


def receipt_of(cursor: Cursor, erasure_id: str) -> dict[str, Any]:
    """The receipt of an erasure.

    Raises:
        NotFound: there is no finished erasure of this id.
    """
    cursor.execute(
        "SELECT receipt FROM erasures WHERE erasure_id::text = %s AND receipt IS NOT NULL",
        (erasure_id,),
    )
    found = cursor.fetchall()
    if not found:
        raise NotFound(f"There is no receipt {erasure_id!r}.", remedy="Send the id of an erasure.")
    return dict(found[0][0])


def rows_of_person(
    cursor: Cursor, fraud_type: str, values: Mapping[str, str], *, locked: bool = False
) -> list[PersonRow]:
    """Transactions that have one of these values in its field."""
    if not values:
        return []
    hits = " OR ".join(
        "user_id = %s" if field == "user_id" else "fields ->> %s = %s" for field in values
    )
    given: list[str] = []
    for field, value in values.items():
        given += [value] if field == "user_id" else [field, value]
    cursor.execute(
        f"""
        SELECT id, transaction_id, fields FROM transactions
        WHERE fraud_type = %s AND ({hits}) ORDER BY id {"FOR UPDATE" if locked else ""}
        """,
        (fraud_type, *given),
    )
    return [PersonRow(*row) for row in cursor.fetchall()]


def values_of_others(
    cursor: Cursor, fraud_type: str, field: str, values: Sequence[str], except_ids: Sequence[str]
) -> set[str]:
    """Which of these values occur in transactions of somebody else."""
    cursor.execute(
        """
        SELECT DISTINCT fields ->> %s FROM transactions
        WHERE fraud_type = %s AND fields ->> %s = ANY(%s)
            AND transaction_id <> ALL(%s::varchar[])
        """,
        (field, fraud_type, field, list(values), list(except_ids)),
    )
    return {value for (value,) in cursor.fetchall()}


def bury(
    cursor: Cursor,
    erasure: Erasure,
    rows: Sequence[tuple[PersonRow, Mapping[str, Any]]],
) -> dict[str, int]:
    """Take the person out of rows and of what hangs on them.

    Args:
        cursor: of the transaction that rebuilds the states as well.
        erasure: which.
        rows: each with the fields it has from now on.

    Returns:
        How many rows of which kind were changed.
    """
    changed = [{"id": row.row_id, "fields": dict(fields)} for row, fields in rows]
    cursor.execute(
        """
        UPDATE transactions AS kept SET fields = new.fields, sealed = NULL, body_digest = '',
            erasure_id = %s::uuid, user_id = new.fields ->> 'user_id',
            merchant_id = new.fields ->> 'merchant_id'
        FROM jsonb_to_recordset(%s::jsonb) AS new (id bigint, fields jsonb)
        WHERE kept.id = new.id
        """,
        (erasure.erasure_id, json.dumps(changed)),
    )
    cursor.execute(
        """
        UPDATE cases SET notes = '[]' WHERE notes <> '[]' AND transaction_id = ANY(%s::varchar[])
        RETURNING 1
        """,
        ([row.transaction_id for row, _ in rows],),
    )
    return {"transactions": len(rows), "commented_cases": len(cursor.fetchall())}


def rename_messages(cursor: Cursor, erasure: Erasure, names: Mapping[str, str]) -> int:
    """Give outbox messages of a person the key of nobody."""
    cursor.execute(
        """
        UPDATE outbox SET key = new.name FROM unnest(%s::text[], %s::text[]) AS new (old, name)
        WHERE key = new.old RETURNING 1
        """,
        (list(names), list(names.values())),
    )
    return len(cursor.fetchall())


def empty_quarantine(
    cursor: Cursor, fraud_type: str, values: Mapping[str, str], transaction_ids: Sequence[str]
) -> int:
    """Delete refused rows of a person."""
    hits = " OR ".join(["raw ->> %s = %s"] * len(values)) or "false"
    given = [part for pair in values.items() for part in pair]
    cursor.execute(
        f"""
        DELETE FROM quarantine WHERE fraud_type = %s
            AND ({hits} OR raw ->> 'transaction_id' = ANY(%s)) RETURNING 1
        """,
        (fraud_type, *given, list(transaction_ids)),
    )
    return len(cursor.fetchall())


def listed(cursor: Cursor, values: Sequence[str]) -> int:
    """Entries of lists that hold one of these values; they stay, see docs/data-protection.md."""
    cursor.execute(
        "SELECT count(*) FROM list_entries WHERE value = ANY(%s) AND to_revision IS NULL",
        (list(values),),
    )
    count: int = cursor.fetchall()[0][0]
    return count

"""Requests to erase a person: the service takes them, who may change the ledger acts on them."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Table, Text
from sqlalchemy.dialects.postgresql import UUID

from fraud.domain.errors import NotFound
from fraud.domain.event import from_us
from fraud.ledger.columns import Moment, metadata
from fraud.ledger.statement import Cursor
from fraud.security.encryption import FieldProtection

TABLE = "erasure_requests"

erasure_requests = Table(
    TABLE,
    metadata,
    Column("request_id", UUID(as_uuid=False), primary_key=True),
    Column("sealed", Text, comment="Whose data, encrypted; null once it was erased."),
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", Moment, nullable=False),
    Column("erasure_id", UUID(as_uuid=False), comment="What carried it out; null until then."),
)


@dataclass(frozen=True, slots=True)
class ErasureRequest:
    """A request that waits: whose data, by field, why, and who asked."""

    request_id: str
    values: Mapping[str, str]
    reason: str
    requested_by: str


def request_erasure(
    cursor: Cursor,
    values: Mapping[str, str],
    reason: str,
    actor: str,
    now_us: int,
    protection: FieldProtection,
) -> str:
    """Keep a request; its id."""
    request_id = str(uuid.uuid4())
    cursor.execute(
        """
        INSERT INTO erasure_requests (request_id, sealed, reason, requested_by, requested_at)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (request_id, protection.seal(TABLE, request_id, values), reason, actor, from_us(now_us)),
    )
    return request_id


def waiting_requests(cursor: Cursor, protection: FieldProtection) -> list[ErasureRequest]:
    """Requests nobody has carried out yet, oldest first.

    Raises:
        ProtectionError: one of them was altered.
    """
    cursor.execute(
        """
        SELECT request_id, sealed, reason, requested_by FROM erasure_requests
        WHERE erasure_id IS NULL ORDER BY requested_at
        """
    )
    return [
        ErasureRequest(
            row[0],
            {name: str(value) for name, value in protection.open(TABLE, row[0], row[1]).items()},
            row[2],
            row[3],
        )
        for row in cursor.fetchall()
    ]


def settle_request(cursor: Cursor, request_id: str, erasure_id: str) -> None:
    """Forget whose data a request was about, now that it is gone."""
    cursor.execute(
        "UPDATE erasure_requests SET sealed = NULL, erasure_id = %s WHERE request_id = %s",
        (erasure_id, request_id),
    )


def receipt_of_request(cursor: Cursor, request_id: str) -> dict[str, Any] | None:
    """The receipt of what a request led to; None while it waits.

    Raises:
        NotFound: there is no such request.
    """
    cursor.execute(
        """
        SELECT e.receipt FROM erasure_requests r LEFT JOIN erasures e USING (erasure_id)
        WHERE r.request_id::text = %s
        """,
        (request_id,),
    )
    found = cursor.fetchall()
    if not found:
        raise NotFound(
            f"There is no erasure request {request_id!r}.",
            remedy="Send the id that POST /erasures answered.",
        )
    receipt: dict[str, Any] | None = found[0][0]
    return receipt

"""Promotions that wait for a second person."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fraud.domain.deployment import Stage
from fraud.domain.errors import NotFound
from fraud.domain.event import from_us, to_us
from fraud.ledger.statement import Cursor

_COLUMNS = """
    fraud_type, model_version, bundle_digest, stage, share, reason, requested_by, requested_at, id
"""


@dataclass(frozen=True, slots=True)
class PromotionRequest:
    """A step that somebody asked for.

    Attributes:
        fraud_type: whose model.
        model_version: which model.
        bundle_digest: of its bundle, so that the second person agrees to this one.
        stage: where it shall go.
        share: of the subjects, for a canary.
        reason: why.
        requested_by: the first person.
        requested_at_us: when, microseconds UTC.
        request_id: number of the request; 0 until it is stored.
    """

    fraud_type: str
    model_version: str
    bundle_digest: str
    stage: Stage
    share: float
    reason: str
    requested_by: str
    requested_at_us: int
    request_id: int = 0


def ask(cursor: Cursor, request: PromotionRequest) -> PromotionRequest:
    """Keep a request; an equal one that waits already is returned instead."""
    for waiting in waiting_requests(cursor, request.fraud_type):
        same = replace(
            request,
            request_id=waiting.request_id,
            requested_at_us=waiting.requested_at_us,
            requested_by=waiting.requested_by,
            reason=waiting.reason,
        )
        if same == waiting:
            return waiting
    cursor.execute(
        """
        INSERT INTO promotion_requests (
            fraud_type, model_version, bundle_digest, stage, share, reason, requested_by,
            requested_at
        ) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (
            request.fraud_type,
            request.model_version,
            request.bundle_digest,
            request.stage,
            request.share,
            request.reason,
            request.requested_by,
            from_us(request.requested_at_us),
        ),
    )
    return replace(request, request_id=cursor.fetchall()[0][0])


def waiting_requests(cursor: Cursor, fraud_type: str | None = None) -> list[PromotionRequest]:
    """Requests that nobody has agreed to yet, oldest first."""
    cursor.execute(
        f"""
        SELECT {_COLUMNS} FROM promotion_requests
        WHERE deployment_id IS NULL AND (%s::text IS NULL OR fraud_type = %s) ORDER BY id
        """,
        (fraud_type, fraud_type),
    )
    return [_request(row) for row in cursor.fetchall()]


def waiting_request(cursor: Cursor, request_id: int) -> PromotionRequest:
    """One of them.

    Raises:
        NotFound: there is none of this number, or it was agreed to.
    """
    for each in waiting_requests(cursor):
        if each.request_id == request_id:
            return each
    raise NotFound(
        f"No promotion {request_id} waits for a second person.",
        remedy="See: fraud deployments",
    )


def fulfil(cursor: Cursor, request_id: int, deployment_id: int) -> None:
    """Note the step that a request led to."""
    cursor.execute(
        "UPDATE promotion_requests SET deployment_id = %s WHERE id = %s",
        (deployment_id, request_id),
    )


def _request(row: Sequence[Any]) -> PromotionRequest:
    columns: list[Any] = [*row[:7], to_us(row[7]), row[8]]
    return PromotionRequest(*columns)

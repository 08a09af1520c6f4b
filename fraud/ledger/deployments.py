"""Deployments in the ledger: which model answered when, and what led to it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fraud.domain.deployment import CHAMPION, Deployment
from fraud.domain.event import from_us, to_us
from fraud.ledger.statement import Cursor

_COLUMNS = """
    fraud_type, model_version, bundle_path, bundle_digest, promoted_by, reason, promoted_at,
    mlflow_run_id, stage, id, move, share, gates, approved_by
"""


def record_deployment(cursor: Cursor, deployment: Deployment) -> int:
    """Take a step from this transaction's commit on; return its number."""
    cursor.execute(
        """
        INSERT INTO deployments (
            fraud_type, model_version, bundle_path, bundle_digest, stage, promoted_by, reason,
            promoted_at, mlflow_run_id, move, share, gates, approved_by
        ) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (
            deployment.fraud_type,
            deployment.model_version,
            deployment.bundle_path,
            deployment.bundle_digest,
            deployment.stage,
            deployment.promoted_by,
            deployment.reason,
            from_us(deployment.promoted_at_us),
            deployment.mlflow_run_id,
            deployment.move,
            deployment.share,
            json.dumps(list(deployment.gates), allow_nan=False),
            deployment.approved_by,
        ),
    )
    number: int = cursor.fetchall()[0][0]
    return number


def take_step(cursor: Cursor, deployment: Deployment) -> Deployment:
    """Take a step after all others of its fraud type; returns it as stored.

    Other steps wait until the caller's transaction ends: call `lock_steps` before reading what
    the step is based on. Times rise with numbers, even where clocks step back.
    """
    lock_steps(cursor, deployment.fraud_type)
    last = deployments(cursor, deployment.fraud_type, limit=1)
    earliest_us = last[0].promoted_at_us + 1 if last else 0
    taken = replace(deployment, promoted_at_us=max(deployment.promoted_at_us, earliest_us))
    return replace(taken, deployment_id=record_deployment(cursor, taken))


def lock_steps(cursor: Cursor, fraud_type: str) -> None:
    """Let no other step of a fraud type be taken until the caller's transaction ends."""
    cursor.execute(
        "SELECT pg_advisory_xact_lock(hashtext('deployments'), hashtext(%s))", (fraud_type,)
    )


def current_deployment(cursor: Cursor, fraud_type: str) -> Deployment | None:
    """The champion of a fraud type: what was deployed last; None if nothing ever was."""
    found = champions(cursor, fraud_type, limit=1)
    return found[0] if found else None


def champions(cursor: Cursor, fraud_type: str, *, limit: int = 100) -> list[Deployment]:
    """The steps by which a fraud type got a champion, newest first."""
    return _found(
        cursor,
        "WHERE fraud_type = %s AND stage = %s ORDER BY id DESC LIMIT %s",
        (fraud_type, CHAMPION, limit),
    )


def challengers(cursor: Cursor) -> dict[str, Deployment]:
    """Who challenges the champion now, by fraud type."""
    found = _found(
        cursor,
        """
        WHERE id IN (SELECT max(id) FROM deployments GROUP BY fraud_type)
            AND stage IN ('shadow', 'canary')
        """,
        (),
    )
    return {each.fraud_type: each for each in found}


def in_service_at(cursor: Cursor, at_us: int, fraud_type: str | None = None) -> list[Deployment]:
    """What was in service at a moment, in one query: champions, and who challenged them.

    Args:
        cursor: of any transaction.
        at_us: the moment, microseconds UTC.
        fraud_type: only of this one.
    """
    return _found(
        cursor,
        """
        JOIN (
            SELECT max(id) AS last, max(id) FILTER (WHERE stage = 'champion') AS champion
            FROM deployments
            WHERE promoted_at <= %s AND (%s::text IS NULL OR fraud_type = %s)
            GROUP BY fraud_type
        ) AS moment ON id = champion OR (id = last AND stage IN ('shadow', 'canary'))
        ORDER BY fraud_type, id
        """,
        (from_us(at_us), fraud_type, fraud_type),
    )


def deployment_of(cursor: Cursor, fraud_type: str, model_version: str) -> Deployment | None:
    """The last step of a model, whether it serves or not; None if there was none."""
    found = _found(
        cursor,
        "WHERE fraud_type = %s AND model_version = %s ORDER BY id DESC LIMIT 1",
        (fraud_type, model_version),
    )
    return found[0] if found else None


def deployments(cursor: Cursor, fraud_type: str, *, limit: int = 100) -> list[Deployment]:
    """The steps of a fraud type's models, newest first."""
    return _found(cursor, "WHERE fraud_type = %s ORDER BY id DESC LIMIT %s", (fraud_type, limit))


def _found(cursor: Cursor, condition: str, values: Sequence[object]) -> list[Deployment]:
    cursor.execute(f"SELECT {_COLUMNS} FROM deployments {condition}", tuple(values))
    return [_deployment(row) for row in cursor.fetchall()]


def _deployment(row: Sequence[Any]) -> Deployment:
    return Deployment(
        fraud_type=row[0],
        model_version=row[1],
        bundle_path=row[2],
        bundle_digest=row[3],
        promoted_by=row[4],
        reason=row[5],
        promoted_at_us=to_us(row[6]),
        mlflow_run_id=row[7],
        stage=row[8],
        deployment_id=row[9],
        move=row[10],
        share=row[11],
        gates=tuple(row[12]),
        approved_by=row[13],
    )

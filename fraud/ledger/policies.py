"""Policies in the ledger: thresholds under the name of their content, and when each counted."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fraud.domain.errors import NotFound
from fraud.domain.event import from_us, to_us
from fraud.domain.policy import PassThrough, Thresholds, policy_version
from fraud.ledger.rulesets import new_revision
from fraud.ledger.statement import Cursor

MODEL_DEFAULT = "model"
"""Activating it lets the thresholds count that come with whichever model serves."""


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A policy that was proposed.

    Attributes:
        version: content address of its thresholds, as decisions record it.
        thresholds: what it says.
        pass_through: how much of what would be blocked is let through; None for nothing.
        reason: why it was proposed.
        created_by: who did.
        created_at_us: when, microseconds UTC.
        is_active: whether it counts now.
    """

    version: str
    thresholds: Thresholds
    reason: str
    created_by: str
    created_at_us: int
    is_active: bool
    pass_through: PassThrough | None = None


def propose_policy(
    cursor: Cursor,
    fraud_type: str,
    thresholds: Thresholds,
    reason: str,
    actor: str,
    now_us: int,
    pass_through: PassThrough | None = None,
) -> StoredPolicy:
    """Store a policy, to be activated later; equal ones are stored once."""
    version = policy_version(thresholds, pass_through)
    content = json.dumps(asdict(pass_through)) if pass_through else None
    cursor.execute(
        """
        INSERT INTO policies (
            fraud_type, version, thresholds, reason, created_by, created_at, pass_through
        ) VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (fraud_type, version) DO NOTHING
        """,
        (
            *(fraud_type, version, json.dumps(asdict(thresholds)), reason, actor),
            *(from_us(now_us), content),
        ),
    )
    return policy(cursor, fraud_type, version)


def policies_of(cursor: Cursor, fraud_type: str) -> list[StoredPolicy]:
    """All policies of a fraud type, newest first."""
    cursor.execute(
        """
        SELECT p.version, p.thresholds, p.reason, p.created_by, p.created_at,
            EXISTS (SELECT FROM policy_periods t WHERE t.policy_id = p.id AND to_revision IS NULL),
            p.pass_through
        FROM policies p WHERE p.fraud_type = %s ORDER BY p.id DESC
        """,
        (fraud_type,),
    )
    return [_stored(row) for row in cursor.fetchall()]


def policy(cursor: Cursor, fraud_type: str, version: str) -> StoredPolicy:
    """One policy.

    Raises:
        NotFound: there is none of this version.
    """
    for each in policies_of(cursor, fraud_type):
        if each.version == version:
            return each
    raise NotFound(
        f"There is no policy {version!r} for {fraud_type}.",
        remedy="GET /policy shows what was proposed.",
    )


def activate_policy(
    cursor: Cursor, fraud_type: str, version: str, actor: str, now_us: int
) -> StoredPolicy | None:
    """Let a policy count from now on.

    Args:
        cursor: of the caller's transaction.
        fraud_type: whose.
        version: of a policy that was proposed, or `MODEL_DEFAULT`.
        actor: who does it.
        now_us: the time, microseconds UTC.

    Returns:
        The policy; None for `MODEL_DEFAULT`.

    Raises:
        NotFound: there is none of this version.
    """
    change = f"activated {version}"
    revision = new_revision(cursor, fraud_type, "policy", change, actor, now_us)
    if version != MODEL_DEFAULT:
        policy(cursor, fraud_type, version)
    cursor.execute(
        """
        UPDATE policy_periods SET to_revision = %s WHERE to_revision IS NULL AND policy_id IN (
            SELECT id FROM policies WHERE fraud_type = %s
        )
        """,
        (revision, fraud_type),
    )
    if version == MODEL_DEFAULT:
        return None
    cursor.execute(
        """
        INSERT INTO policy_periods (policy_id, from_revision)
        SELECT id, %s FROM policies WHERE fraud_type = %s AND version = %s
        """,
        (revision, fraud_type, version),
    )
    return policy(cursor, fraud_type, version)


def _stored(row: Sequence[Any]) -> StoredPolicy:
    return StoredPolicy(
        version=row[0],
        thresholds=Thresholds(**row[1]),
        reason=row[2],
        created_by=row[3],
        created_at_us=to_us(row[4]),
        is_active=row[5],
        pass_through=PassThrough(**row[6]) if row[6] else None,
    )

"""Revoked tokens in the ledger: written by people, read by every worker twice a second."""

from dataclasses import dataclass
from typing import Literal

from fraud.domain.event import from_us
from fraud.ledger.statement import Cursor
from fraud.security.revocation import Revocations

Marker = tuple[int, int]
"""Changes whenever a revocation was added or cleared: their number and their greatest id."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """A token, or all tokens of a subject, taken back.

    Attributes:
        kind: what `value` is: a token's `jti`, or a subject.
        value: which one.
        revoked_at_us: when; a subject's later tokens are good. Microseconds UTC.
        revoked_by: who did it.
        reason: why.
        expires_at_us: when the token ends by itself, if that is known. Microseconds UTC.
    """

    kind: Literal["token", "subject"]
    value: str
    revoked_at_us: int
    revoked_by: str
    reason: str
    expires_at_us: int | None = None


def revoke(cursor: Cursor, revocation: Revocation) -> None:
    """Add a revocation, and clear away those of tokens that have ended by themselves.

    An hour is left for clocks that differ.
    """
    cursor.execute(
        "DELETE FROM token_revocations WHERE expires_at < %s - interval '1 hour'",
        (from_us(revocation.revoked_at_us),),
    )
    expires_us = revocation.expires_at_us
    cursor.execute(
        """
        INSERT INTO token_revocations (kind, value, revoked_at, expires_at, revoked_by, reason)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (
            revocation.kind,
            revocation.value,
            from_us(revocation.revoked_at_us),
            None if expires_us is None else from_us(expires_us),
            revocation.revoked_by,
            revocation.reason,
        ),
    )


def marker(cursor: Cursor) -> Marker:
    """Says whether the revocations read before are still all there are."""
    cursor.execute("SELECT count(*), coalesce(max(id), 0) FROM token_revocations")
    [(count, greatest)] = cursor.fetchall()
    return count, greatest


def revocations(cursor: Cursor) -> Revocations:
    """All revocations."""
    cursor.execute(
        """
        SELECT kind, value, extract(epoch FROM max(revoked_at))::float8 FROM token_revocations
        GROUP BY kind, value
        """
    )
    rows = cursor.fetchall()
    return Revocations(
        tokens=frozenset(value for kind, value, _ in rows if kind == "token"),
        subjects={value: moment_s for kind, value, moment_s in rows if kind == "subject"},
    )

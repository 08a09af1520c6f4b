"""Taking tokens back: from what a person has in hand to a revocation, audited."""

import datetime as dt
import socket

import jwt

from fraud.domain.errors import InvalidField
from fraud.domain.event import to_us
from fraud.ledger.audit import AuditEntry, append, claim_chain
from fraud.ledger.engine import connect
from fraud.ledger.revocations import Revocation, revoke
from fraud.security.tokens import LATEST_S

CHAIN_PREFIX = "operator"
_FORM = "Give one of --token, --jti and --subject."


def revocation_of(
    *,
    token: str | None,
    token_id: str | None,
    subject: str | None,
    now: dt.datetime,
    revoked_by: str,
    reason: str,
) -> Revocation:
    """The revocation of exactly one thing: a token, a `jti`, or a subject.

    A token is read, not verified: whoever may revoke may also revoke what is not valid.

    Raises:
        InvalidField: none or several were given, or the token has no `jti`.
    """
    if sum(each is not None for each in (token, token_id, subject)) != 1:
        raise InvalidField([("revoke", "exactly one thing must be named", _FORM)])
    expires_at_us = None
    if token is not None:
        token_id, expires_at_us = _read(token)
    value = token_id if subject is None else subject
    if not value:
        raise InvalidField([("revoke", "what is to be revoked is empty", _FORM)])
    return Revocation(
        kind="token" if subject is None else "subject",
        value=value,
        revoked_at_us=to_us(now),
        revoked_by=revoked_by,
        reason=reason,
        expires_at_us=expires_at_us,
    )


def carry_out(url: str, revocation: Revocation) -> None:
    """Write a revocation and its audit record, in one transaction.

    Raises:
        LedgerUnavailable: the ledger does not answer.
    """
    connection = connect(url)
    try:
        chain = claim_chain(connection, CHAIN_PREFIX)
        with connection.cursor() as cursor:
            revoke(cursor, revocation)
            entry = AuditEntry(
                actor=revocation.revoked_by,
                action="token.revoke",
                outcome="success",
                origin=socket.gethostname(),
                object_type=revocation.kind,
                object_id=revocation.value,
                detail={"reason": revocation.reason},
            )
            append(cursor, chain, [entry], revocation.revoked_at_us)
        connection.commit()
    finally:
        connection.close()


def _read(token: str) -> tuple[str, int | None]:
    remedy = "Revoke the subject's tokens with --subject."
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise InvalidField([("token", "is not a JSON Web Token", _FORM)]) from None
    token_id, expires_s = claims.get("jti"), claims.get("exp")
    if not isinstance(token_id, str) or not token_id:
        raise InvalidField([("token", "has no jti", remedy)])
    if isinstance(expires_s, int | float) and 0 <= expires_s < LATEST_S:
        return token_id, round(expires_s * 1e6)
    return token_id, None

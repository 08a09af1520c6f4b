"""Revoked tokens in the ledger: what is written, by whom, and what a worker reads."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from fraud.domain.errors import InvalidField
from fraud.domain.event import from_us, to_us
from fraud.ledger.audit_check import verify
from fraud.ledger.engine import connect
from fraud.ledger.pool import transaction
from fraud.ledger.revocations import Marker, marker, revocations
from fraud.ledger.revoking import carry_out, revocation_of
from fraud.security.revocation import Revocations

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
NOON_S = NOON.timestamp()


@pytest.fixture
def url(new_ledger: Callable[[], str]) -> str:
    return new_ledger()


def revoke(url: str, moment: dt.datetime = NOON, **what: str) -> None:
    given: dict[str, Any] = {"token": None, "token_id": None, "subject": None, **what}
    carry_out(url, revocation_of(now=moment, revoked_by="ann", reason="lost", **given))


def read(url: str) -> tuple[Marker, Revocations]:
    with transaction(url) as cursor:
        return marker(cursor), revocations(cursor)


def a_token(**claims: object) -> str:
    return jwt.encode({"sub": "till-7", **claims}, "x" * 32, algorithm="HS256")


def test_tokens_and_subjects_are_revoked(url: str) -> None:
    assert read(url) == ((0, 0), Revocations())
    revoke(url, token_id="a")
    revoke(url, token=a_token(jti="b", exp=int(NOON_S) + 60))
    revoke(url, subject="till-7")
    revoke(url, NOON + dt.timedelta(seconds=5), subject="till-7")
    seen, found = read(url)
    assert found == Revocations(frozenset({"a", "b"}), {"till-7": NOON_S + 5})
    assert seen == (4, 4)


def test_tokens_that_ended_by_themselves_are_cleared_away(url: str) -> None:
    revoke(url, token=a_token(jti="short", exp=int(NOON_S) + 60))
    revoke(url, token=a_token(jti="endless"))
    revoke(url, token=a_token(jti="absurd", exp=1e300))
    before, _ = read(url)
    revoke(url, NOON + dt.timedelta(hours=2), subject="till-7")
    after, found = read(url)
    assert found.tokens == {"endless", "absurd"}
    assert before != after


def test_a_revocation_is_audited(url: str) -> None:
    revoke(url, token_id="a\r\nb")
    with transaction(url) as cursor:
        cursor.execute(
            "SELECT actor, action, outcome, object_type, object_id, detail->>'reason', recorded_at"
            " FROM audit_log"
        )
        rows = cursor.fetchall()
    escaped = "a\\u000d\\u000ab"
    assert rows == [
        ("ann", "token.revoke", "success", "token", escaped, "lost", from_us(to_us(NOON)))
    ]
    connection = connect(url)
    assert verify(connection).is_intact
    connection.close()


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"token_id": "a", "subject": "b"},
        {"token_id": ""},
        {"subject": ""},
        {"token": "no token"},
        {"token": a_token()},
        {"token": a_token(jti="")},
    ],
)
def test_exactly_one_thing_is_revoked(url: str, what: dict[str, str]) -> None:
    with pytest.raises(InvalidField):
        revoke(url, **what)
    assert read(url) == ((0, 0), Revocations())

"""The guard in front of every route: who asks, how much they send, and in which form.

It reads the body (bounded in bytes and time): nothing behind it ever touches bytes of somebody
who was not let in. Slow headers are the connection's affair; where it stands, that of
`entrances`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope

from bentos.fraud_detector.access import Access, AccessTable
from bentos.fraud_detector.problems import Problem, problem_of
from bentos.fraud_detector.rate import address_key
from fraud.domain.errors import AccessError, RateLimited, Unauthenticated, UnknownKey
from fraud.security.tokens import Principal, require, token_digest

BODY_TIMEOUT_S = 8.0
ANONYMOUS = "anonymous"

_ONCE = (b"authorization", b"content-type", b"content-encoding")
"""Headers of which two could mean one thing to us and another to who stands before us."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in.

    Attributes:
        actor: subject of the token; `anonymous` where none is asked for.
        origin: the caller's address.
        body: bytes of the body, empty where the route takes none.
    """

    actor: str
    origin: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Familiar:
    """What the guard found out about a request, and needs not find out of one with equal headers.

    Attributes:
        access: the line of its route.
        token: digest of its token.
    """

    access: Access
    token: bytes


class Desk(Protocol):
    """What the guard needs of the process behind it."""

    def verify(self, token: str) -> Principal:
        """Whose token this is.

        Raises:
            Unauthenticated: it proves nothing.
        """

    def recall(self, token_digest: bytes) -> Principal | None:
        """Whose token this is, if that is known already and still true."""

    async def refresh_keys(self) -> bool:
        """Ask issuers for new keys, unless that was just done; whether there are any."""

    def admit_subject(self, subject: str) -> None:
        """Count a request of somebody known.

        Raises:
            RateLimited: there were too many.
        """

    def lets_pass(self, subject: str) -> bool:
        """Count a request of somebody known, unless there were too many; whether it was counted."""

    def admit_address(self, address: str) -> None:
        """Count a request of somebody unknown.

        Raises:
            RateLimited: there were too many.
        """

    def throttled(self) -> None:
        """Count a refusal that leaves no record of its own."""

    async def refused(self, call: Call, path: str, problem: Problem) -> object:
        """Keep the audit record of a refusal."""


class Guard:
    """Lets a request in, or says what it is answered instead.

    Args:
        desk: gives the desk of this process, once it has started.
    """

    def __init__(self, desk: Callable[[], Desk]) -> None:
        self._desk = desk
        self._table = AccessTable()

    async def admit(
        self, scope: Scope, receive: Receive, body: bytes | None = None
    ) -> Call | Response | None:
        """The call that a request makes, or what it is answered; None where the caller hung up.

        Args:
            scope: of the request, as in ASGI.
            receive: gives its body, as in ASGI.
            body: all of it, where it is here already.
        """
        path: str = scope["path"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        access = self._table.find(path, scope["method"])
        origin = scope["client"][0] if scope.get("client") else "unknown"
        actor = ANONYMOUS
        try:
            principal = await self._identify(access, scope["headers"], headers, origin)
            if principal is not None:
                actor = principal.subject
                self._admit(principal, access)
        except RateLimited as error:
            return await self._throttle(Call(actor, origin), path, error)
        except AccessError as error:
            return await self._refuse(Call(actor, origin), path, problem_of(error))
        problem = _wrong_place(access, path, scope["method"]) or _wrong_form(access, headers)
        if problem is None and access is not None and access.max_body:
            found = await _whole(body, receive, access.max_body)
            if isinstance(found, bytes):
                return Call(actor, origin, found)
            if found is None:
                return None
            problem = found
        call = Call(actor, origin)
        return call if problem is None else await self._refuse(call, path, problem)

    def familiar(self, scope: Scope) -> Familiar | None:
        """What to remember of a request that was let in with a token."""
        access = self._table.find(scope["path"], scope["method"])
        _, _, token = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        if access is None or not token.strip():
            return None
        return Familiar(access, token_digest(token.strip().decode("latin-1")))

    def recognised(self, familiar: Familiar) -> Principal | None:
        """Who asks with headers seen before; None where that must be found out again."""
        principal = self._desk().recall(familiar.token)
        scope = familiar.access.scope
        if principal is None or (scope is not None and scope not in principal.scopes):
            return None
        return principal

    def lets_pass(self, principal: Principal) -> bool:
        """Whether somebody recognised may ask once more; if so, it is counted."""
        return self._desk().lets_pass(principal.subject)

    def _admit(self, principal: Principal, access: Access | None) -> None:
        self._desk().admit_subject(principal.subject)
        if access is not None and access.scope is not None:
            require(principal, access.scope)

    async def _identify(
        self,
        access: Access | None,
        raw_headers: Sequence[tuple[bytes, bytes]],
        headers: Mapping[bytes, bytes],
        origin: str,
    ) -> Principal | None:
        """Who calls; None where no token says so."""
        if access is not None and (access.is_open or access.is_signed):
            self._desk().admit_address(address_key(origin))
            return None
        try:
            if len(raw_headers) != len(headers):
                _check_repetition(raw_headers)
            return await self._principal(headers)
        except Unauthenticated:
            self._desk().admit_address(address_key(origin))
            raise

    async def _principal(self, headers: Mapping[bytes, bytes]) -> Principal:
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            raise Unauthenticated(
                "The request carries no bearer token.",
                remedy="Send the header 'Authorization: Bearer <token>'.",
            )
        text = token.strip().decode("latin-1")
        try:
            return self._desk().verify(text)
        except UnknownKey:
            if not await self._desk().refresh_keys():
                raise
            return self._desk().verify(text)

    async def _throttle(self, call: Call, path: str, error: RateLimited) -> Response:
        problem = problem_of(error)
        if error.is_news:
            return await self._refuse(call, path, problem)
        self._desk().throttled()
        return problem.response(path)

    async def _refuse(self, call: Call, path: str, problem: Problem) -> Response:
        await self._desk().refused(call, path, problem)
        return problem.response(path)


def _check_repetition(raw_headers: Sequence[tuple[bytes, bytes]]) -> None:
    names = [name for name, _ in raw_headers]
    for name in _ONCE:
        if names.count(name) > 1:
            raise Unauthenticated(
                f"The request carries the header {name.decode()!r} twice.",
                remedy="Send it once.",
            )


def _wrong_place(access: Access | None, path: str, method: str) -> Problem | None:
    if access is None:
        return Problem("not-found", f"There is no {path!r}. See /openapi.json for what there is.")
    if method not in access.methods:
        allowed = ", ".join(sorted(access.methods))
        return Problem(
            "method-not-allowed", f"{access.path} takes {allowed}.", headers={"allow": allowed}
        )
    return None


def _wrong_form(access: Access | None, headers: Mapping[bytes, bytes]) -> Problem | None:
    """What the headers alone say against a body."""
    if access is None or not access.max_body:
        return None
    media, _, parameters = headers.get(b"content-type", b"").decode("latin-1").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media.strip().lower() != "application/json" or charset not in ("", "utf-8"):
        return Problem(
            "unsupported-media",
            "The body must be JSON in UTF-8. Send the header 'Content-Type: application/json'.",
        )
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        return Problem("unsupported-media", "The body is compressed. Send it as it is.")
    length = headers.get(b"content-length", b"0")
    return _too_large(access.max_body) if int(length) > access.max_body else None


async def _whole(body: bytes | None, receive: Receive, limit: int) -> bytes | Problem | None:
    """The body, read if need be; what is wrong with it, or None where the caller hung up."""
    if body is None:
        return await _read_body(receive, limit)
    return body if len(body) <= limit else _too_large(limit)


async def _read_body(receive: Receive, limit: int) -> bytes | Problem | None:
    """The whole body, what is wrong with it, or None where the caller hung up."""
    body = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                part: bytes = message.get("body", b"")
                body += part
                if len(body) > limit:
                    return _too_large(limit)
                if not message.get("more_body"):
                    return body
    except TimeoutError:
        return Problem(
            "body-too-slow",
            f"The body did not arrive within {BODY_TIMEOUT_S:g} s. Send it in one go.",
            headers={"connection": "close"},
        )


def _too_large(limit: int) -> Problem:
    return Problem(
        "body-too-large", f"The body has more than {limit:,} bytes. Send less, or in several parts."
    )

"""The guard in front of every route: who asks, how much they send, and in which form.

A pure ASGI middleware: one stands before the pages BentoML adds by itself as well, and one
before the scoring routes, which the connection calls without a way through BentoML. It
reads the body (bounded in bytes and time) and hands it on in the scope: nothing behind it
ever touches bytes of somebody who was not let in. Slow headers are the connection's affair.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bentos.fraud_detector.access import Access, AccessTable
from bentos.fraud_detector.hardening import HARDENED, HARDENED_TLS
from bentos.fraud_detector.problems import Problem, internal_error, problem_of
from bentos.fraud_detector.rate import address_key
from fraud.domain.errors import AccessError, RateLimited, Unauthenticated, UnknownKey
from fraud.security.tokens import Principal, require

CALL = "fraud.call"
"""Key of the `Call` in the ASGI scope of a request that was let in."""

BODY_TIMEOUT_S = 8.0
ANONYMOUS = "anonymous"

_ONCE = (b"authorization", b"content-type", b"content-encoding")
"""Headers of which two could mean one thing to us and another to who stands before us."""

log = logging.getLogger("fraud.detector")


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


class Desk(Protocol):
    """What the guard needs of the process behind it."""

    def verify(self, token: str) -> Principal:
        """Whose token this is.

        Raises:
            Unauthenticated: it proves nothing.
        """

    async def refresh_keys(self) -> bool:
        """Ask issuers for new keys, unless that was just done; whether there are any."""

    def admit_subject(self, subject: str) -> None:
        """Count a request of somebody known.

        Raises:
            RateLimited: there were too many.
        """

    def admit_address(self, address: str) -> None:
        """Count a request of somebody unknown.

        Raises:
            RateLimited: there were too many.
        """

    def throttled(self) -> None:
        """Count a refusal that leaves no record of its own."""

    async def refused(self, call: Call, path: str, problem: Problem) -> object:
        """Keep the audit record of a refusal."""


class _HardenedSend:
    """Adds the security headers, and remembers whether an answer has begun."""

    __slots__ = ("_headers", "_send", "has_started")

    def __init__(self, send: Send, scheme: str) -> None:
        self._send = send
        self._headers = HARDENED_TLS if scheme == "https" else HARDENED
        self.has_started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_started = True
            message["headers"] = [*message.get("headers", ()), *self._headers]
        await self._send(message)


class Guard:
    """ASGI middleware; see the module.

    Args:
        app: what stands behind it.
        desk: gives the desk of this process, once it has started.
    """

    def __init__(self, app: ASGIApp, desk: Callable[[], Desk]) -> None:
        self._app = app
        self._desk = desk
        self._table = AccessTable()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":  # no route speaks websocket
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(scope, receive, _HardenedSend(send, scope["scheme"]))

    async def _http(self, scope: Scope, receive: Receive, send: _HardenedSend) -> None:
        path: str = scope["path"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        access = self._table.find(path, scope["method"])
        origin = scope["client"][0] if scope.get("client") else "unknown"
        call = Call(ANONYMOUS, origin)
        try:
            principal = await self._identify(access, scope["headers"], headers, origin)
            if principal is not None:
                call = Call(principal.subject, origin)
                self._admit(principal, access)
        except RateLimited as error:
            await self._throttle(call, path, error, scope, receive, send)
        except AccessError as error:
            await self._refuse(call, path, problem_of(error), scope, receive, send)
        else:
            await self._take(call, access, headers, scope, receive, send)

    async def _take(
        self,
        call: Call,
        access: Access | None,
        headers: Mapping[bytes, bytes],
        scope: Scope,
        receive: Receive,
        send: _HardenedSend,
    ) -> None:
        """Read the body of a call that may be made, and hand it on."""
        path: str = scope["path"]
        problem = _wrong_place(access, path, scope["method"]) or _wrong_form(access, headers)
        if problem is None and access is not None and access.max_body:
            body = await _read_body(receive, access.max_body)
            if body is None:
                return  # the caller hung up
            if isinstance(body, Problem):
                problem = body
            else:
                call = Call(call.actor, call.origin, body)
                receive = _replay(body, receive)
        if problem is not None:
            await self._refuse(call, path, problem, scope, receive, send)
            return
        scope[CALL] = call
        try:
            await self._app(scope, receive, send)
        except Exception:
            log.exception("%s %s broke", scope["method"], access.path if access else "?")
            if not send.has_started:
                await internal_error().response(path)(scope, receive, send)

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

    async def _throttle(
        self, call: Call, path: str, error: RateLimited, scope: Scope, receive: Receive, send: Send
    ) -> None:
        problem = problem_of(error)
        if error.is_news:
            await self._refuse(call, path, problem, scope, receive, send)
        else:
            self._desk().throttled()
            await problem.response(path)(scope, receive, send)

    async def _refuse(
        self, call: Call, path: str, problem: Problem, scope: Scope, receive: Receive, send: Send
    ) -> None:
        await self._desk().refused(call, path, problem)
        await problem.response(path)(scope, receive, send)


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


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` for those behind the guard that read bodies themselves."""
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again

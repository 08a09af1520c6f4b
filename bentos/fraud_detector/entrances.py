"""Two ways to a route, both past the guard: through the application, or by a door of its own."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bentos.fraud_detector.guard import Call, Familiar, Guard
from bentos.fraud_detector.hardening import HARDENED, HARDENED_TLS
from bentos.fraud_detector.problems import internal_error, printable
from fraud.domain.errors import FraudError

CALL = "fraud.call"
"""Key of the `Call` in the ASGI scope of a request that was let in."""

_BROKE = "%s %s broke"

log = logging.getLogger("fraud.detector")


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


class GuardMiddleware:
    """The guard before an application; every answer gets the security headers.

    Args:
        app: what stands behind it.
        guard: lets requests in.
    """

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":  # no route speaks websocket
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(scope, receive, _HardenedSend(send, scope["scheme"]))

    async def _http(self, scope: Scope, receive: Receive, send: _HardenedSend) -> None:
        found = await self._guard.admit(scope, receive)
        if isinstance(found, Response):
            await found(scope, receive, send)
        elif found is not None:
            scope[CALL] = found
            try:
                await self._app(scope, _replay(found.body, receive), send)
            except Exception:
                log.exception(_BROKE, scope["method"], printable(scope["path"], 200))
                if not send.has_started:
                    await internal_error().response(scope["path"])(scope, receive, send)


class Shortcut(Protocol):
    """A route that can begin an answer without a task of its own."""

    def read(self, body: bytes) -> Any:
        """What a body says, for `begin`.

        Raises:
            FraudError: it cannot be used.
        """

    def begin(self, call: Call, content: Any, answer: Callable[[Response], None]) -> None:
        """Have a call answered; `answer` is called later, from the event loop.

        Raises:
            FraudError: not now.
        """


class Door:
    """The guard before one route, for who has the request and sends the answer himself.

    The security headers are his to add.

    Args:
        guard: lets requests in.
        route: answers a call.
        shortcut: likewise, where there is a shorter way.
    """

    def __init__(
        self,
        guard: Guard,
        route: Callable[[Call], Awaitable[Response]],
        shortcut: Shortcut | None = None,
    ) -> None:
        self._guard = guard
        self._route = route
        self._shortcut = shortcut

    def familiar(self, scope: Any) -> Familiar | None:
        """What to remember of a request that was let in; None where that helps nobody."""
        return None if self._shortcut is None else self._guard.familiar(scope)

    def begin(
        self, familiar: Familiar, origin: str, body: bytes, answer: Callable[[Response], None]
    ) -> bool:
        """Begin the answer to a request like an earlier one; False where it needs a full look."""
        assert self._shortcut is not None
        try:
            principal = self._guard.recognised(familiar)
            if principal is None:
                return False
            content = self._shortcut.read(body)
            if not self._guard.lets_pass(principal):
                return False
            self._shortcut.begin(Call(principal.subject, origin), content, answer)
        except FraudError:
            return False  # the full look says what is wrong
        except Exception:
            log.exception("The shorter way broke")
            return False
        return True

    async def answer(self, scope: Any, receive: Any, body: bytes | None) -> Response | None:
        """The answer to a request; None where the caller hung up. See `Guard.admit`."""
        try:
            found = await self._guard.admit(scope, receive, body)
            return await self._route(found) if isinstance(found, Call) else found
        except Exception:
            log.exception(_BROKE, scope["method"], printable(scope["path"], 200))
            return internal_error().response(scope["path"])


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

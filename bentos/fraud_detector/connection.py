"""The HTTP connection: slow senders are cut off, and scoring requests go straight to their door.

uvicorn bounds how long an idle connection is kept, but not how long a request may take to
arrive. This protocol class adds that, and answers what is no HTTP as the guard would.

Between uvicorn and the guard stand BentoML's middlewares. For a scoring request, which has its
own deadline and counters, they did nothing but make a second task, a timer of 30 s and four more
calls of whatever is sent; so its door is asked from here. And its answer, which uvicorn checks
header by header and writes in two parts, leaves as one: every write is a system call that wakes
the client.

BentoML starts uvicorn itself and lets nobody name the protocol class, or the event loop. uvicorn
finds them in tables by name, so ours are entered there; the service does so when it is imported,
which is before its server is made.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import orjson
import uvicorn.config
from starlette.responses import Response
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from bentos.fraud_detector.entrances import Door
from bentos.fraud_detector.hardening import HARDENED, HARDENED_TLS
from bentos.fraud_detector.problems import MEDIA_TYPE, Problem

HEADERS_TIMEOUT_S = 8.0
"""From the connection, or from the first byte of a later request, to the end of its headers."""

REQUEST_TIMEOUT_S = 9.5
"""From the end of the headers to the end of the body; the guard says 408 before that."""

MAX_HEADER_BYTES = 64 * 1024

_PROTOCOL = "bentos.fraud_detector.familiar:FamiliarHttp"
_LOOP = "bentos.fraud_detector.sharing:loop_factory"


NOTHING = -1, 0.0
"""What a connection waits for between requests; else the number of a message and seconds."""

_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})

_installed: dict[str, Door] = {}


def install(doors: Mapping[str, Door] | None = None) -> None:
    """Make these what servers use that name none; call it before they are made.

    Args:
        doors: asked for the answers to POST requests of their path, without a way through the
            server's application.
    """
    uvicorn.config.HTTP_PROTOCOLS["auto"] = _PROTOCOL
    uvicorn.config.LOOP_FACTORIES["auto"] = _LOOP
    _installed.update(doors or {})


async def _nothing(*_: object) -> None:
    """An application that answers nothing: what stands before it is asked to change a scope."""


@cache
def _proxies(config: uvicorn.config.Config) -> ProxyHeadersMiddleware | None:
    """What uvicorn puts before every application: it believes proxies who the caller is."""
    if not config.proxy_headers:
        return None
    return ProxyHeadersMiddleware(_nothing, config.forwarded_allow_ips)


def _head(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Headers as they are sent."""
    return b"".join([name + b": " + value + b"\r\n" for name, value in headers])


_HARDENED, _HARDENED_TLS = _head(HARDENED), _head(HARDENED_TLS)


def door_of(scope: Any) -> Door | None:
    """Who answers a request past the server's application, if anybody does."""
    return _installed.get(scope["path"]) if scope["method"] == "POST" else None


def written(
    response: Response,
    default_headers: Sequence[tuple[bytes, bytes]],
    scheme: str | None,
    keep_alive: bool,
) -> bytes:
    """An answer as it is sent, its security headers added."""
    return b"".join(
        (
            STATUS_LINE[response.status_code],
            _head([*default_headers, *response.raw_headers]),
            _HARDENED_TLS if scheme == "https" else _HARDENED,
            b"\r\n" if keep_alive else b"connection: close\r\n\r\n",
            response.body,
        )
    )


def _no_more() -> None:
    """What a finished cycle has to tell its connection, to which it no longer refers."""


class TimedHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a time limit for headers and for bodies."""

    made_count = 0
    """Connections of this process; the tests see by it that the class is in use."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.on_lost: Callable[[], None] = lambda: None
        self._proxies = _proxies(self.config)
        self._cut: asyncio.TimerHandle | None = None
        self._timed = NOTHING
        self._awaited = NOTHING
        self._message_count = 0
        self._header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a first request."""
        TimedHttp.made_count += 1
        super().connection_made(transport)
        self._awaited = self._headers()
        self._keep_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._end()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to another protocol, which ends it."""
        self._end()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Take what arrived. What is not the end of a request is waited for, for a time."""
        count = self._message_count
        self._header_bytes += len(data)
        super().data_received(data)
        if self._awaited is NOTHING and self._message_count == count:
            self._awaited = self._headers()  # bytes that belong to no request
        if self._awaited != self._timed:
            self._keep_time()
        if self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            what = f"The headers have more than {MAX_HEADER_BYTES:,} bytes."
            self._refuse(Problem("headers-too-large", f"{what} Send fewer."))

    def on_message_begin(self) -> None:
        """Begin a request; a second one may stand in the same bytes as the first."""
        self._awaited = self._headers()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Give the body its own time."""
        self._awaited = self._message_count, REQUEST_TIMEOUT_S
        self._header_bytes = -sys.maxsize  # bytes of the body are the guard's to count
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for nothing until the next request."""
        super().on_message_complete()
        self._awaited = NOTHING
        self._message_count += 1
        self._header_bytes = 0

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(Problem("malformed-request", "What was sent is not an HTTP/1.1 request."))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        door = door_of(cycle.scope)
        if door is None:
            super()._start_asgi_task(cycle, app)
            return
        task = self.loop.create_task(self._ask(cycle, door))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _ask(self, cycle: RequestResponseCycle, door: Door) -> None:
        """Have a door answer a request; a connection without an answer ends."""
        try:
            scope = cycle.scope
            if self._proxies is not None and not _FORWARDED.isdisjoint(dict(scope["headers"])):
                await self._proxies(scope, cycle.receive, cycle.send)
            body = None if cycle.more_body or cycle.disconnected else bytes(cycle.body)
            response = await door.answer(scope, cycle.receive, body)
            if cycle.flow.write_paused and not cycle.disconnected:
                await cycle.flow.drain()
            if response is not None and not cycle.disconnected:
                self._answer(cycle, response)
        finally:
            cycle.on_response = _no_more
            if not cycle.response_complete:
                cycle.transport.close()

    def _answer(self, cycle: RequestResponseCycle, response: Response) -> None:
        """Send an answer, and go on with the next request."""
        keep_alive = cycle.keep_alive and (b"connection", b"close") not in response.raw_headers
        scheme = cycle.scope["scheme"]
        cycle.transport.write(written(response, cycle.default_headers, scheme, keep_alive))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not keep_alive:
            cycle.transport.close()
        cycle.on_response()

    def _headers(self) -> tuple[int, float]:
        return self._message_count, HEADERS_TIMEOUT_S

    def _keep_time(self) -> None:
        """Start the clock for what is awaited now; stop it where that is nothing."""
        self._stop()
        self._timed = self._awaited
        if self._timed is not NOTHING:
            self._allow(self._timed[1])

    def _end(self) -> None:
        self._stop()
        self._timed = self._awaited
        self.on_lost()

    def _allow(self, seconds: float) -> None:
        self._cut = self.loop.call_later(seconds, self._expire)

    def _stop(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None

    def _expire(self) -> None:
        self._cut = None
        if self.transport.is_closing():
            return
        if self.cycle is not None and not (self.cycle.more_body or self.cycle.response_complete):
            self._allow(HEADERS_TIMEOUT_S)  # an earlier request waits for us, not we for the client
        elif self._timed[1] == HEADERS_TIMEOUT_S:
            self._refuse(
                Problem(
                    "headers-too-slow",
                    f"The headers did not arrive within {HEADERS_TIMEOUT_S:g} s. "
                    "Send them in one go.",
                )
            )
        else:
            self.transport.abort()

    def _refuse(self, problem: Problem) -> None:
        """Answer in place of the application, and hang up."""
        body = orjson.dumps(problem.body())
        head = _head(
            [
                *(HARDENED_TLS if self.scheme == "https" else HARDENED),
                (b"content-type", MEDIA_TYPE.encode()),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
        )
        self.transport.write(STATUS_LINE[problem.status] + head + b"\r\n" + body)
        self.transport.close()

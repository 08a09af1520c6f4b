"""The HTTP connection: whoever sends slowly is cut off, before any request reaches the guard.

uvicorn bounds how long an idle connection is kept, but not how long a request may take to
arrive. This protocol class adds that, and answers what is no HTTP as the guard would.

BentoML starts uvicorn itself and lets nobody name the protocol class, or the event loop. uvicorn
finds them in tables by name, so ours are entered there; the service does so when it is imported,
which is before its server is made.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import orjson
import uvicorn.config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from bentos.fraud_detector.hardening import HARDENED, HARDENED_TLS
from bentos.fraud_detector.problems import MEDIA_TYPE, Problem

HEADERS_TIMEOUT_S = 8.0
"""From the connection, or from the first byte of a later request, to the end of its headers."""

REQUEST_TIMEOUT_S = 9.5
"""From the end of the headers to the end of the body; the guard says 408 before that."""

MAX_HEADER_BYTES = 64 * 1024

_PROTOCOL = "bentos.fraud_detector.connection:TimedHttp"
_LOOP = "bentos.fraud_detector.sharing:loop_factory"


def install() -> None:
    """Make these what servers use that name none; call it before they are made."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = _PROTOCOL
    uvicorn.config.LOOP_FACTORIES["auto"] = _LOOP


class TimedHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a time limit for headers and for bodies."""

    made_count = 0
    """Connections of this process; the tests see by it that the class is in use."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.on_lost: Callable[[], None] = lambda: None
        self._cut: asyncio.TimerHandle | None = None
        self._is_before_body = True
        self._header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a first request."""
        TimedHttp.made_count += 1
        super().connection_made(transport)
        self._allow(HEADERS_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop()
        self.on_lost()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to another protocol, which ends it."""
        self._stop()
        self.on_lost()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Take what arrived; bytes that belong to no request start the clock as well."""
        if self._cut is None:
            self._allow(HEADERS_TIMEOUT_S)
        self._header_bytes += len(data)
        super().data_received(data)
        if self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            what = f"The headers have more than {MAX_HEADER_BYTES:,} bytes."
            self._refuse(Problem("headers-too-large", f"{what} Send fewer."))

    def on_message_begin(self) -> None:
        """Begin a request; a second one may stand in the same bytes as the first."""
        if self._cut is None:
            self._allow(HEADERS_TIMEOUT_S)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Give the body its own time."""
        self._is_before_body = False
        self._header_bytes = -sys.maxsize  # bytes of the body are the guard's to count
        self._allow(REQUEST_TIMEOUT_S)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the clock until the next request."""
        self._stop()
        self._is_before_body = True
        self._header_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(Problem("malformed-request", "What was sent is not an HTTP/1.1 request."))

    def _allow(self, seconds: float) -> None:
        self._stop()
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
        elif self._is_before_body:
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
        lines = [
            *(HARDENED_TLS if self.scheme == "https" else HARDENED),
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in lines)
        self.transport.write(STATUS_LINE[problem.status] + head + b"\r\n" + body)
        self.transport.close()

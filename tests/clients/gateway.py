"""A reverse proxy that breaks the first answer of its kind, in front of the real service.

`/lost/NAME/predict` is passed on to `/predict`, but the first answer under NAME never arrives:
the connection is closed instead. What else may go wrong stands in `Fault`.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


class Fault(StrEnum):
    LOST = "lost"  # the service decides, its answer is lost
    AWAY = "away"  # 503, come back in a second
    LATE = "late"  # the answer takes a second
    BROKEN = "broken"  # 502 with a page instead of a problem, every time
    BANNED = "banned"  # 429, come back in an hour, every time


LATE_S = 1.0


class Gateway(ThreadingHTTPServer):
    """Counts what came in by NAME."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = httpx.Client(base_url=upstream, timeout=30)
        self.count: dict[str, int] = {}
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def is_first(self, name: str) -> bool:
        with self.lock:
            self.count[name] = self.count.get(name, 0) + 1
            return self.count[name] == 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gateway

    def do_GET(self) -> None:
        self.pass_on()

    def do_POST(self) -> None:
        self.pass_on()

    def pass_on(self) -> None:
        _, fault, name, path = self.path.split("/", 3)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        is_first = self.server.is_first(name)
        match Fault(fault):
            case Fault.BROKEN:
                self.answer(502, b"<h1>Bad gateway</h1>", {"content-type": "text/html"})
                return
            case Fault.BANNED:
                self.answer(429, b"", {"retry-after": "3600"})
                return
            case Fault.AWAY if is_first:
                self.answer(503, b"", {"retry-after": "1"})
                return
        headers = {
            name: self.headers[name]
            for name in ("authorization", "content-type")
            if name in self.headers
        }
        found = self.server.service.request(self.command, f"/{path}", content=body, headers=headers)
        if fault == Fault.LOST and is_first:
            self.close_connection = True
            return
        if fault == Fault.LATE and is_first:
            time.sleep(LATE_S)
        self.answer(found.status_code, found.content, {"content-type": "application/json"})

    def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def a_gateway(upstream: str) -> Iterator[Gateway]:
    gateway = Gateway(upstream)
    thread = threading.Thread(target=gateway.serve_forever)
    thread.start()
    try:
        yield gateway
    finally:
        gateway.shutdown()
        thread.join()
        gateway.server_close()
        gateway.service.close()

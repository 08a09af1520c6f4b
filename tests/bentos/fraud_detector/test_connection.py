"""Slow and broken senders, on real sockets: they are cut off, and nobody else notices."""

import contextlib
import gc
import json
import socket
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from bentos.fraud_detector.connection import (
    HEADERS_TIMEOUT_S,
    MAX_HEADER_BYTES,
    REQUEST_TIMEOUT_S,
    TimedHttp,
)
from bentos.fraud_detector.guard import BODY_TIMEOUT_S
from tests.bentos.fraud_detector.detector import Detector, a_transaction

CUT_WITHIN_S = 10.0
"""What callers are promised."""

SECURITY_HEADERS = (
    b"x-content-type-options: nosniff",
    b"content-security-policy: default-src 'none'",
    b"x-frame-options: DENY",
    b"referrer-policy: no-referrer",
    b"cache-control: no-store",
)


@dataclass
class Slow:
    """What became of a connection: the bytes it got, and when it ended."""

    answer: bytes
    took_s: float


def connected(detector: Detector) -> socket.socket:
    host, port = detector.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def trickle(detector: Detector, first: bytes, rest: bytes, pause_s: float) -> Slow:
    """Send something, then one byte after each pause, until the other side hangs up."""
    began = time.monotonic()
    answer = b""
    with connected(detector) as connection:
        connection.sendall(first)
        connection.settimeout(pause_s)
        for place in range(1000):
            if time.monotonic() - began > 2 * CUT_WITHIN_S:
                break
            try:
                part = connection.recv(65536)
                if not part:
                    break
                answer += part
            except TimeoutError:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(rest[place % len(rest) :][:1])
            except ConnectionError:
                break
    return Slow(answer, time.monotonic() - began)


def head(detector: Detector, *, length: int, authorization: str | None = None) -> bytes:
    token = authorization or detector.headers()["authorization"]
    return (
        f"POST /predict HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


def a_request(detector: Detector) -> bytes:
    body = json.dumps(a_transaction()).encode()
    return head(detector, length=len(body)) + body


def slow_senders(detector: Detector) -> dict[str, Callable[[], Slow]]:
    good = a_request(detector)
    return {
        "nothing": lambda: trickle(detector, b"", b"", 20.0),
        "half a request line": lambda: trickle(detector, b"POST /pre", b"d", 20.0),
        "half the headers": lambda: trickle(detector, b"GET /livez HTTP/1.1\r\nho", b"x", 20.0),
        "headers byte by byte": lambda: trickle(detector, b"GET /livez HTTP/1.1\r\nx: ", b"y", 0.5),
        "empty lines": lambda: trickle(detector, b"\r\n", b"\r\n", 0.5),
        "headers after an answer": lambda: trickle(detector, good + b"GET /liv", b"e", 0.5),
        "empty lines after an answer": lambda: trickle(detector, good, b"\r\n", 0.5),
        "body byte by byte": lambda: trickle(detector, head(detector, length=1000), b" ", 0.5),
        "body of somebody unknown": lambda: trickle(
            detector, head(detector, length=1000, authorization="Bearer x"), b" ", 0.5
        ),
        "body where none is wanted": lambda: trickle(
            detector, b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n", b" ", 0.5
        ),
    }


def test_slow_senders_are_cut_off_while_others_are_answered(detector: Detector) -> None:
    senders = slow_senders(detector)
    latencies_s = []
    with ThreadPoolExecutor(len(senders)) as threads:
        waiting = {name: threads.submit(send) for name, send in senders.items()}
        while not all(each.done() for each in waiting.values()):
            began = time.perf_counter()
            assert detector.predict().status_code == 200
            latencies_s.append(time.perf_counter() - began)
        found = {name: each.result() for name, each in waiting.items()}
    for name, slow in found.items():
        assert slow.took_s < CUT_WITHIN_S + 1.0, f"{name} was cut off after {slow.took_s:.1f} s"
    for name in ("nothing", "half a request line", "half the headers", "headers byte by byte"):
        assert found[name].answer.startswith(b"HTTP/1.1 408 "), name
        assert found[name].took_s < CUT_WITHIN_S
        assert b"urn:fraud-platform:problem:headers-too-slow" in found[name].answer
        assert all(each in found[name].answer for each in SECURITY_HEADERS)
    assert b"body-too-slow" in found["body byte by byte"].answer
    assert found["headers after an answer"].answer.startswith(b"HTTP/1.1 200 ")
    assert found["body of somebody unknown"].answer.startswith(b"HTTP/1.1 401 ")
    assert len(latencies_s) > 100  # eight seconds of requests, one after the other
    assert statistics.median(latencies_s) < 0.1


def test_the_limits_leave_room_for_the_answer() -> None:
    assert HEADERS_TIMEOUT_S < CUT_WITHIN_S
    assert BODY_TIMEOUT_S < REQUEST_TIMEOUT_S < CUT_WITHIN_S


def test_the_server_uses_this_protocol(detector: Detector) -> None:
    before = TimedHttp.made_count
    connected(detector).close()
    assert detector.predict().status_code == 200
    assert TimedHttp.made_count > before


@pytest.fixture
def connection(detector: Detector) -> Iterator[socket.socket]:
    with connected(detector) as made:
        yield made


def everything(connection: socket.socket) -> bytes:
    """All that comes until the other side hangs up."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            answer += part
    return answer


def test_endless_headers_are_refused(connection: socket.socket) -> None:
    connection.sendall(b"GET /livez HTTP/1.1\r\n")
    with contextlib.suppress(ConnectionError):
        for number in range(MAX_HEADER_BYTES // 1000 + 2):
            connection.sendall(b"x-%d: " % number + b"y" * 1000 + b"\r\n")
            time.sleep(0.001)  # so that the refusal is read before the connection is reset
    assert b"headers-too-large" in everything(connection)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
        b"NOT HTTP AT ALL\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /predict HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"POST /predict HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nx : y\r\n\r\n",
        b"GET /livez\r\nx HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_400(connection: socket.socket, sent: bytes) -> None:
    connection.sendall(sent)
    answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"].endswith(":malformed-request")
    assert all(each in answer for each in SECURITY_HEADERS)


def test_pipelined_requests_are_answered_in_order(
    detector: Detector, connection: socket.socket
) -> None:
    connection.sendall(
        a_request(detector) * 3 + b"GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n"
    )
    answer = everything(connection)
    assert answer.count(b"HTTP/1.1 200 ") == 4
    assert answer.count(b'"replayed":true') == 2


def test_an_answer_leaves_as_a_whole(detector: Detector, connection: socket.socket) -> None:
    connection.sendall(a_request(detector))
    answer = connection.recv(65536)  # each write wakes the caller
    top, _, body = answer.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}\r\n".encode() in top + b"\r\n"
    assert json.loads(body)["replayed"] is False


def test_a_fault_is_answered_and_the_connection_goes_on(
    detector: Detector, connection: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(detector.runtime.collector, "submit", None)
        connection.sendall(a_request(detector))
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"internal-error" in answer
    assert all(each in answer for each in SECURITY_HEADERS)
    connection.sendall(a_request(detector))
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", ["/predict", "/health"])
def test_a_proxy_is_believed_what_its_caller_uses(detector: Detector, path: str) -> None:
    strict = "strict-transport-security"
    assert strict not in detector.client.post(path).headers
    assert strict in detector.client.post(path, headers={"x-forwarded-proto": "https"}).headers


def test_scoring_leaves_nothing_to_the_garbage_collector(
    detector: Detector, connection: socket.socket
) -> None:
    def ask(count: int) -> None:
        for _ in range(count):
            connection.sendall(a_request(detector))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")

    ask(5)
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        ask(20)
        gc.collect()
        found = Counter(f"{type(each).__module__}.{type(each).__name__}" for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    whose = ("bentos.", "feature_store.", "fraud.", "psycopg2.", "starlette.", "uvicorn.")
    many = {name: count for name, count in found.items() if name.startswith(whose) and count >= 20}
    assert not many  # who waits for it while it is freed waits for a tenth of a second


def test_a_caller_may_ask_before_it_sends(detector: Detector, connection: socket.socket) -> None:
    body = json.dumps(a_transaction()).encode()
    asking = head(detector, length=len(body)).replace(
        b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n"
    )
    connection.sendall(asking)
    assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(body)
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT", "OPTIONS"])
def test_scoring_takes_no_other_method(
    detector: Detector, connection: socket.socket, method: str
) -> None:
    asked = head(detector, length=0).replace(b"POST", method.encode(), 1)
    connection.sendall(asked.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
    answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert all(each in answer for each in SECURITY_HEADERS)


@pytest.mark.parametrize("name", ["authorization", "content-type", "content-encoding"])
def test_a_header_sent_twice_is_refused(
    detector: Detector, connection: socket.socket, name: str
) -> None:
    once = head(detector, length=2).replace(b"\r\n\r\n", b"\r\nconnection: close\r\n")
    connection.sendall(once + f"{name}: a\r\n{name}: b\r\n\r\n{{}}".encode())
    answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert f"header '{name}' twice".encode() in answer

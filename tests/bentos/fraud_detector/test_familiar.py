"""The shorter way of heads seen before: the same answers, and no way round the guard."""

import contextlib
import itertools
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bentos.fraud_detector import api, familiar
from bentos.fraud_detector.api import PredictShortcut
from fraud.security.revocation import Revocations
from tests.bentos.fraud_detector.detector import Detector, a_transaction
from tests.bentos.fraud_detector.test_connection import connected, everything, head

_numbers = itertools.count()


@pytest.fixture
def begun(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Transactions that took the shorter way; no head is known when the test begins."""
    seen: list[str] = []
    begin = PredictShortcut.begin

    def noting(self: Any, call: Any, content: Any, answer: Any) -> None:
        begin(self, call, content, answer)
        seen.append(content[0].event.transaction_id)

    monkeypatch.setattr(PredictShortcut, "begin", noting)
    familiar.forget_heads()
    yield seen
    familiar.forget_heads()


@pytest.fixture
def line(detector: Detector) -> Iterator[socket.socket]:
    with connected(detector) as made:
        yield made


def a_body(**fields: Any) -> bytes:
    """A body; those without fields have one length."""
    name = f"F_{next(_numbers):08}_{time.time_ns()}"
    return json.dumps(a_transaction(name, **fields)).encode()


def sent(detector: Detector, body: bytes) -> bytes:
    """A request with the client's one token: its head depends on the body's length alone."""
    token = detector.client.headers["authorization"]
    return head(detector, length=len(body), authorization=token) + body


def ask(
    detector: Detector, line: socket.socket, body: bytes
) -> tuple[int, dict[bytes, bytes], dict[str, Any]]:
    """Send a request on a connection; status, headers and content of the answer."""
    line.sendall(sent(detector, body))
    return read(line)


def read(line: socket.socket) -> tuple[int, dict[bytes, bytes], dict[str, Any]]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += line.recv(1)
    first, *lines = received.strip().split(b"\r\n")
    pairs = [each.split(b": ", 1) for each in lines]
    headers = {name.lower(): value for name, value in pairs}
    content = b""
    while len(content) < int(headers[b"content-length"]):
        content += line.recv(int(headers[b"content-length"]) - len(content))
    return int(first.split()[1]), headers, json.loads(content)


def test_a_second_request_takes_the_shorter_way_to_the_same_answer(
    detector: Detector, line: socket.socket, begun: list[str]
) -> None:
    body = a_body()
    ordinary = ask(detector, line, body)
    assert not begun
    shorter = ask(detector, line, body)
    assert len(begun) == 1
    assert shorter[0] == ordinary[0] == 200
    assert shorter[2] == {**ordinary[2], "replayed": True}
    assert {**shorter[1], b"content-length": b"", b"date": b""} == {
        **ordinary[1],
        b"content-length": b"",
        b"date": b"",
    }
    fresh = ask(detector, line, a_body())
    assert (fresh[0], fresh[2]["replayed"], len(begun)) == (200, False, 2)


def test_another_connection_may_use_what_one_has_learned(
    detector: Detector, line: socket.socket, begun: list[str]
) -> None:
    ask(detector, line, a_body())
    with connected(detector) as other:
        ask(detector, other, a_body())  # its first one stops the clock for headers
        assert ask(detector, other, a_body())[0] == 200
    assert len(begun) == 1


def test_what_is_wrong_with_a_body_is_said_as_ever(
    detector: Detector, line: socket.socket, begun: list[str]
) -> None:
    good = a_body()
    assert ask(detector, line, good)[0] == 200
    name = json.loads(good)["transaction_id"]
    bad = {
        400: good.replace(b'"amount"', b'"amoun\x00"', 1),
        409: good.replace(b'"merchant_id": "M', b'"merchant_id": "X', 1),
        422: good.replace(b'"amount"', b'"amounT"', 1),
    }
    for status, body in bad.items():
        assert len(body) == len(good), "else it would be no familiar head"
        assert body != good
        found = ask(detector, line, body)
        assert (found[0], found[2]["status"]) == (status, status)
        assert found[1][b"content-type"] == b"application/problem+json"
    assert begun == [name], "the conflict is found out in its batch, the others before"
    noted = detector.rows(
        f"SELECT detail->>'problem' FROM audit_log WHERE object_id = '{name}' AND action = 'refuse'"
    )
    assert ("duplicate-conflict",) in noted
    assert ask(detector, line, good)[2]["replayed"] is True


def test_a_token_that_was_taken_back_opens_nothing(
    detector: Detector, line: socket.socket, begun: list[str]
) -> None:
    for _ in range(2):
        assert ask(detector, line, a_body())[0] == 200
    assert len(begun) == 1
    verifier = detector.runtime._verifier
    before = verifier.revocations
    verifier.revocations = Revocations(subjects={"checkout": time.time() + 60.0})
    try:
        status, _, problem = ask(detector, line, a_body())
    finally:
        verifier.revocations = before
    assert (status, problem["detail"]) == (401, "The token was revoked. Ask for a new token.")
    assert len(begun) == 1
    assert ask(detector, line, a_body())[0] == 200


def test_requests_in_one_go_are_answered_in_order(
    detector: Detector, line: socket.socket, begun: list[str]
) -> None:
    ask(detector, line, a_body())
    bodies = [a_body() for _ in range(3)]
    requests = [sent(detector, body) for body in bodies]
    line.sendall(requests[0])
    line.sendall(requests[1] + requests[2][:40])
    time.sleep(0.3)
    line.sendall(requests[2][40:])
    names = [read(line)[2]["transaction_id"] for _ in bodies]
    assert names == [json.loads(body)["transaction_id"] for body in bodies]
    assert names[0] in begun


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (b"host: x", b"x-forwarded-for: 10.1.2.3\r\nhost: x"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"host: x", b"host: x\r\nconnection: close"),
        (b"host: x", b"host: x\r\nexpect: 100-continue"),
    ],
)
def test_heads_that_ask_for_more_are_not_remembered(
    detector: Detector, begun: list[str], part: bytes, instead: bytes
) -> None:
    for _ in range(3):
        with connected(detector) as line:
            for _ in range(2):
                body = a_body()
                with contextlib.suppress(ConnectionError):
                    line.sendall(sent(detector, body).replace(part, instead))
                time.sleep(0.05)
            with contextlib.suppress(OSError):  # it was ended already
                line.shutdown(socket.SHUT_WR)
            everything(line)
    assert not begun


def test_a_body_that_comes_apart_is_waited_for(
    detector: Detector, line: socket.socket, begun: list[str]
) -> None:
    ask(detector, line, a_body())
    body = a_body()
    request = sent(detector, body)
    line.sendall(request[:-5])
    time.sleep(0.1)
    line.sendall(request[-5:])
    assert read(line)[0] == 200
    assert not begun


def test_a_shorter_way_that_breaks_is_left(
    detector: Detector, line: socket.socket, begun: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(detector, line, a_body())

    def breaks(self: Any, body: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(PredictShortcut, "read", breaks)
    assert ask(detector, line, a_body())[0] == 200
    assert not begun


def test_an_answer_that_breaks_is_told_and_the_connection_goes_on(
    detector: Detector, line: socket.socket, begun: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(detector, line, a_body())

    def breaks(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(api, "_decided", breaks)
        status, headers, problem = ask(detector, line, a_body())
    assert (status, problem["type"].rpartition(":")[2]) == (500, "internal-error")
    assert b"content-security-policy" in headers
    assert len(begun) == 1
    assert ask(detector, line, a_body())[0] == 200

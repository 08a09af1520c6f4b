"""Requests whose head was seen before take a shorter way to the same answer.

A client that keeps its connections sends the same request line and headers again and again; only
the body changes. What such a head means was found out the first time, by uvicorn's parser and by
the guard, and is remembered by the digest of its bytes. So a later request needs neither, nor a
task of its own: its body is read, and it joins the next batch. What may change meanwhile is
looked at every time: whether the token is still good, and how often its owner asks.

Only the good case is here. Whatever is not quite as it should be, in head, body or state of the
connection, goes the ordinary way, as if there were no other.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from bentos.fraud_detector.connection import NOTHING, TimedHttp, door_of, written
from bentos.fraud_detector.entrances import Door
from bentos.fraud_detector.guard import Familiar

MOST_REMEMBERED = 10_000
"""Heads; a client needs one for every length of body it sends."""

_UNFAMILIAR = frozenset(
    {b"expect", b"transfer-encoding", b"upgrade", b"x-forwarded-for", b"x-forwarded-proto"}
)
"""Headers of heads that are never remembered: they ask for more than an answer to a body."""


@dataclass(frozen=True, slots=True)
class _Head:
    """What a head means: who answers, what the guard knows of it, and the length of the body."""

    door: Door
    familiar: Familiar
    length: int


_heads: OrderedDict[bytes, _Head] = OrderedDict()


class FamiliarHttp(TimedHttp):
    """The HTTP connection, with a shorter way for heads seen before."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._arriving = b""
        self._learning: tuple[RequestResponseCycle, bytes] | None = None
        self._is_short = False  # a request is under way that took the shorter way
        self._held = b""
        self._is_ending = False

    def data_received(self, data: bytes) -> None:
        """Take what arrived."""
        if self._is_short:
            self._hold(data)
        elif not self._is_between_requests() or not self._start_short(data):
            self._arriving = data
            super().data_received(data)
            self._arriving = b""

    def shutdown(self) -> None:
        """End the connection, but not before its answer."""
        if self._is_short:
            self._is_ending = True
        else:
            super().shutdown()

    def _is_between_requests(self) -> bool:
        """Whether an earlier request was answered, and nothing of a later one has come."""
        cycle = self.cycle
        return (
            cycle is not None
            and cycle.response_complete
            and self._awaited is NOTHING
            and not self.pipeline
            and not self.flow.write_paused
            and not self.transport.is_closing()
        )

    def _start_short(self, data: bytes) -> bool:
        head, _, body = data.partition(b"\r\n\r\n")
        known = _heads.get(_digest(head))
        if known is None or len(body) != known.length or self.client is None:
            return False
        if not known.door.begin(known.familiar, self.client[0], body, self._answer_short):
            return False
        self._unset_keepalive_if_required()
        self._is_short = True
        return True

    def _hold(self, data: bytes) -> None:
        """Keep what comes before the answer has left."""
        self._held += data
        if len(self._held) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def _answer_short(self, response: Response) -> None:
        self._is_short = False
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        ends = self._is_ending or (b"connection", b"close") in response.raw_headers
        self.transport.write(
            written(response, self.server_state.default_headers, self.scheme, not ends)
        )
        if ends:
            self.transport.close()
            return
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )
        if self._held:
            held, self._held = self._held, b""
            self.flow.resume_reading()
            self.data_received(held)

    # What the ordinary way answers is learned from.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._learning = cycle, self._arriving
        super()._start_asgi_task(cycle, app)

    def _answer(self, cycle: RequestResponseCycle, response: Response) -> None:
        learning, self._learning = self._learning, None
        if learning is not None and learning[0] is cycle and response.status_code == 200:
            self._learn(cycle, learning[1])
        super()._answer(cycle, response)

    def _learn(self, cycle: RequestResponseCycle, data: bytes) -> None:
        """Remember the head of a request that arrived as a whole and alone, and was answered."""
        head, _, body = data.partition(b"\r\n\r\n")
        headers = dict(cycle.scope["headers"])
        door = door_of(cycle.scope)
        if (
            door is None
            or not cycle.keep_alive
            or self.limit_concurrency is not None
            or headers.get(b"content-length") != str(len(body)).encode()
            or not _UNFAMILIAR.isdisjoint(headers)
        ):
            return
        familiar = door.familiar(cycle.scope)
        if familiar is not None:
            _heads[_digest(head)] = _Head(door, familiar, len(body))
            while len(_heads) > MOST_REMEMBERED:
                _heads.popitem(last=False)


def forget_heads() -> None:
    """Begin anew; for tests."""
    _heads.clear()


def _digest(head: bytes) -> bytes:
    """What a head is remembered by: it holds a token, which nobody shall find here."""
    return hashlib.sha256(head).digest()

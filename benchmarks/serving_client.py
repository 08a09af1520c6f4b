"""Load over HTTP/1.1 from a process of its own: closed-loop, or open-loop at a given rate.

    python -m benchmarks.serving_client < plan.json > figures.json

Closed-loop, every connection sends its next request when it has its answer. Open-loop,
requests are due at moments drawn beforehand (Poisson), whatever the server does, and their
latency counts from the moment they were due: a stall is paid for by everybody it held up
(Tene 2013, "How NOT to Measure Latency"). Connections take turns, so that every worker gets its
share, and none is idle for so long that the server closes it. They are a pool such as a client
keeps: each has had an answer before the first request is due.
"""

import asyncio
import json
import random
import sys
import time
from collections import deque
from dataclasses import asdict
from typing import cast

import uvloop

from benchmarks.serving_plan import Figures, Plan, requests_of

CONNECTIONS_OPEN = 256
"""Connections an open-loop run may use at once; further requests wait for one, and it counts."""

DRAIN_S = 3.0

_HELLO = b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
"""A first request; any answer will do, also that there is no such page."""


class _Connection(asyncio.Protocol):
    """One connection with at most one request in flight."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None
        self._since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's are of no such class
        self._load.is_idle(self)

    def send(self, request: bytes, since: float | None) -> None:
        assert self._transport is not None
        self._since = since
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        self._received = b""
        self._answered(head.split(b" ", 2)[1].startswith(b"2"))
        self._load.is_idle(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._answered(False)
        self._load.is_lost(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _answered(self, is_fine: bool) -> None:
        if self._since is not None:
            self._load.answered(is_fine, self._since)
            self._since = None


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError(f"an answer without content-length: {head!r}")


class _Load:
    """Hands requests to connections and keeps the figures."""

    def __init__(self, plan: Plan) -> None:
        self.figures = Figures()
        self._plan = plan
        self._requests = requests_of(plan)
        self._due: deque[float] = deque()
        self._idle: deque[_Connection] = deque()
        self._all: list[_Connection] = []
        self._in_flight = 0
        self._is_running = False

    async def run(self) -> Figures:
        plan = self._plan
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS_OPEN if plan.rate else plan.connections):
            _, connection = await loop.create_connection(
                lambda: _Connection(self), "127.0.0.1", plan.port
            )
            self._all.append(connection)
        if plan.rate:
            await self._settle()
        self._is_running = True
        started = time.perf_counter()
        if plan.rate:
            await self._open_loop(started)
        else:
            for connection in list(self._idle):
                self._next(connection)
            while time.perf_counter() < started + plan.seconds and self._requests:
                await asyncio.sleep(0.01)
        self._is_running = False
        self.figures.seconds = time.perf_counter() - started
        while self._in_flight and time.perf_counter() < started + plan.seconds + DRAIN_S:
            await asyncio.sleep(0.01)
        for connection in list(self._all):
            connection.close()
        await asyncio.sleep(0)  # what is unanswered now counts as an error
        return self.figures

    async def _settle(self) -> None:
        """Return when the server has taken all connections, and answered on each."""
        asked, self._idle = self._idle, deque()
        for connection in asked:
            connection.send(_HELLO, None)
        while len(self._idle) < len(self._all):
            await asyncio.sleep(0.01)

    def is_idle(self, connection: _Connection) -> None:
        """A connection is free: the next request, or back to the others."""
        if self._is_running and not self._plan.rate:
            self._next(connection)
        elif self._is_running and self._due:
            self._send(connection, self._due.popleft())
        else:
            self._idle.append(connection)

    def is_lost(self, connection: _Connection) -> None:
        self._all.remove(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def answered(self, is_fine: bool, since: float) -> None:
        self._in_flight -= 1
        if is_fine:
            self.figures.answered += 1
            self.figures.latencies_us.append(round((time.perf_counter() - since) * 1e6))
        else:
            self.figures.errors += 1

    def _next(self, connection: _Connection) -> None:
        if self._requests:
            self._send(connection, time.perf_counter())

    def _send(self, connection: _Connection, since: float) -> None:
        if self._requests:
            self._in_flight += 1
            connection.send(self._requests.popleft(), since)

    async def _open_loop(self, started: float) -> None:
        draws = random.Random(self._plan.seed)
        due = started + draws.expovariate(self._plan.rate)
        while due < started + self._plan.seconds and self._requests:
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            if self._idle:
                self._send(self._idle.popleft(), due)
            else:
                self._due.append(due)
            due += draws.expovariate(self._plan.rate)
        while self._due and time.perf_counter() < started + self._plan.seconds + DRAIN_S:
            await asyncio.sleep(0.01)
        self.figures.errors += len(self._due)


def main() -> None:
    """Carry out the plan on stdin."""
    plan = Plan(**json.load(sys.stdin))
    figures = uvloop.run(_Load(plan).run())
    json.dump(asdict(figures), sys.stdout)


if __name__ == "__main__":
    main()

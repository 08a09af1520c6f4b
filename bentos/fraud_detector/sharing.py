"""Connections are shared out evenly among the workers of a service.

All workers listen on one socket, and whoever is quickest takes a connection, with every request
that will ever come over it. Clients that open a few at once, as payment gateways do with their
pools, then keep one worker busy and leave the others idle: of four connections one worker got
all four, five times in six. So each worker tells the others how many it has, in a file that they
all map, and one that has more than another holds back for a moment before it takes the next.

uvicorn is told of the event loop in the way it is told of the protocol, see `connection`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import uvloop

from bentos.fraud_detector.tally import Tally
from fraud.settings import load_settings

HOLD_BACK_S = 0.005
"""How long the worker with the fewest connections has to take one, if it is busy."""

REST_S = 1.0
"""Pause where the process may open no more files."""

log = logging.getLogger("fraud.detector")


def loop_factory(use_subprocess: bool = False) -> Callable[[], asyncio.AbstractEventLoop]:
    """What uvicorn asks for."""
    return SharingLoop


class SharingLoop(uvloop.Loop):
    """uvloop, whose servers on a given socket share it with those of other processes."""

    async def create_server(
        self, protocol_factory: Any, *arguments: Any, sock: Any = None, **options: Any
    ) -> Any:
        """As any loop's."""
        if sock is not None:
            try:
                tally = Tally(load_settings().run_dir / f"connections-{sock.getsockname()[1]}")
            except OSError as error:
                log.warning("Connections are not shared out among workers: %s", error)
            else:
                return SharingServer(self, sock, protocol_factory, tally, **options)
        return await super().create_server(protocol_factory, *arguments, sock=sock, **options)


class SharingServer:
    """Accepts connections of a socket that other processes listen on as well.

    Args:
        loop: it works on.
        listener: the socket, bound.
        factory: makes protocols, which call their `on_lost` when the connection is lost, and are
            told to `shutdown` where the server was closed while they were made.
        tally: of this process.
        backlog: connections that may wait to be accepted.
        ssl: context of an encrypted server.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        factory: Any,
        tally: Tally,
        *,
        backlog: int = 100,
        ssl: Any = None,
    ) -> None:
        self._loop, self._listener, self._factory = loop, listener, factory
        self._tally, self._ssl = tally, ssl
        self._wait: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._is_serving = True
        listener.setblocking(False)
        listener.listen(backlog)
        loop.add_reader(listener, self._ready)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The socket, while it is served."""
        return (self._listener,) if self._is_serving else ()

    def is_serving(self) -> bool:
        """Whether connections are accepted."""
        return self._is_serving

    def close(self) -> None:
        """Accept no more; what was accepted goes on."""
        if not self._is_serving:
            return
        self._is_serving = False
        self._loop.remove_reader(self._listener)
        if self._wait is not None:
            self._wait.cancel()
        self._tally.close()

    async def wait_closed(self) -> None:
        """Wait for connections that are being opened."""
        await asyncio.gather(*self._opening)

    def _ready(self) -> None:
        while not self._tally.is_ahead:
            if not self._accept():
                return
        self._pause(HOLD_BACK_S)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._wait = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._loop.add_reader(self._listener, self._ready)
        self._accept()

    def _accept(self) -> bool:
        """Take a connection; whether there was one, and may be more."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # another worker was quicker, or the client gave up
        except OSError:
            log.exception("No connection can be accepted")
            self._pause(REST_S)
            return False
        connection.setblocking(False)
        self._tally.add(1)
        task = self._loop.create_task(self._open(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return True

    async def _open(self, connection: socket.socket) -> None:
        protocol: Any
        try:
            _, protocol = await self._loop.connect_accepted_socket(
                self._protocol, connection, ssl=self._ssl
            )
        except Exception as error:  # noqa: BLE001 - whatever broke its handshake
            log.info("A connection was not opened: %s", error)
            self._lost()
            connection.close()
            return
        if not self._is_serving:  # uvicorn told the others when it closed the server
            protocol.shutdown()

    def _protocol(self) -> Any:
        protocol = self._factory()
        protocol.on_lost = self._lost
        return protocol

    def _lost(self) -> None:
        self._tally.add(-1)

"""Connections are shared out among processes that listen on one socket."""

import asyncio
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import uvicorn

from bentos.fraud_detector import connection
from bentos.fraud_detector.sharing import SharingLoop, SharingServer
from bentos.fraud_detector.tally import Tally
from tests.bentos.stream.locked_broker import Authority

WORKER = """
import asyncio, os, socket, sys
from pathlib import Path
from bentos.fraud_detector.sharing import SharingServer, loop_factory
from bentos.fraud_detector.tally import Tally

class Who(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"%d" % os.getpid())

    def connection_lost(self, error):
        self.on_lost()

async def main():
    loop, listener = asyncio.get_running_loop(), socket.socket(fileno=int(sys.argv[1]))
    server = SharingServer(loop, listener, Who, Tally(Path(sys.argv[2])), backlog=500)
    print("ready", flush=True)
    await asyncio.Event().wait()

with asyncio.Runner(loop_factory=loop_factory()) as runner:
    runner.run(main())
"""
DEADLINE_S = 30.0


class Who(asyncio.Protocol):
    """Says nothing."""

    on_lost: Callable[[], None]

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_lost()

    def shutdown(self) -> None:
        raise AssertionError("nobody comes while it closes")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=500) as made:
        yield made


@contextmanager
def workers(listener: socket.socket, path: Path, count: int) -> Iterator[list[int]]:
    """Processes that answer every connection with their number."""
    command = [sys.executable, "-c", WORKER, str(listener.fileno()), str(path)]
    with ExitStack() as stack:
        started = []
        for _ in range(count):
            process = subprocess.Popen(
                command, pass_fds=[listener.fileno()], stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            started.append(process)
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield [process.pid for process in started]


def connected(listener: socket.socket, count: int) -> list[socket.socket]:
    return [socket.create_connection(listener.getsockname()) for _ in range(count)]


def whose(connections: Sequence[socket.socket]) -> Counter[int]:
    for each in connections:
        each.settimeout(DEADLINE_S)
    return Counter(int(each.recv(20)) for each in connections)


def counted(path: Path) -> int:
    """Connections in all places of a tally's file; -1 before there is one."""
    if not path.exists():
        return -1
    numbers = memoryview(path.read_bytes()).cast("q").tolist()
    return sum(numbers[1::2])


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def close(connections: Sequence[socket.socket]) -> None:
    for each in connections:
        each.close()


def test_every_worker_gets_its_share(listener: socket.socket, tmp_path: Path) -> None:
    path = tmp_path / "tally"
    with workers(listener, path, 2) as pids:
        shares = []
        for _ in range(5):  # a worker that is busy for too long loses a connection to the other
            few = connected(listener, 4)
            found = whose(few)
            shares.append(min(found[pid] for pid in pids))
            close(few)
            until(lambda: counted(path) == 0)
        assert sum(shares) >= 7, shares
        many = connected(listener, 120)
        found = whose(many)
        assert min(found[pid] for pid in pids) >= 40, found
        close(many)


def test_the_share_of_a_worker_that_died_goes_to_the_others(
    listener: socket.socket, tmp_path: Path
) -> None:
    path = tmp_path / "tally"
    with workers(listener, path, 2) as (one, other):
        before = connected(listener, 4)
        whose(before)
        subprocess.run(["kill", "-KILL", str(one)], check=True)
        until(lambda: Path(f"/proc/{one}/stat").read_text().split()[2] == "Z")
        after = connected(listener, 6)
        assert whose(after) == {other: 6}
        with workers(listener, path, 1) as (third,):
            later = connected(listener, 4)
            assert whose(later)[third] >= 3
        close([*before, *after, *later])


def test_a_worker_that_hangs_keeps_nobody_waiting(listener: socket.socket, tmp_path: Path) -> None:
    with workers(listener, tmp_path / "tally", 2) as (one, other):
        before = connected(listener, 2)
        whose(before)
        subprocess.run(["kill", f"-{signal.SIGSTOP}", str(one)], check=True)
        after = connected(listener, 20)
        assert whose(after) == {other: 20}
        close([*before, *after])


def test_connections_that_fail_their_handshake_are_not_counted(
    listener: socket.socket, tmp_path: Path
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority = Authority(tmp_path, "authority")
    context.load_cert_chain(authority.issue())
    path = tmp_path / "tally"

    async def serve_until(done: threading.Event) -> None:
        loop = asyncio.get_running_loop()
        server = SharingServer(loop, listener, Who, Tally(path), ssl=context)
        assert server.is_serving()
        await loop.run_in_executor(None, done.wait)
        server.close()
        await server.wait_closed()

    done = threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.Runner(loop_factory=SharingLoop).run(serve_until(done))
    )
    thread.start()
    with closing(connected(listener, 1)[0]) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        plain.settimeout(DEADLINE_S)
        while plain.recv(1000):
            pass
    trusting = ssl.create_default_context(cafile=authority.file)
    until(lambda: counted(path) == 0)
    with trusting.wrap_socket(connected(listener, 1)[0], server_hostname="127.0.0.1"):
        until(lambda: counted(path) == 1)
    until(lambda: counted(path) == 0)
    done.set()
    thread.join(DEADLINE_S)


def test_all_that_wait_are_taken_in_one_round(listener: socket.socket, tmp_path: Path) -> None:
    async def rounds() -> int:
        loop = asyncio.get_running_loop()
        path = tmp_path / "tally"
        server = SharingServer(loop, listener, Who, Tally(path), backlog=500)
        taken = 0
        while counted(path) < len(clients):
            await asyncio.sleep(0)
            taken += 1
        close(clients)
        while counted(path):
            await asyncio.sleep(0.001)
        server.close()
        return taken

    clients = connected(listener, 50)
    with asyncio.Runner(loop_factory=SharingLoop) as runner:
        assert runner.run(rounds()) < 10


def test_servers_that_are_given_a_socket_share_it(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As BentoML gives it to each worker; whatever a connection becomes, it is counted once."""
    monkeypatch.setenv("FRAUD_RUN_DIR", str(tmp_path))
    connection.install()

    async def app(scope: object, receive: object, send: object) -> None:
        raise AssertionError("nobody asks")

    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener.dup()]})
    thread.start()
    path = tmp_path / f"connections-{listener.getsockname()[1]}"
    until(lambda: server.started)
    idle, upgraded = connected(listener, 2)
    until(lambda: counted(path) == 2)
    upgraded.sendall(
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    until(lambda: counted(path) == 1)
    close([idle, upgraded])
    until(lambda: counted(path) == 0)
    server.should_exit = True
    thread.join(DEADLINE_S)
    assert not thread.is_alive()

"""Nothing a test session starts outlives it, however it ends: in order, interrupted or killed.

Each session has a mark in its environment, which whatever it starts inherits. A keeper, a
process of its own, waits until the session has ended and then ends all that bear its mark.
"""

import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

MARK = "FRAUD_TEST_SESSION"
PATIENCE_S = 10.0
"""For servers that end in order: a PostgreSQL that is killed leaves shared memory behind."""

_KEEPER = pytest.StashKey[subprocess.Popen[bytes]]()


def pytest_configure(config: pytest.Config) -> None:
    """Have this session kept, unless it is part of one that is, as xdist's workers are."""
    if MARK in os.environ:
        return
    mark = uuid.uuid4().hex
    config.stash[_KEEPER] = subprocess.Popen(
        [sys.executable, "-I", __file__, str(os.getpid()), mark],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # whoever reads the session's output must not wait for us
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.environ[MARK] = mark


def marked(mark: str, name: str = MARK) -> Iterator[int]:
    """Processes whose environment has a variable of this value: the session's mark, or another."""
    wanted = f"{name}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)


def keep(session: int, mark: str) -> None:
    """Wait for the end of a session, then end what it left: in order first, then at once."""
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(session)], [], [])
    _send(signal.SIGTERM, mark)
    deadline = time.monotonic() + PATIENCE_S
    while any(marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    _send(signal.SIGKILL, mark)


def _send(what: signal.Signals, mark: str) -> None:
    for each in marked(mark):
        with suppress(ProcessLookupError):
            os.kill(each, what)


if __name__ == "__main__":
    keep(int(sys.argv[1]), sys.argv[2])

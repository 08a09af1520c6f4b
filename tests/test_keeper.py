"""The keeper of test sessions, tried on a session that is killed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.keeper import MARK, marked

SESSION = """
import os
import time
from pathlib import Path

from fraud.ledger import embedded
from tests.keeper import MARK
from tests.mongodb import a_mongod
from tests.servers import temporary_run_dir


def test_it():
    with temporary_run_dir() as folder, a_mongod():
        embedded.url(folder)
        Path("draft").write_text(os.environ[MARK])
        Path("draft").rename("mark")
        time.sleep(600)
"""
DEADLINE_S = 120


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_over(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def a_session(pytester: pytest.Pytester) -> Iterator[subprocess.Popen[bytes]]:
    """A session of its own, as nobody's part."""
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(SESSION)
    environment = {name: value for name, value in os.environ.items() if name != MARK}
    root = str(Path(__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        env=environment | {"PYTHONPATH": root, "CI": "true"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_servers_of_a_killed_session_end(pytester: pytest.Pytester) -> None:
    with a_session(pytester) as session:
        note = pytester.path / "mark"
        wait_until(lambda: note.exists() or session.poll() is not None)
        assert session.poll() is None, "it ended before it was killed"
        kept = [psutil.Process(each) for each in marked(note.read_text())]
        assert {each.name() for each in kept} >= {"postgres", "mongod"}
        session.kill()
        wait_until(lambda: all(is_over(each) for each in kept))

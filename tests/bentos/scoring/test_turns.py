"""Turns among processes."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from bentos.scoring.turns import Turn

HOLDER = """
import sys, time
from pathlib import Path
from bentos.scoring.turns import Turn
with Turn(Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.readline()
print("yours", flush=True)
sys.stdin.readline()
"""


@contextmanager
def holder(path: Path) -> Iterator[tuple[IO[str], IO[str]]]:
    """Another process whose turn it is until it reads a line; killed at the end."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        yield process.stdin, process.stdout
        process.kill()


def test_one_process_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "turn"
    with holder(path) as (says, told):
        began_s = time.monotonic()
        with Turn(path, patience_s=0.2):  # goes ahead in the end
            assert time.monotonic() - began_s >= 0.2
        says.write("\n")
        says.flush()
        assert told.readline() == "yours\n"
        began_s = time.monotonic()
        with Turn(path, patience_s=60.0):
            assert time.monotonic() - began_s < 30.0


def test_a_turn_ends_with_its_process_and_with_an_error(tmp_path: Path) -> None:
    path = tmp_path / "turn"
    with holder(path):
        pass
    turn, began_s = Turn(path, patience_s=60.0), time.monotonic()
    with pytest.raises(RuntimeError, match="broke"), turn:
        raise RuntimeError("broke")
    with Turn(path, patience_s=60.0):
        assert time.monotonic() - began_s < 30.0
    turn.close()

"""Turns among processes."""

import subprocess
import sys
import time
from pathlib import Path

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


def test_one_process_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "turn"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "mine\n"
        began_s = time.monotonic()
        with Turn(path, patience_s=0.2):  # goes ahead in the end
            assert time.monotonic() - began_s >= 0.2
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "yours\n"
        began_s = time.monotonic()
        with Turn(path, patience_s=60.0):
            assert time.monotonic() - began_s < 30.0
        holder.kill()


def test_a_turn_ends_with_its_process_and_with_an_error(tmp_path: Path) -> None:
    path = tmp_path / "turn"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "mine\n"
        holder.kill()
    turn, began_s = Turn(path, patience_s=60.0), time.monotonic()
    with pytest.raises(RuntimeError, match="broke"), turn:
        raise RuntimeError("broke")
    with Turn(path, patience_s=60.0):
        assert time.monotonic() - began_s < 30.0
    turn.close()

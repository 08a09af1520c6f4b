"""Go, for tests of what is written in it or for it."""

import re
import shutil
import subprocess

import pytest

from tests.conftest import MISSING_SERVER

OLDEST = (1, 21)
"""From here on Go fetches a newer toolchain by itself where a module asks for one."""


def go() -> str:
    """The path of Go; the test is skipped where there is none, or an old one."""
    found = shutil.which("go")
    if found is None:
        pytest.skip(f"{MISSING_SERVER} go - it is not installed")
    said = subprocess.run([found, "version"], capture_output=True, text=True, check=True).stdout
    if not is_new(said):
        pytest.skip(f"{MISSING_SERVER} go - at least {OLDEST[0]}.{OLDEST[1]}, not {said.strip()}")
    return found


def is_new(said: str) -> bool:
    """Whether `go version` names one that is new enough."""
    numbers = re.search(r"\bgo(\d+)\.(\d+)", said)
    return numbers is None or (int(numbers[1]), int(numbers[2])) >= OLDEST

"""What processes of a test run may not do at the same time."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def taking_turns(what: str) -> Iterator[None]:
    """Hold back other processes of this user that come to the same, until the block ends."""
    lock = Path(tempfile.gettempdir()) / f"fraud-tests-{os.getuid()}-{what}.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield

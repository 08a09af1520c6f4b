"""One writer at a time: who changes a log reads it first, and nobody may come in between."""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_mine = threading.local()


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Hold the right to write below the folder of `path`, a lock file; others wait.

    The lock is between processes and between threads, and may be taken again by the thread
    that holds it. It ends with its process.
    """
    held: set[Path] = _mine.__dict__.setdefault("held", set())
    if path in held:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        held.add(path)
        try:
            yield
        finally:
            held.remove(path)

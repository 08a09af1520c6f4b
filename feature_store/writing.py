"""How files change: one writer at a time, and a file is replaced as a whole."""

import fcntl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

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


@contextmanager
def replacing(fs: Any, path: str) -> Iterator[Any]:
    """A binary file that takes the place of `path` once it is complete.

    Args:
        fs: an fsspec filesystem.
        path: of the file; its folder is made.
    """
    # An object store publishes an object when it is complete; a disk needs the rename.
    fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    is_local = isinstance(fs, LocalFileSystem)
    if not is_local:
        with fs.open(path, "wb") as sink:
            yield sink
        return
    draft = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        with fs.open(draft, "wb") as sink:
            yield sink
        fs.mv(draft, path)
    finally:
        if fs.exists(draft):
            fs.rm(draft)

"""Turns: what the processes of a host do one after another."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_LOOK_S = 0.001


class Turn:
    """A turn among all processes that have the same file; it ends with its process at the latest.

        with turn:
            ...

    Whoever waited in vain for `patience_s` goes ahead: a turn saves others waiting, nothing else
    may depend on it. Use one instance from one thread.

    Args:
        path: of the file; made where there is none.
        patience_s: seconds to wait at most.
    """

    def __init__(self, path: Path, patience_s: float = 1.0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._patience_s = patience_s

    def __enter__(self) -> Self:
        deadline_s = time.monotonic() + self._patience_s
        while time.monotonic() < deadline_s:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOOK_S)
            else:
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

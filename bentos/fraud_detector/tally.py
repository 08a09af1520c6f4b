"""How many connections each worker of a service has, in a file that all of them map."""

import fcntl
import mmap
import os
import struct
from pathlib import Path

SLACK = 1 / 8
"""How far a worker may be ahead of another, as a share of its connections, before it holds back:
of many that come at once each takes its part without waiting for the other."""

WORKERS = 64
"""Of one service on one host, at most; who finds no place takes connections as they come."""

_PLACE = struct.Struct("=qq")  # process id, its connections


class Tally:
    """How many connections this worker has, and whether another one has fewer.

    Args:
        path: of the file that the workers share; made where there is none.
    """

    def __init__(self, path: Path) -> None:
        size = WORKERS * _PLACE.size
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_size != size:
                file.truncate(0)
                file.write(bytes(size))  # a hole would break whoever fills it on a full disk
                file.flush()
            self._places = mmap.mmap(file.fileno(), size)
            self._own = self._claimed()
            fcntl.flock(file, fcntl.LOCK_UN)  # closing does not: the map has the file open
        self._count = 0

    @property
    def is_ahead(self) -> bool:
        """Whether a worker that is alive has fewer connections, by more than `SLACK`."""
        enough = self._count - int(self._count * SLACK)
        return any(
            count < enough and pid and _is_alive(pid)
            for pid, count in _PLACE.iter_unpack(self._places[:])
        )

    def add(self, change: int) -> None:
        """Tell that connections came or went."""
        self._count += change
        if self._own is not None:
            _PLACE.pack_into(self._places, self._own, os.getpid(), self._count)

    def close(self) -> None:
        """Leave the place to others."""
        if self._own is not None:
            _PLACE.pack_into(self._places, self._own, 0, 0)
            self._own = None

    def _claimed(self) -> int | None:
        for number, (pid, _) in enumerate(_PLACE.iter_unpack(self._places[:])):
            if not pid or pid == os.getpid() or not _is_alive(pid):
                _PLACE.pack_into(self._places, number * _PLACE.size, os.getpid(), 0)
                return number * _PLACE.size
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

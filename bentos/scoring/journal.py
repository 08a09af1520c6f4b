"""The journal: decisions that were answered while the ledger could not take them.

One append-only file per run folder, shared by all workers of a machine. A line is on the disk
(fsync) before its decision is answered; a batch costs one fsync. Locks of the operating system
(flock) keep workers apart, and end with a process however it ends. The file is removed when
everything in it has reached the ledger.
"""

import fcntl
import logging
import os
import threading
import uuid
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from bentos.scoring.journal_entry import JournalEntry, decode, encode
from fraud.domain.errors import ContractError, JournalUnavailable
from fraud.security.data_keys import DataKeys

RETRY_AFTER_S = 5
PROBE_BYTES = 16 * 1024

Signature = tuple[int, int, int] | None

log = logging.getLogger("fraud.scoring")


class Journal:
    """The decisions of one run folder that wait for the ledger.

    Any thread may call any method. `get` and `append` want the journal held.

    Args:
        folder: where its files are; made when first needed.
        max_bytes: size at which it takes no more.
        keys: what its lines are encrypted with.
    """

    def __init__(self, folder: Path, max_bytes: int, keys: DataKeys) -> None:
        self._path = folder / "decisions.jsonl"
        self._max_bytes = max_bytes
        self._keys = keys
        self._lock = threading.Lock()
        self._fd = -1
        self._generation = b""
        self._seen: Signature = None
        self._end = 0
        self._places: dict[str, tuple[int, int]] = {}
        self._is_damaged = False
        self.problem = ""

    @property
    def count(self) -> int:
        """Decisions that wait, as far as this process has seen."""
        return len(self._places)

    @property
    def size_bytes(self) -> int:
        """Bytes of the file, likewise."""
        return self._end

    def look(self) -> None:
        """See what other workers did; free of charge where they did nothing.

        Raises:
            JournalUnavailable: the file cannot be read.
        """
        if self._signature() != self._seen:
            with self.held():
                pass

    def find(self, transaction_ids: Iterable[str]) -> dict[str, JournalEntry]:
        """The decisions that wait, of these transactions.

        Raises:
            JournalUnavailable: the file cannot be read.
        """
        self.look()
        wanted = [each for each in transaction_ids if each in self._places]
        if not wanted:
            return {}
        with self.held():
            found = {each: self.get(each) for each in wanted}
        return {name: entry for name, entry in found.items() if entry is not None}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the journal alone, among threads and processes, up to date.

        Raises:
            JournalUnavailable: the folder cannot be used.
        """
        with self._lock:
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            except OSError as error:
                raise self._unavailable(error) from error
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._refresh()
                yield
            finally:
                self._let_go()
                os.close(lock)

    def get(self, transaction_id: str) -> JournalEntry | None:
        """The decision that waits, of this transaction."""
        place = self._places.get(transaction_id)
        return None if place is None else decode(os.pread(self._fd, place[1], place[0]), self._keys)

    def append(self, entries: Sequence[JournalEntry]) -> None:
        """Add decisions; they are durable when this returns, or none of them is there.

        Raises:
            JournalUnavailable: the journal is full, or the disk does not take them.
        """
        if not entries:
            return
        lines = [encode(each, self._keys) for each in entries]
        data = b"".join(lines)
        if self._end + len(data) > self._max_bytes:
            self.problem = f"The journal has reached {self._max_bytes} bytes."
            raise JournalUnavailable(
                self.problem, remedy="Bring the ledger back.", retry_after_s=RETRY_AFTER_S
            )
        try:
            if self._fd < 0:
                self._create()
            _write(self._fd, data, self._end)
            os.fsync(self._fd)
        except OSError as error:
            with suppress(OSError):  # what stays is a decision that nobody was told
                if self._fd >= 0:
                    os.ftruncate(self._fd, self._end)
            raise self._unavailable(error) from error
        for entry, line in zip(entries, lines, strict=True):
            self._places[entry.transaction_id] = self._end, len(line)
            self._end += len(line)
        self.problem = ""

    def first(self, count: int, skip: Container[str] = ()) -> list[JournalEntry]:
        """The oldest decisions that wait, leaving out some.

        Raises:
            JournalUnavailable: the file cannot be read.
        """
        with self.held():
            names = list(islice((each for each in self._places if each not in skip), count))
            found = [self.get(each) for each in names]
        return [entry for entry in found if entry is not None]

    def remove(self, transaction_ids: Iterable[str]) -> None:
        """Forget decisions that the ledger has; the file goes with the last of them.

        Raises:
            JournalUnavailable: the file cannot be read.
        """
        with self.held():
            for each in transaction_ids:
                self._places.pop(each, None)
            if not self._places and self._fd >= 0:
                self._put_away()

    def try_again(self) -> None:
        """See whether a disk that took nothing takes something now.

        Without this, a worker that is sent nothing because it cannot answer would never learn
        that it can.

        Raises:
            JournalUnavailable: it does not.
        """
        probe = self._path.with_suffix(".probe")
        with self.held():
            if self._end + PROBE_BYTES > self._max_bytes:
                return
            try:
                with probe.open("wb") as file:
                    file.write(bytes(PROBE_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise self._unavailable(error) from error
            finally:
                probe.unlink(missing_ok=True)
            self.problem = ""

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Whether it is this worker's turn to reconcile: at most one has it at a time."""
        try:
            lock = os.open(self._path.with_suffix(".turn"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unavailable(error) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(lock)

    # What follows runs while the journal is held.

    def _refresh(self) -> None:
        """Take in what other workers did, and cut off a line whose writer died within it."""
        try:
            self._fd = os.open(self._path, os.O_RDWR)
        except FileNotFoundError:
            self._forget(b"")
            return
        except OSError as error:
            raise self._unavailable(error) from error
        try:
            header = os.pread(self._fd, len(_header()), 0)
            if not _is_header(header):
                self._generation, self._is_damaged = b"", len(header) > 0
                self._put_away()
                return
            if header != self._generation or os.fstat(self._fd).st_size < self._end:
                self._forget(header)
                self._end = len(header)
            if os.fstat(self._fd).st_size > self._end:
                self._read_on()
        except OSError as error:
            raise self._unavailable(error) from error

    def _read_on(self) -> None:
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(self._end)
            for line in file:
                if not line.endswith(b"\n"):
                    os.ftruncate(self._fd, self._end)
                    break
                try:
                    self._places[decode(line, self._keys).transaction_id] = self._end, len(line)
                except ContractError as error:
                    self._is_damaged = True
                    log.error("The journal at byte %d: %s", self._end, error)
                self._end += len(line)
        os.fsync(self._fd)  # its writer may have died between writing and this

    def _create(self) -> None:
        """Make the file with its header, so that it is there after a loss of power."""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        header = _header()
        try:
            _write(self._fd, header, 0)
        except OSError:
            self._path.unlink()
            os.close(self._fd)
            self._fd = -1
            raise
        self._generation, self._end = header, len(header)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _put_away(self) -> None:
        """Remove the file, or set it aside where a line of it could not be read."""
        if self._is_damaged:
            self._path.rename(self._path.with_name(f"damaged-{uuid.uuid4().hex}.jsonl"))
        else:
            self._path.unlink()
        os.close(self._fd)
        self._fd = -1
        self._forget(b"")

    def _forget(self, generation: bytes) -> None:
        self._places, self._generation, self._end = {}, generation, 0
        self._is_damaged = False
        self.problem = ""

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._seen = self._signature()

    def _signature(self) -> Signature:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _unavailable(self, error: OSError) -> JournalUnavailable:
        self.problem = f"The journal cannot be used: {error.strerror}."
        return JournalUnavailable(
            self.problem, remedy="Free the disk, or try again.", retry_after_s=RETRY_AFTER_S
        )


def _header() -> bytes:
    """The first line: a name no other file had, so that workers know a new one from the old."""
    return b'{"journal":"%s"}\n' % uuid.uuid4().hex.encode()


def _is_header(line: bytes) -> bool:
    return len(line) == len(_header()) and line.startswith(b'{"journal":"')


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written

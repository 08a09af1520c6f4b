"""The audit chains' heads, kept outside the ledger: a file that only grows, and another sink.

Whoever can rewrite the whole ledger, hashes and heads and all, leaves it consistent in itself.
Heads that were noted elsewhere before still tell. The file is one JSON line per head:

    {"at": "2026-11-22T12:00:00Z", "chain": "detector-1", "position": 7, "hash": "..."}

One file is for one ledger. It stands on the same machine; what it is worth against that
machine's owner depends on where copies go. The second sink is for that: lines to standard
output or to syslog are shipped away by whatever collects logs.
"""

import datetime as dt
import errno
import fcntl
import json
import logging
import os
import sys
import syslog
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from fraud.domain.errors import ContractError, NotFound
from fraud.ledger.audit_check import Anchor
from fraud.settings import Settings

Sink = Literal["none", "stdout", "syslog"]

log = logging.getLogger("fraud.ledger")


class AnchorFile:
    """Notes heads in a file, at most once in an interval, whichever worker comes first.

    Args:
        path: the file; its folder is made.
        interval_s: seconds between two notes.
        sink: where each line goes as well.
        clock: the time, UTC.
    """

    def __init__(
        self,
        path: Path,
        *,
        interval_s: float = 60.0,
        sink: Sink = "none",
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self.path = path
        self._interval = dt.timedelta(seconds=interval_s)
        self._sink = sink
        self._clock = clock
        self._next: dt.datetime | None = None
        self._noted: dict[str, Anchor] = {}

    @property
    def is_due(self) -> bool:
        """Whether the interval has passed since this process last tried."""
        return self._next is None or self._clock() >= self._next

    def note(self, heads: Sequence[Anchor]) -> None:
        """Append the heads that have moved since this process last noted them, and sync.

        Another process that does so in this moment is left to it. A file that cannot be written
        is reported in the log and tried again: decisions do not wait for it.
        """
        now = self._clock()
        self._next = now + self._interval
        moved = [each for each in heads if each.position and self._noted.get(each.chain) != each]
        if not moved:
            return
        lines = [_line(each, now) for each in moved]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _append(descriptor, "".join(f"{line}\n" for line in lines).encode())
            finally:
                os.close(descriptor)  # and with it the lock
        except BlockingIOError:
            return
        except OSError as error:
            log.error("The audit anchors cannot be written to %s: %s", self.path, error.strerror)
            return
        self._noted.update((each.chain, each) for each in moved)
        for line in lines:
            _send(line, self._sink)


def _append(descriptor: int, content: bytes) -> None:
    """Write all of it or, on a full disk, nothing."""
    size = os.fstat(descriptor).st_size
    if os.write(descriptor, content) < len(content):
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)


def anchor_file(settings: Settings) -> AnchorFile:
    """The file the settings name."""
    return AnchorFile(
        settings.audit_anchor_file,
        interval_s=settings.audit_anchor_interval_s,
        sink=settings.audit_anchor_sink,
    )


def read_anchors(path: Path) -> list[Anchor]:
    """All heads ever noted in a file.

    Raises:
        NotFound: there is no such file, or it cannot be read.
        ContractError: a line is none of ours.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise NotFound(
            f"The audit anchors in {path} cannot be read: {error.strerror}.",
            remedy="Give the file, or a copy of it, with --anchors.",
        ) from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            content = json.loads(line)
            anchor = Anchor(
                str(content["chain"]), int(content["position"]), bytes.fromhex(content["hash"])
            )
        except (ValueError, KeyError, TypeError):
            raise ContractError(
                f"Line {number} of {path} is no audit anchor.",
                remedy="Somebody changed the file, or the disk was full: compare it with a copy.",
            ) from None
        found.append(anchor)
    return found


def _line(anchor: Anchor, now: dt.datetime) -> str:
    return json.dumps(
        {
            "at": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "chain": anchor.chain,
            "position": anchor.position,
            "hash": anchor.hash.hex(),
        }
    )


def _send(line: str, sink: Sink) -> None:
    if sink == "stdout":
        sys.stdout.write(f"audit anchor {line}\n")
        sys.stdout.flush()
    elif sink == "syslog":
        syslog.syslog(syslog.LOG_NOTICE | syslog.LOG_AUTH, f"fraud audit anchor {line}")

"""A server of our own, in a folder, as a child process: it can be killed and started again."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fraud.domain.errors import FraudError
from fraud.run.child import Child

START_TIMEOUT_S = 90.0
POLL_S = 0.1
_SHOWN = 800


class OwnServer:
    """What servers of our own have in common.

    Args:
        name: as messages call it.
        address: where it listens, host:port.
        folder: its data, its settings and its log; kept across restarts.
        log: its output.
    """

    def __init__(self, name: str, address: str, folder: Path, log: Path) -> None:
        self.address = address
        self.log = log
        self._name = name
        self._folder = folder
        self._child: Child | None = None

    def stop(self) -> None:
        """End it in order; nothing happens if it does not run."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """End it as a loss of power would."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def wait(self) -> int:
        """The exit code, once it has ended by itself."""
        return 0 if self._child is None else self._child.wait()

    def discard(self) -> None:
        """End it and remove all it kept."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _launch(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        is_ready: Callable[[], bool],
    ) -> None:
        """Start it and wait until clients can use it.

        Raises:
            FraudError: it ended instead, or took too long.
        """
        self._child = Child(command, environment, self._folder, self.log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_ready():
            if not self._child.is_running() or time.monotonic() > deadline:
                self.kill()
                raise FraudError(
                    f"{self._name} did not start at {self.address}: {self._last_words()}",
                    remedy=f"See {self.log}.",
                )
            time.sleep(POLL_S)

    def _last_words(self) -> str:
        if not self.log.exists():
            return "no log"
        return self.log.read_text(errors="replace").strip()[-_SHOWN:]

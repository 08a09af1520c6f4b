"""A child that works to its end, such as the first pipeline run."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fraud.run.progress import POLL_S

STOP_S = 8.0


class Child:
    """A process group that does one thing; whoever started it can always stop it.

    Args:
        command: program and arguments.
        environment: of the child.
        folder: where it works.
        log: where its output goes; None for our own terminal.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        log: Path | None = None,
    ) -> None:
        output = None if log is None else log.open("wb")
        try:
            self._process = subprocess.Popen(
                list(command),
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us; we stop it
            )
        finally:
            if output is not None:
                output.close()

    @property
    def pid(self) -> int:
        """Of its first process."""
        return self._process.pid

    def wait(self, watch: Callable[[], None] = lambda: None) -> int:
        """The child's exit code, once it has ended.

        Args:
            watch: called while it runs; what it raises comes through.
        """
        while True:
            with suppress(subprocess.TimeoutExpired):
                return self._process.wait(POLL_S)
            watch()

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the child and everything it started."""
        self._end(signal.SIGTERM, signal.SIGKILL)

    def kill(self) -> None:
        """End the child and everything it started at once, without a warning."""
        self._end(signal.SIGKILL)

    def _end(self, *signals: signal.Signals) -> None:
        for each in signals:
            deadline = time.monotonic() + STOP_S
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, each)
                while time.monotonic() < deadline:
                    self._process.poll()
                    os.killpg(self._process.pid, 0)  # raises once nobody is left
                    time.sleep(0.05)

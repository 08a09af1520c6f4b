"""What a person sees while the platform starts: one line per step, and what is waited for."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

from rich.console import Console

POLL_S = 0.2


class Progress:
    """Prints a line for every step that was done.

    Args:
        console: where.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started_s = time.monotonic()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show a step while it runs, and its duration when it is done."""
        started_s = time.monotonic()
        with self.console.status(f"{title} ..."):
            yield
        self.done(title, time.monotonic() - started_s)

    def done(self, title: str, seconds: float) -> None:
        """Print the line of a step."""
        self.console.print(f"[green]✓[/] {title} [dim]{seconds:.1f} s[/]", highlight=False)


class Background:
    """Steps that run beside each other; their lines are printed when somebody waits.

    Args:
        progress: prints the lines.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="step")
        self._open: dict[Future[float], str] = {}

    def begin(self, title: str, work: Callable[[], object]) -> Future[float]:
        """Start a step."""

        def timed() -> float:
            started_s = time.monotonic()
            work()
            return time.monotonic() - started_s

        future = self._threads.submit(timed)
        self._open[future] = title
        return future

    def raise_failure(self) -> None:
        """Raise what a step raised, if one did."""
        for future in self._open:
            if future.done():
                future.result()

    def wait(self, *wanted: Future[float]) -> None:
        """Wait for these steps, or for all; raise what one of them raises."""
        awaited = set(wanted) or set(self._open)
        with self._progress.console.status("") as status:
            while awaited:
                names = ", ".join(self._open[future] for future in awaited if future in self._open)
                status.update(f"Waiting for {names} ...")
                done, awaited = wait(awaited, POLL_S, FIRST_COMPLETED)
                for future in done:
                    seconds = future.result()
                    self._progress.done(self._open.pop(future), seconds)
                self.raise_failure()

    def abandon(self) -> None:
        """Let go of the threads; what they wait for is about to be stopped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

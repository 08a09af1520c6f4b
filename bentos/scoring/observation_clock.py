"""The clock that numbers observations."""

import threading
from collections.abc import Callable

MOST_EVENTS = 1_000
"""Events in one batch at most; a batch takes up that many observation numbers."""

SLOT_US, SLOTS = 128, 7
"""A slot holds the numbers of a batch; every process has one in each round of them. Processes are
numbered by their first audit chain, of which each may have several: an odd number of slots
keeps those of neighbours apart."""


class ObservationClock:
    """A clock made to run: no two batches that ask it share a microsecond, in any thread.

    Processes whose batches the server commits together go on at the same moment, and would take
    the same numbers: one of them would lose its work of a whole batch, and begin again. So each
    begins its batches in a slot of its own, which is a thousandth of a second ahead at most.

    Args:
        clock_us: the time now, microseconds UTC.
        process: number of this process among those that share a log; None where there is one.
    """

    def __init__(
        self, clock_us: Callable[[], int], process: Callable[[], int | None] = lambda: None
    ) -> None:
        self._clock_us = clock_us
        self._process = process
        self._lock = threading.Lock()
        self._latest_us = 0

    def __call__(self) -> int:
        """The time now, `MOST_EVENTS` microseconds after what was told last at least."""
        with self._lock:
            now_us = self._in_slot(max(self._clock_us(), self._latest_us + MOST_EVENTS))
            self._latest_us = now_us
            return now_us

    def after(self, number: int) -> int:
        """The first number beyond one that was given elsewhere, which the clock has not reached.

        It is in this process's slot as well: the very next number may belong to the batch that
        the given one is of.
        """
        return self._in_slot(number + 1)

    def _in_slot(self, number: int) -> int:
        process = self._process()
        if process is None:
            return number
        return number + (process % SLOTS * SLOT_US - number) % (SLOTS * SLOT_US)

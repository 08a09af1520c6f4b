"""The clock that numbers observations."""

import threading
from collections.abc import Callable

MOST_EVENTS = 1_000
"""Events in one batch at most; a batch takes up that many observation numbers."""


class ObservationClock:
    """A clock made to run: no two batches that ask it share a microsecond, in any thread.

    Args:
        clock_us: the time now, microseconds UTC.
    """

    def __init__(self, clock_us: Callable[[], int]) -> None:
        self._clock_us = clock_us
        self._lock = threading.Lock()
        self._latest_us = 0

    def __call__(self) -> int:
        """The time now, `MOST_EVENTS` microseconds after what was told last at least."""
        with self._lock:
            self._latest_us = max(self._clock_us(), self._latest_us + MOST_EVENTS)
            return self._latest_us

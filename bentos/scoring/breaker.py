"""A circuit breaker: who is away is not asked again by everybody (Nygard, "Release It!")."""

import enum
import threading
import time
from collections.abc import Callable


class BreakerState(enum.IntEnum):
    """Whether calls pass: all, one that probes, or none."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class CircuitBreaker:
    """Opens at the first failure; one probe at a time finds out when to close it again.

    One failure is enough, because a caller that was failed has already waited as long as its
    deadline allows. Requests never probe: whoever owns the probe calls `may_probe`.

    Args:
        first_wait_s: seconds from the failure to the first probe; each further wait is twice
            as long.
        longest_wait_s: the longest of them.
        on_change: told of every change.
        clock_s: monotonic seconds.
    """

    def __init__(
        self,
        first_wait_s: float = 0.2,
        longest_wait_s: float = 5.0,
        on_change: Callable[[BreakerState], None] = lambda state: None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first_wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s
        self._on_change = on_change
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._state = BreakerState.CLOSED
        self._wait_s = first_wait_s
        self._probe_at_s = 0.0
        self._opened_at_s = 0.0

    @property
    def state(self) -> BreakerState:
        """What it lets through."""
        return self._state

    @property
    def is_closed(self) -> bool:
        """Whether calls may be made."""
        return self._state is BreakerState.CLOSED

    @property
    def open_for_s(self) -> float:
        """Seconds since it opened; 0 while closed."""
        return 0.0 if self.is_closed else self._clock_s() - self._opened_at_s

    def failed(self) -> None:
        """A call or a probe failed."""
        with self._lock:
            if self._state is BreakerState.OPEN:
                return
            now_s = self._clock_s()
            if self._state is BreakerState.CLOSED:
                self._wait_s, self._opened_at_s = self._first_wait_s, now_s
            else:
                self._wait_s = min(self._wait_s * 2.0, self._longest_wait_s)
            self._probe_at_s = now_s + self._wait_s
            self._change(BreakerState.OPEN)

    def may_probe(self) -> bool:
        """Whether the caller shall probe now, and then say how it went."""
        with self._lock:
            if self._state is not BreakerState.OPEN or self._clock_s() < self._probe_at_s:
                return False
            self._change(BreakerState.HALF_OPEN)
            return True

    def answered(self) -> None:
        """The probe succeeded."""
        with self._lock:
            if self._state is BreakerState.HALF_OPEN:
                self._change(BreakerState.CLOSED)

    def _change(self, state: BreakerState) -> None:
        self._state = state
        self._on_change(state)

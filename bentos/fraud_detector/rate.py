"""Rate limits: a token bucket per client, in memory, for one worker process."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address

from fraud.domain.errors import RateLimited

MAX_CLIENTS = 10_000
"""Buckets kept; the one unused for longest goes first. 10,000 take about 2 MB."""

NOTED_EVERY_S = 60.0
"""A client that is refused again and again leaves one audit record in this time."""

_ROUNDING_S = 1e-6


class RateLimit:
    """A token bucket per client, as the generic cell rate algorithm: one number per bucket.

    That number is the time at which the bucket would be full again (I.371, annex A: the
    theoretical arrival time). Taking costs a dictionary look-up, no lock and no timer: call it
    from one thread.

    Args:
        rate_hz: requests per second that a client may make in the long run.
        burst: requests it may make at once after a pause.
        clock: seconds, never going back.
        max_clients: buckets kept.
    """

    def __init__(
        self,
        rate_hz: float,
        burst: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        self._interval_s = 1.0 / rate_hz
        self._depth_s = (burst - 1) / rate_hz
        self._rate_hz = rate_hz
        self._clock = clock
        self._max_clients = max_clients
        self._full_at_s: OrderedDict[str, float] = OrderedDict()
        self._noted_s: OrderedDict[str, float] = OrderedDict()

    def take(self, client: str) -> None:
        """Let one request of a client pass.

        Raises:
            RateLimited: its bucket is empty.
        """
        now_s = self._clock()
        wait_s = self._take(client, now_s)
        if wait_s > 0.0:
            raise self._refusal(client, wait_s, now_s)

    def lets_pass(self, client: str) -> bool:
        """Likewise, but whether it may is the answer, and no refusal is noted."""
        return self._take(client, self._clock()) == 0.0

    def _take(self, client: str, now_s: float) -> float:
        """Seconds to wait; 0 if one request was let pass."""
        full_at_s = self._full_at_s.get(client, now_s)
        wait_s = full_at_s - now_s - self._depth_s
        if wait_s > _ROUNDING_S:
            return wait_s
        self._full_at_s[client] = max(full_at_s, now_s) + self._interval_s
        self._full_at_s.move_to_end(client)
        if len(self._full_at_s) > self._max_clients:
            self._full_at_s.popitem(last=False)
        return 0.0

    def _refusal(self, client: str, wait_s: float, now_s: float) -> RateLimited:
        is_news = now_s - self._noted_s.get(client, -math.inf) >= NOTED_EVERY_S
        if is_news:
            self._noted_s[client] = now_s
            self._noted_s.move_to_end(client)
            if len(self._noted_s) > self._max_clients:
                self._noted_s.popitem(last=False)
        return RateLimited(
            f"More than {self._rate_hz:g} requests per second came from this client.",
            remedy="Send fewer, or ask for a higher limit.",
            retry_after_s=math.ceil(wait_s),
            is_news=is_news,
        )


def address_key(origin: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 network of an IPv6 one.

    Whoever has one IPv6 address has 2**64 of them.
    """
    if ":" not in origin:
        return origin
    try:
        address = IPv6Address(origin)
    except ValueError:
        return origin
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return address.packed[:8].hex()

"""Keeping another issuer's keys current, without a request ever blocking the event loop."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from fraud.domain.errors import FraudError

INTERVAL_S = 300.0
"""How long a key that its issuer has removed may still be accepted."""

LEAST_PAUSE_S = 10.0
"""Between two fetches, however many tokens name keys we do not know."""

log = logging.getLogger("fraud.detector")


class KeyRefresh:
    """Fetches a key set now and then, and sooner when a token names an unknown key.

    Requests that want new keys at the same time share one fetch. What they wait for is a
    thread; while they do, others are answered.

    Args:
        load: takes over the key set, and says whether it has changed; blocks.
        on_change: called when it has.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        load: Callable[[], bool],
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._on_change = on_change
        self._clock = clock
        self._fetch: asyncio.Task[bool] | None = None
        self._fetched_s = float("-inf")
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Fetch now and then from now on; call it from the event loop."""
        self._keeper = asyncio.create_task(self._keep_fresh())

    async def close(self) -> None:
        """Fetch no more."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper

    async def wanted(self) -> bool:
        """Fetch, unless that was just done; whether there are new keys."""
        if self._fetch is None or self._fetch.done():
            if self._clock() - self._fetched_s < LEAST_PAUSE_S:
                return False
            self._fetched_s = self._clock()
            self._fetch = asyncio.create_task(self._fetch_once())
        return await asyncio.shield(self._fetch)

    async def _fetch_once(self) -> bool:
        try:
            has_changed = await asyncio.to_thread(self._load)
        except FraudError as error:
            log.error("The keys stay as they were: %s", error)
            return False
        except Exception:
            log.exception("Fetching keys broke; they stay as they were")
            return False
        if has_changed:
            self._on_change()
        return has_changed

    async def _keep_fresh(self) -> None:
        while True:
            await self.wanted()
            await asyncio.sleep(INTERVAL_S)

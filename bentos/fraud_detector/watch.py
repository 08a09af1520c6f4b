"""The watch: twice a second, a few short queries ask the ledger what shall serve.

It has a thread and a connection of its own, so that neither the event loop nor the scoring
thread ever waits for it, and `/health` answers from what it saw last without any I/O.
"""

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fraud.domain.deployment import Deployment
from fraud.domain.errors import LedgerUnavailable
from fraud.domain.ruleset import Ruleset
from fraud.security.revocation import Revocations

INTERVAL_S = 0.5
"""A changed rule is to act within a second, in every worker."""

log = logging.getLogger("fraud.detector")


@dataclass(frozen=True)
class Sighting:
    """What the last look at the ledger found.

    Attributes:
        deployments: of stage champion, newest first, without those that were rolled back.
        revision: of the ledger's schema.
        rulesets: by fraud type.
        revocations: tokens that were taken back.
        challengers: who challenges the champion, by fraud type.
    """

    deployments: tuple[Deployment, ...]
    revision: str | None
    rulesets: Mapping[str, Ruleset] = field(default_factory=dict)
    revocations: Revocations = field(default_factory=Revocations)
    challengers: Mapping[str, Deployment] = field(default_factory=dict)


@dataclass(frozen=True)
class LedgerStatus:
    """Whether the ledger answers.

    Attributes:
        is_up: it answered the last look.
        revision: of its schema, as last seen.
        took_ms: duration of the last look.
        looked_at: when that was.
        problem: why it did not answer.
    """

    is_up: bool
    revision: str | None
    took_ms: float
    looked_at: dt.datetime
    problem: str = ""


class LedgerWatch:
    """Looks twice a second, and hands what it finds on.

    Args:
        look: asks the ledger; raises LedgerUnavailable.
        on_sighting: takes over what shall serve.
        interval_s: seconds between two looks.
        on_status: told how each look went.
    """

    def __init__(
        self,
        look: Callable[[], Sighting],
        on_sighting: Callable[[Sighting], None],
        interval_s: float = INTERVAL_S,
        on_status: Callable[[LedgerStatus], None] = lambda status: None,
    ) -> None:
        self._look = look
        self._on_sighting = on_sighting
        self._on_status = on_status
        self._interval_s = interval_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._status: LedgerStatus | None = None

    @property
    def status(self) -> LedgerStatus:
        """What the last look found."""
        if self._status is None:
            self.look_once()
        assert self._status is not None
        return self._status

    @property
    def is_alive(self) -> bool:
        """Whether the watch still looks."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Look once, then go on in a thread."""
        self.look_once()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def look_once(self) -> None:
        """Look, remember how it went, hand on what was found."""
        started = time.perf_counter()
        revision = self._status.revision if self._status else None
        problem, found = "", None
        try:
            found = self._look()
            revision = found.revision
        except LedgerUnavailable as error:
            problem = str(error)
            if self._status is None or self._status.is_up:
                log.error("%s", problem)
        self._status = LedgerStatus(
            is_up=not problem,
            revision=revision,
            took_ms=round((time.perf_counter() - started) * 1000, 2),
            looked_at=dt.datetime.now(dt.UTC),
            problem=problem,
        )
        if found is not None:
            self._on_sighting(found)
        self._on_status(self._status)

    def _run(self) -> None:
        while not self._end.wait(self._interval_s):
            try:
                self.look_once()
            except Exception:
                log.exception("A look at the ledger broke; the next one follows")

"""Scorers that belong to one thread each, and what keeps those threads from waiting for ever."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from bentos.fraud_detector.lookout import Lookout, not_yet_claimed
from bentos.scoring.challenge import Champions
from bentos.scoring.observation_clock import ObservationClock
from bentos.scoring.ruleset import Rulesets
from bentos.scoring.scorer import Scorer
from fraud.ledger.pool import ConnectionPool
from fraud.security.encryption import FieldProtection

CONNECT_TIMEOUT_S = 2
"""The least that libpq knows."""


@dataclass(frozen=True)
class TimeLimits:
    """How long a scoring transaction may take.

    Attributes:
        statement_s: seconds after which the ledger ends a statement.
        hang_up_s: seconds after which we end a transaction with a ledger that does nothing.
    """

    statement_s: float
    hang_up_s: float


IMPATIENT = TimeLimits(statement_s=1.2, hang_up_s=1.5)
"""Where a caller waits: what is left of the deadline is for the fallback."""

PATIENT = TimeLimits(statement_s=8.0, hang_up_s=10.0)
"""Where nobody waits for the answer to one transaction, and batches are large."""


class OwnScorer:
    """Gives the scorer of one thread, on an audit chain this process holds.

    Args:
        url: address of the ledger.
        lookout: claims the chains.
        champions: models by fraud type.
        rulesets: rulesets by fraud type.
        clock: numbers the batches of all of them.
        limits: seconds a transaction may take.
        protection: of what is sensitive.
        lane: which of the chains.
    """

    def __init__(
        self,
        url: str,
        lookout: Lookout,
        champions: Champions,
        rulesets: Rulesets,
        clock: ObservationClock,
        limits: TimeLimits,
        protection: FieldProtection,
        lane: int = 0,
    ) -> None:
        self._limits = limits
        self._protection = protection
        self._url = url
        self._lookout = lookout
        self._champions = champions
        self._rulesets = rulesets
        self._clock = clock
        self._lane = lane
        self._pool: ConnectionPool | None = None
        self._scorer: tuple[str, Scorer] | None = None

    def __call__(self) -> Scorer:
        """The scorer.

        Raises:
            LedgerUnavailable: the ledger was never seen.
        """
        if not self._lookout.chains:
            raise not_yet_claimed()
        chain = self._lookout.chains[self._lane]
        if self._scorer is None or self._scorer[0] != chain:
            if self._pool is None:
                self._pool = ConnectionPool(
                    self._url,
                    size=1,
                    statement_timeout_s=self._limits.statement_s,
                    connect_timeout_s=CONNECT_TIMEOUT_S,
                    role=self._lookout.role,
                )
            scorer = Scorer(
                *(self._pool, self._champions, self._clock, chain, self._protection),
                self._rulesets,
            )
            self._scorer = chain, scorer
        return self._scorer[1]

    def hang_up(self, after_s: float) -> None:
        """End a transaction that takes longer; its thread goes on with LedgerUnavailable."""
        if self._pool is not None:
            self._pool.cut_off(after_s)

    def close(self) -> None:
        """Close the connection."""
        if self._pool is not None:
            self._pool.close()


class Patience:
    """Ends transactions with a ledger that neither answers nor hangs up.

    Args:
        scorers: whose transactions.
        after_s: seconds one may take.
    """

    def __init__(self, scorers: Sequence[OwnScorer], after_s: float) -> None:
        self._scorers = scorers
        self._after_s = after_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="patience", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        while not self._end.wait(0.1):
            for each in self._scorers:
                each.hang_up(self._after_s)

"""What scores, whatever the transport: models, rules, the watch, the scorer and its fallback."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from bentos.fraud_detector.champion import ChampionShelf, settle_heap
from bentos.fraud_detector.lookout import Lookout
from bentos.fraud_detector.metrics import Metrics
from bentos.fraud_detector.own_scorer import IMPATIENT, OwnScorer, Patience, TimeLimits
from bentos.fraud_detector.shelf import RulesetShelf
from bentos.fraud_detector.watch import LedgerStatus, LedgerWatch, Sighting
from bentos.scoring.breaker import BreakerState, CircuitBreaker
from bentos.scoring.continuity import (
    Answering,
    ContinuousScorer,
    Fallback,
    Postponement,
    ledger_away,
)
from bentos.scoring.journal import Journal
from bentos.scoring.lanes import Lanes
from bentos.scoring.model import ScoringModel
from bentos.scoring.observation_clock import ObservationClock
from bentos.scoring.reconciliation import Recovery
from bentos.scoring.scorer import ScoreRequest
from bentos.scoring.turns import Turn
from feature_store.batch import type_layout, warm_up
from fraud.domain.decision import Decision
from fraud.domain.errors import FraudError, UnavailableError
from fraud.ledger.audit import AuditEntry
from fraud.ledger.audit_anchors import anchor_file
from fraud.ledger.embedded import ledger_url
from fraud.security.encryption import field_protection
from fraud.settings import Settings
from fraud.types.registry import fraud_types

LANES = 4
"""Scoring transactions of a process at once: while one computes, others are with the server."""

log = logging.getLogger("fraud.detector")


def clock_us() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class ScoringEngine:
    """The parts of a process that scores, wired; transports put requests in front of it.

    Args:
        settings: the configuration.
        metrics: where it counts.
        before_look: called before every look at the ledger.
        on_sighting: told what was seen, before rules and models are taken over.
        on_status: told how each look went.
        limits: seconds that transactions may take.
        can_wait: whether the transport can keep what cannot be decided now; if so, nothing is
            decided without the ledger.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        *,
        before_look: Callable[[], None] = lambda: None,
        on_sighting: Callable[[Sighting], None] = lambda sighting: None,
        on_status: Callable[[LedgerStatus], None] = lambda status: None,
        limits: TimeLimits = IMPATIENT,
        can_wait: bool = False,
    ) -> None:
        self._metrics = metrics
        self._before_look, self._on_sighting = before_look, on_sighting
        self._told_status = on_status
        self._is_started = False
        self.url = ledger_url(settings)
        self.champions = ChampionShelf(
            fraud_types(), settings.verify_key_pem, settings.bundle_dir, self._on_swap
        )
        self.rulesets = RulesetShelf(fraud_types())
        self.lookout = Lookout(self.url, fraud_types(), anchor_file(settings), LANES)
        self.watch = LedgerWatch(self._look, self._take_over, on_status=self._on_status)
        self.protection = field_protection(settings)
        keys = self.protection.keys
        self.journal = Journal(settings.journal_dir, settings.journal_max_bytes, keys)
        self.breaker = CircuitBreaker(on_change=self._on_breaker)
        clock = ObservationClock(clock_us, lambda: self.lookout.number)
        *self._own_scorers, self._recovery_scorer = (
            OwnScorer(
                *(self.url, self.lookout, self.champions, self.rulesets, clock, limits),
                *(self.protection, lane),
            )
            for lane in (*range(LANES), 0)
        )
        scorers = [*self._own_scorers, self._recovery_scorer]
        self._patience = Patience(scorers, limits.hang_up_s)
        fallback: Answering = (
            Postponement()
            if can_wait
            else Fallback(fraud_types(), self.rulesets, self.journal, clock_us)
        )
        self._turn = Turn(settings.run_dir / "large-batches.turn")
        self._lanes = Lanes(
            [
                ContinuousScorer(each, fallback, self.journal, self.breaker).score
                for each in self._own_scorers
            ],
            turn=self._turn,
        )
        self._recovery = Recovery(
            self._recovery_scorer, self.journal, self.breaker, self._on_recovery_step
        )

    def start(self) -> None:
        """Load the champions; after this, the scorer may be used."""
        self._metrics.expect(fraud_types())
        self.watch.start()
        for name in fraud_types():
            warm_up(type_layout(name))
        with suppress(UnavailableError):
            for each in self._own_scorers:
                each().record([])  # opens the connection before anybody waits for it
        settle_heap()
        self._patience.start()
        self._recovery.start()
        self._is_started = True

    def close(self) -> None:
        """Let go of everything; the scorer must be at rest."""
        self._recovery.stop()
        self._patience.stop()
        self.watch.stop()
        self.lookout.note_heads()
        self.lookout.close()
        self._lanes.close()
        self._turn.close()
        for each in (*self._own_scorers, self._recovery_scorer):
            each.close()

    @property
    def is_alive(self) -> bool:
        """Whether the threads that do the work still run."""
        return self.watch.is_alive and self._recovery.is_alive

    def score(self, requests: Sequence[ScoreRequest]) -> list[Decision | FraudError]:
        """Decide on every request, whatever is away; see `ContinuousScorer.score`."""
        return self._lanes.score(requests)

    def record(self, entries: Sequence[AuditEntry]) -> None:
        """Keep audit records of refusals; for the thread that uses the scorer.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        if not self.breaker.is_closed:
            raise ledger_away()
        self._own_scorers[0]().record(entries)

    def _look(self) -> Sighting:
        self._before_look()
        return self.lookout()

    def _take_over(self, sighting: Sighting) -> None:
        self._on_sighting(sighting)
        self.rulesets.refresh(sighting.rulesets)
        self.champions.refresh(sighting.deployments, sighting.challengers)

    def _on_status(self, status: LedgerStatus) -> None:
        self._metrics.looked(status.is_up, status.took_ms / 1000)
        self._metrics.champions(self.champions.report())
        self._metrics.journal_full.set(bool(self.journal.problem))
        self._told_status(status)

    def _on_swap(self, fraud_type: str, model: ScoringModel) -> None:
        self._metrics.serves(fraud_type, model.version)
        if self._is_started:
            self._metrics.swaps.labels(fraud_type).inc()
            settle_heap()

    def _on_breaker(self, state: BreakerState) -> None:
        self._metrics.breaker.set(state)

    def _on_recovery_step(self, outcomes: Mapping[str, int]) -> None:
        self._metrics.journal.set(self.journal.count)
        self._metrics.journal_size.set(self.journal.size_bytes)
        for outcome, count in outcomes.items():
            self._metrics.reconciled.labels(outcome).inc(count)

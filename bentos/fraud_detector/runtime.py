"""What one worker process is made of, and the order in which it starts and stops."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from bentos.fraud_detector.access import AccessTable
from bentos.fraud_detector.champion import ChampionShelf, settle_heap
from bentos.fraud_detector.guard import Call
from bentos.fraud_detector.key_refresh import KeyRefresh
from bentos.fraud_detector.lookout import Lookout
from bentos.fraud_detector.metrics import Metrics
from bentos.fraud_detector.microbatch import Collector, Limits
from bentos.fraud_detector.operations.desk import OperationsDesk
from bentos.fraud_detector.own_scorer import OwnScorer, Patience
from bentos.fraud_detector.problems import Problem
from bentos.fraud_detector.rate import RateLimit
from bentos.fraud_detector.shelf import RulesetShelf
from bentos.fraud_detector.watch import LedgerWatch, Sighting
from bentos.scoring.breaker import BreakerState, CircuitBreaker
from bentos.scoring.continuity import ContinuousScorer, Fallback, ledger_away
from bentos.scoring.journal import Journal
from bentos.scoring.model import ScoringModel
from bentos.scoring.reconciliation import Recovery
from bentos.scoring.scorer import ScoreRequest
from feature_store.batch import type_layout, warm_up
from fraud.domain.decision import Decision
from fraud.domain.errors import UnavailableError
from fraud.ledger.audit import AuditEntry
from fraud.ledger.audit_anchors import anchor_file
from fraud.ledger.embedded import ledger_url
from fraud.security.keyring import Keyring
from fraud.security.tokens import Principal, TokenVerifier
from fraud.settings import Settings
from fraud.types.registry import fraud_types

AUDITED = frozenset(
    {
        *("malformed-body", "unauthenticated", "forbidden", "duplicate-conflict"),
        *("body-too-large", "body-too-slow", "unsupported-media", "invalid-field"),
        "rate-limited",
    }
)
"""Problems that leave an audit record: somebody asked for something and was refused it."""

EXPLAINED = frozenset({"unauthenticated", "forbidden", "rate-limited"})
"""Of these, those whose record says why in words, none of them the caller's."""

log = logging.getLogger("fraud.detector")


def clock_us() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class Runtime:
    """The parts of a worker process, wired.

    Args:
        settings: the configuration.
        metrics: where it counts; made once per process.
        limits: how much may wait for the scorer.

    Raises:
        SettingsError: a secret or key is unusable.
    """

    def __init__(self, settings: Settings, metrics: Metrics, limits: Limits | None = None) -> None:
        self.settings = settings
        self.metrics = metrics
        self._keyring = Keyring(settings)
        self._verifier = TokenVerifier(self._keyring, settings.jwt_issuer, settings.jwt_audience)
        self._key_refresh = KeyRefresh(self._keyring.load_public_keys, self._verifier.forget)
        self._access = AccessTable()
        self._subjects = RateLimit(settings.rate_per_client, settings.burst_per_client)
        self._addresses = RateLimit(settings.rate_per_address, settings.burst_per_address)
        self._url = ledger_url(settings)
        self.champions = ChampionShelf(
            fraud_types(), settings.verify_key_pem, settings.bundle_dir, self._on_swap
        )
        self.rulesets = RulesetShelf(fraud_types())
        self._lookout = Lookout(self._url, fraud_types(), anchor_file(settings))
        self.operations = OperationsDesk(self._url, self._lookout, clock_us)
        self.watch = LedgerWatch(self._look, self._take_over)
        self.journal = Journal(settings.journal_dir, settings.journal_max_bytes)
        self.breaker = CircuitBreaker(on_change=self._on_breaker)
        self._own_scorer, self._recovery_scorer = (
            OwnScorer(self._url, self._lookout, self.champions, self.rulesets, clock_us)
            for _ in range(2)
        )
        self._patience = Patience([self._own_scorer, self._recovery_scorer])
        fallback = Fallback(fraud_types(), self.rulesets, self.journal, clock_us)
        self._scoring = ContinuousScorer(self._own_scorer, fallback, self.journal, self.breaker)
        self._recovery = Recovery(
            self._recovery_scorer, self.journal, self.breaker, self._on_recovery_step
        )
        self.collector: Collector[ScoreRequest, Decision, Sequence[AuditEntry]] = Collector(
            self._scoring.score, self._record, limits, metrics.batch_size.observe
        )

    def start(self) -> None:
        """Load the champions and begin to take requests; call it from the event loop."""
        self.watch.start()
        for name in fraud_types():
            warm_up(type_layout(name))
        with suppress(UnavailableError):
            self._own_scorer().record([])  # opens the connection before anybody waits for it
        settle_heap()
        self._patience.start()
        self._recovery.start()
        self.collector.start()
        if self._keyring.has_public_keys:
            self._key_refresh.start()

    async def close(self) -> None:
        """Answer what waits, then let go of everything."""
        await self._key_refresh.close()
        await self.collector.close()
        await asyncio.to_thread(self._recovery.stop)
        self._patience.stop()
        self.watch.stop()
        await asyncio.to_thread(self._lookout.note_heads)
        self._lookout.close()
        self.operations.close()
        self._own_scorer.close()
        self._recovery_scorer.close()

    @property
    def is_alive(self) -> bool:
        """Whether the threads that do the work still run."""
        return self.collector.is_alive and self.watch.is_alive and self._recovery.is_alive

    def verify(self, token: str) -> Principal:
        """Whose token this is.

        Raises:
            Unauthenticated: it proves nothing.
        """
        return self._verifier.verify(token)

    async def refresh_keys(self) -> bool:
        """Ask issuers for new keys, unless that was just done; whether there are any."""
        return self._keyring.has_public_keys and await self._key_refresh.wanted()

    def admit_subject(self, subject: str) -> None:
        """Count a request of somebody known.

        Raises:
            RateLimited: there were too many.
        """
        self._subjects.take(subject)

    def admit_address(self, address: str) -> None:
        """Count a request of somebody unknown.

        Raises:
            RateLimited: there were too many.
        """
        self._addresses.take(address)

    def throttled(self) -> None:
        """Count a refusal that leaves no record of its own."""
        self.metrics.refused.labels("rate-limited").inc()

    async def refused(
        self, call: Call, path: str, problem: Problem, transaction_id: str | None = None
    ) -> None:
        """Count a refusal and keep its audit record."""
        await self.refused_all(call, path, [(problem, transaction_id)])

    async def refused_all(
        self, call: Call, path: str, refusals: Sequence[tuple[Problem, str | None]]
    ) -> None:
        """Count refusals of one request and keep their audit records, in one commit."""
        entries = []
        for problem, transaction_id in refusals:
            self.metrics.refused.labels(problem.slug).inc()
            if problem.slug in AUDITED:
                entries.append(self._entry(call, path, problem, transaction_id))
        if entries and not await self.collector.record(entries):
            self.metrics.unrecorded.inc(len(entries))
            log.warning("%d refusals of %s could not be recorded", len(entries), call.origin)

    def _entry(
        self, call: Call, path: str, problem: Problem, transaction_id: str | None
    ) -> AuditEntry:
        access = self._access.find(path)
        known = access.path if access else path
        return AuditEntry(
            actor=call.actor,
            action="refuse",
            outcome="failure",
            origin=call.origin,
            object_type="route" if transaction_id is None else "transaction",
            object_id=known if transaction_id is None else transaction_id,
            detail={
                "route": known,
                "status": problem.status,
                "problem": problem.slug,
                "fields": sorted({name[:50] for name, _, _ in problem.errors})[:20],
                **({"why": problem.detail} if problem.slug in EXPLAINED else {}),
            },
        )

    def _look(self) -> Sighting:
        """What the watch sees: in the folder of token keys, and in the ledger."""
        if self._keyring.reload_secrets():
            self._verifier.forget()
        return self._lookout()

    def _take_over(self, sighting: Sighting) -> None:
        self._verifier.revocations = sighting.revocations
        self.rulesets.refresh(sighting.rulesets)
        self.champions.refresh(sighting.deployments)

    def _on_swap(self, fraud_type: str, model: ScoringModel) -> None:
        accuracy = model.manifest.metrics.get("test", {}).get("accuracy")
        if accuracy is not None:
            self.metrics.accuracy.labels(fraud_type).set(accuracy)
        if self.collector.is_alive:
            self.metrics.swaps.labels(fraud_type).inc()
            settle_heap()

    def _on_breaker(self, state: BreakerState) -> None:
        self.metrics.breaker.set(state)

    def _on_recovery_step(self, outcomes: Mapping[str, int]) -> None:
        self.metrics.journal.set(self.journal.count)
        self.metrics.journal_size.set(self.journal.size_bytes)
        for outcome, count in outcomes.items():
            self.metrics.reconciled.labels(outcome).inc(count)

    # The scoring thread calls what follows.

    def _record(self, entries: Sequence[Sequence[AuditEntry]]) -> None:
        if not self.breaker.is_closed:
            raise ledger_away()
        self._own_scorer().record([entry for each in entries for entry in each])

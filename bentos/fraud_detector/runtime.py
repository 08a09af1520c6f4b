"""What one worker process is made of, and the order in which it starts and stops."""

import asyncio
import logging
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from bentos.fraud_detector.access import AccessTable
from bentos.fraud_detector.engine import ScoringEngine, clock_us
from bentos.fraud_detector.guard import Call
from bentos.fraud_detector.key_refresh import KeyRefresh
from bentos.fraud_detector.ledger_metrics import LedgerMetrics
from bentos.fraud_detector.metrics import Metrics
from bentos.fraud_detector.microbatch import Collector, Limits
from bentos.fraud_detector.operations.desk import OperationsDesk
from bentos.fraud_detector.problems import Problem
from bentos.fraud_detector.rate import RateLimit
from bentos.fraud_detector.watch import LedgerStatus, Sighting
from bentos.scoring.scorer import ScoreRequest
from fraud.domain.decision import Decision
from fraud.ledger.audit import AuditEntry
from fraud.security.keyring import Keyring
from fraud.security.tokens import Principal, TokenVerifier
from fraud.settings import Settings
from fraud.types.registry import fraud_types

if TYPE_CHECKING:  # Stripe's library is loaded where its connector is on
    from bentos.connectors.stripe.checking import StripeConnector

AUDITED = frozenset(
    {
        *("malformed-body", "unauthenticated", "forbidden", "duplicate-conflict"),
        "invalid-signature",
        *("body-too-large", "body-too-slow", "unsupported-media", "invalid-field"),
        "rate-limited",
    }
)
"""Problems that leave an audit record: somebody asked for something and was refused it."""

EXPLAINED = frozenset({"unauthenticated", "invalid-signature", "forbidden", "rate-limited"})
"""Of these, those whose record says why in words, none of them the caller's."""

COUNTED_WITHIN_S = 0.05
"""How long an answer may be missing from the metrics."""

log = logging.getLogger("fraud.detector")


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
        self.stripe: StripeConnector | None = None
        self._keyring = Keyring(settings)
        self._verifier = TokenVerifier(self._keyring, settings.jwt_issuer, settings.jwt_audience)
        self._key_refresh = KeyRefresh(self._keyring.load_public_keys, self._verifier.forget)
        self._access = AccessTable()
        self._subjects = RateLimit(settings.rate_per_client, settings.burst_per_client)
        self._addresses = RateLimit(settings.rate_per_address, settings.burst_per_address)
        self.engine = ScoringEngine(
            settings,
            metrics,
            before_look=self._look_at_keys,
            on_sighting=self._take_over,
            on_status=self._on_status,
        )
        self.champions, self.watch = self.engine.champions, self.engine.watch
        self.journal, self.breaker = self.engine.journal, self.engine.breaker
        self.protection = self.engine.protection
        self.operations = OperationsDesk(
            self.engine.url, self.engine.lookout, clock_us, self.protection
        )
        self.collector: Collector[ScoreRequest, Decision, Sequence[AuditEntry]] = Collector(
            self.engine.score, self._record, limits, metrics.batched
        )
        self._uncounted: list[tuple[Decision, int, float]] = []
        self.ledger_metrics = LedgerMetrics(
            self.engine.url,
            fraud_types(),
            is_up=lambda: self.breaker.is_closed and self.watch.status.is_up,
        )

    def start(self) -> None:
        """Load the champions and begin to take requests; call it from the event loop."""
        if self.settings.stripe_webhook_secret is not None:
            import_module("bentos.fraud_detector.stripe_events")  # not during the first event
        self.engine.start()
        self.collector.start()
        self.metrics.starts.inc()
        if self._keyring.has_public_keys:
            self._key_refresh.start()

    async def close(self) -> None:
        """Answer what waits, then let go of everything."""
        await self._key_refresh.close()
        await self.collector.close()
        self.count()
        await asyncio.to_thread(self.engine.close)
        self.operations.close()
        self.ledger_metrics.close()

    @property
    def is_alive(self) -> bool:
        """Whether the threads that do the work still run."""
        return self.collector.is_alive and self.engine.is_alive

    def verify(self, token: str) -> Principal:
        """Whose token this is.

        Raises:
            Unauthenticated: it proves nothing.
        """
        return self._verifier.verify(token)

    def recall(self, token_digest: bytes) -> Principal | None:
        """Whose token this is, if that is known already and still true."""
        return self._verifier.recall(token_digest)

    async def refresh_keys(self) -> bool:
        """Ask issuers for new keys, unless that was just done; whether there are any."""
        return self._keyring.has_public_keys and await self._key_refresh.wanted()

    def admit_subject(self, subject: str) -> None:
        """Count a request of somebody known.

        Raises:
            RateLimited: there were too many.
        """
        self._subjects.take(subject)

    def lets_pass(self, subject: str) -> bool:
        """Count a request of somebody known, unless there were too many; whether it was counted."""
        return self._subjects.lets_pass(subject)

    def admit_address(self, address: str) -> None:
        """Count a request of somebody unknown.

        Raises:
            RateLimited: there were too many.
        """
        self._addresses.take(address)

    def answered(self, decision: Decision, amount_minor: int, took_s: float) -> None:
        """Count an answer, but not while its caller waits for it.

        Metrics are files that all workers share: at half of the capacity, counting one here and
        there was an eighth of the event loop's work.
        """
        if not self._uncounted:
            asyncio.get_running_loop().call_later(COUNTED_WITHIN_S, self.count)
        self._uncounted.append((decision, amount_minor, took_s))

    def count(self) -> None:
        """Count what was answered and is not counted yet."""
        answered, self._uncounted = self._uncounted, []
        if not answered:
            return
        self.metrics.decided((decision, amount) for decision, amount, _ in answered)
        took: dict[str, list[float]] = {}
        for decision, _, took_s in answered:
            took.setdefault(decision.fraud_type, []).append(took_s)
        for fraud_type, seconds in took.items():
            self.metrics.took(fraud_type, seconds)

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

    def _look_at_keys(self) -> None:
        if self._keyring.reload_secrets():
            self._verifier.forget()

    def _take_over(self, sighting: Sighting) -> None:
        self._verifier.revocations = sighting.revocations

    def _on_status(self, status: LedgerStatus) -> None:
        lent, idle = self.operations.connections
        self.metrics.connections.labels("lent").set(lent)
        self.metrics.connections.labels("idle").set(idle)
        self.metrics.queue.set(self.collector.waiting_count)

    def _record(self, entries: Sequence[Sequence[AuditEntry]]) -> None:
        self.engine.record([entry for each in entries for entry in each])

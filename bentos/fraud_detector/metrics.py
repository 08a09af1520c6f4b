"""What Prometheus is told. The first four names are fixed by the integration guide.

    fraud_predictions_total{fraud_type, risk_level, model_version, degraded}   decisions made
    fraud_detected_total{fraud_type, model_version}     of these, those to block
    prediction_duration_seconds{fraud_type}             from arrival to answer
    model_accuracy{fraud_type}                          of the champion, on its test window
    fraud_replays_total{fraud_type}                     repetitions, answered from the ledger
    fraud_batch_size_requests                           requests per scoring transaction
    fraud_refused_requests_total{problem}               by the last part of the problem's type
    fraud_unrecorded_refusals_total                     refusals the audit log could not take
    fraud_champion_swaps_total{fraud_type}              models taken over while serving
    fraud_ledger_breaker_state          0 closed, 1 half-open, 2 open; the worst of all workers
    fraud_journal_decisions             decisions that wait for the ledger
    fraud_journal_bytes                 size of their file
    fraud_reconciled_decisions_total{outcome}   written, known or in conflict, see degradation.md

Every label has few values, none of them chosen by callers. BentoML's own request metrics are
switched off: they carry the path as it was sent, so that anybody could fill the memory.
With several workers the numbers are summed through prometheus_client's multiprocess files.
"""

from functools import cache
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from fraud.domain.decision import Decision

MEDIA_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_REQUESTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """What one worker counts; one per registry, see `process_metrics`.

    Args:
        registry: where they are registered; tests give their own.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        self._children: dict[tuple[object, ...], Any] = {}
        self.predictions = Counter(
            "fraud_predictions_total",
            "Decisions made.",
            ["fraud_type", "risk_level", "model_version", "degraded"],
            registry=registry,
        )
        self.detected = Counter(
            "fraud_detected_total",
            "Decisions whose recommended action is block.",
            ["fraud_type", "model_version"],
            registry=registry,
        )
        self.duration = Histogram(
            "prediction_duration_seconds",
            "From the arrival of a request to its answer.",
            ["fraud_type"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.accuracy = Gauge(
            "model_accuracy",
            "Accuracy of the champion on its test window.",
            ["fraud_type"],
            multiprocess_mode="mostrecent",
            registry=registry,
        )
        self.replays = Counter(
            "fraud_replays_total",
            "Repeated transactions, answered from the ledger.",
            ["fraud_type"],
            registry=registry,
        )
        self.batch_size = Histogram(
            "fraud_batch_size_requests",
            "Requests per scoring transaction.",
            buckets=_REQUESTS,
            registry=registry,
        )
        self.refused = Counter(
            "fraud_refused_requests_total",
            "Requests refused or failed, by kind of problem.",
            ["problem"],
            registry=registry,
        )
        self.unrecorded = Counter(
            "fraud_unrecorded_refusals_total",
            "Refusals whose audit record could not be written.",
            registry=registry,
        )
        self.swaps = Counter(
            "fraud_champion_swaps_total",
            "Champions taken over while serving.",
            ["fraud_type"],
            registry=registry,
        )

        self.breaker = Gauge(
            "fraud_ledger_breaker_state",
            "Circuit breaker around the ledger: 0 closed, 1 half-open, 2 open.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.journal = Gauge(
            "fraud_journal_decisions",
            "Decisions that were answered and wait for the ledger.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.journal_size = Gauge(
            "fraud_journal_bytes",
            "Size of the journal.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.reconciled = Counter(
            "fraud_reconciled_decisions_total",
            "Journalled decisions brought into the ledger, by outcome.",
            ["outcome"],
            registry=registry,
        )

    def decided(self, decision: Decision) -> None:
        """Count a decision."""
        kind, version = decision.fraud_type, decision.model_version
        if decision.is_replayed:
            self._child(self.replays, kind).inc()
            return
        degraded = "true" if decision.degraded else "false"
        self._child(self.predictions, kind, decision.risk_level.name, version, degraded).inc()
        if decision.recommended_action == "block":
            self._child(self.detected, kind, version).inc()

    def took(self, fraud_type: str, seconds: float) -> None:
        """Observe how long an answer took."""
        self._child(self.duration, fraud_type).observe(seconds)

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes, of all workers."""
        merged = CollectorRegistry()
        try:
            MultiProcessCollector(merged)  # type: ignore[no-untyped-call]
        except ValueError:  # one process, no shared files
            merged = self._registry
        return generate_latest(merged)

    def _child(self, metric: Counter | Histogram, *labels: str) -> Any:
        """The metric for these labels; remembered, because finding it takes a lock."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child


@cache
def process_metrics() -> Metrics:
    """The metrics of this process, which prometheus_client allows to register once only."""
    return Metrics()

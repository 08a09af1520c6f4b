"""What Prometheus is told. The first four names are fixed by the integration guide.

    fraud_predictions_total{fraud_type, risk_level, model_version, degraded}   decisions made
    fraud_detected_total{fraud_type, model_version}     of these, those to block
    prediction_duration_seconds{fraud_type}             from arrival to answer
    model_accuracy{fraud_type, model_version}           live, from matured labels: ledger_metrics.py
    fraud_decided_amount_major{fraud_type, action}      amounts decided on: their sum and count
    fraud_score_ratio{fraud_type, model_version}        scores given
    fraud_degraded_decisions_total{fraud_type, lack}    of the decisions, by what was away
    fraud_replays_total{fraud_type}                     repetitions, answered from the ledger
    fraud_batch_size_requests                           requests per scoring transaction
    fraud_stage_duration_seconds{stage}                 of a batch: queue (longest wait), score
    fraud_queue_requests                                that wait for a batch, in all workers
    fraud_refused_requests_total{problem}               by the last part of the problem's type
    fraud_unrecorded_refusals_total                     refusals the audit log could not take
    fraud_champion_swaps_total{fraud_type}              models taken over while serving
    fraud_champion_problem{fraud_type, status}          1 where it is missing, stale or refused
    fraud_worker_starts_total                           one per worker that began to serve
    fraud_ledger_up                                     0 where any worker cannot reach it
    fraud_ledger_look_seconds                           the watch's last look, the slowest worker's
    fraud_ledger_connections{state}                     of operations: lent and idle
    fraud_clock_seconds                                 the service's own clock
    fraud_ledger_breaker_state          0 closed, 1 half-open, 2 open; the worst of all workers
    fraud_journal_decisions             decisions that wait for the ledger
    fraud_journal_bytes                 size of their file
    fraud_journal_full                  1 where it takes nothing more
    fraud_reconciled_decisions_total{outcome}   written, known or in conflict, see degradation.md

Every label has few values, none of them chosen by callers. BentoML's own request metrics are
switched off: they carry the path as it was sent, so that anybody could fill the memory.
With several workers the numbers are merged through prometheus_client's multiprocess files; what
a worker that died said of its present state is left out.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bentos.fraud_detector.bulk_metrics import Histogram, Summary
from bentos.fraud_detector.exposition import exposition
from bentos.fraud_detector.microbatch import BatchReport
from fraud.domain.decision import Decision
from fraud.domain.reasons import NO_HISTORY_REASON

MEDIA_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_REQUESTS = (1, 2, 4, 8, 16, 32, 64, 128)
_SCORES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)

PROBLEMS = ("missing", "stale", "refused")
"""What can be wrong with a champion, see `ChampionShelf.report`."""


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
        self.amount = Summary(
            "fraud_decided_amount_major",
            "Amounts decided on, major units, by recommended action.",
            ["fraud_type", "action"],
            registry=registry,
        )
        self.score = Histogram(
            "fraud_score_ratio",
            "Probabilities of fraud given, 0 to 1.",
            ["fraud_type", "model_version"],
            buckets=_SCORES,
            registry=registry,
        )
        self.degraded = Counter(
            "fraud_degraded_decisions_total",
            "Decisions made by lists and rules alone, by what was away: model or history.",
            ["fraud_type", "lack"],
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
        self.stage = Histogram(
            "fraud_stage_duration_seconds",
            "How long a batch spent where: queue is its longest wait, score its transaction.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue = Gauge(
            "fraud_queue_requests",
            "Requests that wait for a batch, in all workers.",
            multiprocess_mode="livesum",
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
        self.problem = Gauge(
            "fraud_champion_problem",
            "1 where the champion is missing, stale or refused.",
            ["fraud_type", "status"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.starts = Counter(
            "fraud_worker_starts_total", "Workers that began to serve.", registry=registry
        )
        self._add_ledger(registry)

    def _add_ledger(self, registry: CollectorRegistry) -> None:
        self.ledger_up = Gauge(
            "fraud_ledger_up",
            "1 where every worker reached the ledger at its last look.",
            multiprocess_mode="livemin",
            registry=registry,
        )
        self.look = Gauge(
            "fraud_ledger_look_seconds",
            "How long the last look at the ledger took, in the slowest worker.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.connections = Gauge(
            "fraud_ledger_connections",
            "Connections of operations to the ledger, in all workers.",
            ["state"],
            multiprocess_mode="livesum",
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
        self.journal_full = Gauge(
            "fraud_journal_full",
            "1 where the journal takes nothing more.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.reconciled = Counter(
            "fraud_reconciled_decisions_total",
            "Journalled decisions brought into the ledger, by outcome.",
            ["outcome"],
            registry=registry,
        )

    def expect(self, fraud_types: Iterable[str]) -> None:
        """Say zero of what has not happened yet, so that its first time is seen as a rise."""
        for name in fraud_types:
            self.replays.labels(name)
            self.swaps.labels(name)
            for lack in ("model", "history"):
                self.degraded.labels(name, lack)
        for stage in ("queue", "score"):
            self.stage.labels(stage)
        for problem in ("unauthenticated", "forbidden", "rate-limited", "overloaded"):
            self.refused.labels(problem)
        for outcome in ("written", "known", "conflict"):
            self.reconciled.labels(outcome)

    def serves(self, fraud_type: str, model_version: str) -> None:
        """Begin to count for a model, from zero."""
        self.detected.labels(fraud_type, model_version)

    def looked(self, is_up: bool, took_s: float) -> None:
        """Say how the last look at the ledger went."""
        self.ledger_up.set(is_up)
        self.look.set(took_s)

    def champions(self, report: Mapping[str, Mapping[str, object]]) -> None:
        """Say what is wrong with the champions.

        Args:
            report: `status` per fraud type, see `ChampionShelf.report`.
        """
        for name, found in report.items():
            for status in PROBLEMS:
                self._child(self.problem, name, status).set(found["status"] == status)

    def decided(self, decisions: Iterable[tuple[Decision, int]]) -> None:
        """Count decisions, each with the amount of its event in minor units."""
        kinds: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
        for each, amount_minor in decisions:
            kind = each.fraud_type, each.risk_level, each.model_version, _lack(each)
            group = kinds.setdefault((*kind, each.recommended_action, each.is_replayed), [])
            group.append((amount_minor / 100.0, each.fraud_probability))
        for (name, level, version, lack, action, is_replayed), group in kinds.items():
            if is_replayed:
                self._child(self.replays, name).inc(len(group))
                continue
            amounts, scores = zip(*group, strict=True)
            degraded = "true" if lack else "false"
            self._child(self.predictions, name, level.name, version, degraded).inc(len(group))
            self._child(self.amount, name, action).observe_all(amounts)
            if action == "block":
                self._child(self.detected, name, version).inc(len(group))
            if lack:
                self._child(self.degraded, name, lack).inc(len(group))
            else:
                self._child(self.score, name, version).observe_all(scores)

    def batched(self, batch: BatchReport) -> None:
        """Count a batch."""
        self.batch_size.observe(batch.size)
        self.queue.set(batch.waiting)
        self._child(self.stage, "queue").observe(batch.queue_s)
        self._child(self.stage, "score").observe(batch.score_s)

    def took(self, fraud_type: str, seconds: Sequence[float]) -> None:
        """Observe how long answers took."""
        self._child(self.duration, fraud_type).observe_all(seconds)

    def exposition(self, *more: Collector) -> bytes:
        """The text that Prometheus scrapes, of all workers.

        Args:
            more: what is asked for at this moment, beside what was counted.
        """
        return exposition(self._registry, [_Clock(), *more])

    def _child(self, metric: Counter | Gauge | Histogram | Summary, *labels: str) -> Any:
        """The metric for these labels; remembered, because finding it takes a lock."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child


def _lack(decision: Decision) -> str:
    """What a degraded decision had to do without; empty where it had all."""
    if not decision.degraded:
        return ""
    is_history = any(each.code == NO_HISTORY_REASON.code for each in decision.reasons)
    return "history" if is_history else "model"


class _Clock(Collector):
    """What time it is here: Prometheus knows what time it is there."""

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("fraud_clock_seconds", "The service's own clock.", time.time())


@cache
def process_metrics() -> Metrics:
    """The metrics of this process, which prometheus_client allows to register once only."""
    return Metrics()

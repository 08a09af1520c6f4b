"""What the ledger alone knows, asked when Prometheus scrapes: whoever of the workers answers.

    model_accuracy{fraud_type, model_version}               matured labels agree with the decision
    fraud_live_<precision|recall|roc_auc|average_precision>_ratio{fraud_type, model_version}
    fraud_live_decisions{fraud_type, model_version}         matured decisions behind these
    fraud_label_delay_seconds{fraud_type, quantile}         from the event to its first label
    fraud_drift_distance{fraud_type, feature}               by feature, and the score
    fraud_drifted_features{fraud_type}                      how many drifted
    fraud_feature_default_ratio{fraud_type, feature}        share of events that lack it
    fraud_audit_findings                                    of the last check of the audit log
    fraud_measurement_timestamp_seconds{fraud_type, measurement}   when each was taken
    fraud_outbox_oldest_seconds{sink}                       age of what a sink was not told yet
    fraud_outbox_dead_letters{sink}                         messages it refused
    fraud_outbox_failing_seconds{sink}                      since when nothing can be delivered
    fraud_open_cases{fraud_type}, fraud_open_cases_amount_major{fraud_type}
    fraud_ledger_size_bytes

While the ledger is away these are missing, as they are unknown.
"""

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import psycopg2
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fraud.domain.errors import LedgerUnavailable
from fraud.ledger.measurements import (
    AUDIT_CHECK,
    DEFAULT_RATE,
    DRIFT,
    DRIFT_DISTANCE,
    LABEL_DELAY,
    LIVE_QUALITY,
    PLATFORM,
    Measurement,
    newest_measurements,
)
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.statement import Cursor

ASKED_EVERY_S = 5.0
"""Scrapes that come faster get what the last one got."""

STATEMENT_TIMEOUT_S = 2.0
NAMES = (DRIFT, DRIFT_DISTANCE, DEFAULT_RATE, LIVE_QUALITY, LABEL_DELAY, AUDIT_CHECK)

_BY_KEY = {
    DRIFT_DISTANCE: ("fraud_drift_distance", "feature", "Distance from the training reference."),
    DEFAULT_RATE: ("fraud_feature_default_ratio", "feature", "Share of events that lack it."),
    LABEL_DELAY: ("fraud_label_delay_seconds", "quantile", "From the event to its first label."),
}
_LIVE = {
    "accuracy": ("model_accuracy", "Live accuracy of the model, from matured labels."),
    **{
        name: (f"fraud_live_{name}_ratio", f"Live {name.replace('_', ' ')}, from matured labels.")
        for name in (
            "precision",
            "weighted_precision",
            "recall",
            "roc_auc",
            "average_precision",
        )
    },
}

_OUTBOX = """
SELECT sink, failing_since,
    (SELECT created_at FROM outbox
        WHERE xid >= pg_snapshot_xmin(delivered) AND NOT pg_visible_in_snapshot(xid, delivered)
        ORDER BY xid LIMIT 1),
    (SELECT count(*) FROM outbox_dead_letters AS dead WHERE dead.sink = outbox_sinks.sink)
FROM outbox_sinks ORDER BY sink
"""
_SIZE = "SELECT pg_database_size(current_database())"
_CASES = """
SELECT fraud_type, count(*), coalesce(sum(priority), 0) FROM cases
WHERE status <> 'closed' GROUP BY 1
"""

log = logging.getLogger("fraud.detector")


class LedgerMetrics(Collector):
    """Asks the ledger when it is collected, at most every few seconds.

    Args:
        url: address of the ledger.
        fraud_types: whose measurements.
        is_up: whether it is worth asking.
        clock_s: seconds since 1970.
    """

    def __init__(
        self,
        url: str,
        fraud_types: Iterable[str],
        is_up: Callable[[], bool],
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._pool = ConnectionPool(url, size=1, statement_timeout_s=STATEMENT_TIMEOUT_S)
        self._fraud_types = tuple(fraud_types)
        self._is_up = is_up
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._asked_s = float("-inf")
        self._families: list[Metric] = []

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask the ledger."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """What the ledger says now, or said a moment ago."""
        with self._lock:
            now_s = self._clock_s()
            if now_s - self._asked_s >= ASKED_EVERY_S or now_s < self._asked_s:
                self._families, self._asked_s = self._ask(now_s), now_s
            return self._families

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()

    def _ask(self, now_s: float) -> list[Metric]:
        if not self._is_up():
            return []
        try:
            with self._pool.transaction() as cursor:
                return [*self._measured(cursor), *self._stored(cursor, now_s)]
        except (LedgerUnavailable, psycopg2.Error) as error:
            log.error("The ledger's own metrics are missing: %s", error)
            return []

    def _measured(self, cursor: Cursor) -> list[Metric]:
        found = newest_measurements(cursor, [*self._fraud_types, PLATFORM], NAMES)
        return [*_by_key(found), *_live(found), *_others(found)]

    def _stored(self, cursor: Cursor, now_s: float) -> Iterator[Metric]:
        cursor.execute(_SIZE)
        [(size_bytes,)] = cursor.fetchall()
        yield GaugeMetricFamily("fraud_ledger_size_bytes", "Size of the ledger.", size_bytes)
        yield from _outbox(cursor, now_s)
        cursor.execute(_CASES)
        rows = {name: (count, minor) for name, count, minor in cursor.fetchall()}
        cases = GaugeMetricFamily("fraud_open_cases", "Cases not closed.", labels=["fraud_type"])
        money = GaugeMetricFamily(
            "fraud_open_cases_amount_major", "Their amounts, major units.", labels=["fraud_type"]
        )
        for name in self._fraud_types:
            count, minor = rows.get(name, (0, 0))
            cases.add_metric([name], count)
            money.add_metric([name], float(minor) / 100)
        yield from (cases, money)


def _outbox(cursor: Cursor, now_s: float) -> Sequence[Metric]:
    """How far the sinks are behind; nothing where nobody is told."""
    oldest, dead, failing = (
        GaugeMetricFamily(f"fraud_outbox_{name}", text, labels=["sink"])
        for name, text in (
            ("oldest_seconds", "Age of the oldest message that the sink was not told yet."),
            ("dead_letters", "Messages that the sink refused."),
            ("failing_seconds", "Since when nothing can be delivered to the sink."),
        )
    )

    def age_s(since: dt.datetime | None) -> float:
        return 0.0 if since is None else max(now_s - since.timestamp(), 0.0)

    cursor.execute(_OUTBOX)
    for sink, failing_since, created_at, count in cursor.fetchall():
        oldest.add_metric([sink], age_s(created_at))
        dead.add_metric([sink], count)
        failing.add_metric([sink], age_s(failing_since))
    return oldest, dead, failing


def _by_key(found: Sequence[Measurement]) -> Iterator[Metric]:
    """Measurements whose every number has a name of its own, such as a feature's."""
    for measurement, (metric, label, text) in _BY_KEY.items():
        family = GaugeMetricFamily(metric, text, labels=["fraud_type", label])
        for each in found:
            if each.name == measurement:
                for key, value in each.values.items():
                    family.add_metric([each.fraud_type, key], value)
        yield family


def _live(found: Sequence[Measurement]) -> Iterator[Metric]:
    labels = ["fraud_type", "model_version"]
    live = [each for each in found if each.name == LIVE_QUALITY and each.model_version]
    for key, (metric, text) in _LIVE.items():
        family = GaugeMetricFamily(metric, text, labels=labels)
        for each in live:
            if key in each.values:
                family.add_metric([each.fraud_type, each.model_version or ""], each.values[key])
        yield family
    behind = GaugeMetricFamily("fraud_live_decisions", "Matured decisions judged.", labels=labels)
    for each in live:
        behind.add_metric([each.fraud_type, each.model_version or ""], each.decisions)
    yield behind


def _others(found: Sequence[Measurement]) -> Iterator[Metric]:
    drifted = GaugeMetricFamily(
        "fraud_drifted_features", "Features that drifted.", labels=["fraud_type"]
    )
    findings = GaugeMetricFamily("fraud_audit_findings", "Of the last check of the audit log.")
    taken = GaugeMetricFamily(
        "fraud_measurement_timestamp_seconds",
        "When it was measured last.",
        labels=["fraud_type", "measurement"],
    )
    newest: Mapping[tuple[str, str], Measurement] = {(e.fraud_type, e.name): e for e in found}
    for (fraud_type, name), each in newest.items():
        taken.add_metric([fraud_type, name], each.taken_at_us / 1e6)
        if name == DRIFT:
            drifted.add_metric([fraud_type], each.values["drifted"])
        if name == AUDIT_CHECK:
            findings.add_metric([], each.values["findings"])
    yield from (drifted, findings, taken)

"""Capacity: how volume, storage, latency and cost grow, and when something will not suffice.

Volume and storage are read from the ledger; latency and the time a worker is busy from
Prometheus, if the settings name one. Growth is the median of all slopes between two days (Theil
1950, Sen 1968), which a holiday or an outage does not bend.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import numpy as np
from scipy.stats import theilslopes

from fraud.domain.errors import UnavailableError
from fraud.ledger.statement import Cursor

HISTORY_DAYS = 56
HORIZONS = (30, 90, 365)
LEAST_DAYS = 7
"""Complete days without which nothing is forecast."""

_DAYS = """
SELECT (scored_at AT TIME ZONE 'UTC')::date, count(*) FROM decisions
WHERE scored_at >= %s AND scored_at < %s GROUP BY 1 ORDER BY 1
"""
_TABLES = """
SELECT relname, pg_total_relation_size(oid), greatest(reltuples, 0)::bigint FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
    AND relname = ANY(%s) ORDER BY 2 DESC
"""
_GROWING = ("transactions", "decisions", "audit_log", "outbox", "labels", "fraud_alerts", "cases")
_QUERIES = {
    "latency_p99_s": "histogram_quantile(0.99, sum by (le) "
    "(rate(prediction_duration_seconds_bucket[1d])))",
    "latency_p50_s": "histogram_quantile(0.5, sum by (le) "
    "(rate(prediction_duration_seconds_bucket[1d])))",
    "busy_workers": 'sum(rate(fraud_stage_duration_seconds_sum{stage="score"}[1d]))',
    "peak_decisions_per_s": "max_over_time(sum(rate(fraud_predictions_total[5m]))[1d:5m])",
}


@dataclass(frozen=True)
class Capacity:
    """What was measured, and what follows.

    Attributes:
        daily: decisions of each complete day.
        growth_per_day: by how many decisions a day they grow.
        bytes_per_decision: of all tables that grow with decisions.
        storage_bytes: their size now.
        tables: size and rows of each.
        forecast: by days ahead, decisions per day and bytes stored.
        service: what Prometheus says: latency, busy workers, peak.
        cost_per_million: of machines and storage, in the currency of the settings; None where
            they name no cost or nothing was decided.
    """

    daily: dict[dt.date, int]
    growth_per_day: float | None
    bytes_per_decision: float | None
    storage_bytes: int
    tables: list[tuple[str, int, int]]
    forecast: dict[int, tuple[float, float]]
    service: dict[str, float]
    cost_per_million: float | None


def daily_decisions(cursor: Cursor, now: dt.datetime) -> dict[dt.date, int]:
    """Decisions of each complete day of the last weeks, from the first one that had any."""
    until = now.replace(hour=0, minute=0, second=0, microsecond=0)
    cursor.execute(_DAYS, (until - dt.timedelta(days=HISTORY_DAYS), until))
    counts = dict(cursor.fetchall())
    if not counts:
        return {}
    span = (until.date() - min(counts)).days
    days = [min(counts) + dt.timedelta(days=number) for number in range(span)]
    return {day: counts.get(day, 0) for day in days}


def capacity(
    cursor: Cursor,
    now: dt.datetime,
    *,
    prometheus_url: str = "",
    cost_per_hour: float = 0.0,
    cost_per_gb_month: float = 0.0,
) -> Capacity:
    """Measure, and look ahead.

    Args:
        cursor: of the ledger.
        now: the present moment.
        prometheus_url: whom to ask about latency and load; nobody if empty.
        cost_per_hour: of all machines together.
        cost_per_gb_month: of a gigabyte kept for a month.

    Raises:
        UnavailableError: Prometheus does not answer.
    """
    daily = daily_decisions(cursor, now)
    cursor.execute(_TABLES, (list(_GROWING),))
    tables = [(name, int(size), int(rows)) for name, size, rows in cursor.fetchall()]
    size = sum(each for _, each, _ in tables)
    cursor.execute("SELECT count(*) FROM decisions")
    [(decisions,)] = cursor.fetchall()
    per_decision = size / decisions if decisions else None
    growth = growth_of(list(daily.values()))
    return Capacity(
        daily=daily,
        growth_per_day=growth,
        bytes_per_decision=per_decision,
        storage_bytes=size,
        tables=tables,
        forecast=forecast(list(daily.values()), growth, size, per_decision),
        service=_asked(prometheus_url) if prometheus_url else {},
        cost_per_million=_cost(daily, per_decision, cost_per_hour, cost_per_gb_month),
    )


def growth_of(counts: Sequence[int]) -> float | None:
    """Decisions a day more with every day; None where the days are too few to tell."""
    if len(counts) < LEAST_DAYS:
        return None
    return float(theilslopes(np.array(counts, float), np.arange(len(counts))).slope)


def forecast(
    counts: Sequence[int], growth: float | None, size: int, per_decision: float | None
) -> dict[int, tuple[float, float]]:
    """Decisions per day and bytes stored, so many days ahead; never fewer than none."""
    if growth is None or per_decision is None:
        return {}
    now = float(np.median(counts[-LEAST_DAYS:]))
    found = {}
    for ahead in HORIZONS:
        days = np.maximum(now + growth * np.arange(1, ahead + 1), 0.0)
        found[ahead] = float(days[-1]), size + float(days.sum()) * per_decision
    return found


def _cost(
    daily: dict[dt.date, int],
    per_decision: float | None,
    cost_per_hour: float,
    cost_per_gb_month: float,
) -> float | None:
    """Machines by the hour, plus storing what a decision leaves for a year."""
    decisions = sum(daily.values())
    if not decisions or per_decision is None or not (cost_per_hour or cost_per_gb_month):
        return None
    machines = cost_per_hour * 24 * len(daily) / decisions
    storage = cost_per_gb_month * 12 * per_decision / 1e9
    return 1e6 * (machines + storage)


def _asked(url: str) -> dict[str, float]:
    found = {}
    for name, query in _QUERIES.items():
        try:
            answer = httpx.get(f"{url}/api/v1/query", params={"query": query}, timeout=10.0)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise UnavailableError(
                f"Prometheus at {url} does not answer: {error}",
                remedy="Start it, or set FRAUD_PROMETHEUS_URL to where it is.",
            ) from error
        result = answer.json()["data"]["result"]
        if result and np.isfinite(float(result[0]["value"][1])):
            found[name] = float(result[0]["value"][1])
    return found

"""What concerns all fraud types: the audit log's check, erasures, capacity, quarterly report."""

import datetime as dt

import dagster as dg

from fraud.domain.event import to_us
from fraud.ledger.audit_anchors import read_anchors
from fraud.ledger.audit_check import verify
from fraud.ledger.measurements import (
    AUDIT_CHECK,
    CAPACITY,
    PLATFORM,
    Measurement,
    record_measurements,
)
from fraud.settings import Settings
from orchestration.assets.naming import Materialized
from orchestration.assets.pictures import numbers, table
from orchestration.capacity import Capacity, capacity
from orchestration.compliance import COUNTS, compliance_counts
from orchestration.erasure import erase_requested
from orchestration.resources import LedgerResource

AUDIT_CHECK_KEY = dg.AssetKey([PLATFORM, "audit_check"])
ERASURES_KEY = dg.AssetKey([PLATFORM, "erasures"])
CAPACITY_KEY = dg.AssetKey([PLATFORM, "capacity_report"])
COMPLIANCE_KEY = dg.AssetKey([PLATFORM, "compliance_report"])
QUARTER = dt.timedelta(days=92)
INTACT = "audit_log_intact"


@dg.asset(
    key=AUDIT_CHECK_KEY,
    group_name="platform",
    kinds={"postgres"},
    description="**Every record of the audit log recomputed, every chain followed, every head "
    "compared with those noted outside the ledger.**",
    check_specs=[
        dg.AssetCheckSpec(INTACT, asset=AUDIT_CHECK_KEY, description="Nothing was altered.")
    ],
)
def audit_check(ledger: LedgerResource, settings: dg.ResourceParam[Settings]) -> Materialized:
    """The audit log, checked."""
    noted, now = settings.audit_anchor_file, dt.datetime.now(dt.UTC)
    heads = read_anchors(noted) if noted.exists() else []
    with ledger.pool() as pool:
        with pool.connection() as connection:
            report = verify(connection, heads)
        with pool.transaction() as cursor:
            values = {"findings": report.found, "records": report.records}
            record_measurements(cursor, [Measurement(PLATFORM, AUDIT_CHECK, to_us(now), values)])
    return dg.MaterializeResult(
        metadata={
            "records": report.records,
            "chains": report.chains,
            "heads_compared": len(heads),
            "findings": "\n".join(each.text for each in report.findings[:100]) or "none",
        },
        check_results=[dg.AssetCheckResult(check_name=INTACT, passed=report.is_intact)],
    )


@dg.asset(
    key=ERASURES_KEY,
    group_name="platform",
    kinds={"postgres", "parquet"},
    description="**Persons whose erasure was requested through the API, erased everywhere; the "
    "receipts say what was found where.**",
)
def erasures(settings: dg.ResourceParam[Settings]) -> Materialized:
    """What waited to be erased."""
    receipts = [str(each["erasure_id"]) for each in erase_requested(settings)]
    return dg.MaterializeResult(
        metadata={"erased": len(receipts), "receipts": ", ".join(receipts) or "none"}
    )


@dg.asset(
    key=CAPACITY_KEY,
    group_name="platform",
    kinds={"postgres", "prometheus"},
    description="**How volume, storage and latency grow, what a million decisions cost, and "
    "where that leads.**",
)
def capacity_report(ledger: LedgerResource, settings: dg.ResourceParam[Settings]) -> Materialized:
    """Growth, forecast and cost."""
    now = dt.datetime.now(dt.UTC)
    with ledger.pool() as pool, pool.transaction() as cursor:
        found = capacity(
            cursor,
            now,
            prometheus_url=settings.prometheus_url,
            cost_per_hour=settings.cost_per_hour,
            cost_per_gb_month=settings.cost_per_gb_month,
        )
        values = _values(found)
        record_measurements(cursor, [Measurement(PLATFORM, CAPACITY, to_us(now), values)])
    return dg.MaterializeResult(
        metadata={
            **numbers(values),
            "days": table(["day", "decisions"], [list(each) for each in found.daily.items()]),
            "tables": table(
                ["table", "MB", "rows"],
                [[name, size / 1e6, rows] for name, size, rows in found.tables],
            ),
            "forecast": table(
                ["days ahead", "decisions per day", "GB stored"],
                [[ahead, perday, size / 1e9] for ahead, (perday, size) in found.forecast.items()],
            ),
        }
    )


@dg.asset(
    key=COMPLIANCE_KEY,
    group_name="platform",
    kinds={"postgres"},
    deps=[AUDIT_CHECK_KEY],
    description="**A quarter for the auditors: what was decided, by which models and policies, "
    "who changed what, and whether the audit log is whole.**",
)
def compliance_report(ledger: LedgerResource) -> Materialized:
    """What auditors ask about a quarter."""
    now = dt.datetime.now(dt.UTC)
    with ledger.pool() as pool, pool.transaction() as cursor:
        found = compliance_counts(cursor, now - QUARTER, now)
    return dg.MaterializeResult(
        metadata={
            "from": (now - QUARTER).date().isoformat(),
            "to": now.date().isoformat(),
            **{
                name: table(list(COUNTS[name].columns), [list(row) for row in rows])
                for name, rows in found.items()
            },
        }
    )


def _values(found: Capacity) -> dict[str, float]:
    values = {"storage_bytes": float(found.storage_bytes), **found.service}
    for name in ("growth_per_day", "bytes_per_decision", "cost_per_million"):
        value = getattr(found, name)
        if value is not None:
            values[name] = value
    for ahead, (per_day, size) in found.forecast.items():
        values |= {f"decisions_per_day_in_{ahead}d": per_day, f"storage_bytes_in_{ahead}d": size}
    return values

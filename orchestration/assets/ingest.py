"""Transactions: from a source, through the door, into the event log, day by day."""

import datetime as dt

import dagster as dg
import pandas as pd

from feature_store.lake import Lake
from fraud.domain.fraud_type import FraudType
from fraud.ledger.pool import ConnectionPool
from fraud.security.encryption import FieldProtection
from orchestration.assets.naming import FRESH_DAILY, TRANSACTIONS, Materialized, asset_key
from orchestration.ingest_report import IngestReport
from orchestration.intake import into_ledger, replace_transactions
from orchestration.partitions import days_of_run
from orchestration.resources import LakeResource, LedgerResource, SourceResource
from orchestration.served import add_served_events, served_events
from orchestration.sources.batch import Source

NO_ROWS_LOST = "no_rows_lost"
FEW_REFUSED = "few_rows_refused"
MOST_REFUSED = 0.05
"""Share of refused rows above which the source has probably changed."""


def transactions_asset(
    fraud_type: FraudType, partitions: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    """The daily event log of a fraud type."""
    key = asset_key(fraud_type, TRANSACTIONS)

    @dg.asset(
        key=key,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="ingest",
        freshness_policy=FRESH_DAILY,
        kinds={"parquet"},
        description=(
            f"**{fraud_type.title}, one row per transaction, by the UTC day we observed it.**\n\n"
            "Rows passed the same door as a request to `/predict`; what it refused is in the "
            "ledger's `quarantine` table with the reason. Rows are numbered (`seq`) in the order "
            "we saw them, and that order decides which history a feature may look at. What the "
            "service itself decided on that day is included under the number it was decided with. "
            "A day is replaced as a whole, so a rerun cannot double a row."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                NO_ROWS_LOST,
                asset=key,
                blocking=True,
                description="Every row of the source was accepted, refused with a reason, or "
                "dropped as the exact duplicate of another.",
            ),
            dg.AssetCheckSpec(
                FEW_REFUSED,
                asset=key,
                description=f"At most {MOST_REFUSED:.0%} of the source's rows were refused.",
            ),
        ],
    )
    def transactions(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        ledger: LedgerResource,
        source: SourceResource,
    ) -> Materialized:
        days, now = days_of_run(context), dt.datetime.now(dt.UTC)
        log = lake.open()
        rows = source.open(fraud_type, now.date())
        with ledger.pool() as pool:
            report = ingest_days(
                rows, fraud_type, log, pool, ledger.protection(), context.run.run_id, now, days
            )
        counts = rows_per_day(log, fraud_type, days)
        for day, count in counts.items():
            context.add_asset_metadata({"dagster/partition_row_count": count}, key, str(day))
        return dg.MaterializeResult(
            metadata=metadata_of(report, source.kind) | {"rows_in_range": sum(counts.values())},
            check_results=[
                dg.AssetCheckResult(
                    check_name=NO_ROWS_LOST,
                    passed=report.rows_lost == 0,
                    metadata={"rows_in": report.rows_in, "rows_lost": report.rows_lost},
                ),
                dg.AssetCheckResult(
                    check_name=FEW_REFUSED,
                    passed=report.rows_quarantined <= MOST_REFUSED * report.rows_in,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"refused_for": dict(report.refused_for)},
                ),
            ],
        )

    return transactions


def ingest_days(
    source: Source | None,
    fraud_type: FraudType,
    lake: Lake,
    pool: ConnectionPool,
    protection: FieldProtection,
    ingest_id: str,
    now: dt.datetime,
    days: list[dt.date],
) -> IngestReport:
    """Replace days of the log by what source and service saw.

    Without a source, what the service saw is added to what is there.
    """
    served = served_events(pool, fraud_type, days[0], days[-1])
    if source is None:
        with lake.writing(fraud_type):
            add_served_events(lake, fraud_type, served, days)
        report = existing(lake, fraud_type, days)
        report.rows_served = len(served)
        return report
    keep = into_ledger(pool.url, fraud_type, ingest_id, protection)
    with lake.writing(fraud_type):
        return replace_transactions(source, fraud_type, lake, keep, now, days, protection, served)


def existing(lake: Lake, fraud_type: FraudType, days: list[dt.date]) -> IngestReport:
    """The account of days that nobody else writes now."""
    rows = sum(rows_per_day(lake, fraud_type, days).values())
    report = IngestReport(rows_in=rows, rows_accepted=rows)
    report.saw(days)
    return report


def rows_per_day(lake: Lake, fraud_type: FraudType, days: list[dt.date]) -> dict[dt.date, int]:
    """How many transactions the log holds for each of some days."""
    observed = lake.events(fraud_type, days[0], days[-1])["observed_at"].dt.date.value_counts()
    return {day: int(observed.get(day, 0)) for day in days}


def metadata_of(report: IngestReport, source: str) -> dict[str, dg.MetadataValue]:
    """The account of an ingest as a person wants to see it."""
    refused = pd.Series(report.refused_for, dtype="int64")
    return {
        "source": dg.MetadataValue.text(source),
        "rows_in": dg.MetadataValue.int(report.rows_in),
        "rows_accepted": dg.MetadataValue.int(report.rows_accepted),
        "rows_quarantined": dg.MetadataValue.int(report.rows_quarantined),
        "rows_duplicate": dg.MetadataValue.int(report.rows_duplicate),
        "rows_served": dg.MetadataValue.int(report.rows_served),
        "refused_for": dg.MetadataValue.json({str(name): int(n) for name, n in refused.items()}),
        "first_day": dg.MetadataValue.text(str(report.first_day)),
        "last_day": dg.MetadataValue.text(str(report.last_day)),
    }

"""Labels: what became known about transactions, by the day it reached us."""

import datetime as dt

import dagster as dg

from feature_store.lake import Lake
from fraud.domain.fraud_type import FraudType
from fraud.ledger.pool import ConnectionPool
from fraud.security.encryption import FieldProtection
from orchestration.assets.naming import FRESH_DAILY, LABELS, TRANSACTIONS, Materialized, asset_key
from orchestration.delivery import open_ledger_labels
from orchestration.ingest_report import IngestReport
from orchestration.intake import into_ledger, replace_labels
from orchestration.partitions import days_of_run
from orchestration.resources import LakeResource, LedgerResource, SourceResource
from orchestration.served import add_served_labels
from orchestration.sources.batch import Source

NO_LABELS_LOST = "no_labels_lost"


def labels_asset(
    fraud_type: FraudType, partitions: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    """The daily label log of a fraud type."""
    key = asset_key(fraud_type, LABELS)

    @dg.asset(
        key=key,
        deps=[asset_key(fraud_type, TRANSACTIONS)],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="labels",
        freshness_policy=FRESH_DAILY,
        kinds={"parquet"},
        description=(
            "**Verdicts on transactions, by the UTC day they reached us:** chargebacks, customer "
            "reports, analysts' findings, returns.\n\n"
            "A label can act on a feature or enter a training set only after `reported_at`, which "
            f"is days after the transaction. Without a label, a transaction of this type counts "
            f"as genuine once it is {fraud_type.maturity} old; until then nobody knows."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                NO_LABELS_LOST,
                asset=key,
                blocking=True,
                description="Every label of the source was accepted, refused with a reason, or "
                "dropped as the exact duplicate of another.",
            )
        ],
    )
    def labels(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        ledger: LedgerResource,
        source: SourceResource,
    ) -> Materialized:
        days, now = days_of_run(context), dt.datetime.now(dt.UTC)
        log = lake.open()
        told = source.open(fraud_type, now.date())
        with ledger.pool() as pool:
            report = ingest_label_days(
                told, fraud_type, log, pool, ledger.protection(), context.run.run_id, now, days
            )
            known = log.labels(fraud_type, days[0], days[-1])
        counts = known["reported_at"].dt.date.value_counts()
        for day in days:
            count = int(counts.get(day, 0))
            context.add_asset_metadata({"dagster/partition_row_count": count}, key, str(day))
        return dg.MaterializeResult(
            metadata={
                "source": source.kind,
                "labels_in": report.labels_in,
                "labels_accepted": report.labels,
                "labels_quarantined": report.labels_quarantined,
                "labels_duplicate": report.labels_duplicate,
                "labels_served": report.labels_served,
                "delivered_to_ledger": report.labels_delivered,
                "frauds": int(known["is_fraud"].sum()),
                "by_source": {
                    str(name): int(count) for name, count in known["source"].value_counts().items()
                },
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=NO_LABELS_LOST,
                    passed=report.labels_lost == 0,
                    metadata={"labels_in": report.labels_in, "labels_lost": report.labels_lost},
                )
            ],
        )

    return labels


def ingest_label_days(
    source: Source | None,
    fraud_type: FraudType,
    lake: Lake,
    pool: ConnectionPool,
    protection: FieldProtection,
    ingest_id: str,
    now: dt.datetime,
    days: list[dt.date],
) -> IngestReport:
    """Replace days of the label log.

    Without a source, what is there goes to the ledger, and what the service was told is added.
    """
    with open_ledger_labels(pool, fraud_type) as ledger, lake.writing(fraud_type):
        if source is None:
            labels = lake.labels(fraud_type, days[0], days[-1])
            delivery = ledger.deliver(labels, "lake")
            served = ledger.served(days[0], days[-1])
            add_served_labels(lake, fraud_type, served, labels[delivery.is_kept], days)
            return IngestReport(
                labels_in=len(labels),
                labels=len(labels),
                labels_delivered=int(delivery.is_news.sum()),
                labels_served=len(served),
            )
        keep = into_ledger(pool.url, fraud_type, ingest_id, protection)
        return replace_labels(source, fraud_type, lake, keep, now, days, ledger)

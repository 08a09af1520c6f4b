"""Review: is the champion still good, and what did the service decide?"""

import datetime as dt

import dagster as dg

from fraud.domain.fraud_type import FraudType
from fraud.settings import Settings
from orchestration.assets.naming import (
    DEPLOYED_BUNDLE,
    PERFORMANCE_REVIEW,
    TRAINING_FRAME,
    Materialized,
    asset_key,
)
from orchestration.assets.pictures import numbers, table
from orchestration.resources import LakeResource, LedgerResource
from orchestration.review import decisions_since, quality_by_week
from orchestration.serving import serving_model

REVIEW_DAYS = 28


def performance_review_asset(fraud_type: FraudType) -> dg.AssetsDefinition:
    """How the serving champion did on matured weeks, and what the service decided."""

    @dg.asset(
        key=asset_key(fraud_type, PERFORMANCE_REVIEW),
        deps=[asset_key(fraud_type, name) for name in (TRAINING_FRAME, DEPLOYED_BUNDLE)],
        group_name="monitoring",
        kinds={"postgres"},
        description=(
            "**How well the serving champion ranks the latest weeks whose truth is known, and "
            f"what the service decided in the last {REVIEW_DAYS} days.**\n\n"
            f"A week counts once it is {fraud_type.maturity} old: before that, no label does not "
            "mean no fraud."
        ),
    )
    def performance_review(
        lake: LakeResource, ledger: LedgerResource, settings: dg.ResourceParam[Settings]
    ) -> Materialized:
        store, since = (
            lake.frames(fraud_type),
            dt.datetime.now(dt.UTC) - dt.timedelta(days=REVIEW_DAYS),
        )
        with ledger.pool() as pool:
            model = serving_model(pool, settings, fraud_type)
            decided = decisions_since(pool, fraud_type, since)
        weeks = quality_by_week(
            store.frame(), store.labels(), store.info(), model, fraud_type, REVIEW_DAYS // 7
        )
        latest = weeks[-1].metrics if weeks else {}
        return dg.MaterializeResult(
            metadata={
                **numbers(latest),
                "weeks": table(
                    ["week from", "events", "frauds", *latest],
                    [
                        [week.start, week.events, week.frauds, *week.metrics.values()]
                        for week in weeks
                    ],
                ),
                "decisions": table(
                    ["action", "decisions", "known frauds"],
                    [[action, count, frauds] for action, count, frauds in decided],
                ),
                "model_version": model.version,
            }
        )

    return performance_review

"""What runs when: the whole loop, daily ingest, monthly retraining, weekly review, reports."""

import datetime as dt
from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from fraud.domain.fraud_type import FraudType
from orchestration.assets.naming import (
    DRIFT_REPORT,
    LABELS,
    LIVE_GATES,
    LIVE_QUALITY_ASSET,
    ONLINE_STATE,
    PATTERNS_ASSET,
    PERFORMANCE_REVIEW,
    TRAINING_FRAME,
    TRANSACTIONS,
    asset_key,
)
from orchestration.assets.platform import (
    AUDIT_CHECK_KEY,
    CAPACITY_KEY,
    COMPLIANCE_KEY,
    ERASURES_KEY,
)

INGEST_AT = "30 0 * * *"
RETRAIN_AT = "0 3 1 * *"
REVIEW_AT = "0 6 * * 1"
AUDIT_CHECK_AT = "0 4 * * *"
ERASURES_AT = "0 2 * * *"
CAPACITY_AT = "0 7 * * 1"
COMPLIANCE_AT = "0 8 1 1,4,7,10 *"
"""Cron expressions, UTC: after midnight, on the first of the month, on Monday, each night twice,
on Monday, on the first day of a quarter."""


def pipeline_job_name(fraud_type: FraudType) -> str:
    """The job that runs the whole loop."""
    return f"{fraud_type.name}_pipeline"


def jobs(fraud_type: FraudType) -> dict[str, UnresolvedAssetJobDefinition]:
    """The jobs of a fraud type by what they are for.

    All run in one process: the imports of a step's own process cost more than most steps.
    """
    everything = dg.AssetSelection.key_prefixes(fraud_type.name)
    daily = dg.AssetSelection.assets(
        *(asset_key(fraud_type, name) for name in (TRANSACTIONS, LABELS))
    )
    live = (DRIFT_REPORT, LIVE_QUALITY_ASSET)
    reviewed = (*live, PATTERNS_ASSET, PERFORMANCE_REVIEW)
    review = dg.AssetSelection.assets(*(asset_key(fraud_type, name) for name in reviewed))
    monitoring = dg.AssetSelection.assets(*(asset_key(fraud_type, name) for name in live))
    quality = dg.AssetSelection.assets(asset_key(fraud_type, LIVE_QUALITY_ASSET))
    gates = dg.AssetSelection.assets(asset_key(fraud_type, LIVE_GATES))
    frame = dg.AssetSelection.assets(asset_key(fraud_type, TRAINING_FRAME))
    state = dg.AssetSelection.assets(asset_key(fraud_type, ONLINE_STATE))
    executor = dg.in_process_executor
    title = fraud_type.title
    return {
        "pipeline": dg.define_asset_job(
            pipeline_job_name(fraud_type),
            everything - gates,
            description=f"{title}: the whole loop, from the source to a served model and its "
            "first drift report.",
            executor_def=executor,
        ),
        "daily_ingest": dg.define_asset_job(
            f"{fraud_type.name}_daily_ingest",
            daily | state,
            description=f"{title}: one day of transactions and labels into the log, and the "
            "online state brought up to it.",
            executor_def=executor,
        ),
        "retraining": dg.define_asset_job(
            f"{fraud_type.name}_retraining",
            everything - daily - state - review - gates,
            description=f"{title}: frame, candidates, champion and deployment on the log as it "
            "is now.",
            executor_def=executor,
        ),
        "promotion": dg.define_asset_job(
            f"{fraud_type.name}_promotion",
            gates,
            description=f"{title}: hold who challenges against the live gates, and act on it.",
            executor_def=executor,
        ),
        "review": dg.define_asset_job(
            f"{fraud_type.name}_weekly_review",
            frame | review,
            description=f"{title}: has the world moved, is the champion still good, and what "
            "does it miss?",
            executor_def=executor,
        ),
        "monitoring": dg.define_asset_job(
            f"{fraud_type.name}_monitoring",
            monitoring,
            description=f"{title}: drift of what is served, and live quality.",
            executor_def=executor,
        ),
        "live_quality": dg.define_asset_job(
            f"{fraud_type.name}_live_quality",
            quality,
            description=f"{title}: how decisions turned out whose labels matured.",
            executor_def=executor,
        ),
    }


def platform_schedules() -> Sequence[dg.ScheduleDefinition]:
    """What runs for all fraud types together, with its jobs."""
    return tuple(
        dg.ScheduleDefinition(
            name=f"{key.path[-1]}_schedule",
            job=dg.define_asset_job(
                f"platform_{key.path[-1]}",
                dg.AssetSelection.assets(*also, key),
                executor_def=dg.in_process_executor,
            ),
            cron_schedule=at,
            description=description,
        )
        for key, also, at, description in (
            (AUDIT_CHECK_KEY, (), AUDIT_CHECK_AT, "Every night."),
            (ERASURES_KEY, (), ERASURES_AT, "Every night."),
            (CAPACITY_KEY, (), CAPACITY_AT, "Every Monday."),
            (COMPLIANCE_KEY, (AUDIT_CHECK_KEY,), COMPLIANCE_AT, "Every quarter."),
        )
    )


def schedules(
    fraud_type: FraudType, of_type: dict[str, UnresolvedAssetJobDefinition]
) -> Sequence[dg.ScheduleDefinition]:
    """When the jobs run; all are switched off until somebody switches them on in the UI."""
    return (
        dg.ScheduleDefinition(
            name=f"{fraud_type.name}_daily_ingest_schedule",
            job=of_type["daily_ingest"],
            cron_schedule=INGEST_AT,
            execution_fn=_for_yesterday,
            description="Every night, the day that has just ended.",
        ),
        dg.ScheduleDefinition(
            name=f"{fraud_type.name}_monthly_retraining_schedule",
            job=of_type["retraining"],
            cron_schedule=RETRAIN_AT,
            description="On the first of every month.",
        ),
        dg.ScheduleDefinition(
            name=f"{fraud_type.name}_weekly_review_schedule",
            job=of_type["review"],
            cron_schedule=REVIEW_AT,
            description="Every Monday morning.",
        ),
    )


def _for_yesterday(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    yesterday = (context.scheduled_execution_time - dt.timedelta(days=1)).date().isoformat()
    return dg.RunRequest(run_key=yesterday, partition_key=yesterday)

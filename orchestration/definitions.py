"""Everything Dagster knows: `dagster ... -m orchestration.definitions`."""

import datetime as dt
import warnings
from collections.abc import Mapping

import dagster as dg

from fraud.domain.fraud_type import FraudType
from fraud.security.masking import install_masking
from fraud.settings import Settings, load_settings
from fraud.types.registry import fraud_types
from orchestration.assets.deploy import (
    deployed_bundle_asset,
    packages_check,
    schema_check,
)
from orchestration.assets.evaluate import champion_asset
from orchestration.assets.features import online_state_asset, training_frame_asset
from orchestration.assets.ingest import transactions_asset
from orchestration.assets.labels import labels_asset
from orchestration.assets.live_quality import live_quality_asset
from orchestration.assets.monitor import drift_report_asset
from orchestration.assets.patterns import fraud_patterns_asset
from orchestration.assets.platform import (
    audit_check,
    capacity_report,
    compliance_report,
    erasures,
)
from orchestration.assets.promote import live_gates_asset, live_gates_sensor
from orchestration.assets.review import performance_review_asset
from orchestration.assets.train import candidate_assets
from orchestration.automation import jobs, platform_schedules, schedules
from orchestration.history import partitions_start
from orchestration.partitions import daily_partitions
from orchestration.resources import (
    LakeResource,
    LedgerResource,
    MlflowResource,
    SourceResource,
)
from orchestration.sensors import failure_sensor, sensors


@dg.definitions
def platform() -> dg.Definitions:
    """The definitions that Dagster's own processes load."""
    install_masking()
    return build_definitions(load_settings(), dt.datetime.now(dt.UTC).date())


def build_definitions(
    settings: Settings,
    today: dt.date,
    *,
    types: Mapping[str, FraudType] | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
) -> dg.Definitions:
    """Assets, checks, jobs, schedules and sensors of all fraud types.

    Args:
        settings: the configuration.
        today: fixes where the history begins, if nothing has yet.
        types: the fraud types by name; all declared ones if None.
        loggers: what runs write their logs to; Dagster's own if None.
    """
    with warnings.catch_warnings():
        # Single-run backfills are beta in Dagster 1.13; orchestration/partitions.py needs them.
        warnings.simplefilter("ignore", dg.BetaWarning)
        parts = [
            type_definitions(fraud_type, settings, today)
            for fraud_type in (fraud_types() if types is None else types).values()
        ]
    shared = dg.Definitions(
        assets=[audit_check, erasures, capacity_report, compliance_report],
        schedules=list(platform_schedules()),
        sensors=[failure_sensor()],
        resources=resources(settings),
        loggers=dict(loggers or {}),
    )
    return dg.Definitions.merge(shared, *parts)


def type_definitions(fraud_type: FraudType, settings: Settings, today: dt.date) -> dg.Definitions:
    """What belongs to one fraud type."""
    partitions = daily_partitions(partitions_start(settings, fraud_type, today))
    of_type = jobs(fraud_type)
    return dg.Definitions(
        assets=[
            transactions_asset(fraud_type, partitions),
            labels_asset(fraud_type, partitions),
            training_frame_asset(fraud_type),
            online_state_asset(fraud_type),
            *candidate_assets(fraud_type),
            champion_asset(fraud_type),
            deployed_bundle_asset(fraud_type),
            live_gates_asset(fraud_type),
            drift_report_asset(fraud_type),
            performance_review_asset(fraud_type),
            live_quality_asset(fraud_type),
            fraud_patterns_asset(fraud_type),
        ],
        asset_checks=[schema_check(fraud_type), packages_check(fraud_type)],
        jobs=list(of_type.values()),
        schedules=list(schedules(fraud_type, of_type)),
        sensors=[*sensors(fraud_type, of_type), live_gates_sensor(fraud_type)],
    )


def resources(settings: Settings) -> dict[str, object]:
    """What assets work with, none of it opened yet."""
    return {
        "settings": settings,
        "lake": LakeResource(url=settings.lake_url),
        "ledger": LedgerResource(settings=settings),
        "mlflow_server": MlflowResource(tracking_uri=settings.mlflow_tracking_uri),
        "source": SourceResource(settings=settings, kind=settings.source),
    }

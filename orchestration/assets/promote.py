"""Promotion: live gates of who challenges, and the sensor that acts on them within a minute."""

import dagster as dg

from fraud.domain.errors import FraudError
from fraud.domain.fraud_type import FraudType
from fraud.settings import Settings
from orchestration.assets.naming import DEPLOYED_BUNDLE, LIVE_GATES, Materialized, asset_key
from orchestration.assets.verdicts import gates_table
from orchestration.promotion.check import Finding, check_deployments
from orchestration.promotion.office import open_office

ACTOR = "dagster"
EVERY_S = 30


def live_gates_asset(fraud_type: FraudType) -> dg.AssetsDefinition:
    """What the live gates say of who challenges, or of a new champion."""

    @dg.asset(
        key=asset_key(fraud_type, LIVE_GATES),
        deps=[asset_key(fraud_type, DEPLOYED_BUNDLE)],
        group_name="deployment",
        kinds={"postgres"},
        description=(
            "**A model that challenges the champion, or has just become it, held against the live "
            "gates of `mlflow/gates.yaml`.**\n\nOne that fails is rolled back; one that has passed "
            "its stage for long enough goes to the next. The sensor beside this asset does the "
            "same every half minute."
        ),
    )
    def live_gates(settings: dg.ResourceParam[Settings]) -> Materialized:
        with open_office(settings, ACTOR) as office:
            finding = check_deployments(office, fraud_type)
        return dg.MaterializeResult(metadata=told(finding))

    return live_gates


def live_gates_sensor(fraud_type: FraudType) -> dg.SensorDefinition:
    """Checks every half minute, and records what it did as the asset's materialisation."""

    @dg.sensor(
        name=f"{fraud_type.name}_live_gates_sensor",
        asset_selection=dg.AssetSelection.assets(asset_key(fraud_type, LIVE_GATES)),
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"{fraud_type.title}: rolls a model back that fails its live gates, and takes "
        "one further that has passed them.",
    )
    def live_gates(settings: dg.ResourceParam[Settings]) -> dg.SensorResult | dg.SkipReason:
        try:
            with open_office(settings, ACTOR) as office:
                finding = check_deployments(office, fraud_type)
        except FraudError as error:
            return dg.SkipReason(str(error))
        if finding.action in ("none", "asked"):
            return dg.SkipReason(finding.sentence)
        key = asset_key(fraud_type, LIVE_GATES)
        event = dg.AssetMaterialization(asset_key=key, metadata=told(finding))
        return dg.SensorResult(asset_events=[event])

    return live_gates


def told(finding: Finding) -> dict[str, dg.MetadataValue]:
    """A finding as metadata."""
    return {
        "action": dg.MetadataValue.text(finding.action),
        "model_version": dg.MetadataValue.text(finding.model_version or "none"),
        "stage": dg.MetadataValue.text(finding.stage or "none"),
        "what": dg.MetadataValue.text(finding.sentence),
        "gates": gates_table(finding.gates),
    }

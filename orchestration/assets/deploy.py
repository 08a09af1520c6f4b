"""Deployment: the champion as a signed bundle, and the record of when it began to serve."""

import datetime as dt
import hashlib

import dagster as dg
from psycopg2.extensions import cursor as Cursor

from bentos.scoring.bundle import MANIFEST_FILE
from fraud.catalogue import definition_of, differences, schema_of
from fraud.domain.deployment import Deployment
from fraud.domain.errors import FraudError
from fraud.domain.event import to_us
from fraud.domain.fraud_type import FraudType
from fraud.known_schemas import served_schema
from fraud.ledger.deployments import current_deployment, record_deployment
from fraud.ledger.models import record_feature_schema
from fraud.ledger.pool import ConnectionPool
from fraud.settings import Settings
from orchestration.assets.naming import (
    CHAMPION,
    DEPLOYED_BUNDLE,
    ONLINE_STATE,
    Materialized,
    asset_key,
)
from orchestration.resources import LedgerResource
from orchestration.serving import deployed_bundle as read_deployed
from orchestration.training.release import release
from orchestration.workbench import CandidateRun, Decision, Workbench

SCHEMA_IS_CURRENT = "served_schema_is_current"
PROMOTED_BY = "pipeline"


def deployed_bundle_asset(fraud_type: FraudType) -> dg.AssetsDefinition:
    """The bundle that serves."""

    @dg.asset(
        key=asset_key(fraud_type, DEPLOYED_BUNDLE),
        deps=[asset_key(fraud_type, CHAMPION), asset_key(fraud_type, ONLINE_STATE)],
        group_name="deployment",
        kinds={"onnx", "bentoml"},
        description=(
            "**The model that answers `/predict`: an ONNX graph and a manifest, signed.**\n\n"
            "A row in the ledger's `deployments` says since when. The service finds it within "
            "seconds, verifies it, and takes over without dropping a request; a bundle that does "
            "not verify is refused, and the one before keeps serving. Where the champion rule "
            "promoted nothing, nothing changes."
        ),
    )
    def deployed_bundle(
        ledger: LedgerResource, settings: dg.ResourceParam[Settings]
    ) -> Materialized:
        bench = Workbench(settings, fraud_type)
        decision, now = bench.take_decision(), dt.datetime.now(dt.UTC)
        with ledger.pool() as pool:
            if decision.manifest is None or not decision.verdict.is_promoted:
                return dg.MaterializeResult(metadata=unchanged(pool, fraud_type))
            run = bench.take(decision.verdict.winner)
            deployment = deploy(pool, settings, fraud_type, run, decision, now)
        return dg.MaterializeResult(
            metadata={
                "changed": True,
                "model_version": deployment.model_version,
                "bundle": dg.MetadataValue.path(settings.bundle_dir / deployment.bundle_path),
                "bundle_digest": deployment.bundle_digest,
                "reason": deployment.reason,
                "manifest": dg.MetadataValue.json(decision.manifest.model_dump(mode="json")),
            },
            data_version=dg.DataVersion(deployment.bundle_digest),
        )

    return deployed_bundle


def schema_check(fraud_type: FraudType) -> dg.AssetChecksDefinition:
    """A check that can run at any time: does the service compute what its model was taught?"""

    @dg.asset_check(
        name=SCHEMA_IS_CURRENT,
        asset=asset_key(fraud_type, DEPLOYED_BUNDLE),
        description="The features the served model was trained on are those of the running code, "
        "and its signature and digest hold.",
    )
    def served_schema_is_current(
        ledger: LedgerResource, settings: dg.ResourceParam[Settings]
    ) -> dg.AssetCheckResult:
        with ledger.pool() as pool, pool.transaction() as cursor:
            return schema_result(cursor, fraud_type, settings)

    return served_schema_is_current


def schema_result(cursor: Cursor, fraud_type: FraudType, settings: Settings) -> dg.AssetCheckResult:
    """Whether what serves can be served by the running code, and how it differs if not."""
    deployment = current_deployment(cursor, fraud_type.name)
    if deployment is None:
        return dg.AssetCheckResult(passed=False, description="Nothing was ever deployed.")
    metadata = {"model_version": deployment.model_version, "running_schema": fraud_type.schema_hash}
    try:
        trained = served_schema(cursor, fraud_type, settings)
        metadata["trained_schema"] = trained.schema_hash
        metadata["differences"] = "\n".join(differences(trained, schema_of(fraud_type)))
        digest = read_deployed(deployment, settings, fraud_type).digest
    except FraudError as error:
        return dg.AssetCheckResult(passed=False, description=str(error), metadata=metadata)
    return dg.AssetCheckResult(passed=digest == deployment.bundle_digest, metadata=metadata)


def deploy(
    pool: ConnectionPool,
    settings: Settings,
    fraud_type: FraudType,
    run: CandidateRun,
    decision: Decision,
    now: dt.datetime,
) -> Deployment:
    """Write the winner's bundle and record that it serves from now on."""
    manifest = decision.manifest
    assert manifest is not None
    folder = settings.bundle_dir / fraud_type.name
    place = release(folder, run.candidate, manifest, settings.signing_key_pem)
    digest = hashlib.sha256((place / MANIFEST_FILE).read_bytes()).hexdigest()
    deployment = Deployment(
        fraud_type=fraud_type.name,
        model_version=manifest.model_version,
        bundle_path=str(place.relative_to(settings.bundle_dir)),
        bundle_digest=digest,
        promoted_by=PROMOTED_BY,
        reason=" ".join(decision.verdict.reasons),
        promoted_at_us=to_us(now),
        mlflow_run_id=run.run_id,
    )
    with pool.transaction() as cursor:
        record_feature_schema(
            cursor,
            fraud_type.schema_hash,
            fraud_type.name,
            fraud_type.feature_names,
            definition_of(fraud_type),
        )
        serving = current_deployment(cursor, fraud_type.name)
        if serving is None or serving.bundle_digest != digest:
            record_deployment(cursor, deployment)
    return deployment


def unchanged(pool: ConnectionPool, fraud_type: FraudType) -> dict[str, str | bool]:
    """What to say where nothing was promoted."""
    with pool.transaction() as cursor:
        serving = current_deployment(cursor, fraud_type.name)
    return {"changed": False, "model_version": serving.model_version if serving else "none"}

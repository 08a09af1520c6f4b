"""Deployment: the champion as a signed bundle, and the record of when it began to serve."""

import dagster as dg
from psycopg2.extensions import cursor as Cursor

from fraud.catalogue import definition_of, differences, schema_of
from fraud.domain.deployment import Deployment
from fraud.domain.errors import FraudError
from fraud.domain.event import to_us
from fraud.domain.fraud_type import FraudType
from fraud.known_schemas import served_schema
from fraud.ledger.deployments import current_deployment
from fraud.ledger.models import record_feature_schema
from fraud.ledger.pool import ConnectionPool
from fraud.run.model_bento import build_model_bento
from fraud.settings import Settings
from orchestration.assets.naming import (
    CHAMPION,
    DEPLOYED_BUNDLE,
    ONLINE_STATE,
    Materialized,
    asset_key,
)
from orchestration.promotion.moves import bring_in
from orchestration.promotion.office import open_office
from orchestration.promotion.packaging import disagreements
from orchestration.resources import LedgerResource
from orchestration.serving import deployed_bundle as read_deployed
from orchestration.training.release import release
from orchestration.workbench import CandidateRun, Decision, Workbench

PACKAGES_AGREE = "packages_agree"
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
            "**A model that passed the offline gates, as a signed bundle, in service.**\n\n"
            "The first one answers `/predict` at once. Later ones challenge it: in shadow, as a "
            "canary, then as champion (docs/promotion.md). Rows in the ledger's `deployments` say "
            "since when. The service finds them within a second and verifies them; a bundle that "
            "does not verify takes part in nothing. Where no model passed, nothing changes."
        ),
    )
    def deployed_bundle(
        ledger: LedgerResource, settings: dg.ResourceParam[Settings]
    ) -> Materialized:
        bench = Workbench(settings, fraud_type)
        decision = bench.take_decision()
        with ledger.pool() as pool:
            if decision.manifest is None or not decision.verdict.is_promoted:
                return dg.MaterializeResult(metadata=unchanged(pool, fraud_type))
            run = bench.take(decision.verdict.winner)
            model = released(settings, fraud_type, run, decision)
            with pool.transaction() as cursor:
                record_feature_schema(
                    cursor,
                    fraud_type.schema_hash,
                    fraud_type.name,
                    fraud_type.feature_names,
                    definition_of(fraud_type),
                )
        bento = build_model_bento(settings, model)
        with open_office(settings, PROMOTED_BY) as office:
            outcome = bring_in(office, model, decision.verdict.gates)
        return dg.MaterializeResult(
            metadata={
                "changed": outcome is not None,
                "stage": outcome.sentence if outcome else "It serves or challenges already.",
                "model_version": model.model_version,
                "bundle": dg.MetadataValue.path(settings.bundle_dir / model.bundle_path),
                "bundle_digest": model.bundle_digest,
                "bento": bento,
                "reason": model.reason,
                "manifest": dg.MetadataValue.json(decision.manifest.model_dump(mode="json")),
            },
            data_version=dg.DataVersion(model.bundle_digest),
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


def packages_check(fraud_type: FraudType) -> dg.AssetChecksDefinition:
    """A check that can run at any time: do Bentos and registry speak of what the ledger names?"""

    @dg.asset_check(
        name=PACKAGES_AGREE,
        asset=asset_key(fraud_type, DEPLOYED_BUNDLE),
        description="Ledger, bundles, Bentos and MLflow's registry name the same models in "
        "service, by version and digest.",
    )
    def packages_agree(
        ledger: LedgerResource, settings: dg.ResourceParam[Settings]
    ) -> dg.AssetCheckResult:
        with ledger.pool() as pool:
            found = disagreements(pool, settings, fraud_type.name)
        return dg.AssetCheckResult(passed=not found, description=" ".join(found))

    return packages_agree


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


def released(
    settings: Settings, fraud_type: FraudType, run: CandidateRun, decision: Decision
) -> Deployment:
    """The winner's bundle, written and signed; not yet in service."""
    manifest = decision.manifest
    assert manifest is not None
    folder = settings.bundle_dir / fraud_type.name
    place = release(folder, run.candidate, manifest, settings.signing_key_pem)
    return Deployment(
        fraud_type=fraud_type.name,
        model_version=manifest.model_version,
        bundle_path=str(place.relative_to(settings.bundle_dir)),
        bundle_digest=manifest.digest,
        promoted_by=PROMOTED_BY,
        reason=" ".join(decision.verdict.reasons),
        promoted_at_us=to_us(manifest.trained_at),
        mlflow_run_id=run.run_id,
    )


def unchanged(pool: ConnectionPool, fraud_type: FraudType) -> dict[str, str | bool]:
    """What to say where nothing was promoted."""
    with pool.transaction() as cursor:
        serving = current_deployment(cursor, fraud_type.name)
    return {"changed": False, "model_version": serving.model_version if serving else "none"}

"""The champion: candidates held against each other and against what serves now."""

import dagster as dg

from fraud.domain.fraud_type import FraudType
from fraud.ledger.models import record_performance
from fraud.settings import Settings
from orchestration.assets.naming import CHAMPION, Materialized, asset_key
from orchestration.assets.train import ONNX_PARITY, split_of
from orchestration.assets.verdicts import (
    SCORES_SANE,
    compared,
    gates_table,
    held_back,
    parity_result,
    scores_result,
)
from orchestration.decision import decision_of, performances
from orchestration.promotion.gates import load_gates
from orchestration.promotion.offline_gates import Evidence, offline_gates
from orchestration.promotion.skew import measured_skew
from orchestration.resources import LakeResource, LedgerResource, MlflowResource
from orchestration.serving import running_model
from orchestration.training.candidates import CANDIDATES
from orchestration.training.tracking import register_model
from orchestration.training.verdict import choose, judged
from orchestration.workbench import Workbench


def champion_asset(fraud_type: FraudType) -> dg.AssetsDefinition:
    """The best candidate, and whether it may replace the running champion."""
    key = asset_key(fraud_type, CHAMPION)

    @dg.asset(
        key=key,
        deps=[asset_key(fraud_type, name) for name in CANDIDATES],
        group_name="evaluation",
        kinds={"mlflow"},
        description=(
            "**The candidate with the highest average precision on the validation days, if it "
            "passes the offline gates of `mlflow/gates.yaml`.**\n\nIt is registered in MLflow; "
            "every candidate gets a row in the ledger's `model_performance`."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                ONNX_PARITY,
                asset=key,
                blocking=True,
                description="The champion's graph answers what its model answered; a graph that "
                "does not is never deployed.",
            ),
            dg.AssetCheckSpec(
                SCORES_SANE,
                asset=key,
                blocking=True,
                description="Scores on the test days are spread out, and promise about as much "
                "fraud as there was.",
            ),
        ],
    )
    def champion(
        lake: LakeResource,
        ledger: LedgerResource,
        mlflow_server: MlflowResource,
        settings: dg.ResourceParam[Settings],
    ) -> Materialized:
        bench = Workbench(settings, fraud_type)
        runs = {name: bench.take(name) for name in CANDIDATES}
        split = split_of(lake.frames(fraud_type), fraud_type)
        with ledger.pool() as pool:
            verdict = choose([run.candidate for run in runs.values()])
            decision = decision_of(verdict, runs, split, fraud_type)
            if decision.manifest is not None:
                limits = load_gates(settings, fraud_type.name).offline
                evidence = Evidence(
                    candidate=runs[verdict.winner].candidate,
                    manifest=decision.manifest,
                    card=decision.card,
                    test=split.test,
                    running=running_model(pool, settings, fraud_type),
                    skew=measured_skew(pool, lake.open(), fraud_type, limits.skew_decisions),
                )
                version = evidence.running.version if evidence.running else ""
                verdict = judged(verdict, offline_gates(evidence, limits), version)
            checks = [
                parity_result(runs, verdict),
                scores_result(runs, verdict, decision.manifest, split.test),
            ]
            verdict = held_back(verdict, checks)
            decision = decision_of(verdict, runs, split, fraud_type)  # its card says so as well
            bench.put_decision(decision)
            with pool.transaction() as cursor:
                record_performance(cursor, performances(runs, decision.manifest, fraud_type))
        if decision.manifest is not None and verdict.is_promoted:
            register_model(
                runs[verdict.winner].run_id,
                decision.manifest,
                decision.card,
                fraud_type,
                tracking_uri=mlflow_server.tracking_uri,
            )
        return dg.MaterializeResult(
            metadata={
                "winner": verdict.winner or "none",
                "is_promoted": verdict.is_promoted,
                "reasons": dg.MetadataValue.md("\n".join(f"- {line}" for line in verdict.reasons)),
                "gates": gates_table(verdict.gates),
                "candidates": compared(list(runs.values()), verdict.winner),
                "model_card": dg.MetadataValue.md(decision.card),
                "model_version": decision.manifest.model_version if decision.manifest else "none",
            },
            check_results=checks,
        )

    return champion

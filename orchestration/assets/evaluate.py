"""The champion: candidates held against each other and against what serves now."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import numpy as np

from bentos.scoring.bundle import Bundle, read_bundle
from bentos.scoring.manifest import Manifest
from bentos.scoring.model import ScoringModel
from fraud.domain.errors import BundleError
from fraud.domain.event import to_us
from fraud.domain.fraud_type import FraudType
from fraud.ledger.models import Deployment, ModelPerformance, current_deployment, record_performance
from fraud.ledger.pool import ConnectionPool
from fraud.settings import Settings
from orchestration.assets.naming import CHAMPION, Materialized, asset_key
from orchestration.assets.pictures import table
from orchestration.assets.train import ONNX_PARITY, SHOWN, split_of
from orchestration.resources import LakeResource, LedgerResource, MlflowResource
from orchestration.training.candidates import CANDIDATES
from orchestration.training.model_card import model_card
from orchestration.training.promotion import Verdict, decide
from orchestration.training.provenance import git_commit
from orchestration.training.release import manifest_of
from orchestration.training.split import Sample, Split
from orchestration.training.tracking import register_champion
from orchestration.workbench import CandidateRun, Decision, Workbench

SCORES_SANE = "scores_sane"
MOST_BIAS = 3.0
"""How many times more, or less, fraud than there was the mean score may promise."""


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
            "beats chance on the test days and does not fall behind the champion that serves "
            "now.**\n\nIt is registered in MLflow with the alias `champion`; every candidate "
            "gets a row in the ledger's `model_performance`."
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
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        ledger: LedgerResource,
        mlflow_server: MlflowResource,
        settings: dg.ResourceParam[Settings],
    ) -> Materialized:
        bench = Workbench(settings, fraud_type)
        runs = {name: bench.take(name) for name in CANDIDATES}
        split = split_of(lake.frames(fraud_type), fraud_type)
        with ledger.pool() as pool:
            running = running_model(pool, settings, fraud_type, context)
            candidates = [run.candidate for run in runs.values()]
            verdict = decide(candidates, split.test, running)
            decision = decision_of(verdict, runs, split, fraud_type)
            bench.put_decision(decision)
            with pool.transaction() as cursor:
                record_performance(cursor, performances(runs, decision.manifest, fraud_type))
        if decision.manifest is not None and verdict.is_promoted:
            register_champion(
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
                "candidates": compared(list(runs.values()), verdict.winner),
                "model_card": dg.MetadataValue.md(decision.card),
                "model_version": decision.manifest.model_version if decision.manifest else "none",
            },
            check_results=[
                parity_result(runs, verdict),
                scores_result(runs, verdict, decision.manifest, split.test),
            ],
        )

    return champion


def running_model(
    pool: ConnectionPool,
    settings: Settings,
    fraud_type: FraudType,
    context: dg.AssetExecutionContext,
) -> ScoringModel | None:
    """The champion that serves now, if its features are still those of the running code."""
    with pool.transaction() as cursor:
        deployment = current_deployment(cursor, fraud_type.name)
    if deployment is None:
        return None
    try:
        return ScoringModel(deployed_bundle(deployment, settings, fraud_type))
    except BundleError as error:
        context.log.warning(f"The running champion cannot be compared: {error}")
        return None


def deployed_bundle(deployment: Deployment, settings: Settings, fraud_type: FraudType) -> Bundle:
    """The bundle of a deployment.

    Raises:
        BundleError: it is damaged, or was built for other features.
    """
    folder = settings.bundle_dir / deployment.bundle_path
    return read_bundle(folder, settings.verify_key_pem, fraud_type)


def decision_of(
    verdict: Verdict, runs: dict[str, CandidateRun], split: Split, fraud_type: FraudType
) -> Decision:
    """The verdict with the winner's manifest and model card."""
    if not verdict.winner:
        return Decision(verdict, None, "No candidate may be promoted.")
    run = runs[verdict.winner]
    manifest = manifest_of(
        run.candidate,
        split,
        fraud_type,
        trained_at=run.trained_at,
        git_commit=git_commit(Path(__file__).parent),
        mlflow_run_id=run.run_id,
    )
    others = [each.candidate for each in runs.values()]
    return Decision(
        verdict, manifest, model_card(run.candidate, manifest, fraud_type, others, verdict)
    )


def performances(
    runs: dict[str, CandidateRun], manifest: Manifest | None, fraud_type: FraudType
) -> list[ModelPerformance]:
    """One row per candidate for the ledger, from the test days."""
    return [
        ModelPerformance(
            model_type=name,
            fraud_type=fraud_type.name,
            accuracy=run.candidate.metrics["test"]["accuracy"],
            roc_auc=run.candidate.metrics["test"]["roc_auc"],
            training_date_us=to_us(run.trained_at),
            model_version=(
                manifest.model_version if manifest and manifest.model_kind == name else None
            ),
            mlflow_run_id=run.run_id,
            metrics=run.candidate.metrics["test"],
        )
        for name, run in runs.items()
    ]


def compared(runs: Sequence[CandidateRun], winner: str) -> dg.MarkdownMetadataValue:
    """The candidates' metrics on the test days, side by side."""
    names = [name for name in SHOWN if name in runs[0].candidate.metrics["test"]]
    rows = [
        [
            f"**{run.candidate.title}**" if run.candidate.name == winner else run.candidate.title,
            run.candidate.metrics["validation"]["average_precision"],
            *(run.candidate.metrics["test"][name] for name in names),
        ]
        for run in runs
    ]
    header = ["candidate", "validation AP", *(name.replace("_", " ") for name in names)]
    return table(header, rows)


def parity_result(runs: dict[str, CandidateRun], verdict: Verdict) -> dg.AssetCheckResult:
    """Whether there is a winner whose graph is sound."""
    if not verdict.winner:
        return dg.AssetCheckResult(
            check_name=ONNX_PARITY,
            passed=False,
            description="No candidate's graph answers what its model answers.",
        )
    parity = runs[verdict.winner].candidate.parity
    return dg.AssetCheckResult(
        check_name=ONNX_PARITY,
        passed=parity.is_equal,
        metadata={
            "rows": parity.rows,
            "max_difference": parity.max_difference,
            "tolerance": parity.tolerance,
        },
    )


def scores_result(
    runs: dict[str, CandidateRun], verdict: Verdict, manifest: Manifest | None, test: Sample
) -> dg.AssetCheckResult:
    """Whether the winner's scores on the test days are believable."""
    if manifest is None:
        return dg.AssetCheckResult(check_name=SCORES_SANE, passed=False)
    graph = runs[verdict.winner].candidate.onnx_bytes
    scores = ScoringModel(Bundle(manifest, graph, "")).probabilities(test.features)
    share = float(test.is_fraud.mean())
    promised = float(scores.mean()) / max(share, 1e-9)
    quantiles = np.quantile(scores, [0.01, 0.5, 0.99, 1.0])
    return dg.AssetCheckResult(
        check_name=SCORES_SANE,
        passed=bool(1 / MOST_BIAS <= promised <= MOST_BIAS and np.ptp(scores) > 0),
        metadata={
            "mean_score": float(scores.mean()),
            "share_of_fraud": share,
            "quantiles": table(
                ["1 %", "median", "99 %", "highest"], [[float(each) for each in quantiles]]
            ),
        },
    )

"""What follows from the verdict on a set of candidates: manifest, model card, ledger rows."""

from pathlib import Path

from bentos.scoring.manifest import Manifest
from fraud.domain.event import to_us
from fraud.domain.fraud_type import FraudType
from fraud.ledger.models import ModelPerformance
from orchestration.training.model_card import model_card
from orchestration.training.provenance import git_commit
from orchestration.training.release import manifest_of
from orchestration.training.split import Split
from orchestration.training.verdict import Verdict
from orchestration.workbench import CandidateRun, Decision


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

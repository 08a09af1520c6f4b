"""What the champion asset says of its candidates, and whether their scores can be believed."""

from collections.abc import Sequence
from dataclasses import replace

import dagster as dg
import numpy as np

from bentos.scoring.bundle import Bundle
from bentos.scoring.manifest import Manifest
from bentos.scoring.model import ScoringModel
from orchestration.assets.pictures import table
from orchestration.assets.train import ONNX_PARITY, SHOWN
from orchestration.promotion.gates import GateResult
from orchestration.training.split import Sample
from orchestration.training.verdict import Verdict
from orchestration.workbench import CandidateRun

SCORES_SANE = "scores_sane"
MOST_BIAS = 3.0
"""How many times more, or less, fraud than there was the mean score may promise."""


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


def gates_table(gates: Sequence[GateResult]) -> dg.MarkdownMetadataValue:
    """What each gate said."""
    return table(
        ["gate", "passed", "value", "limit", "in words"],
        [
            [
                gate.gate,
                "yes" if gate.passed else "**no**",
                "-" if gate.value is None else gate.value,
                gate.limit,
                gate.sentence,
            ]
            for gate in gates
        ],
    )


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


def held_back(verdict: Verdict, checks: Sequence[dg.AssetCheckResult]) -> Verdict:
    """The verdict, but without a promotion where a check does not hold.

    A blocking check ends its own run only; a later one deploys what the verdict says.
    """
    failed = [str(check.check_name) for check in checks if not check.passed]
    if not failed or not verdict.is_promoted:
        return verdict
    reason = f"It is held back, because a check does not hold: {', '.join(failed)}."
    return replace(verdict, is_promoted=False, reasons=(*verdict.reasons, reason))

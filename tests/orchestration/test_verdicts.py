"""What becomes of a verdict when the checks on it do not hold."""

import dagster as dg

from orchestration.assets.verdicts import held_back
from orchestration.training.verdict import Verdict

PROMOTED = Verdict("xgboost", True, ("It won.",))


def checks(**passed: bool) -> list[dg.AssetCheckResult]:
    return [dg.AssetCheckResult(check_name=name, passed=each) for name, each in passed.items()]


def test_a_winner_that_fails_a_check_is_not_promoted() -> None:
    """Or deploying alone, later, would serve it, and MLflow would call it the champion."""
    held = held_back(PROMOTED, checks(onnx_parity=True, scores_sane=False))
    assert (held.winner, held.is_promoted) == ("xgboost", False)
    assert held.reasons == (
        "It won.",
        "It is held back, because a check does not hold: scores_sane.",
    )


def test_a_winner_that_passes_is_promoted_as_decided() -> None:
    assert held_back(PROMOTED, checks(onnx_parity=True, scores_sane=True)) is PROMOTED

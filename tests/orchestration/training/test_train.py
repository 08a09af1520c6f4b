"""A whole training on a small frame: four models, a verdict, a card, a signed bundle."""

import dataclasses
import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from bentos.scoring.bundle import Bundle, read_bundle
from bentos.scoring.model import ScoringModel
from bentos.scoring.signing import new_signing_keys
from fraud.domain.errors import ContractError
from fraud.domain.policy import Thresholds
from fraud.types.credit_card import CREDIT_CARD
from orchestration.promotion.gates import GateResult
from orchestration.training.candidates import CANDIDATES
from orchestration.training.export import ParityReport
from orchestration.training.model_card import model_card
from orchestration.training.release import manifest_of, release
from orchestration.training.split import Split
from orchestration.training.train import TrainedCandidate, train_candidate, train_candidates
from orchestration.training.verdict import choose, judged
from tests.orchestration.training.builders import a_split

TRAINED_AT = dt.datetime(2026, 3, 2, 4, 30, tzinfo=dt.UTC)
PRIVATE, PUBLIC = new_signing_keys()


@pytest.fixture(scope="module")
def split() -> Split:
    return a_split()


@pytest.fixture(scope="module")
def trained(split: Split) -> list[TrainedCandidate]:
    return train_candidates(split, CREDIT_CARD)


def with_ap(candidate: TrainedCandidate, **ap: float) -> TrainedCandidate:
    metrics = {
        name: {**candidate.metrics[name], "average_precision": ap.get(name, 0.5)}
        for name in ("validation", "test")
    }
    return dataclasses.replace(candidate, metrics=metrics)


def bundle_of(candidate: TrainedCandidate, split: Split) -> Bundle:
    manifest = manifest_of(
        candidate, split, CREDIT_CARD, trained_at=TRAINED_AT, git_commit="", mlflow_run_id=""
    )
    return Bundle(manifest, candidate.onnx_bytes, "")


def test_a_types_own_thresholds_count_instead_of_chosen_ones(split: Split) -> None:
    mine = Thresholds(review=0.31, block=0.71, critical=0.96)
    kind = dataclasses.replace(CREDIT_CARD, thresholds=mine)
    [simplest, *_] = CANDIDATES
    assert train_candidate(simplest, split, kind).thresholds == mine
    assert train_candidate(simplest, split, CREDIT_CARD).thresholds != mine


def test_every_candidate_learns_and_keeps_parity(trained: list[TrainedCandidate]) -> None:
    assert [candidate.name for candidate in trained] == list(CANDIDATES)
    for candidate in trained:
        assert candidate.parity.is_equal
        # 4 % are fraud: what separates them in the builder gives far more than chance.
        assert candidate.metrics["test"]["average_precision"] > 0.5
        assert candidate.metrics["test"]["roc_auc"] > 0.85
        assert candidate.metrics["test"]["expected_calibration_error"] < 0.03
        assert candidate.metrics["test"]["saved_share"] > 0
        assert len(candidate.baseline) == len(CREDIT_CARD.feature_names)
        for png in candidate.plots.values():
            assert png.startswith(b"\x89PNG")


def test_sampling_genuine_events_does_not_shift_probabilities(split: Split) -> None:
    sampled = train_candidate("logistic_regression", split, CREDIT_CARD, max_genuine=400)
    model = ScoringModel(bundle_of(sampled, split))
    assert sampled.params["genuine_share"] < 0.25
    mean = model.probabilities(split.validation.features).mean()
    # Without the correction it would be about five times too high.
    assert mean == pytest.approx(split.validation.is_fraud.mean(), rel=0.02)


def test_what_is_served_is_what_was_measured(
    trained: list[TrainedCandidate], split: Split, tmp_path: Path
) -> None:
    for candidate in trained:
        manifest = manifest_of(
            candidate,
            split,
            CREDIT_CARD,
            trained_at=TRAINED_AT,
            git_commit="a" * 40,
            mlflow_run_id="run",
        )
        folder = release(tmp_path, candidate, manifest, PRIVATE)
        assert folder.name.startswith("credit_card-20260302T043000Z-")
        model = ScoringModel(read_bundle(folder, PUBLIC, CREDIT_CARD))
        test = split.test
        alerts = model.probabilities(test.features) >= manifest.thresholds.review
        assert alerts.sum() / test.days == candidate.metrics["test"]["alerts_per_day"]
        row = test.features[np.flatnonzero(test.is_fraud)[0]]
        base, shares = model.contributions(row)
        assert abs(base + shares.sum() - model.margins(row[None])[0]) < 1e-9


def test_the_best_on_validation_wins(trained: list[TrainedCandidate]) -> None:
    candidates = [
        with_ap(trained[0], validation=0.60, test=0.90),
        with_ap(trained[1], validation=0.70, test=0.65),
        with_ap(trained[2], validation=0.65, test=0.95),
    ]
    verdict = choose(candidates)
    assert verdict.winner == trained[1].name
    assert not verdict.is_promoted, "no gate has seen it yet"


def test_a_graph_that_strays_is_passed_over(trained: list[TrainedCandidate]) -> None:
    strays = ParityReport(rows=10, max_difference=1e-3)
    best = dataclasses.replace(with_ap(trained[0], validation=0.99), parity=strays)
    verdict = choose([best, with_ap(trained[1], validation=0.5)])
    assert verdict.winner == trained[1].name
    assert "may not be promoted" in verdict.reasons[0]
    alone = choose([best])
    assert (alone.winner, alone.is_promoted) == ("", False)


def test_without_candidates_there_is_no_verdict() -> None:
    with pytest.raises(ContractError, match="no candidates"):
        choose([])


def test_the_card_says_what_an_auditor_asks(trained: list[TrainedCandidate], split: Split) -> None:
    gates = [GateResult("lift", True, 3.5, 1.5, "It is better than chance.")]
    verdict = judged(choose(trained), gates, "")
    winner = next(candidate for candidate in trained if candidate.name == verdict.winner)
    manifest = bundle_of(winner, split).manifest
    card = model_card(winner, manifest, CREDIT_CARD, trained, verdict)
    for part in (
        manifest.model_version,
        manifest.onnx_sha256,
        manifest.schema_hash,
        "**Passed its gates.**",
        f"**{winner.title}**",
        *verdict.reasons,
        "| lift | yes | 3.5 | 1.5 |",
        *(candidate.title for candidate in trained),
        "2026-01-01 00:00",  # start of training
        f"{winner.metrics['test']['average_precision']:.4f}",
        f"{manifest.thresholds.review:.4f}",
        "user_count_1d",
    ):
        assert part in card
    lines = card.splitlines()
    for header in (line for line in lines if line.startswith("|---")):
        place = lines.index(header)
        columns = header.count("|")
        assert lines[place - 1].count("|") == columns
        assert lines[place + 1].count("|") == columns  # no blank line breaks the table

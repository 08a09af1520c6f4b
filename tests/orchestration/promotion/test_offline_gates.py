"""Offline gates on a small training: each is passed, and each can fail."""

import dataclasses
import datetime as dt

import numpy as np
import pytest

import orchestration.promotion.offline_gates as offline_gates_module
from bentos.scoring.bundle import Bundle
from bentos.scoring.model import Floats, ScoringModel
from fraud.domain.errors import SettingsError
from fraud.settings import load_settings
from fraud.types.credit_card import CREDIT_CARD
from orchestration.promotion.gates import GateResult, OfflineLimits, load_gates
from orchestration.promotion.offline_gates import CARD_SECTIONS, Evidence, Skew, offline_gates
from orchestration.training.export import ParityReport
from orchestration.training.model_card import model_card
from orchestration.training.release import manifest_of
from orchestration.training.split import Split
from orchestration.training.train import train_candidates
from orchestration.training.verdict import choose
from tests.orchestration.training.builders import a_split

TRAINED_AT = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def split() -> Split:
    return a_split(per_day=200)


@pytest.fixture(scope="module")
def evidence(split: Split) -> Evidence:
    [candidate] = train_candidates(split, CREDIT_CARD, names=["lightgbm"])
    manifest = manifest_of(
        candidate, split, CREDIT_CARD, trained_at=TRAINED_AT, git_commit="", mlflow_run_id=""
    )
    card = model_card(candidate, manifest, CREDIT_CARD, [candidate], choose([candidate]))
    model = ScoringModel(Bundle(manifest, candidate.onnx_bytes, ""))
    return Evidence(candidate, manifest, card, split.test, model, Skew(50, 0))


@pytest.fixture(scope="module")
def limits() -> OfflineLimits:
    found = load_gates(load_settings(), "credit_card").offline
    # Ten test days of 200 events hold some 80 frauds: a quarter of the amounts holds few.
    return found.model_copy(update={"segment_least_frauds": 5})


def by_name(evidence: Evidence, limits: OfflineLimits) -> dict[str, GateResult]:
    return {each.gate: each for each in offline_gates(evidence, limits)}


def with_metrics(evidence: Evidence, **test: float) -> Evidence:
    metrics = evidence.candidate.metrics | {"test": evidence.candidate.metrics["test"] | test}
    return dataclasses.replace(
        evidence, candidate=dataclasses.replace(evidence.candidate, metrics=metrics)
    )


def test_a_sound_model_passes_every_gate(evidence: Evidence, limits: OfflineLimits) -> None:
    found = by_name(evidence, limits)
    assert list(found) == [
        *("quality", "lift", "calibration", "parity", "latency", "skew", "segments"),
        *("label_maturity", "model_card"),
    ]
    assert [name for name, gate in found.items() if not gate.passed] == []
    assert found["quality"].value == 0.0, "it is compared with itself"
    assert found["latency"].value > 0
    assert all(gate.sentence.endswith(".") for gate in found.values())


class Backwards(ScoringModel):
    """Ranks as the model does, but the other way round where amounts are large."""

    def probabilities(self, features: Floats) -> Floats:
        scores = super().probabilities(features)
        place = CREDIT_CARD.feature_names.index("amount")
        is_large = features[:, place] > np.median(features[:, place])
        return np.where(is_large, 1.0 - scores, scores)


def test_a_model_worse_than_the_champion_fails_in_all_and_in_a_segment(
    evidence: Evidence, limits: OfflineLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline_gates_module, "ScoringModel", Backwards)
    found = by_name(evidence, limits)
    assert [name for name, gate in found.items() if not gate.passed] == ["quality", "segments"]
    assert found["quality"].value < -0.1
    assert "amount" in found["segments"].sentence
    assert evidence.manifest.model_version in found["quality"].sentence


def test_without_a_champion_there_is_nothing_to_fall_behind(
    evidence: Evidence, limits: OfflineLimits
) -> None:
    found = by_name(dataclasses.replace(evidence, running=None), limits)
    for name in ("quality", "segments"):
        assert (found[name].passed, found[name].value) == (True, None)


def test_each_other_gate_fails_alone(evidence: Evidence, limits: OfflineLimits) -> None:
    parity = ParityReport(rows=10, max_difference=1e-3)
    strayed = dataclasses.replace(evidence.candidate, parity=parity)
    half = dataclasses.replace(evidence.test, unknown=len(evidence.test))
    cases = {
        "lift": with_metrics(evidence, average_precision=0.03),
        "calibration": with_metrics(evidence, expected_calibration_error=0.2),
        "parity": dataclasses.replace(evidence, candidate=strayed),
        "skew": dataclasses.replace(evidence, skew=Skew(100, 1)),
        "label_maturity": dataclasses.replace(evidence, test=half),
        "model_card": dataclasses.replace(evidence, card=evidence.card.replace("## Limits", "")),
    }
    for gate, case in cases.items():
        failed = [each.gate for each in offline_gates(case, limits) if not each.passed]
        assert failed == [gate]
    slow = limits.model_copy(update={"most_latency_ms": 0.0})
    assert [each.gate for each in offline_gates(evidence, slow) if not each.passed] == ["latency"]


def test_the_card_has_every_section(evidence: Evidence) -> None:
    assert all(section in evidence.card for section in CARD_SECTIONS)


def test_a_segment_that_is_no_feature_is_named(evidence: Evidence, limits: OfflineLimits) -> None:
    unknown = limits.model_copy(update={"segments": ("shoe_size",)})
    with pytest.raises(SettingsError, match="shoe_size"):
        offline_gates(evidence, unknown)

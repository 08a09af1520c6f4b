"""Live gates on made-up traffic: each is passed, and each can fail."""

import dataclasses

import numpy as np
import pytest

from fraud.ledger.challenges import SeenDecision
from fraud.settings import load_settings
from orchestration.promotion.gates import LiveLimits, load_gates
from orchestration.promotion.live_gates import (
    FRAUD,
    UNKNOWN,
    LiveEvidence,
    Side,
    Terms,
    live_gates,
    paired,
    succeeded,
)
from orchestration.training.score_profile import ScoreProfile, stability_index

DAY_US = 86_400_000_000
COUNT = 2_000


@pytest.fixture(scope="module")
def limits() -> LiveLimits:
    return load_gates(load_settings(), "credit_card").live


def a_side(seed: int = 0) -> Side:
    """Scores of which some 9 % lie above a quarter, and whether 9 of 10 of these are fraud."""
    random = np.random.default_rng(seed)
    scores = random.beta(0.3, 3.0, COUNT)
    truth = ((scores > 0.25) & (random.random(COUNT) < 0.9)).astype(np.int8)
    return Side(scores, truth, Terms(0.25))


def an_evidence(**changes: object) -> LiveEvidence:
    evidence = LiveEvidence(COUNT, 0, np.full(COUNT, 0.2), a_side(), a_side())
    return dataclasses.replace(evidence, **changes)  # type: ignore[arg-type]


def failed(evidence: LiveEvidence, limits: LiveLimits) -> list[str]:
    return [each.gate for each in live_gates(evidence, limits) if not each.passed]


def test_a_model_that_does_as_the_champion_passes(limits: LiveLimits) -> None:
    assert failed(an_evidence(), limits) == []


def test_each_gate_fails_for_its_own_reason(limits: LiveLimits) -> None:
    side = a_side()
    eager = dataclasses.replace(side, terms=Terms(0.0001))
    wrong = dataclasses.replace(side, truth=np.zeros(COUNT, np.int8))
    shifted = dataclasses.replace(side, scores=np.full(COUNT, 0.2))
    assert failed(an_evidence(broke=COUNT // 50), limits) == ["errors"]
    assert failed(an_evidence(took_ms=np.full(COUNT, 90.0)), limits) == ["latency"]
    assert failed(an_evidence(model=shifted), limits)[:1] == ["score_shift"]
    assert "alert_rate" in failed(an_evidence(model=eager), limits)
    assert failed(an_evidence(model=wrong), limits) == ["matured_precision"]


def test_little_traffic_says_little_but_failures_count_at_once(limits: LiveLimits) -> None:
    few = Side(np.full(20, 0.9), np.full(20, UNKNOWN, np.int8), Terms(0.5))
    little = an_evidence(asked=20, took_ms=np.full(20, 500.0), model=few)
    assert failed(little, limits) == []
    assert failed(dataclasses.replace(little, broke=4), limits) == []
    assert failed(dataclasses.replace(little, broke=5), limits) == ["errors"]


def test_the_stability_index_by_hand() -> None:
    # Half of 1,000 scores move from the first band to the last: with half a count for each of
    # the 8 bands, 2 * (1000.5 - 500.5) / 1004 * ln(1000.5 / 500.5) less a little for the rest.
    before, after = (
        ScoreProfile.of(scores, 0.5) for scores in (np.zeros(1_000), np.repeat([0.0, 0.9], 500))
    )
    shares = np.array([1000.5, 0.5]) / 1004, np.array([500.5, 500.5]) / 1004
    wanted = sum((b - a) * np.log(b / a) for a, b in zip(*shares, strict=True))
    assert stability_index(before, after) == pytest.approx(wanted)
    assert stability_index(before, before) == 0.0
    assert (before.alert_share, after.alert_share) == (0.0, 0.5)


def promising(side: Side, promised: Side) -> Side:
    """A side whose test days looked like the other one."""
    terms = dataclasses.replace(side.terms, promised=promised.profile)
    return dataclasses.replace(side, terms=terms)


def test_a_champion_that_strayed_is_no_yardstick(limits: LiveLimits) -> None:
    usual = a_side()
    alarmed = dataclasses.replace(usual, scores=np.sqrt(usual.scores))
    mended, fooled = promising(usual, usual), promising(usual, alarmed)
    kept, strayed = promising(alarmed, alarmed), promising(alarmed, usual)
    unlike = ["score_shift", "alert_rate"]
    assert failed(an_evidence(model=usual, champion=alarmed), limits) == unlike
    assert failed(an_evidence(model=mended, champion=kept), limits) == unlike
    assert failed(an_evidence(model=mended, champion=strayed), limits) == []
    assert failed(an_evidence(model=fooled, champion=strayed), limits) == unlike
    [shift] = [
        each
        for each in live_gates(an_evidence(model=mended, champion=strayed), limits)
        if each.gate == "score_shift"
    ]
    assert "its own test days (the champion strayed" in shift.sentence


def test_a_few_scores_do_not_make_a_champion_stray(limits: LiveLimits) -> None:
    """Forty scores of the same population lie further apart than a thousand."""
    rng = np.random.default_rng(5)
    limits = limits.model_copy(update={"least_decisions": 40})
    promised = Side(rng.beta(0.5, 8, 5_000), np.full(5_000, UNKNOWN, np.int8), Terms(0.5))
    for count in (40, 1_000):
        for _ in range(20):
            side = Side(rng.beta(0.5, 8, count), np.full(count, UNKNOWN, np.int8), Terms(0.5))
            mended = promising(dataclasses.replace(side, scores=np.sqrt(side.scores)), side)
            evidence = an_evidence(model=mended, champion=promising(side, promised))
            assert "score_shift" in failed(evidence, limits)


def test_a_profile_survives_the_manifest() -> None:
    profile = a_side().profile
    assert ScoreProfile.read(profile.plain()) == profile
    assert sum(profile.shares) == pytest.approx(1.0)
    assert ScoreProfile.read({}) is None


def a_seen(**changes: object) -> SeenDecision:
    seen = SeenDecision("champion", "m-1", 0.1, 0.4, "", 900.0, False, False, 0, None)
    return dataclasses.replace(seen, **changes)  # type: ignore[arg-type]


def test_who_said_what_is_told_apart() -> None:
    seen = [
        a_seen(),
        a_seen(role="canary", model_version="m-2", probability=0.7, shadow_probability=0.2),
        a_seen(shadow_probability=None, shadow_problem="broke"),
        a_seen(shadow_probability=None, shadow_problem="skipped"),
    ]
    found = paired(seen, "m-2", (Terms(0.5), Terms(0.3)), DAY_US, now_us=DAY_US - 1)
    assert (found.asked, found.broke) == (3, 1)
    assert found.model.scores.tolist() == [0.4, 0.7]
    assert found.champion.scores.tolist() == [0.1, 0.2]
    assert found.took_ms.tolist() == [0.9], "the champion's own time beside a canary does not count"
    assert found.model.truth.tolist() == [UNKNOWN, UNKNOWN]


def test_a_blocked_event_never_matures_into_a_genuine_one() -> None:
    seen = [a_seen(), a_seen(is_blocked=True), a_seen(is_blocked=True, is_fraud=True)]
    found = paired(seen, "m-2", (Terms(0.5), Terms(0.3)), DAY_US, now_us=DAY_US)
    assert found.model.truth.tolist() == [0, UNKNOWN, FRAUD]


def test_decisions_without_the_model_are_a_new_champions_failures() -> None:
    since = [a_seen(), a_seen(is_rules_only=True, model_version="none")]
    found = succeeded(since, [a_seen()] * 3, (Terms(0.5), Terms(0.5)), DAY_US, now_us=DAY_US)
    assert (found.asked, found.broke) == (2, 1)
    assert (len(found.model.scores), len(found.champion.scores)) == (1, 3)

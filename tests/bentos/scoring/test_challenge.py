"""Challengers beside the champion, in the real scoring transaction."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bentos.scoring.bundle import Bundle, read_bundle, write_bundle
from bentos.scoring.challenge import PAUSE, Challenger, Pace
from bentos.scoring.manifest import Calibration
from bentos.scoring.model import ScoringModel
from bentos.scoring.observation_clock import ObservationClock
from bentos.scoring.scorer import Scorer, ScoreRequest
from bentos.scoring.signing import new_signing_keys
from fraud.domain.decision import Decision
from fraud.domain.deployment import meets_canary
from fraud.domain.features import Floats
from fraud.domain.policy import Thresholds
from fraud.ledger.audit import claim_chain
from fraud.ledger.engine import connect
from fraud.ledger.pool import ConnectionPool
from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.scoring.builders import a_graph, a_manifest
from tests.bentos.scoring.worlds import Clock, OneModel, a_request
from tests.protection import a_protection

PRIVATE, PUBLIC = new_signing_keys()
EAGER = Thresholds(review=1e-8, block=2e-8, critical=1.0)
"""Thresholds under which a model blocks nearly everything."""

LENIENT = Thresholds(review=1.0, block=1.0, critical=1.0)
"""Thresholds under which only rules raise the risk."""


class BreakingModel(ScoringModel):
    """Loads, and raises when it is asked."""

    def margins(self, features: Floats) -> Floats:
        raise RuntimeError("the graph broke")


class WordlessModel(ScoringModel):
    """Answers what is not a number."""

    def margins(self, features: Floats) -> Floats:
        return np.full(len(features), np.nan)


@pytest.fixture
def pool(new_ledger: Callable[[], str]) -> Iterator[ConnectionPool]:
    pool = ConnectionPool(new_ledger(), size=4)
    yield pool
    pool.close()


def a_bundle(folder: Path, version: str, steepness: float, **changes: object) -> Bundle:
    graph = a_graph(len(CREDIT_CARD.feature_names))
    calibration = Calibration(a=steepness, b=-2.0, squeeze=1e-6)
    manifest = a_manifest(graph, model_version=version, calibration=calibration, **changes)
    write_bundle(folder / version, graph, manifest, PRIVATE)
    return read_bundle(folder / version, PUBLIC, CREDIT_CARD)


def score(
    pool: ConnectionPool,
    champion: ScoringModel,
    challenger: Challenger | None,
    requests: list[ScoreRequest],
) -> list[Decision]:
    holder = connect(pool.url)
    try:
        chain = claim_chain(holder, "challenge-test")
        scorer = Scorer(
            pool, OneModel(champion, challenger), ObservationClock(Clock()), chain, a_protection()
        )
        return scorer.score(requests)  # type: ignore[return-value]
    finally:
        holder.close()


def payments(count: int, prefix: str = "T") -> list[ScoreRequest]:
    return [a_request(f"{prefix}{n}", seed=n, user_id=f"user-{n}") for n in range(count)]


def test_a_shadow_scores_the_same_values_and_never_answers(
    pool: ConnectionPool, tmp_path: Path
) -> None:
    champion = ScoringModel(a_bundle(tmp_path, "m-1", 0.9, thresholds=LENIENT), 11)
    eager = ScoringModel(a_bundle(tmp_path, "m-2", 0.5, thresholds=EAGER), 12)
    decided = score(pool, champion, Challenger(eager, "shadow"), payments(20))
    assert {(each.model_version, each.role, each.deployment_id) for each in decided} == {
        ("m-1", "champion", 11)
    }
    with pool.transaction() as cursor:
        cursor.execute(
            "SELECT probability, feature_values, shadow, role, deployment_id, action FROM decisions"
        )
        rows = cursor.fetchall()
    assert len(rows) == 20
    for probability, values, shadow, role, deployment_id, _ in rows:
        matrix = np.frombuffer(bytes(values), "<f8").reshape(1, -1)
        assert probability == champion.probabilities(matrix)[0]
        assert shadow["probability"] == eager.probabilities(matrix)[0]
        assert (shadow["model_version"], shadow["problem"]) == ("m-2", "")
        assert shadow["took_us"] >= 0
        assert (role, deployment_id) == ("champion", 11)
    assert {row[5] for row in rows} != {"block"}, "the eager model would block them all"


def test_a_canary_answers_for_its_share_alone(pool: ConnectionPool, tmp_path: Path) -> None:
    champion = ScoringModel(a_bundle(tmp_path, "m-1", 0.9, thresholds=LENIENT), 11)
    eager = ScoringModel(a_bundle(tmp_path, "m-2", 0.5, thresholds=EAGER), 12)
    requests = payments(60)
    decided = score(pool, champion, Challenger(eager, "canary", 0.3), requests)
    for request, decision in zip(requests, decided, strict=True):
        is_met = meets_canary("m-2", str(request.event.fields["user_id"]), 0.3)
        wanted = ("m-2", "canary", 12, "m-1") if is_met else ("m-1", "champion", 11, "m-2")
        assert decision.shadow is not None
        found = (decision.model_version, decision.role, decision.deployment_id)
        assert (*found, decision.shadow.model_version) == wanted
        assert (decision.recommended_action == "block") >= is_met
    assert 0 < sum(each.role == "canary" for each in decided) < 40


@pytest.mark.parametrize("kind", [BreakingModel, WordlessModel])
@pytest.mark.parametrize("stage", ["shadow", "canary"])
def test_a_challenger_that_breaks_costs_nobody_an_answer(
    pool: ConnectionPool, tmp_path: Path, kind: type[ScoringModel], stage: str
) -> None:
    champion = ScoringModel(a_bundle(tmp_path, "m-1", 0.9))
    broken = kind(a_bundle(tmp_path, "m-2", 0.9))
    challenger = Challenger(broken, stage, 0.5)  # type: ignore[arg-type]
    with_it = score(pool, champion, challenger, payments(30))
    assert {(each.model_version, each.role, each.degraded) for each in with_it} == {
        ("m-1", "champion", False)
    }
    assert {each.shadow and each.shadow.problem for each in with_it} == {"broke"}


def test_a_champion_that_answers_no_number_is_not_believed(
    pool: ConnectionPool, tmp_path: Path
) -> None:
    wordless = WordlessModel(a_bundle(tmp_path, "m-1", 0.9))
    [decision] = score(pool, wordless, None, payments(1))
    assert decision.degraded
    assert decision.recommended_action != "approve"


def test_a_slow_model_scores_seldom() -> None:
    now_s = 0.0
    pace = Pace(lambda: now_s)
    pace.took(0.001)
    assert pace.is_due(), "a quick one scores every time"
    pace.took(0.1)
    now_s = 0.1 * PAUSE - 1
    assert not pace.is_due()
    now_s += 1
    assert pace.is_due()


def test_who_waits_is_spared_a_slow_shadow(pool: ConnectionPool, tmp_path: Path) -> None:
    champion = ScoringModel(a_bundle(tmp_path, "m-1", 0.9))
    challenger = Challenger(ScoringModel(a_bundle(tmp_path, "m-2", 0.9)), "shadow")
    challenger.pace.took(60.0)
    decided = score(pool, champion, challenger, payments(3))
    assert [each.shadow and each.shadow.problem for each in decided] == ["skipped"] * 3

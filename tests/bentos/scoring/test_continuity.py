"""Answers while the ledger or a state is away, and their way into the ledger, on a real one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from bentos.scoring.breaker import CircuitBreaker
from bentos.scoring.continuity import ContinuousScorer, Fallback
from bentos.scoring.journal import Journal
from bentos.scoring.judge import Judge
from bentos.scoring.model import ScoringModel
from bentos.scoring.observation_clock import ObservationClock
from bentos.scoring.reconciliation import Recovery, reconcile
from bentos.scoring.ruleset import BuiltInRulesets
from bentos.scoring.scorer import Scorer
from fraud.domain.decision import Decision
from fraud.domain.errors import (
    DuplicateConflict,
    FraudError,
    JournalUnavailable,
    LedgerUnavailable,
    ModelUnavailable,
)
from fraud.domain.features import Floats
from fraud.domain.rules import RiskLevel
from fraud.ledger.pool import ConnectionPool
from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.scoring.test_scorer import assert_ledger_equals_offline
from tests.bentos.scoring.worlds import Clock, OneModel, a_model, a_request, a_scorer
from tests.protection import a_protection

NOWHERE = "postgresql://nobody@/nothing?host=/nonexistent"


@dataclass
class World:
    """A scorer with a fallback, and a switch for its ledger."""

    pool: ConnectionPool
    here: Scorer
    journal: Journal
    fallback: Fallback
    is_away: bool = False
    breaker_s: float = 0.0

    def __post_init__(self) -> None:
        nowhere = ConnectionPool(NOWHERE, size=1)
        self.gone = Scorer(
            nowhere, OneModel(None), ObservationClock(Clock()), "no-chain", a_protection()
        )
        self.breaker = CircuitBreaker(1.0, clock_s=lambda: self.breaker_s)
        self.scorer = ContinuousScorer(self.own, self.fallback, self.journal, self.breaker)
        self.outcomes: dict[str, int] = {}
        self.recovery = Recovery(self.own, self.journal, self.breaker, self.outcomes.update)

    def own(self) -> Scorer:
        return self.gone if self.is_away else self.here

    def score(self, *requests: object) -> list[Decision | FraudError]:
        return self.scorer.score(requests)  # type: ignore[arg-type]

    def recover(self) -> None:
        """The ledger is back, and it is time to see."""
        self.is_away = False
        self.breaker_s += 10.0
        self.recovery.step()

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with self.pool.transaction() as cursor:
            cursor.execute(query)
            return cursor.fetchall()


@pytest.fixture
def model(tmp_path: Path) -> ScoringModel:
    return a_model(tmp_path)


@pytest.fixture
def world(new_ledger: Callable[[], str], tmp_path: Path, model: ScoringModel) -> Iterator[World]:
    pool, clock = ConnectionPool(new_ledger(), size=4), Clock()
    journal = Journal(tmp_path / "journal", 1_000_000, a_protection().keys)
    fallback = Fallback({"credit_card": CREDIT_CARD}, BuiltInRulesets(), journal, clock)
    with a_scorer(pool, model, clock) as scorer:
        yield World(pool, scorer, journal, fallback)
    pool.close()


def test_journalled_answers_reach_the_ledger_as_they_were_given(world: World) -> None:
    world.score(a_request(seed=1))
    world.is_away = True
    requests = [a_request(seed=seed) for seed in range(5)]
    answers = world.score(*requests)
    for answer in answers:
        assert isinstance(answer, Decision)
        assert answer.degraded
        assert answer.risk_level >= RiskLevel.MEDIUM  # nobody is approved unseen
        assert answer.reasons[-1].code == "HISTORY_UNAVAILABLE"
    assert world.rows("SELECT count(*) FROM decisions") == [(1,)]
    world.recover()
    assert world.outcomes == {"written": 5}
    assert world.journal.count == 0
    kept = world.rows("SELECT decision_id FROM decisions WHERE degraded ORDER BY scored_at")
    assert kept == [(answer.decision_id,) for answer in answers]
    for table in ("decisions", "transactions", "outbox"):
        assert world.rows(f"SELECT count(*) FROM {table}") == [(6,)]
    audited = world.rows(
        "SELECT object_id, detail->>'decision_id' FROM audit_log "
        "WHERE detail->>'reconciled' = 'true' ORDER BY position"
    )
    assert audited == [(each.transaction_id, each.decision_id) for each in answers]
    world.score(*(a_request(seed=seed) for seed in range(5)))
    assert assert_ledger_equals_offline(world.pool) == 11  # later events see the journalled ones


def test_a_repetition_gets_its_first_answer_in_the_outage_and_after_it(world: World) -> None:
    request, other = a_request("TXN"), a_request("TXN", amount_minor=1)
    world.is_away = True
    [first, again, conflict] = world.score(request, request, other)
    assert again == replace(first, is_replayed=True)
    assert isinstance(conflict, DuplicateConflict)
    [again, conflict] = world.score(request, other)
    assert again == replace(first, is_replayed=True)
    assert isinstance(conflict, DuplicateConflict)
    world.is_away = False
    world.breaker_s += 10.0
    world.breaker.may_probe()
    world.breaker.answered()  # back, and not reconciled yet
    [again, conflict, fresh] = world.score(request, other, a_request())
    assert again == replace(first, is_replayed=True)
    assert isinstance(conflict, DuplicateConflict)
    assert isinstance(fresh, Decision)
    assert not fresh.degraded
    world.recover()
    [again, conflict] = world.score(request, other)
    assert again == replace(first, is_replayed=True)
    assert isinstance(conflict, DuplicateConflict)


def test_reconciling_twice_changes_nothing(world: World) -> None:
    world.is_away = True
    world.score(*(a_request() for _ in range(3)))
    entries = world.journal.first(9)
    assert reconcile(world.here, entries) == {"written": 3}
    before = world.rows("SELECT max(position) FROM audit_log")
    world.recover()  # as after a kill between the commit and the end of the journal
    assert world.outcomes == {"known": 3}
    assert world.rows("SELECT max(position) FROM audit_log WHERE action = 'score'") == before
    assert world.rows("SELECT count(*) FROM decisions") == [(3,)]


def test_what_the_ledger_decided_meanwhile_stays_and_the_conflict_is_recorded(world: World) -> None:
    request = a_request("TXN")
    world.is_away = True
    [answered] = world.score(request)
    assert isinstance(answered, Decision)
    [kept] = world.here.score([request])  # by a worker that could see the ledger
    assert isinstance(kept, Decision)
    world.recover()
    assert world.outcomes == {"conflict": 1}
    assert world.rows("SELECT decision_id FROM decisions") == [(kept.decision_id,)]
    [(outcome, detail)] = world.rows(
        "SELECT outcome, detail FROM audit_log WHERE detail->>'reconciled' = 'true'"
    )
    assert outcome == "failure"
    assert detail == {
        "action": "review",
        "conflict": True,
        "decision_id": answered.decision_id,
        "kept": kept.decision_id,
        "reconciled": True,
    }


def test_an_open_breaker_asks_nobody(world: World) -> None:
    world.is_away = True
    world.score(a_request())
    world.is_away = False
    [answer] = world.score(a_request())  # although the ledger would answer
    assert isinstance(answer, Decision)
    assert answer.degraded
    world.is_away = True
    world.breaker_s += 10.0
    world.recovery.step()
    assert not world.breaker.is_closed
    world.recover()
    assert world.breaker.is_closed
    assert world.rows("SELECT count(*) FROM audit_log WHERE action = 'recover'") == [(1,)]


def test_a_type_that_refuses_is_refused_and_nothing_is_kept(world: World) -> None:
    strict = {"credit_card": replace(CREDIT_CARD, on_failure="refuse")}
    world.scorer = ContinuousScorer(
        world.own,
        Fallback(strict, BuiltInRulesets(), world.journal, Clock()),
        world.journal,
        world.breaker,
    )
    world.is_away = True
    [answer] = world.score(a_request())
    assert isinstance(answer, LedgerUnavailable)
    assert answer.retry_after_s >= 1
    assert world.journal.count == 0


def test_a_journal_that_takes_no_more_refuses_but_repeats(world: World, tmp_path: Path) -> None:
    # One entry is about 1,700 bytes.
    world.journal = Journal(tmp_path / "small", 2_000, a_protection().keys)
    fallback = Fallback({"credit_card": CREDIT_CARD}, BuiltInRulesets(), world.journal, Clock())
    world.scorer = ContinuousScorer(world.own, fallback, world.journal, world.breaker)
    world.is_away = True
    request = a_request()
    [first] = world.score(request)
    [refused, again] = world.score(a_request(), request)
    assert isinstance(refused, JournalUnavailable)
    assert refused.retry_after_s >= 1
    assert again == replace(first, is_replayed=True)  # type: ignore[type-var]


def test_a_refused_state_degrades_its_own_events_only(world: World) -> None:
    mine, other = {"user_id": "MINE"}, {"merchant_id": "OTHER", "device_id": None}
    world.score(a_request(**mine))
    [(state,)] = world.rows("SELECT state FROM entity_state WHERE key LIKE '%MINE'")
    with world.pool.transaction() as cursor:
        cursor.execute("UPDATE entity_state SET state = '\\x00' WHERE key LIKE '%%MINE'")
    first, second, third = world.score(
        a_request(user_id="U1", **other),
        a_request(**mine | other),
        a_request(user_id="U2", **other),
    )
    assert [a.degraded for a in (first, second, third)] == [False, True, False]  # type: ignore[union-attr]
    world.recover()
    assert world.journal.count == 1  # it waits for its state, and for nothing else
    assert world.breaker.is_closed
    with world.pool.transaction() as cursor:
        cursor.execute("UPDATE entity_state SET state = %s WHERE key LIKE '%%MINE'", (state,))
    recovery = Recovery(world.own, world.journal, world.breaker)
    recovery.step()
    assert world.journal.count == 0
    assert assert_ledger_equals_offline(world.pool) == 4


class Broken(ScoringModel):
    """A model that loads, and breaks on some rows."""

    def margins(self, features: Floats) -> Floats:
        if (features[:, CREDIT_CARD.feature_names.index("amount")] > 100.0).any():
            raise RuntimeError("the graph broke")
        return np.asarray(super().margins(features))


@pytest.mark.parametrize("on_failure", ["rules_only", "refuse"])
def test_a_model_that_breaks_on_an_event_is_gone_for_that_event(
    world: World, model: ScoringModel, on_failure: str
) -> None:
    model.__class__ = Broken
    kind = replace(CREDIT_CARD, on_failure=on_failure)
    judge = Judge(kind, model, BuiltInRulesets().ruleset("credit_card"))
    events = [a_request(amount_minor=each).event for each in (100, 99_999, 200)]
    matrix = np.zeros((3, len(CREDIT_CARD.features)))
    matrix[:, CREDIT_CARD.feature_names.index("amount")] = (1.0, 999.99, 2.0)
    if on_failure == "refuse":
        with pytest.raises(ModelUnavailable):
            judge.decide(events, matrix, 1)
        return
    decisions = judge.decide(events, matrix, 1)
    assert [each.degraded for each in decisions] == [False, True, False]
    assert decisions[1].reasons[-1].code == "MODEL_UNAVAILABLE"

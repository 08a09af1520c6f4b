"""Random pass-through in the scoring transaction: budgeted, recorded, replayed exactly."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bentos.scoring.replaying import a_sample, replay_decisions
from fraud.domain.policy import PassThrough, Thresholds
from fraud.ledger.decisions import known_transactions
from fraud.ledger.policies import activate_policy, propose_policy
from fraud.ledger.pool import ConnectionPool
from tests.bentos.scoring.past_worlds import KIND, WHO, Past

EAGER = Thresholds(review=1e-8, block=2e-8, critical=1.0)
"""Nearly everything is blocked."""

RICH = PassThrough(share=0.2, daily_count=10**6, daily_minor=10**12, key="77" * 16)


@pytest.fixture
def past(new_ledger: Callable[[], str], tmp_path: Path) -> Iterator[Past]:
    pool = ConnectionPool(new_ledger(), size=8)
    world = Past(pool, tmp_path)
    world.promote("m1", 0.1)
    yield world
    pool.close()


def activate(past: Past, rule: PassThrough | None) -> None:
    with past.pool.transaction() as cursor:
        now = past.clock()
        found = propose_policy(cursor, KIND, EAGER, "to learn", WHO, now, rule)
        activate_policy(cursor, KIND, found.version, WHO, now)


def rows(past: Past, query: str) -> list[tuple[object, ...]]:
    with past.pool.transaction() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def replayed(past: Past) -> list[object]:
    """What is not identical when it is decided again."""
    replays = replay_decisions(past.archive, a_sample(100, seed=1))
    return [(r.differences, r.obstacles) for r in replays if not r.is_identical]


def test_nothing_is_let_through_unless_a_policy_says_so(past: Past) -> None:
    activate(past, None)
    decided = past.score(12)
    assert {(each.propensity, each.is_let_through) for each in decided} == {(None, False)}
    assert rows(past, "SELECT count(*) FROM pass_through_spent") == [(0,)]


def test_what_is_let_through_is_recorded_and_replayed(past: Past) -> None:
    activate(past, RICH)
    decided = past.score(60)
    let = [each for each in decided if each.is_let_through]
    eligible = [each for each in decided if each.propensity is not None]
    assert 0 < len(let) < len(eligible)
    assert {each.propensity for each in eligible} == {RICH.share}
    assert {each.recommended_action for each in let} == {"approve"}
    assert {"block"} == {e.recommended_action for e in eligible if not e.is_let_through}
    assert not [each for each in eligible if each.rules], "what a rule blocks stays blocked"
    found = rows(
        past,
        "SELECT d.transaction_id, t.recommended_action, t.amount_minor FROM decisions d "
        "JOIN transactions t USING (transaction_id) WHERE propensity > 0 AND action = 'approve'",
    )
    assert {name for name, _, _ in found} == {each.transaction_id for each in let}
    spent = rows(past, "SELECT sum(events), sum(amount_minor) FROM pass_through_spent")
    assert spent == [(len(let), sum(amount for _, _, amount in found))]  # type: ignore[misc]
    cases = rows(past, "SELECT count(*) FROM cases")
    assert cases == [(len([d for d in decided if d.risk_level > 0]),)], "analysts see them too"
    activate(past, None)  # replays use the policy of their time
    assert replayed(past) == []


def test_a_repetition_gets_the_first_answer_again(past: Past) -> None:
    activate(past, RICH)
    let = {each.transaction_id for each in past.score(60) if each.is_let_through}
    with past.pool.transaction() as cursor:
        known = known_transactions(cursor, sorted(let)).decisions
    assert {each.decision.recommended_action for each in known.values()} == {"approve"}
    assert set(known) == let


@pytest.mark.parametrize(
    "rule",
    [
        PassThrough(share=0.2, daily_count=2, daily_minor=10**12, key="77" * 16),
        PassThrough(share=0.2, daily_count=10**6, daily_minor=40_00, key="77" * 16),
    ],
)
def test_a_spent_budget_lets_nothing_through_until_tomorrow(past: Past, rule: PassThrough) -> None:
    activate(past, rule)
    today = past.score(60)
    let = [each for each in today if each.is_let_through]
    assert let
    assert {each.propensity for each in today} >= {0.2, 0.0}
    [(events, amount_minor)] = rows(past, "SELECT events, amount_minor FROM pass_through_spent")
    assert events == len(let)
    assert events <= rule.daily_count  # type: ignore[operator]
    assert amount_minor <= rule.daily_minor  # type: ignore[operator]
    assert replayed(past) == []
    past.clock.now_us += 86_400_000_000
    tomorrow = past.score(3)
    assert 0.2 in {each.propensity for each in tomorrow}

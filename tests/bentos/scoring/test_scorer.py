"""The scoring transaction on a real PostgreSQL."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bentos.scoring.model import ScoringModel
from bentos.scoring.scorer import Scorer, ScoreRequest
from feature_store.materialize import materialize
from feature_store.offline import feature_matrix
from feature_store.schema import empty_frame
from feature_store.tail import tail_events
from feature_store.tail_frames import events_frame
from fraud.domain.decision import Decision, reply
from fraud.domain.errors import DuplicateConflict, FraudError
from fraud.domain.rules import RiskLevel
from fraud.ledger.pool import ConnectionPool
from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.scoring.worlds import Clock, a_model, a_request, a_scorer
from tests.feature_store.worlds import DAY, HOUR, START


@pytest.fixture
def pool(new_ledger: Callable[[], str]) -> Iterator[ConnectionPool]:
    pool = ConnectionPool(new_ledger(), size=8)
    yield pool
    pool.close()


@pytest.fixture
def model(tmp_path: Path) -> ScoringModel:
    return a_model(tmp_path)


def rows(pool: ConnectionPool, query: str) -> list[tuple[object, ...]]:
    with pool.transaction() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def score(scorer: Scorer, *requests: ScoreRequest) -> list[Decision]:
    answers = scorer.score(requests)
    assert all(isinstance(answer, Decision) for answer in answers), answers
    return answers  # type: ignore[return-value]


def assert_ledger_equals_offline(pool: ConnectionPool) -> int:
    """Every stored feature value is the one the offline frame computes, bit for bit."""
    with pool.transaction() as cursor:
        tail = tail_events(cursor, CREDIT_CARD, 0)
        cursor.execute("SELECT transaction_id, feature_values FROM decisions")
        stored = {each: np.frombuffer(bytes(values), "<f8") for each, values in cursor}
    frame = events_frame(CREDIT_CARD, tail)
    wanted = feature_matrix(CREDIT_CARD, frame, empty_frame(CREDIT_CARD, "labels"))
    found = np.array([stored[each] for each in frame["transaction_id"]])
    different = np.argwhere(found.view("i8") != wanted.astype(np.float64).view("i8"))
    assert different.size == 0, [
        (CREDIT_CARD.feature_names[column], found[row, column], wanted[row, column])
        for row, column in different[:5]
    ]
    return len(found)


def test_a_decision_and_all_that_belongs_to_it_are_stored_together(
    pool: ConnectionPool, model: ScoringModel
) -> None:
    with a_scorer(pool, model) as scorer:
        (decision,) = score(scorer, a_request("T1", device_id="d1"))
    assert rows(pool, "SELECT transaction_id, amount::text FROM transactions") == [("T1", "12.00")]
    assert rows(pool, "SELECT decision_id::text FROM decisions") == [(decision.decision_id,)]
    assert rows(pool, "SELECT count(*) FROM entity_state") == [(5,)]
    assert rows(pool, "SELECT action, outcome, object_id FROM audit_log") == [
        ("score", "success", "T1")
    ]
    ((payload,),) = rows(pool, "SELECT payload FROM outbox")
    assert payload == reply(decision)


def test_a_repetition_gets_the_first_answer_again(
    pool: ConnectionPool, model: ScoringModel
) -> None:
    with a_scorer(pool, model) as scorer:
        (first,) = score(scorer, a_request("T1"))
        (again,) = score(scorer, a_request("T1"))
        both = score(scorer, a_request("T2"), a_request("T2"))
    assert (first.is_replayed, again.is_replayed) == (False, True)
    assert reply(again) | {"replayed": False} == reply(first)
    assert [decision.is_replayed for decision in both] == [False, True]
    assert rows(pool, "SELECT count(*) FROM decisions") == [(2,)]


def test_another_body_under_a_known_id_is_a_conflict_of_that_item_only(
    pool: ConnectionPool, model: ScoringModel
) -> None:
    with a_scorer(pool, model) as scorer:
        score(scorer, a_request("T1"))
        answers: list[Decision | FraudError] = scorer.score(
            [a_request("T1", amount_minor=99), a_request("T2"), a_request("T2", amount_minor=1)]
        )
    assert [type(answer) for answer in answers] == [DuplicateConflict, Decision, DuplicateConflict]
    assert "T1" in str(answers[0])
    audited = rows(
        pool, "SELECT object_id, outcome, detail->>'conflict' FROM audit_log ORDER BY 1, 2 DESC"
    )
    assert audited == [
        ("T1", "success", None),
        ("T1", "failure", "true"),
        ("T2", "success", None),
        ("T2", "failure", "true"),
    ]
    assert rows(pool, "SELECT count(*) FROM decisions") == [(2,)]


def test_without_a_champion_the_rules_answer_and_say_so(pool: ConnectionPool) -> None:
    with a_scorer(pool, None) as scorer:
        (decision,) = score(scorer, a_request("T1"))
    assert decision.degraded
    assert decision.model_version == "none"
    assert decision.risk_level is RiskLevel.MEDIUM
    assert decision.recommended_action == "review"


def test_decisions_above_low_give_reasons_and_an_alert(
    pool: ConnectionPool, model: ScoringModel
) -> None:
    with a_scorer(pool, model) as scorer:
        decisions = score(scorer, *(a_request(amount_minor=each) for each in (0, 90_000_00)))
    risky = [decision for decision in decisions if decision.risk_level > RiskLevel.LOW]
    assert risky
    assert all(1 <= len(decision.reasons) <= 5 for decision in risky)
    assert rows(pool, "SELECT count(*) FROM fraud_alerts") == [(len(risky),)]


def test_two_scorers_on_the_same_entities_equal_the_offline_frame(
    pool: ConnectionPool, model: ScoringModel
) -> None:
    """They race for locks, new entities and observation numbers; nothing may be lost."""
    clock = Clock()
    failures: list[BaseException] = []

    def work(offset: int) -> None:
        try:
            with a_scorer(pool, model, clock) as scorer:
                for n in range(40):
                    at = START + n * 2 * HOUR - (n % 7 == 0) * 3 * DAY
                    batch = [a_request(time_us=at, seed=offset + 3 * n + k) for k in range(3)]
                    score(scorer, *batch)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in (0, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert assert_ledger_equals_offline(pool) == 240


def test_a_number_that_is_taken_for_good_is_left_behind(pool: ConnectionPool) -> None:
    """One clock was ahead, so the number after an entity's last belongs to somebody else."""
    with a_scorer(pool, None, Clock(START + HOUR)) as ahead, a_scorer(pool, None) as behind:
        for n in range(3):
            names = [{"user_id": f"u{each}", "merchant_id": f"m{each}"} for each in range(3)]
            score(ahead, *(a_request(seed=n, **fields) for fields in names))
            for fields in names:
                score(behind, a_request(seed=n, **fields))
    assert assert_ledger_equals_offline(pool) == 18


def test_fifty_concurrent_duplicates_make_one_decision(
    pool: ConnectionPool, model: ScoringModel
) -> None:
    answers: list[Decision] = []

    def work() -> None:
        with a_scorer(pool, model) as scorer:
            for _ in range(10):
                answers.extend(score(scorer, a_request("SAME")))

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 50
    assert len({decision.decision_id for decision in answers}) == 1
    assert sum(not decision.is_replayed for decision in answers) == 1


def test_materialising_equals_what_serving_left(pool: ConnectionPool, model: ScoringModel) -> None:
    with a_scorer(pool, model) as scorer:
        for n in range(30):
            score(scorer, a_request(time_us=START + n * 5 * HOUR, seed=n))
    states = "SELECT key, state, last_seq FROM entity_state ORDER BY key"
    served = [(key, bytes(state), seq) for key, state, seq in rows(pool, states)]  # type: ignore
    with pool.transaction() as cursor:
        log = events_frame(CREDIT_CARD, tail_events(cursor, CREDIT_CARD, 0))
        cursor.execute("DELETE FROM entity_state WHERE key LIKE '%user A%'")
    labels = empty_frame(CREDIT_CARD, "labels")
    for known in (log, log.head(10), log.head(0)):  # the rest comes from the ledger
        report = materialize(CREDIT_CARD, known, labels, pool)
        assert report.events == 30
        found = [(key, bytes(state), seq) for key, state, seq in rows(pool, states)]  # type: ignore
        assert found == served

"""A short run of `make chaos`, and what its check has to notice."""

from collections.abc import Callable

import pytest

from benchmarks import chaos
from benchmarks.chaos_check import check
from benchmarks.chaos_load import Answers
from bentos.scoring.model import ScoringModel
from fraud.domain.decision import Decision
from fraud.ledger.pool import ConnectionPool
from tests.bentos.scoring.worlds import a_request, a_scorer


@pytest.mark.timeout(400)  # processes of seconds each, on a machine that does other things too
def test_outages_a_kill_within_one_and_duplicates_lose_nothing() -> None:
    said: list[str] = []
    report = chaos.run(1, 3, said.append, ["database", "duplicates"])
    assert chaos.is_sound(report), (report, said)
    assert report["acknowledged"] > 100
    assert report["degraded_answers"] > 0
    assert report["decisions"] >= report["acknowledged"]
    assert report["replayed_answers"] >= 6 * 49  # of fifty duplicates one is decided


@pytest.fixture
def told(new_ledger: Callable[[], str]) -> tuple[ConnectionPool, dict[str, set[str]]]:
    """A ledger with three decisions, and what its callers were told."""
    pool = ConnectionPool(new_ledger(), size=1)
    no_model: ScoringModel | None = None
    with a_scorer(pool, no_model) as scorer:
        answers = scorer.score([a_request() for _ in range(3)])
    decisions = [each for each in answers if isinstance(each, Decision)]
    return pool, {each.transaction_id: {each.decision_id} for each in decisions}


def test_the_check_is_content_with_what_is_right(
    told: tuple[ConnectionPool, dict[str, set[str]]],
) -> None:
    pool, acknowledged = told
    found = check(pool.url, acknowledged)
    pool.close()
    assert (found.decisions, found.lost, found.doubled, found.unpaired, found.broken) == (
        *(3, 0, 0, 0, 0),
    )


@pytest.mark.parametrize("table", ["audit_log", "outbox", "decisions"])
def test_the_check_misses_what_is_gone(
    told: tuple[ConnectionPool, dict[str, set[str]]], table: str
) -> None:
    pool, acknowledged = told
    with pool.transaction() as cursor:
        cursor.execute("SET session_replication_role = replica")  # the log may only be appended to
        cursor.execute(f"DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})")
    found = check(pool.url, acknowledged)
    pool.close()
    assert found.unpaired > 0
    assert found.lost == (table == "decisions")
    assert (found.broken > 0) == (table == "audit_log")


def test_the_check_sees_two_answers_to_one_transaction(
    told: tuple[ConnectionPool, dict[str, set[str]]],
) -> None:
    pool, acknowledged = told
    next(iter(acknowledged.values())).add("another")
    found = check(pool.url, acknowledged)
    pool.close()
    assert (found.lost, found.doubled) == (1, 1)


def test_answers_are_counted() -> None:
    answers = Answers()
    reply = {"transaction_id": "T", "decision_id": "D", "degraded": True, "replayed": False}
    answers.add(200, reply, False, 0.1)
    answers.add(200, reply | {"replayed": True}, False, 0.2)
    answers.add(503, {}, False, 0.3)
    answers.add(500, {}, False, 0.1)
    answers.add(0, {}, False, 0.0)
    assert (answers.count, answers.degraded, answers.replayed) == (1, 1, 1)
    assert (answers.rude, answers.unexpected, answers.slowest_s) == (1, 1, 0.3)

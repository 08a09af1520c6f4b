"""Large batches in parts, side by side."""

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos.scoring.lanes import Answer, Lanes, connected, divided
from bentos.scoring.observation_clock import ObservationClock
from bentos.scoring.scorer import Scorer, ScoreRequest
from feature_store.batch import type_layout
from fraud.domain.decision import Decision
from fraud.domain.errors import UnavailableError
from fraud.ledger.audit import claim_chains
from fraud.ledger.audit_check import verify
from fraud.ledger.engine import connect
from fraud.ledger.pool import ConnectionPool
from tests.bentos.scoring.test_scorer import assert_ledger_equals_offline
from tests.bentos.scoring.worlds import Clock, OneModel, a_model, a_request
from tests.feature_store.worlds import HOUR, START
from tests.protection import a_protection

TIMEOUT_S = 30.0


def refused(requests: Sequence[ScoreRequest]) -> list[Answer]:
    return [UnavailableError(request.event.transaction_id) for request in requests]


@given(st.lists(st.lists(st.integers(0, 12), max_size=4), max_size=30))
def test_what_is_linked_stays_together_and_nothing_else(keys: list[list[int]]) -> None:
    groups = connected(keys)
    assert sorted(place for group in groups for place in group) == list(range(len(keys)))
    held = [{key for place in group for key in keys[place]} for group in groups]
    for number, mine in enumerate(held):
        assert all(mine.isdisjoint(other) for other in held[number + 1 :])
    for group in groups:  # everybody in it is reached from its first
        reached, seen = {group[0]}, set(keys[group[0]])
        for _ in group:
            reached |= {place for place in group if seen & set(keys[place])}
            seen |= {key for place in reached for key in keys[place]}
        assert reached == set(group)


def test_parts_share_no_entity_and_keep_the_order() -> None:
    requests = [
        a_request(seed=n, user_id=f"U{n % 150}", merchant_id=f"M{n % 97 if n % 5 else 0}")
        for n in range(400)
    ]
    parts = divided(requests, 64)
    assert sorted(place for part in parts for place in part) == list(range(400))
    owners = defaultdict(set)
    for number, part in enumerate(parts):
        assert part == sorted(part)
        for place in part:
            event = requests[place].event
            for key in type_layout("credit_card").keys(event).values():
                owners[key].add(number)
    assert all(len(parts_of) == 1 for parts_of in owners.values())


def test_parts_are_about_equal_where_nobody_is_shared() -> None:
    requests = [
        a_request(user_id=f"U{n}", merchant_id=f"M{n}", device_id=f"D{n}") for n in range(300)
    ]
    assert [len(part) for part in divided(requests, 128)] == [100, 100, 100]


def test_lanes_work_at_the_same_time_and_answers_keep_their_places() -> None:
    meeting = threading.Barrier(2)

    def met(requests: Sequence[ScoreRequest]) -> list[Answer]:
        meeting.wait(TIMEOUT_S)
        return refused(requests)

    requests = [
        a_request(user_id=f"U{n}", merchant_id=f"M{n}", device_id=f"D{n}") for n in range(8)
    ]
    lanes = Lanes([met, met], part=4)
    answers = lanes.score(requests)
    lanes.close()
    names = [answer.message for answer in answers if isinstance(answer, UnavailableError)]
    assert names == [request.event.transaction_id for request in requests]


def test_a_small_batch_and_one_of_a_single_customer_stay_with_the_first_lane() -> None:
    def never(requests: Sequence[ScoreRequest]) -> list[Answer]:
        raise AssertionError("not its business")

    lanes = Lanes([refused, never], part=4)
    assert len(lanes.score([a_request(user_id=f"U{n}") for n in range(4)])) == 4
    assert len(lanes.score([a_request(user_id="U1") for _ in range(9)])) == 9
    lanes.close()


def test_what_breaks_one_lane_is_raised_when_the_other_is_done() -> None:
    broken, done = threading.Event(), threading.Event()

    def breaks(requests: Sequence[ScoreRequest]) -> list[Answer]:
        broken.set()
        raise ValueError("broken")

    def works(requests: Sequence[ScoreRequest]) -> list[Answer]:
        assert broken.wait(TIMEOUT_S)
        done.set()
        return refused(requests)

    requests = [
        a_request(user_id=f"U{n}", merchant_id=f"M{n}", device_id=f"D{n}") for n in range(8)
    ]
    for scorers in ([breaks, works], [works, breaks]):
        broken.clear()
        done.clear()
        lanes = Lanes(scorers, part=4)
        with pytest.raises(ValueError, match="broken"):
            lanes.score(requests)
        lanes.close()
        assert done.is_set()


def test_lanes_decide_what_one_scorer_decides(
    new_ledger: Callable[[], str], tmp_path: Path
) -> None:
    """On a real ledger: the same features bit for bit, each decision once, whole audit chains."""
    model = OneModel(a_model(tmp_path))
    requests = [
        a_request(
            f"L{n}",
            time_us=START + n * HOUR // 100,
            seed=n,
            user_id=f"U{n % 83}",
            merchant_id=f"M{n % 29 if n % 7 else n}",
            device_id=None,
        )
        for n in range(300)
    ]
    requests += requests[:20]  # sent twice in one batch
    found = []
    for lane_count in (1, 2):
        pool = ConnectionPool(new_ledger(), size=4)
        holder = connect(pool.url)
        chains = claim_chains(holder, "lanes", lane_count)
        assert len(set(chains)) == lane_count
        clock = ObservationClock(Clock())
        lanes = Lanes(
            [Scorer(pool, model, clock, chain, a_protection()).score for chain in chains], part=64
        )
        answers = lanes.score(requests)
        lanes.close()
        assert all(isinstance(answer, Decision) for answer in answers)
        found.append([(a.transaction_id, a.fraud_probability, a.is_replayed) for a in answers])
        assert assert_ledger_equals_offline(pool) == 300
        report = verify(holder)
        assert (report.records, report.chains, report.is_intact) == (320, lane_count, True)
        holder.close()
        pool.close()
    assert found[0] == found[1]

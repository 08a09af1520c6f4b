"""Two scorers and two labellers at once, against the offline frame and the naive oracle."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import psycopg2.errors
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bentos.scoring.labeller import Labeller
from bentos.scoring.observation_clock import ObservationClock
from bentos.scoring.scorer import Scorer, ScoreRequest
from feature_store.offline import feature_matrix
from feature_store.tail import tail_events
from feature_store.tail_frames import events_frame, tail_labels
from fraud.domain.decision import Decision
from fraud.domain.event import Event
from fraud.domain.label import Label
from fraud.ledger.audit import claim_chain
from fraud.ledger.audit_check import anchors, verify
from fraud.ledger.engine import connect
from fraud.ledger.pipeline import PipelinedCursor
from fraud.ledger.pool import ConnectionPool
from fraud.security.encryption import FieldProtection
from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.scoring.worlds import Clock, OneModel, a_request
from tests.feature_store.oracle import Known, Log, Oracle, Seen
from tests.feature_store.worlds import a_log
from tests.protection import a_protection

SIZE = 40


@pytest.fixture(scope="module")
def pool(new_ledger: Callable[[], str]) -> Iterator[ConnectionPool]:
    pool = ConnectionPool(new_ledger(), size=8)
    yield pool
    pool.close()


def work(
    pool: ConnectionPool, log: Log, seed: int, clock: Clock, found: dict[str, set[str]]
) -> None:
    """Send the whole log in an order and in batches of one's own, and tell its labels."""
    rng = random.Random(seed)
    requests = [
        a_request(event.transaction_id, time_us=event.time, amount_minor=event.amount, **event.body)
        for event in log.events
    ]
    labels = [
        Label(known.transaction_id, rng.random() < 0.8, known.reported, "chargeback")
        for known in log.labels
    ]
    rng.shuffle(requests)
    rng.shuffle(labels)  # many are told before their transaction comes
    holder = connect(pool.url)
    try:
        chain = claim_chain(holder, "races")
        scorer = Scorer(pool, OneModel(None), ObservationClock(clock), chain, a_protection())
        labeller = Labeller(pool, clock, chain)
        while requests or labels:
            size = rng.choice((1, 3, 20))
            batch, requests = requests[:size], requests[size:]
            for request, answer in zip(batch, scorer.score(batch), strict=True):
                assert isinstance(answer, Decision)
                found[request.event.transaction_id].add(answer.decision_id)
            told, labels = labels[: size // 2 + 1], labels[size // 2 + 1 :]
            labeller.observe("credit_card", told, "tester", "here")
    finally:
        holder.close()


def by_oracle(log: Log) -> np.ndarray:
    return np.array(
        [
            [Oracle(log, event).feature(name) for name in CREDIT_CARD.feature_names]
            for event in log.events
        ]
    )


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), skew_us=st.sampled_from([0, 1, 500_000, 3_600_000_000]))
def test_whoever_wins_the_three_executions_agree(
    pool: ConnectionPool, seed: int, skew_us: int
) -> None:
    """Both send every event, shuffled; late, tied, null, huge and tiny ones, labels around them."""
    with pool.transaction() as cursor:
        cursor.execute("TRUNCATE transactions, decisions, labels, entity_state, outbox CASCADE")
    log = a_log(seed, SIZE)
    found: dict[str, set[str]] = {event.transaction_id: set() for event in log.events}
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            start_us = log.events[0].time + number * skew_us
            work(pool, log, seed + number, Clock(start_us), found)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert {len(decisions) for decisions in found.values()} == {1}
    with pool.transaction() as cursor:
        tail = tail_events(cursor, CREDIT_CARD, 0)
        labels = tail_labels(cursor, CREDIT_CARD, 0)
        cursor.execute("SELECT transaction_id, feature_values FROM decisions")
        stored = {each: np.frombuffer(bytes(values), "<f8") for each, values in cursor}
    assert len(tail) == SIZE
    served = np.array([stored[each.event.transaction_id] for each in tail])
    rebuilt = feature_matrix(CREDIT_CARD, events_frame(CREDIT_CARD, tail), labels)
    assert served.tobytes() == rebuilt.astype(np.float64).tobytes()
    seen = [
        Seen(
            each.seq,
            each.event.event_time_us,
            each.event.transaction_id,
            each.event.amount_minor,
            dict(each.event.fields),
        )
        for each in tail
    ]
    told = zip(labels["seq"], labels["reported_at"], labels["transaction_id"], strict=True)
    known = [Known(seq, reported.value // 1000, name) for seq, reported, name in told]
    naive = by_oracle(Log(seen, known))
    assert (served + 0.0).tobytes() == (naive + 0.0).tobytes()  # -0.0 and 0.0 are one value


def test_a_batch_that_lost_ten_races_is_decided_once(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, lost = pool.pipeline, []

    @contextmanager
    def losing() -> Iterator[PipelinedCursor]:
        with begin() as cursor:
            yield cursor
            if len(lost) < 10:
                lost.append(cursor)
                raise psycopg2.errors.UniqueViolation("another writer came first")

    holder = connect(pool.url)
    chain = claim_chain(holder, "loser")
    monkeypatch.setattr(pool, "pipeline", losing)
    scorer = Scorer(pool, OneModel(None), ObservationClock(Clock()), chain, a_protection())
    [answer] = scorer.score([a_request("lost-ten-times")])
    assert isinstance(answer, Decision)
    assert len(lost) == 10
    [again] = scorer.score([a_request("lost-ten-times")])
    assert isinstance(again, Decision)
    assert (again.decision_id, again.is_replayed) == (answer.decision_id, True)
    holder.close()


@pytest.mark.parametrize("behind_us", [0, 3_600_000_000])
def test_a_writer_that_was_overtaken_finds_its_numbers_free(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch, behind_us: int
) -> None:
    """Whoever gets the user first numbers later events as well; they may not meet the other's."""

    def request(name: str, user: str) -> ScoreRequest:
        fields = {"user_id": user, "merchant_id": f"merchant-{name}", "device_id": None}
        return a_request(f"overtaken-{behind_us}-{name}", **fields)

    begun: list[None] = []
    begin = pool.pipeline

    def counted() -> AbstractContextManager[PipelinedCursor]:
        begun.append(None)
        return begin()

    class Overtaken(FieldProtection):
        """Encrypts what it is asked to; beforehand, somebody else is quicker."""

        def __init__(self) -> None:
            vars(self).update(vars(a_protection()))

        def hidden(self, event: Event) -> Event:
            if not begun[1:]:
                others = [request(f"{number}", f"user-{number}") for number in range(5)]
                quicker.score([request("first", "user-of-both"), *others])
            return super().hidden(event)

    holders = [connect(pool.url) for _ in range(2)]
    quicker, slower = (
        Scorer(
            pool,
            OneModel(None),
            ObservationClock(lambda lag=lag: time.time_ns() // 1000 - lag, lambda own=own: own),
            claim_chain(holder, f"overtaking-{own}"),
            protection,
        )
        for holder, own, lag, protection in (
            (holders[0], 1, 0, a_protection()),
            (holders[1], 5, behind_us, Overtaken()),
        )
    )
    monkeypatch.setattr(pool, "pipeline", counted)
    [answer] = slower.score([request("second", "user-of-both")])
    assert isinstance(answer, Decision)
    assert len(begun) == 2  # one transaction each
    with pool.transaction() as cursor:
        cursor.execute(
            "SELECT transaction_id FROM transactions WHERE transaction_id LIKE %s ORDER BY seq",
            (f"overtaken-{behind_us}-%",),
        )
        names = [name.rpartition("-")[2] for (name,) in cursor]
    assert names == ["first", *map(str, range(5)), "second"]
    for each in holders:
        each.close()


def test_a_chain_that_somebody_else_wrote_to_is_read_again(pool: ConnectionPool) -> None:
    holder = connect(pool.url)
    chain = claim_chain(holder, "shared-chain")
    scorers = [
        Scorer(pool, OneModel(None), ObservationClock(Clock()), chain, a_protection())
        for _ in range(2)
    ]
    for number in range(6):
        [answer] = scorers[number % 2].score([a_request(f"shared-{number}")])
        assert isinstance(answer, Decision)
    assert verify(holder).is_intact
    assert [head.position for head in anchors(holder) if head.chain == chain] == [6]
    holder.close()

"""Labels that arrive while events are scored, on a real PostgreSQL."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from bentos.scoring.labeller import Labeller, LabelReceipt
from feature_store.materialize import materialize
from feature_store.offline import feature_matrix
from feature_store.schema import empty_frame
from feature_store.tail import tail_events
from feature_store.tail_frames import events_frame, tail_labels
from fraud.domain.errors import DuplicateConflict, FraudError, InvalidField
from fraud.domain.label import Label, LabelSource
from fraud.ledger.audit import claim_chain
from fraud.ledger.audit_check import verify as verify_audit
from fraud.ledger.engine import connect
from fraud.ledger.pool import ConnectionPool
from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.scoring.worlds import Clock, a_request, a_scorer
from tests.feature_store.worlds import DAY, HOUR, START

STATES = "SELECT key, state, last_seq FROM entity_state ORDER BY key"


@pytest.fixture
def pool(new_ledger: Callable[[], str]) -> Iterator[ConnectionPool]:
    pool = ConnectionPool(new_ledger(), size=8)
    yield pool
    pool.close()


@contextmanager
def a_labeller(pool: ConnectionPool, clock: Clock | None = None) -> Iterator[Labeller]:
    holder = connect(pool.url)
    try:
        chain = claim_chain(holder, "labeller-test")
        holder.commit()
        yield Labeller(pool, clock or Clock(), chain)
    finally:
        holder.close()


def a_label(
    transaction_id: str,
    *,
    is_fraud: bool = True,
    reported_us: int = START,
    source: LabelSource = "chargeback",
) -> Label:
    return Label(transaction_id, is_fraud, reported_us, source)


def tell(labeller: Labeller, *labels: Label) -> list[LabelReceipt | FraudError]:
    return labeller.observe("credit_card", labels, "tester", "127.0.0.1")


def rows(pool: ConnectionPool, query: str) -> list[tuple]:
    with pool.transaction() as cursor:
        cursor.execute(query)
        return [
            tuple(bytes(each) if isinstance(each, memoryview) else each for each in row)
            for row in cursor.fetchall()
        ]


def compared_with_offline(pool: ConnectionPool) -> np.ndarray:
    """Every stored value is the one the offline frame computes, bit for bit; the values."""
    with pool.transaction() as cursor:
        frame = events_frame(CREDIT_CARD, tail_events(cursor, CREDIT_CARD, 0))
        labels = tail_labels(cursor, CREDIT_CARD, 0)
        cursor.execute("SELECT transaction_id, feature_values FROM decisions")
        stored = {each: np.frombuffer(bytes(values), "<f8") for each, values in cursor}
    wanted = feature_matrix(CREDIT_CARD, frame, labels)
    found = np.array([stored[each] for each in frame["transaction_id"]])
    different = np.argwhere(found.view("i8") != wanted.astype(np.float64).view("i8"))
    assert different.size == 0, [
        (CREDIT_CARD.feature_names[column], found[row, column], wanted[row, column])
        for row, column in different[:5]
    ]
    return found


def feature(values: np.ndarray, name: str) -> list[float]:
    return values[:, CREDIT_CARD.feature_names.index(name)].tolist()


def test_a_label_acts_on_what_is_scored_after_it(pool: ConnectionPool) -> None:
    clock = Clock()
    with a_scorer(pool, None, clock) as scorer, a_labeller(pool, clock) as labeller:
        scorer.score([a_request("T1"), a_request("T2")])
        (receipt,) = tell(labeller, a_label("T1"))
        scorer.score([a_request("T3", time_us=START + HOUR)])
    assert isinstance(receipt, LabelReceipt)
    assert receipt.has_acted
    values = compared_with_offline(pool)
    assert feature(values, "merchant_fraud_labels_7d") == [0.0, 0.0, 1.0]


def test_only_the_first_fraud_label_of_a_transaction_acts(pool: ConnectionPool) -> None:
    clock = Clock()
    with a_scorer(pool, None, clock) as scorer, a_labeller(pool, clock) as labeller:
        scorer.score([a_request("T1")])
        receipts = tell(
            labeller,
            a_label("T1", is_fraud=False, source="analyst"),
            a_label("T1"),
            a_label("T1", source="customer_report"),
        )
        receipts += tell(labeller, a_label("T1", reported_us=START + 1))
        scorer.score([a_request("T2", time_us=START + HOUR)])
    assert [each.has_acted for each in receipts] == [False, True, False, False]
    assert feature(compared_with_offline(pool), "merchant_fraud_labels_7d") == [0.0, 1.0]


def test_the_same_label_again_changes_nothing(pool: ConnectionPool) -> None:
    with a_scorer(pool, None) as scorer, a_labeller(pool) as labeller:
        scorer.score([a_request("T1")])
        first, twice = tell(labeller, a_label("T1"), a_label("T1"))
        before = rows(pool, STATES), rows(pool, "SELECT * FROM labels")
        (again,) = tell(labeller, a_label("T1"))
    assert (rows(pool, STATES), rows(pool, "SELECT * FROM labels")) == before
    assert [each.is_repeated for each in (first, twice, again)] == [False, True, True]
    assert {each.seq for each in (first, twice, again)} == {first.seq}


def test_another_verdict_under_the_same_key_is_refused_for_that_label_only(
    pool: ConnectionPool,
) -> None:
    """It would take a label that has acted out of the log, and no frame could be rebuilt."""
    with a_scorer(pool, None) as scorer, a_labeller(pool) as labeller:
        scorer.score([a_request("T1"), a_request("T2")])
        tell(labeller, a_label("T1"))
        answers = tell(labeller, a_label("T1", is_fraud=False), a_label("T2"))
    assert [type(answer) for answer in answers] == [DuplicateConflict, LabelReceipt]
    assert rows(pool, "SELECT is_fraud FROM labels") == [(True,), (True,)]


def test_a_label_of_another_fraud_type_is_refused(pool: ConnectionPool) -> None:
    with a_scorer(pool, None) as scorer, a_labeller(pool) as labeller:
        scorer.score([a_request("T1")])
        with pool.transaction() as cursor:
            cursor.execute("UPDATE transactions SET fraud_type = 'ach'")
        (answer,) = tell(labeller, a_label("T1"))
    assert isinstance(answer, InvalidField)
    assert "ach" in str(answer)
    assert rows(pool, "SELECT count(*) FROM labels") == [(0,)]


def test_a_label_that_came_before_its_transaction_never_acts(pool: ConnectionPool) -> None:
    """Its number is the smaller one, even where its writer's clock was an hour ahead."""
    clock = Clock()
    with a_scorer(pool, None, clock) as scorer, a_labeller(pool, Clock(START + HOUR)) as labeller:
        (receipt,) = tell(labeller, a_label("T1"))
        scorer.score([a_request("T1")])
        scorer.score([a_request("T2", time_us=START + HOUR)])
    assert (receipt.has_acted, rows(pool, "SELECT count(*) FROM labels")) == (False, [(1,)])
    ((seq,),) = rows(pool, "SELECT seq FROM transactions WHERE transaction_id = 'T1'")
    assert seq > receipt.seq
    assert feature(compared_with_offline(pool), "merchant_fraud_labels_7d") == [0.0, 0.0]


def waiting_sessions(pool: ConnectionPool) -> int:
    return int(rows(pool, "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")[0][0])


def wait_until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_label_waits_for_the_batch_that_is_just_scoring_its_transaction(
    pool: ConnectionPool,
) -> None:
    """The transaction has its number but is not committed: the label comes after it, and acts."""
    receipts: list[LabelReceipt | FraudError] = []
    with a_scorer(pool, None) as scorer, a_labeller(pool, Clock(START + DAY)) as labeller:
        with pool.transaction() as cursor:  # holds the batch at its last step
            cursor.execute("SELECT 1 FROM audit_anchor WHERE chain LIKE 'scorer%' FOR UPDATE")
            scoring = threading.Thread(target=scorer.score, args=([a_request("T1")],))
            scoring.start()
            wait_until(lambda: waiting_sessions(pool) == 1)
            labelling = threading.Thread(
                target=lambda: receipts.extend(tell(labeller, a_label("T1")))
            )
            labelling.start()
            wait_until(lambda: waiting_sessions(pool) == 2)
        scoring.join(10)
        labelling.join(10)
        scorer.score([a_request("T2", time_us=START + HOUR)])
    assert [each.has_acted for each in receipts] == [True]
    assert feature(compared_with_offline(pool), "merchant_fraud_labels_7d") == [0.0, 1.0]


def test_scorers_and_labellers_on_the_same_entities_equal_the_offline_frame(
    pool: ConnectionPool,
) -> None:
    """They race for locks, new entities and numbers; labels also come before transactions."""
    clock = Clock()
    failures: list[BaseException] = []

    def score(offset: int) -> None:
        with a_scorer(pool, None, clock) as scorer:
            for n in range(40):
                at = START + n * 2 * HOUR - (n % 7 == 0) * 3 * DAY
                names = [f"T{offset + 3 * n + k}" for k in range(3)]
                scorer.score([a_request(name, time_us=at, seed=offset + 3 * n) for name in names])

    def label(offset: int) -> None:
        with a_labeller(pool, clock) as labeller:
            for n in range(40):
                at = START + n * 2 * HOUR
                tell(labeller, *(a_label(f"T{offset + 3 * n + k}", reported_us=at) for k in (0, 2)))

    def guarded(work: Callable[[int], None], offset: int) -> None:
        try:
            work(offset)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    parts = [(score, 0), (score, 1000), (label, 0), (label, 1000), (label, 0)]
    threads = [threading.Thread(target=guarded, args=part) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    values = compared_with_offline(pool)
    assert len(values) == 240
    assert max(feature(values, "merchant_fraud_labels_7d")) > 10, "few labels acted"
    with pool.transaction() as cursor:
        assert not verify_audit(cursor.connection).findings


def test_materialising_equals_what_serving_and_labels_left(pool: ConnectionPool) -> None:
    clock = Clock()
    with a_scorer(pool, None, clock) as scorer, a_labeller(pool, clock) as labeller:
        for n in range(30):
            scorer.score([a_request(f"T{n}", time_us=START + n * 5 * HOUR, seed=n)])
            if n % 3 == 0:
                tell(labeller, a_label(f"T{n // 2}", reported_us=START + n * 5 * HOUR))
    served = rows(pool, STATES)
    with pool.transaction() as cursor:
        log = events_frame(CREDIT_CARD, tail_events(cursor, CREDIT_CARD, 0))
        told = tail_labels(cursor, CREDIT_CARD, 0)
        cursor.execute("DELETE FROM entity_state WHERE key LIKE '%user A%'")
    for events, labels in ((log, told), (log.head(10), told.head(3)), (log.head(0), told.head(0))):
        report = materialize(CREDIT_CARD, events, labels, pool)
        assert (report.events, report.labels) == (30, 10)  # the rest comes from the ledger
        assert rows(pool, STATES) == served


def test_materialising_while_events_and_labels_come_in_loses_none(pool: ConnectionPool) -> None:
    """One writer's clock is behind: what it commits later has the lower numbers."""
    failures: list[BaseException] = []
    run = threading.Semaphore(0)  # of materialising; writers await four, so that they do meet

    def serve(prefix: str, clock: Clock) -> None:
        try:
            with a_scorer(pool, None, clock) as scorer, a_labeller(pool, clock) as labeller:
                for n in range(40):
                    assert n % 10 != 9 or run.acquire(timeout=60)
                    now_us = clock.now_us
                    mine = {"user_id": f"{prefix}{n % 5}", "merchant_id": f"{prefix}{n % 3}"}
                    first = a_request(f"{prefix}{n}", time_us=now_us, seed=n, **mine)
                    scorer.score([first, a_request(time_us=now_us - 3 * HOUR, seed=n)])
                    tell(labeller, a_label(f"{prefix}{n * 2 // 3}", reported_us=now_us))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    writers = [("ahead", Clock(START + HOUR)), ("behind", Clock())]
    threads = [threading.Thread(target=serve, args=writer) for writer in writers]
    for thread in threads:
        thread.start()
    no_events, no_labels = (empty_frame(CREDIT_CARD, each) for each in ("events", "labels"))
    while any(thread.is_alive() for thread in threads):
        materialize(CREDIT_CARD, no_events, no_labels, pool)
        run.release(len(threads))
    assert not failures
    assert len(compared_with_offline(pool)) == 160
    left = rows(pool, STATES)
    materialize(CREDIT_CARD, no_events, no_labels, pool)
    assert rows(pool, STATES) == left

"""Months of history into online state, on a real PostgreSQL, also if a run is killed midway."""

import datetime as dt
import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from feature_store.lake import Lake
from feature_store.materialize import materialize
from fraud.ledger.pool import ConnectionPool
from fraud.types.credit_card import CREDIT_CARD
from orchestration.appending import append
from orchestration.sources.simulated import card_payments
from orchestration.sources.simulator.credit_card import CreditCardSimulation
from tests.protection import a_protection

DAYS = 6
FIRST = dt.date(2026, 3, 1)
HELD = "credit_card merchant MERCH_000030"
"""A row that is held back, so that the run stands still among the merchants."""

RUN = """
import sys
from feature_store import materialize
from feature_store.lake import Lake
from fraud.ledger.pool import ConnectionPool
from fraud.types.credit_card import CREDIT_CARD

materialize.CHUNK = 20  # so that there are dozens of transactions to be killed between
url, lake = sys.argv[1], Lake(sys.argv[2])
pool = ConnectionPool(url, size=2)
materialize.materialize(CREDIT_CARD, lake.events(CREDIT_CARD), lake.labels(CREDIT_CARD), pool)
"""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    world = CreditCardSimulation(
        start=FIRST,
        days=DAYS,
        customers=60,
        merchants=60,
        grid_km=8,
        compromised_customers_share=0.05,  # so that a few days hold a few labels
    )
    now = dt.datetime.combine(FIRST + dt.timedelta(days=DAYS), dt.time(), dt.UTC)
    append(card_payments(world), CREDIT_CARD, lake, lambda source, rows: None, now, a_protection())
    return lake


@pytest.fixture
def pools(new_ledger: Callable[[], str]) -> Iterator[list[ConnectionPool]]:
    pools = [ConnectionPool(new_ledger(), size=4) for _ in range(2)]
    yield pools
    for pool in pools:
        pool.close()


def digest(pool: ConnectionPool) -> tuple[int, str]:
    """How many states there are, and a digest of all of them."""
    with pool.transaction() as cursor:
        cursor.execute("SELECT key, state, last_seq FROM entity_state ORDER BY key")
        rows = [(key, bytes(state), last_seq) for key, state, last_seq in cursor]
    return len(rows), hashlib.sha256(repr(rows).encode()).hexdigest()


def count(pool: ConnectionPool, query: str) -> int:
    with pool.transaction() as cursor:
        cursor.execute(query)
        [(found,)] = cursor.fetchall()
    return int(found)


def test_a_run_that_was_killed_and_repeated_leaves_the_same_states(
    lake: Lake, pools: list[ConnectionPool]
) -> None:
    whole, killed = pools
    events, labels = lake.events(CREDIT_CARD), lake.labels(CREDIT_CARD)
    materialize(CREDIT_CARD, events, labels, whole)
    with killed.transaction() as cursor:
        cursor.execute("INSERT INTO entity_state VALUES (%s, 'credit_card', '', 0)", (HELD,))
    with killed.transaction() as cursor:
        cursor.execute("SELECT 1 FROM entity_state WHERE key = %s FOR UPDATE", (HELD,))
        run = subprocess.Popen([sys.executable, "-c", RUN, killed.url, lake.url])
        try:
            deadline = time.monotonic() + 60
            while not count(killed, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
                assert run.poll() is None, "it went past the row that is held"
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            run.send_signal(signal.SIGKILL)
            run.wait()
    users = count(killed, "SELECT count(*) FROM entity_state WHERE key LIKE '% user %'")
    assert users == len(events["user_id"].unique()), "these were committed before it was killed"
    assert digest(killed)[0] < digest(whole)[0]
    materialize(CREDIT_CARD, events, labels, killed)
    assert digest(killed) == digest(whole)


def test_the_server_settles_after_the_first_run_and_not_while_one_serves(
    lake: Lake, pools: list[ConnectionPool]
) -> None:
    pool = pools[0]
    events, labels = lake.events(CREDIT_CARD), lake.labels(CREDIT_CARD)
    vacuumed = "SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'entity_state'"
    for _ in range(2):
        materialize(CREDIT_CARD, events, labels, pool)
        with pool.transaction() as cursor:
            cursor.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        assert count(pool, vacuumed) == 1


def test_repeating_a_run_changes_nothing(lake: Lake, pools: list[ConnectionPool]) -> None:
    pool = pools[0]
    events, labels = lake.events(CREDIT_CARD), lake.labels(CREDIT_CARD)
    first = materialize(CREDIT_CARD, events, labels, pool)
    before = digest(pool)
    assert materialize(CREDIT_CARD, events, labels, pool) == first
    assert digest(pool) == before
    assert first.labels > 0

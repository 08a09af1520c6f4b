"""In which order scorers lock, and which row they write, on a real PostgreSQL."""

import threading
import time
from collections.abc import Callable, Mapping

from feature_store.state_table import StoredState, claim_states, load_states, save_states
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.statement import Cursor

KEY = "credit_card user U1"
STATES = {KEY: StoredState(b"state", 7)}
PATIENCE_S = 60.0


def test_the_right_to_make_known_comes_after_the_last_state(
    new_ledger: Callable[[], str],
) -> None:
    pool = a_pool(new_ledger())
    claimed, seen = [], threading.Event()

    def claim() -> None:
        with pool.pipeline() as cursor:
            claimed.append(contents(claim_states(cursor, [KEY, "credit_card user U2"])()))
            claimed.append(advisory_locks(cursor))
        seen.set()

    claimer = threading.Thread(target=claim, daemon=True)
    with pool.transaction() as holder:
        assert contents(load_states(holder, [KEY])) == STATES
        assert advisory_locks(holder) == 0
        claimer.start()
        wait_for_a_waiter(pool)
        assert advisory_locks(holder) == 0
        assert not claimed
    assert seen.wait(PATIENCE_S)
    assert claimed == [STATES, 1]
    claimer.join(PATIENCE_S)
    pool.close()


def test_no_state_at_all_is_claimed_as_well(new_ledger: Callable[[], str]) -> None:
    pool = ConnectionPool(new_ledger(), size=1)
    with pool.pipeline() as cursor:
        assert claim_states(cursor, [KEY])() == {}
        assert advisory_locks(cursor) == 1
    pool.close()


def test_a_state_is_saved_where_another_writer_moved_it_meanwhile(
    new_ledger: Callable[[], str],
) -> None:
    """The waiting one finds the row by its old place, and has to write at its new one."""
    pool = a_pool(new_ledger())
    found: list[dict[str, StoredState]] = []

    def add() -> None:
        with pool.pipeline() as cursor:
            loaded = claim_states(cursor, [KEY])()
            found.append(contents(loaded))
            longer = StoredState(loaded[KEY].state + b" and one", loaded[KEY].last_seq + 1)
            save_states(cursor, {KEY: longer}, loaded)

    adder = threading.Thread(target=add, daemon=True)
    with pool.transaction() as holder:
        loaded = load_states(holder, [KEY])
        adder.start()
        wait_for_a_waiter(pool)
        save_states(holder, {KEY: StoredState(b"long" * 3000, 8)}, loaded)  # to another page
    adder.join(PATIENCE_S)
    assert found == [{KEY: StoredState(b"long" * 3000, 8)}]
    with pool.transaction() as cursor:
        assert contents(load_states(cursor, [KEY])) == {
            KEY: StoredState(b"long" * 3000 + b" and one", 9)
        }
    pool.close()


def test_states_are_saved_among_many_whatever_the_kind_of_cursor(
    new_ledger: Callable[[], str],
) -> None:
    pool = ConnectionPool(new_ledger(), size=1)
    keys = [f"credit_card user U{number}" for number in range(300)]
    with pool.transaction() as cursor:
        save_states(cursor, {key: StoredState(key.encode(), 1) for key in keys}, loaded={})
    for last_seq, begin in ((2, pool.transaction), (3, pool.pipeline)):
        with begin() as cursor:
            loaded = load_states(cursor, keys[::2])
            save_states(
                cursor,
                {key: StoredState(state.state * 2, last_seq) for key, state in loaded.items()},
                loaded,
            )
    with pool.transaction() as cursor:
        assert contents(load_states(cursor, keys)) == {
            key: StoredState(key.encode(), 1) if place % 2 else StoredState(key.encode() * 4, 3)
            for place, key in enumerate(keys)
        }
    pool.close()


def a_pool(url: str) -> ConnectionPool:
    """Of a ledger that holds `STATES`."""
    pool = ConnectionPool(url, size=3)
    with pool.transaction() as cursor:
        save_states(cursor, STATES, loaded={})
    return pool


def contents(states: Mapping[str, StoredState]) -> dict[str, StoredState]:
    """Without where they lie."""
    return {key: StoredState(each.state, each.last_seq) for key, each in states.items()}


def advisory_locks(cursor: Cursor) -> int:
    cursor.execute(
        """
        SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.granted
        """
    )
    return int(cursor.fetchall()[0][0])


def wait_for_a_waiter(pool: ConnectionPool) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with pool.transaction() as cursor:
            cursor.execute(
                """
                SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'
                """
            )
            if cursor.fetchall()[0][0]:
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits for the state")

"""In which order scorers lock, on a real PostgreSQL."""

import threading
import time
from collections.abc import Callable

from feature_store.state_table import StoredState, claim_states, load_states, save_states
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.statement import Cursor

KEY = "credit_card user U1"
STATES = {KEY: StoredState(b"state", 7)}
PATIENCE_S = 60.0


def test_the_right_to_make_known_comes_after_the_last_state(
    new_ledger: Callable[[], str],
) -> None:
    pool = ConnectionPool(new_ledger(), size=3)
    with pool.transaction() as cursor:
        save_states(cursor, STATES, loaded=())
    claimed, seen = [], threading.Event()

    def claim() -> None:
        with pool.pipeline() as cursor:
            claimed.append(claim_states(cursor, [KEY, "credit_card user U2"])())
            claimed.append(advisory_locks(cursor))
        seen.set()

    claimer = threading.Thread(target=claim, daemon=True)
    with pool.transaction() as holder:
        assert load_states(holder, [KEY]) == STATES
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

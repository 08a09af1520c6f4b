import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg2.errors
import pytest
from psycopg2.extensions import cursor as Cursor

from fraud.domain.errors import LedgerUnavailable
from fraud.ledger.engine import connect
from fraud.ledger.pool import ConnectionPool, transaction


@pytest.fixture
def pool(ledger_url: str) -> Iterator[ConnectionPool]:
    made = ConnectionPool(ledger_url, size=2, wait_s=0.1)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def counters(ledger_url: str) -> Iterator[None]:
    with transaction(ledger_url) as cursor:
        cursor.execute("CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL)")
        cursor.execute("INSERT INTO counters VALUES (1, 0), (2, 0)")
    yield
    with transaction(ledger_url) as cursor:
        cursor.execute("DROP TABLE counters")


def add(cursor: Cursor, counter: int = 1) -> None:
    cursor.execute("UPDATE counters SET n = n + 1 WHERE id = %s", (counter,))


def value(pool: ConnectionPool, counter: int = 1) -> int:
    with pool.transaction() as cursor:
        cursor.execute("SELECT n FROM counters WHERE id = %s", (counter,))
        [(found,)] = cursor.fetchall()
    return int(found)


def backend(cursor: Cursor) -> int:
    cursor.execute("SELECT pg_backend_pid()")
    [(pid,)] = cursor.fetchall()
    return int(pid)


def kill(url: str, *pids: int) -> None:
    connection = connect(url, autocommit=True)
    with connection.cursor() as cursor:
        for pid in pids:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    connection.close()


def test_a_block_that_ends_is_committed(pool: ConnectionPool) -> None:
    with pool.transaction() as cursor:
        add(cursor)
    assert value(pool) == 1


def test_a_block_that_raises_is_rolled_back(pool: ConnectionPool) -> None:
    def work(cursor: Cursor) -> None:
        add(cursor)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        pool.run(work)
    assert value(pool) == 0


def test_connections_are_used_again(pool: ConnectionPool) -> None:
    pids = set()
    for _ in range(5):
        with pool.transaction() as cursor:
            pids.add(backend(cursor))
    assert len(pids) == 1


def test_an_idle_connection_that_broke_is_replaced(pool: ConnectionPool, ledger_url: str) -> None:
    with pool.transaction() as cursor:
        pid = backend(cursor)
    kill(ledger_url, pid)
    with pool.transaction() as cursor:  # the first use after the break already works
        assert backend(cursor) != pid


def test_a_connection_that_breaks_in_use_is_one_clear_error(
    pool: ConnectionPool, ledger_url: str
) -> None:
    def work(cursor: Cursor) -> None:
        kill(ledger_url, backend(cursor))
        add(cursor)

    with pytest.raises(LedgerUnavailable, match="does not answer"):
        pool.run(work, attempts=1)
    with pool.transaction() as cursor:
        add(cursor)
    assert value(pool) == 1


def test_work_that_was_cut_off_is_done_again(pool: ConnectionPool, ledger_url: str) -> None:
    attempts = 0

    def work(cursor: Cursor) -> int:
        nonlocal attempts
        attempts += 1
        add(cursor)
        if attempts == 1:
            kill(ledger_url, backend(cursor))
        add(cursor)
        return attempts

    assert pool.run(work) == 2
    assert value(pool) == 2  # once, not one and a half times


def test_a_commit_that_was_cut_off_is_not_repeated(pool: ConnectionPool, ledger_url: str) -> None:
    attempts = 0

    def work(cursor: Cursor) -> None:
        nonlocal attempts
        attempts += 1
        add(cursor)
        kill(ledger_url, backend(cursor))

    with pytest.raises(LedgerUnavailable):
        pool.run(work)
    assert attempts == 1


def test_a_deadlock_is_a_lost_race_and_is_repeated(pool: ConnectionPool) -> None:
    first_locks_held = threading.Barrier(2)
    attempts = [0, 0]

    def work(me: int) -> None:
        def both(cursor: Cursor) -> None:
            attempts[me] += 1
            add(cursor, counter=1 + me)
            if attempts[me] == 1:
                first_locks_held.wait()
            add(cursor, counter=2 - me)

        pool.run(both)

    workers = [threading.Thread(target=work, args=(me,)) for me in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(attempts) == [1, 2]
    assert (value(pool, 1), value(pool, 2)) == (2, 2)


def test_errors_of_the_work_itself_come_through(pool: ConnectionPool) -> None:
    with pytest.raises(psycopg2.errors.UniqueViolation), pool.transaction() as cursor:
        cursor.execute("INSERT INTO counters VALUES (1, 0)")


def test_an_exhausted_pool_says_so(pool: ConnectionPool) -> None:
    with (
        pool.transaction(),
        pool.transaction(),
        pytest.raises(LedgerUnavailable, match=r"stayed busy for 0\.1 s"),
        pool.transaction(),
    ):
        pytest.fail("a third connection was lent")  # the pool has two
    with pool.transaction() as cursor:
        assert backend(cursor)


def test_many_threads_share_few_connections(ledger_url: str) -> None:
    pool = ConnectionPool(ledger_url, size=3, wait_s=30)

    def work() -> None:
        for _ in range(25):
            pool.run(add)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert value(pool) == 8 * 25
    assert len(pool._idle) <= 3
    pool.close()


def test_a_statement_may_take_its_time_and_no_longer(ledger_url: str) -> None:
    pool = ConnectionPool(ledger_url, size=1, statement_timeout_s=0.05)
    with pytest.raises(LedgerUnavailable, match="statement timeout"), pool.transaction() as cursor:
        cursor.execute("SELECT pg_sleep(5)")
    pool.close()


def test_sessions_are_in_utc(pool: ConnectionPool) -> None:
    with pool.transaction() as cursor:
        cursor.execute("SHOW timezone")
        assert cursor.fetchall() == [("UTC",)]


def test_a_closed_pool_keeps_no_connection(ledger_url: str) -> None:
    pool = ConnectionPool(ledger_url)
    with pool.transaction() as cursor:
        lent = cursor.connection
        pool.close()
        backend(cursor)
    assert lent.closed


def test_a_server_that_neither_answers_nor_hangs_up_is_hung_up_on(pool: ConnectionPool) -> None:
    with ThreadPoolExecutor() as executor:

        def wait() -> None:
            with pool.transaction() as cursor:
                cursor.execute("SELECT pg_sleep(60)")

        waiting = executor.submit(wait)
        time.sleep(0.5)
        pool.cut_off(after_s=30.0)  # it has time
        assert not waiting.done()
        pool.cut_off(after_s=0.1)
        with pytest.raises(LedgerUnavailable):
            waiting.result(timeout=5)
    assert value(pool) == 0  # the pool goes on with another connection
    pool.cut_off(after_s=0.0)  # nobody waits
    assert value(pool) == 0

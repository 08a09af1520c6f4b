"""Raw psycopg2 connections for the scoring path: few, kept, and replaced when they break."""

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

import psycopg2
import psycopg2.errors
from psycopg2.extensions import (
    STATUS_READY,
    TRANSACTION_STATUS_IDLE,
    TransactionRollbackError,
)
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fraud.domain.errors import LedgerUnavailable
from fraud.ledger.engine import UTC_SESSION, connect, unavailable
from fraud.ledger.pipeline import PipelinedCursor
from fraud.ledger.prepared import forget_statements

T = TypeVar("T")

_ONE_PLAN = "-c plan_cache_mode=force_generic_plan"
"""A prepared statement is planned once. Left to itself the server plans those that take arrays
anew for every batch, which is a third of its time for a small one, and finds the same plan."""


class ConnectionPool:
    """A thread-safe pool of raw connections; `transaction()` lends one for one transaction.

    Args:
        url: address of the ledger.
        size: most connections open at once.
        wait_s: seconds a borrower waits for a free connection.
        statement_timeout_s: seconds after which the server ends a statement; 0 for never.
        connect_timeout_s: seconds a new connection may take; libpq knows none below 2.
        role: role the sessions act as, e.g. the one that may only append to the audit log.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int = 4,
        wait_s: float = 5.0,
        statement_timeout_s: float = 0.0,
        connect_timeout_s: int = 5,
        role: str | None = None,
    ) -> None:
        self.url = url
        self._wait_s = wait_s
        self._connect_timeout_s = connect_timeout_s
        timeout_ms = round(statement_timeout_s * 1000)
        self._options = f"{UTC_SESSION} {_ONE_PLAN} -c statement_timeout={timeout_ms}"
        if role is not None:
            self._options += f" -c role={role}"
        self._free: SimpleQueue[None] = SimpleQueue()  # a semaphore in C
        for _ in range(size):
            self._free.put(None)
        self._idle: list[Connection] = []
        self._lent: dict[Connection, float] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection; what is not committed when it comes back is rolled back.

        Raises:
            LedgerUnavailable: none is free, or the server is away or went away.
            psycopg2.extensions.TransactionRollbackError: the transaction lost against another
                (deadlock, serialisation) and may be tried again.
        """
        with self._lend(autocommit=False) as lent:
            yield lent

    @contextmanager
    def _lend(self, *, autocommit: bool) -> Iterator[Connection]:
        try:
            self._free.get(timeout=self._wait_s)
        except Empty:
            raise LedgerUnavailable(
                f"All connections to the ledger stayed busy for {self._wait_s:g} s.",
                remedy="Try again; give the pool more connections if this keeps happening.",
            ) from None
        lent: Connection | None = None
        try:
            lent = self._take()
            if lent.autocommit != autocommit:  # to set it lets another thread go first
                lent.autocommit = autocommit
            yield lent
        except TransactionRollbackError:
            raise
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise unavailable(self.url, error) from error
        finally:
            try:
                self._give_back(lent)
            finally:
                self._free.put(None)

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Lend a cursor; commit when the block ends, roll back when it raises.

        Raises:
            LedgerUnavailable: the server is away, went away, or gave up on the transaction.
        """
        with self.connection() as lent:
            with lent.cursor() as opened:
                yield opened
            lent.commit()

    @contextmanager
    def pipeline(self) -> Iterator[PipelinedCursor]:
        """Lend a cursor that saves round trips; commit and roll back as `transaction` does.

        Raises:
            LedgerUnavailable: the server is away, went away, or gave up on the transaction.
        """
        with self._lend(autocommit=True) as lent:
            try:
                with lent.cursor() as opened:
                    pipelined = PipelinedCursor(opened)
                    try:
                        yield pipelined
                        pipelined.commit()
                    finally:
                        pipelined.close()
            finally:
                _end(lent)

    def run(self, work: Callable[[Cursor], T], *, attempts: int = 3) -> T:
        """Do `work` in a transaction; again, on a fresh connection, if it was cut off midway.

        A transaction that was cut off in its commit is not repeated: it may have happened.

        Args:
            work: what to do with the cursor; must be safe to repeat after a rollback.
            attempts: how often to try at most.

        Raises:
            LedgerUnavailable: the last attempt failed as well.
            psycopg2.extensions.TransactionRollbackError: it lost every time.
        """
        attempt = 1
        while True:
            is_committing = False
            try:
                with self.transaction() as opened:
                    result = work(opened)
                    is_committing = True
                return result
            except TransactionRollbackError:
                if attempt == attempts:
                    raise
            except LedgerUnavailable as error:
                if is_committing or attempt == attempts or not _is_cut_off(error.__cause__):
                    raise
            time.sleep(0.01 * attempt)
            attempt += 1

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections are lent, and how many idle."""
        with self._lock:
            return len(self._lent), len(self._idle)

    def cut_off(self, after_s: float) -> None:
        """Hang up on connections that were lent for longer; whoever waits for one is told.

        A server that does not even answer with an error, such as one behind a network that
        swallows packets, would otherwise keep its caller for as long as TCP has patience.
        """
        with self._lock:
            since = time.monotonic() - after_s
            for each in [lent for lent, lent_at in self._lent.items() if lent_at < since]:
                del self._lent[each]
                with (
                    suppress(psycopg2.InterfaceError, OSError),  # it broke by itself meanwhile
                    socket.socket(fileno=os.dup(each.fileno())) as line,
                ):
                    line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close all idle connections; those still lent are closed as they come back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for each in idle:
            each.close()

    def _take(self) -> Connection:
        while True:
            with self._lock:
                candidate = self._idle.pop() if self._idle else None
            if candidate is None:
                candidate = connect(
                    self.url, timeout_s=self._connect_timeout_s, options=self._options
                )
            elif not _is_alive(candidate):
                candidate.close()
                continue
            with self._lock:
                self._lent[candidate] = time.monotonic()
            return candidate

    def _give_back(self, lent: Connection | None) -> None:
        if lent is None:
            return
        with self._lock:
            self._lent.pop(lent, None)
        try:
            if lent.status != STATUS_READY:
                lent.rollback()
        except psycopg2.Error:
            lent.close()
        with self._lock:
            if not lent.closed and not self._is_closed:
                self._idle.append(lent)
                return
        lent.close()


@contextmanager
def transaction(url: str) -> Iterator[Cursor]:
    """One transaction on a connection of its own, for work that has no pool.

    Raises:
        LedgerUnavailable: the server is away or went away.
    """
    pool = ConnectionPool(url, size=1)
    try:
        with pool.transaction() as opened:
            yield opened
    finally:
        pool.close()


def _is_alive(candidate: Connection) -> bool:
    """Whether an idle connection is open; a server that hung up left something to read."""
    if candidate.closed:
        return False
    poller = select.poll()
    poller.register(candidate.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return not poller.poll(0)


def _end(lent: Connection) -> None:
    """Leave the transaction that is still open if its block raised."""
    try:
        if lent.get_transaction_status() != TRANSACTION_STATUS_IDLE:
            with lent.cursor() as opened:
                opened.execute("ROLLBACK; DEALLOCATE ALL")
            forget_statements(lent)  # it is unknown which of them were prepared
    except psycopg2.Error:
        lent.close()


def _is_cut_off(cause: BaseException | None) -> bool:
    """Whether the connection broke or the server ended it; else another try is in vain."""
    if isinstance(cause, psycopg2.errors.AdminShutdown | psycopg2.errors.CrashShutdown):
        return True
    return isinstance(cause, psycopg2.Error) and cause.pgcode is None

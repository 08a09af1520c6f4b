"""A transaction in as few round trips as it has questions.

A round trip costs more than what most statements ask for: two switches between processes, and
a wait for the interpreter, which another thread took meanwhile. So statements whose rows
nobody waits for travel with the next ones, BEGIN with the first and COMMIT with the last.
"""

import select
from collections import deque
from collections.abc import Callable, Sequence
from ctypes import string_at
from functools import cache
from typing import Any

import psycopg2
import psycopg2.errors
from psycopg2.extensions import cursor as Cursor
from psycopg2.extensions import string_types

from fraud.ledger import libpq
from fraud.ledger.binary import Encode, decoded, encoder
from fraud.ledger.prepared import prepared_statements

MUCH_BYTES = 32_768
"""From here on libpq sends before it is asked to (its buffer for pipelines takes twice that)."""


class Answer:
    """The rows of a statement under way, when they are asked for: `answer()`.

    Attributes:
        kinds: types of the columns that are fetched in binary; none where they come as text.
        is_wanted: whether somebody will ask.
        rows: once they are here.
    """

    __slots__ = ("_wait", "is_wanted", "kinds", "rows")

    def __init__(self, kinds: tuple[str, ...], wait: Callable[[], None]) -> None:
        self.kinds = kinds
        self.is_wanted = False
        self.rows: list[tuple[Any, ...]] | None = None
        self._wait = wait

    def __call__(self) -> list[tuple[Any, ...]]:
        if self.rows is None:
            self._wait()
        return self.rows or []


def _nothing() -> None:
    """There is nothing to wait for."""


_NEVER_ASKED = Answer((), _nothing)


class PipelinedCursor:
    """A cursor that waits for the server when rows are asked for, and at the commit.

    An error of a statement shows there: in `fetchall`, an `Answer` or `commit`. The server runs the
    statements one by one and skips what follows an error, so COMMIT is never reached.

    Args:
        cursor: of a connection in autocommit mode, so that BEGIN and COMMIT are ours to send.

    Attributes:
        connection: the one it belongs to.
        prepared: names of the statements that its session has ready.

    Raises:
        psycopg2.OperationalError: the connection broke.
    """

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self.connection = cursor.connection
        self.prepared = prepared_statements(self.connection)
        self._line = self.connection.pgconn_ptr
        self._file, self._poller = self.connection.fileno(), select.poll()
        self._poller.register(self._file, select.POLLIN)
        self._asked: deque[Answer] = deque()  # of the statements under way
        self._last = Answer((), self._wait)
        self._check(libpq.set_nonblocking(self._line, 1) == 0)
        self._check(libpq.enter_pipeline(self._line))
        self._syncs, self._is_synced = 0, True
        self.execute("BEGIN")

    def execute(self, query: str, vars: Any = None) -> None:
        """Take a statement with parameters along."""
        text = query.encode() if vars is None else self._cursor.mogrify(query, vars)
        self._send(libpq.send_query(self._line, text, 0, None, None, None, None, 0), ())

    def execute_prepared(
        self, name: str, kinds: tuple[str, ...], values: Sequence[object], row: tuple[str, ...]
    ) -> None:
        """Take a prepared statement along, its parameters in binary.

        Args:
            name: of the statement.
            kinds: types of its parameters.
            values: the parameters, see `encoder`; None is NULL.
            row: types of the columns it answers with in binary, without those at the end that
                nobody reads; none where it answers in text.
        """
        encoders, parameters = _form(kinds)
        sent = [
            None if value is None else encode(value)
            for encode, value in zip(encoders, values, strict=True)
        ]
        lengths = [0 if data is None else len(data) for data in sent]
        is_much = sum(lengths) > MUCH_BYTES
        send = libpq.send_much_prepared if is_much else libpq.send_prepared
        self._send(send(self._line, name.encode(), *parameters(sent, lengths), bool(row)), row)

    def start(self) -> None:
        """Have the server start on what was taken along, while the caller prepares more."""
        self._check(libpq.flush(self._line) >= 0)

    def answer(self) -> Answer:
        """The rows of the last statement, for later: further statements travel with it."""
        self._last.is_wanted = True
        return self._last

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Wait for the server; all rows of the last statement."""
        return self.answer()()

    def commit(self) -> None:
        """End the transaction, and wait for the server."""
        self.execute("COMMIT")
        self._wait()

    def close(self) -> None:
        """Leave the connection to plain cursors; an open transaction stays open.

        Raises:
            psycopg2.OperationalError: the connection broke.
        """
        self._last = _NEVER_ASKED  # else we and it would wait for the garbage collector
        if not self._is_synced:
            self._sync()
        while self._syncs:  # one is left over where a row could not be read
            self._drain()
        self._check(libpq.exit_pipeline(self._line))
        self._check(libpq.set_nonblocking(self._line, 0) == 0)

    def _send(self, is_sent: int, row: tuple[str, ...]) -> None:
        self._is_synced = False
        self._check(is_sent)
        self._last = Answer(row, self._wait)
        self._asked.append(self._last)

    def _sync(self) -> None:
        self._check(libpq.sync(self._line))
        self._syncs, self._is_synced = self._syncs + 1, True

    def _wait(self) -> None:
        self._sync()
        error = self._drain()
        if error is not None:
            raise error

    def _drain(self) -> psycopg2.Error | None:
        """Take all results up to the next point of synchronisation; the first error."""
        error: psycopg2.Error | None = None
        while True:
            result = self._result()
            if result is None:
                self._asked.popleft()
                continue
            try:
                kind = libpq.result_status(result)
                if kind == libpq.PGRES_PIPELINE_SYNC:
                    self._syncs -= 1
                    return error
                if kind in (libpq.PGRES_TUPLES_OK, libpq.PGRES_COMMAND_OK):
                    libpq.get_result(self._line)  # none, which needs no waiting
                    answer = self._asked.popleft()
                    if answer.is_wanted:
                        answer.rows = self._read(result, answer.kinds)
                elif kind != libpq.PGRES_PIPELINE_ABORTED:
                    error = error or _error(result)
            finally:
                libpq.clear(result)

    def _result(self) -> int | None:
        """The next result, None after the last one of a statement."""
        if libpq.is_busy(self._line):
            self._wait_for_result()
        result: int | None = libpq.get_result(self._line)
        if result is None:
            self._check(libpq.status(self._line) == libpq.CONNECTION_OK)
        return result

    def _wait_for_result(self) -> None:
        while True:
            unsent = libpq.flush_rest(self._line)
            self._check(unsent >= 0)
            if unsent:
                self._poller.modify(self._file, select.POLLIN | select.POLLOUT)
            self._poller.poll()
            if unsent:
                self._poller.modify(self._file, select.POLLIN)
            self._check(libpq.consume_input(self._line))
            if not libpq.is_busy(self._line):
                return

    def _read(self, result: int, kinds: tuple[str, ...]) -> list[tuple[Any, ...]]:
        rows = range(libpq.row_count(result))
        if kinds:
            columns = list(enumerate(kinds))
            return [
                tuple([decoded(kind, _cell(result, r, c)) for c, kind in columns]) for r in rows
            ]
        if not rows:
            return []
        places = range(libpq.column_count(result))
        casts = [string_types.get(libpq.column_type(result, c)) for c in places]
        return [tuple([self._cast(casts[c], _cell(result, r, c)) for c in places]) for r in rows]

    def _cast(self, cast: Any, data: bytes | None) -> Any:
        if data is None:
            return None
        return cast(data.decode(), self._cursor) if cast else data.decode()

    def _check(self, is_well: object) -> None:
        if not is_well:
            reason = libpq.error_message(self._line).decode(errors="replace").strip()
            raise psycopg2.OperationalError(reason or "the connection to the server broke")


@cache
def _form(kinds: tuple[str, ...]) -> tuple[tuple[Encode, ...], libpq.Parameters]:
    """How parameters of these types are encoded and handed over."""
    encoders = [encoder(kind) for kind in kinds]
    return tuple(each for each, _ in encoders), libpq.Parameters([form for _, form in encoders])


def _cell(result: int, row: int, column: int) -> bytes | None:
    size = libpq.value_length(result, row, column)
    if not size and libpq.is_null(result, row, column):
        return None
    return string_at(libpq.value(result, row, column), size)


def _error(result: int) -> psycopg2.Error:
    """A failed statement's error, of the class psycopg2 has for it."""
    code = (libpq.result_error_field(result, libpq.SQLSTATE) or b"").decode()
    message = libpq.result_error(result).decode(errors="replace")
    try:
        error = psycopg2.errors.lookup(code)(message)
    except KeyError:
        error = psycopg2.DatabaseError(message)
    error.__setstate__({"pgcode": code or None, "pgerror": message})  # type: ignore[no-untyped-call]
    return error

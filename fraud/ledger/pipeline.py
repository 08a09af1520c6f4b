"""A transaction in as few round trips as it has questions.

A round trip costs more than what most statements ask for: two switches between processes, and
a wait for the interpreter, which another thread took meanwhile. So statements whose rows
nobody waits for travel with the next ones, BEGIN with the first and COMMIT with the last.
"""

from typing import Any

from psycopg2.extensions import cursor as Cursor


class PipelinedCursor:
    """A cursor that sends its statements when rows are asked for, or at the commit.

    An error of a statement shows where it is sent: in `fetchall` or `commit`. The server runs
    what travels together one by one and stops at the first error, so COMMIT is never reached.

    Args:
        cursor: of a connection in autocommit mode, so that BEGIN and COMMIT are ours to send.
    """

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._unsent = [b"BEGIN"]

    @property
    def connection(self) -> Any:
        """The connection it belongs to."""
        return self._cursor.connection

    def execute(self, query: str, vars: Any = None) -> None:
        """Take statements with parameters along; they are sent later."""
        self._unsent.append(self._cursor.mogrify(query, vars))

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Send what is unsent; all rows of the last statement."""
        self._send()
        return self._cursor.fetchall()

    def commit(self) -> None:
        """Send what is unsent, and end the transaction."""
        self._unsent.append(b"COMMIT")
        self._send()

    def _send(self) -> None:
        statements, self._unsent = b";".join(self._unsent), []
        self._cursor.execute(statements)

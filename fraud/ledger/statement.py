"""Statements of the scoring path, parsed and planned once per connection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fraud.ledger.binary import literal
from fraud.ledger.pipeline import PipelinedCursor
from fraud.ledger.prepared import prepared_statements


class Cursor(Protocol):
    """The part of a psycopg2 cursor the ledger needs."""

    @property
    def connection(self) -> Any:
        """The connection it belongs to."""

    def execute(self, query: str, vars: Any = ...) -> None:
        """Run statements with parameters."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows of the last statement."""


Rows = Callable[[], list[tuple[Any, ...]]]
"""The rows of a statement, when they are asked for."""


def answer(cursor: Cursor) -> Rows:
    """The rows of the last statement, for later; a pipeline goes on without waiting for them."""
    if isinstance(cursor, PipelinedCursor):
        return cursor.answer()
    rows = cursor.fetchall()
    return lambda: rows


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement the server keeps ready for a session (PREPARE and EXECUTE).

    It outlives the transaction it was first used in, and ends with the session; a pooler
    between us and PostgreSQL must therefore keep sessions apart.

    Attributes:
        name: unique within the platform.
        types: of its parameters.
        text: with parameters `$1`, `$2`, ...
        row: types of its columns if a pipeline shall fetch them in binary, without those at the
            end that nobody reads.
    """

    name: str
    types: tuple[str, ...]
    text: str
    row: tuple[str, ...] = ()

    def execute(self, cursor: Cursor, parameters: Sequence[object]) -> None:
        """Run it; the first time on a connection costs one more round trip."""
        pipelined = cursor if isinstance(cursor, PipelinedCursor) else None
        names = pipelined.prepared if pipelined else prepared_statements(cursor.connection)
        if self.name not in names:
            types = f" ({', '.join(self.types)})" if self.types else ""
            cursor.execute(f"PREPARE {self.name}{types} AS {self.text}")
            names.add(self.name)
        if pipelined:
            pipelined.execute_prepared(self.name, self.types, parameters, self.row)
            return
        places = f" ({', '.join(['%s'] * len(self.types))})" if self.types else ""
        values = [literal(each) if isinstance(each, list) else each for each in parameters]
        cursor.execute(f"EXECUTE {self.name}{places}", values)

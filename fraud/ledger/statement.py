"""Statements of the scoring path, parsed and planned once per connection."""

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary


class Cursor(Protocol):
    """The part of a psycopg2 cursor the ledger needs."""

    @property
    def connection(self) -> Any:
        """The connection it belongs to."""

    def execute(self, query: str, vars: Any = ...) -> None:
        """Run statements with parameters."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows of the last statement."""


_prepared: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


def forget_statements(connection: Any) -> None:
    """Prepare all statements anew, after DEALLOCATE ALL."""
    _prepared.pop(connection, None)


class BytesLiteral:
    """Many bytes as a parameter, in base64: the server scans and decodes every character.

    Of half a megabyte, which is what a batch's states are, that spares it two of five
    milliseconds against the hexadecimal form that bytes otherwise take.

    Args:
        data: of a `bytea`.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __conform__(self, protocol: object) -> "BytesLiteral":
        return self

    def getquoted(self) -> bytes:
        """The literal, as psycopg2 puts it into a statement."""
        return b"decode('%b', 'base64')" % binascii.b2a_base64(self._data, newline=False)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement the server keeps ready for a session (PREPARE and EXECUTE).

    It outlives the transaction it was first used in, and ends with the session; a pooler
    between us and PostgreSQL must therefore keep sessions apart.

    Attributes:
        name: unique within the platform.
        types: of its parameters.
        text: with parameters `$1`, `$2`, ...
    """

    name: str
    types: tuple[str, ...]
    text: str

    def execute(self, cursor: Cursor, parameters: Sequence[object]) -> None:
        """Run it; the first time on a connection costs one more round trip."""
        names = _prepared.setdefault(cursor.connection, set())
        if self.name not in names:
            cursor.execute(f"PREPARE {self.name} ({', '.join(self.types)}) AS {self.text}")
            names.add(self.name)
        places = ", ".join(["%s"] * len(self.types))
        cursor.execute(f"EXECUTE {self.name} ({places})", parameters)

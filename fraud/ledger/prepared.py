"""Which statements the server keeps ready for which session."""

from typing import Any
from weakref import WeakKeyDictionary

_names: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


def prepared_statements(connection: Any) -> set[str]:
    """Names of a session's statements, to be added to."""
    return _names.setdefault(connection, set())


def forget_statements(connection: Any) -> None:
    """Prepare all statements anew, after DEALLOCATE ALL."""
    names = _names.get(connection)
    if names:
        names.clear()

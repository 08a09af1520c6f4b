"""Lists of values in the ledger: who put what on them, why, until when."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2.errors

from fraud.domain.errors import InvalidField, NotFound
from fraud.domain.event import from_us, to_us
from fraud.domain.ruleset import ListKind
from fraud.ledger.rulesets import new_revision
from fraud.ledger.statement import Cursor


@dataclass(frozen=True, slots=True)
class StoredList:
    """A list, without its entries.

    Attributes:
        list_id: in the ledger.
        name: as rules call it.
        kind: what a hit does.
        field: of the event.
        description: what it is for.
        entry_count: entries on it, expired ones included.
        created_by: who made it.
        created_at_us: when, microseconds UTC.
    """

    list_id: int
    name: str
    kind: ListKind
    field: str
    description: str
    entry_count: int
    created_by: str
    created_at_us: int


@dataclass(frozen=True, slots=True)
class ListEntry:
    """A value on a list; times in microseconds UTC, `expires_at_us` None for never."""

    value: str
    reason: str
    expires_at_us: int | None
    added_by: str
    added_at_us: int


def create_list(
    cursor: Cursor,
    fraud_type: str,
    name: str,
    kind: ListKind,
    field: str,
    description: str,
    actor: str,
    now_us: int,
) -> StoredList:
    """Make an empty list.

    Raises:
        InvalidField: there is one of this name.
    """
    revision = new_revision(cursor, fraud_type, "lists", f"created {name}", actor, now_us)
    try:
        cursor.execute(
            """
            INSERT INTO lists (
                fraud_type, name, kind, field, description, created_by, created_at, from_revision
            ) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            """,
            (fraud_type, name, kind, field, description, actor, from_us(now_us), revision),
        )
    except psycopg2.errors.UniqueViolation:
        what = f"there is a list {name!r} already"
        raise InvalidField([("name", what, "Choose another name.")]) from None
    return list_named(cursor, fraud_type, name)


def lists_of(cursor: Cursor, fraud_type: str) -> list[StoredList]:
    """The lists of a fraud type, by name."""
    cursor.execute(
        """
        SELECT l.id, l.name, l.kind, l.field, l.description, count(e.id), l.created_by,
            l.created_at
        FROM lists l LEFT JOIN list_entries e ON e.list_id = l.id AND e.to_revision IS NULL
        WHERE l.fraud_type = %s GROUP BY l.id ORDER BY l.name
        """,
        (fraud_type,),
    )
    return [_stored(row) for row in cursor.fetchall()]


def list_named(cursor: Cursor, fraud_type: str, name: str) -> StoredList:
    """One list.

    Raises:
        NotFound: there is none of this name.
    """
    for each in lists_of(cursor, fraud_type):
        if each.name == name:
            return each
    raise NotFound(
        f"There is no list {name!r} for {fraud_type}.", remedy="GET /lists shows what there is."
    )


def entries_of(
    cursor: Cursor, list_id: int, *, after: str | None = None, limit: int = 100
) -> list[ListEntry]:
    """Entries of a list by value, those above `after`."""
    cursor.execute(
        """
        SELECT value, reason, expires_at, added_by, added_at FROM list_entries
        WHERE list_id = %s AND to_revision IS NULL AND (%s::text IS NULL OR value > %s)
        ORDER BY value LIMIT %s
        """,
        (list_id, after, after, limit),
    )
    return [
        ListEntry(row[0], row[1], row[2] and to_us(row[2]), row[3], to_us(row[4]))
        for row in cursor.fetchall()
    ]


def add_entries(
    cursor: Cursor,
    fraud_type: str,
    name: str,
    entries: Sequence[tuple[str, str, int | None]],
    actor: str,
    now_us: int,
) -> int:
    """Put values on a list; a value that is on it gets the new reason and expiry.

    Args:
        cursor: of the caller's transaction.
        fraud_type: whose list.
        name: of the list.
        entries: value, reason, and when it expires (microseconds UTC, None for never).
        actor: who does it.
        now_us: the time, microseconds UTC.

    Returns:
        The revision from which they count.

    Raises:
        NotFound: there is no such list.
    """
    change = f"added {len(entries)} to {name}"
    revision = new_revision(cursor, fraud_type, "lists", change, actor, now_us)
    found = list_named(cursor, fraud_type, name)
    newest = {value: (reason, expires_us) for value, reason, expires_us in entries}
    _end(cursor, found.list_id, list(newest), actor, revision)
    cursor.execute(
        """
        INSERT INTO list_entries (
            list_id, value, reason, expires_at, added_by, added_at, from_revision
        )
        SELECT %s, value, reason, expires_at, %s, %s, %s
        FROM unnest(%s::text[], %s::text[], %s::timestamptz[]) AS entry (
            value, reason, expires_at
        )
        """,
        (
            *(found.list_id, actor, from_us(now_us), revision),
            list(newest),
            [reason for reason, _ in newest.values()],
            [None if at is None else from_us(at) for _, at in newest.values()],
        ),
    )
    return revision


def remove_entries(
    cursor: Cursor, fraud_type: str, name: str, values: Sequence[str], actor: str, now_us: int
) -> int:
    """Take values off a list; those that are not on it change nothing.

    Returns:
        How many were on it.

    Raises:
        NotFound: there is no such list.
    """
    change = f"removed {len(values)} from {name}"
    revision = new_revision(cursor, fraud_type, "lists", change, actor, now_us)
    found = list_named(cursor, fraud_type, name)
    return _end(cursor, found.list_id, values, actor, revision)


def _end(cursor: Cursor, list_id: int, values: Sequence[str], actor: str, revision: int) -> int:
    cursor.execute(
        """
        UPDATE list_entries SET to_revision = %s, removed_by = %s
        WHERE list_id = %s AND to_revision IS NULL AND value = ANY(%s) RETURNING 1
        """,
        (revision, actor, list_id, list(values)),
    )
    return len(cursor.fetchall())


def _stored(row: Sequence[Any]) -> StoredList:
    return StoredList(
        list_id=row[0],
        name=row[1],
        kind=row[2],
        field=row[3],
        description=row[4],
        entry_count=row[5],
        created_by=row[6],
        created_at_us=to_us(row[7]),
    )

"""Looking things up in the audit log."""

from dataclasses import dataclass
from typing import Any

from fraud.domain.event import from_us, to_us
from fraud.ledger.statement import Cursor


@dataclass(frozen=True, slots=True)
class AuditSearch:
    """Which records are looked for; None does not narrow.

    Attributes:
        actor: exactly.
        action: exactly.
        object_type: exactly.
        object_id: exactly.
        from_us: recorded at or after.
        until_us: recorded before.
        after: time, position and chain of the last one seen; the next are older.
    """

    actor: str | None = None
    action: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    from_us: int | None = None
    until_us: int | None = None
    after: tuple[int, int, str] | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A record as it is shown; its time in microseconds UTC."""

    chain: str
    position: int
    recorded_at_us: int
    actor: str
    action: str
    outcome: str
    origin: str
    object_type: str
    object_id: str
    detail: Any


def search_audit(cursor: Cursor, search: AuditSearch, limit: int) -> list[AuditRow]:
    """Audit records, newest first."""
    conditions, values = ["true"], list[object]()
    narrowing = (
        ("actor = %s", search.actor),
        ("action = %s", search.action),
        ("object_type = %s", search.object_type),
        ("object_id = %s", search.object_id),
        ("recorded_at >= %s", search.from_us and from_us(search.from_us)),
        ("recorded_at < %s", search.until_us and from_us(search.until_us)),
    )
    for condition, value in narrowing:
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if search.after is not None:
        conditions.append("(recorded_at, position, chain) < (%s, %s, %s)")
        values += [from_us(search.after[0]), *search.after[1:]]
    cursor.execute(
        f"""
        SELECT chain, position, recorded_at, actor, action, outcome, origin, object_type,
            object_id, detail
        FROM audit_log WHERE {" AND ".join(conditions)}
        ORDER BY recorded_at DESC, position DESC, chain DESC LIMIT %s
        """,
        (*values, limit),
    )
    return [AuditRow(row[0], row[1], to_us(row[2]), *row[3:]) for row in cursor.fetchall()]

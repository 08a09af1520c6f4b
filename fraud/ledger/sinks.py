"""The sinks the ledger knows, how far behind each is, and what all of them have."""

import datetime as dt
from dataclasses import dataclass

from fraud.ledger.statement import Cursor

MOST_COUNTED = 1_000_000
"""Where counting a lag ends: the answer is late anyway, and counting more takes seconds."""


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """How a sink is doing.

    Attributes:
        sink: its name.
        lag_messages: messages it does not have, at most `MOST_COUNTED`.
        oldest_at: when the first of them was written, None if it has them all.
        dead: its dead letters.
        failure: why nothing can be delivered now, None if all is well.
        failing_since: since when.
    """

    sink: str
    lag_messages: int
    oldest_at: dt.datetime | None
    dead: int
    failure: str | None
    failing_since: dt.datetime | None


_WAITING = """
SELECT o.id FROM outbox o
WHERE o.xid >= pg_snapshot_xmin(s.delivered) AND NOT pg_visible_in_snapshot(o.xid, s.delivered)
    AND NOT (s.target IS NOT NULL AND o.id <= s.last_id
        AND pg_visible_in_snapshot(o.xid, s.target))
"""

_STATUS = f"""
SELECT s.sink, waiting.messages, first.created_at,
    (SELECT count(*) FROM outbox_dead_letters d WHERE d.sink = s.sink),
    s.failure, s.failing_since
FROM outbox_sinks s
    CROSS JOIN LATERAL (
        SELECT count(*) AS messages, min(id) AS first_id
        FROM ({_WAITING} ORDER BY o.xid LIMIT {MOST_COUNTED}) AS counted
    ) AS waiting
    LEFT JOIN outbox first ON first.id = waiting.first_id
WHERE %(sink)s::text IS NULL OR s.sink = %(sink)s
ORDER BY s.sink
"""


def sink_statuses(cursor: Cursor, sink: str | None = None) -> list[SinkStatus]:
    """How every sink is doing, or one of them."""
    cursor.execute(_STATUS, {"sink": sink})
    return [SinkStatus(*row) for row in cursor.fetchall()]


def remove_sink(cursor: Cursor, sink: str) -> bool:
    """Forget a sink, its progress and its dead letters; False if there is none of this name.

    The outbox keeps messages until every known sink has them: one that is no longer used
    would make it grow for ever.
    """
    cursor.execute("DELETE FROM outbox_dead_letters WHERE sink = %s", (sink,))
    cursor.execute("DELETE FROM outbox_sinks WHERE sink = %s RETURNING 1", (sink,))
    return bool(cursor.fetchall())


def prune(cursor: Cursor, before: dt.datetime, limit: int) -> int:
    """Delete the oldest messages that every known sink has, dead letters excepted.

    Args:
        cursor: of the caller's transaction.
        before: younger messages stay, so that receivers can still be told again.
        limit: most messages to look at.

    Returns:
        How many were deleted; `limit` means that there may be more.
    """
    cursor.execute(
        """
        WITH oldest AS MATERIALIZED (
            SELECT o.id, o.xid, o.created_at FROM outbox o
            WHERE NOT EXISTS (SELECT FROM outbox_dead_letters d WHERE d.outbox_id = o.id)
            ORDER BY o.id LIMIT %s
        ), done AS (
            DELETE FROM outbox o USING oldest
            WHERE o.id = oldest.id AND oldest.created_at < %s
                AND EXISTS (SELECT FROM outbox_sinks)
                AND NOT EXISTS (
                    SELECT FROM outbox_sinks s
                    WHERE NOT pg_visible_in_snapshot(oldest.xid, s.delivered)
                )
            RETURNING 1
        )
        SELECT count(*) FROM done
        """,
        (limit, before),
    )
    deleted: int = cursor.fetchall()[0][0]
    return deleted

"""Messages that a sink refused for good: why, and asking for another try.

The message itself stays in the outbox for as long as it is a dead letter of some sink.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from fraud.ledger.deliveries import Message, Refusal, messages_by_id
from fraud.ledger.outbox import ERASURES_TOPIC
from fraud.ledger.statement import Cursor


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that waits for somebody to look at it.

    Attributes:
        sink: who refused it.
        outbox_id: its number in the outbox.
        topic: of the message.
        key: of the message.
        reason: why it was refused, the last time.
        attempts: how often it was sent in all.
        died_at: when it was refused, the last time.
        is_due: whether another try was asked for.
    """

    sink: str
    outbox_id: int
    topic: str
    key: str
    reason: str
    attempts: int
    died_at: dt.datetime
    is_due: bool


def bury(cursor: Cursor, sink: str, refusals: Sequence[Refusal]) -> None:
    """Put refused messages among a sink's dead letters; for old ones, note the new reason."""
    for each in refusals:
        cursor.execute(
            """
            INSERT INTO outbox_dead_letters AS old (outbox_id, sink, reason, attempts)
            VALUES (%s, %s, %s, %s)
            ON CONFLICT (outbox_id, sink) DO UPDATE SET reason = excluded.reason,
                attempts = old.attempts + excluded.attempts, died_at = now(), is_due = false
            """,
            (each.message.outbox_id, sink, each.reason, each.attempts),
        )


def dead_letters(cursor: Cursor, sink: str | None = None, limit: int = 100) -> list[DeadLetter]:
    """Dead letters of one sink or of all, oldest message first."""
    cursor.execute(
        """
        SELECT d.sink, d.outbox_id, o.topic, o.key, d.reason, d.attempts, d.died_at, d.is_due
        FROM outbox_dead_letters d JOIN outbox o ON o.id = d.outbox_id
        WHERE %s::text IS NULL OR d.sink = %s ORDER BY d.outbox_id, d.sink LIMIT %s
        """,
        (sink, sink, limit),
    )
    return [DeadLetter(*row) for row in cursor.fetchall()]


def retry(cursor: Cursor, sink: str | None = None, outbox_ids: Sequence[int] | None = None) -> int:
    """Ask for another try of dead letters: of one sink or all, some numbers or all.

    Returns:
        How many will be tried.
    """
    cursor.execute(
        """
        WITH due AS (
            UPDATE outbox_dead_letters SET is_due = true
            WHERE (%s::text IS NULL OR sink = %s)
                AND (%s::bigint[] IS NULL OR outbox_id = ANY(%s::bigint[]))
            RETURNING 1
        )
        SELECT count(*) FROM due
        """,
        (sink, sink, *[None if outbox_ids is None else list(outbox_ids)] * 2),
    )
    count: int = cursor.fetchall()[0][0]
    return count


def due_letters(cursor: Cursor, sink: str, limit: int) -> list[Message]:
    """Dead letters of a sink that shall be tried again, oldest first."""
    cursor.execute(
        """
        SELECT outbox_id FROM outbox_dead_letters WHERE sink = %s AND is_due
        ORDER BY outbox_id LIMIT %s
        """,
        (sink, limit),
    )
    numbers = [row[0] for row in cursor.fetchall()]
    return messages_by_id(cursor, numbers) if numbers else []


def remove_letters(cursor: Cursor, sink: str, delivered: Sequence[Message]) -> None:
    """Take out of a sink's dead letters what it now has."""
    cursor.execute(
        "DELETE FROM outbox_dead_letters WHERE sink = %s AND outbox_id = ANY(%s)",
        (sink, [each.outbox_id for each in delivered]),
    )


def forget_erased(cursor: Cursor, sink: str, delivered: Sequence[Message]) -> None:
    """Drop dead letters about transactions that were erased, so that no retry brings them back."""
    erasures = [each.outbox_id for each in delivered if each.topic == ERASURES_TOPIC]
    if erasures:
        cursor.execute(
            """
            DELETE FROM outbox_dead_letters d USING outbox o, outbox e
            WHERE d.sink = %s AND o.id = d.outbox_id AND e.id = ANY(%s)
                AND e.payload -> 'transaction_ids' ? (o.payload ->> 'transaction_id')
            """,
            (sink, erasures),
        )

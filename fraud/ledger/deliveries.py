"""How far each sink was told of the outbox, and the next messages for it.

A number of the outbox may become visible after a higher one: transactions take numbers as
they write and show them as they commit. So progress is not a number but a snapshot: PostgreSQL's
own account of which transactions were over at a moment. What one snapshot sees and an earlier
one did not is a fixed set of messages; it is delivered in the order of the numbers, and then
the next snapshot is taken. Nothing can fall between two snapshots. Of two transactions that
wait for each other the later one is never seen without the earlier, so each key keeps its order.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg2.extensions import connection as Connection

from fraud.domain.errors import NotFound
from fraud.domain.event import text_id
from fraud.ledger.statement import Cursor


@dataclass(frozen=True, slots=True)
class StoredTransaction:
    """A transaction as the ledger keeps it.

    Attributes:
        event_time: when it happened, UTC.
        amount_minor: value at risk in minor units.
        fields: the fraud type's own fields, a JSON object, with pseudonyms for what is sensitive.
        sealed: what is sensitive of them, encrypted; None where nothing is.
    """

    event_time: dt.datetime
    amount_minor: int
    fields: str
    sealed: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the outbox.

    Attributes:
        outbox_id: its number, the same however often it is delivered.
        topic: what it is about, see `fraud.ledger.outbox`.
        key: messages of one key keep their order.
        payload: a JSON object.
        created_at: when it was written, UTC.
        transaction: what it is about, if it was asked for and the ledger has it.
    """

    outbox_id: int
    topic: str
    key: str
    payload: str
    created_at: dt.datetime
    transaction: StoredTransaction | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that a sink will not take, however often it is sent."""

    message: Message
    reason: str
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sink is.

    Attributes:
        delivered: snapshot of what it has.
        target: snapshot that is being delivered, None between two.
        last_id: last message of the target that it has.
    """

    delivered: str
    target: str | None
    last_id: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The next messages for a sink, and its progress once it has them."""

    messages: Sequence[Message]
    after: Progress


_PROGRESS = """
SELECT delivered::text, target::text, last_id, pg_current_snapshot()::text
FROM outbox_sinks WHERE sink = %s
"""

_COLUMNS = "id, topic, key, payload::text, created_at"

_FRESH = """
FROM outbox
WHERE xid >= pg_snapshot_xmin(%(delivered)s::pg_snapshot)
    AND NOT pg_visible_in_snapshot(xid, %(delivered)s::pg_snapshot)
    AND pg_visible_in_snapshot(xid, %(target)s::pg_snapshot)
"""

_FEW = f"""
SELECT * FROM (SELECT {_COLUMNS} {_FRESH} ORDER BY xid LIMIT %(limit)s) AS fresh ORDER BY id
"""
"""By the index on xid, however many rows were delivered and are still there."""

_FIRST_ID = f"SELECT min(id) {_FRESH}"

_NEXT = f"""
SELECT {_COLUMNS} FROM outbox
WHERE id > %(last_id)s AND pg_visible_in_snapshot(xid, %(target)s::pg_snapshot)
    AND NOT pg_visible_in_snapshot(xid, %(delivered)s::pg_snapshot)
ORDER BY id LIMIT %(limit)s
"""
"""By the primary key, so that a large target is not sorted again for every batch."""

_BY_ID = f"SELECT {_COLUMNS} FROM outbox WHERE id = ANY(%(ids)s)"

_WITH_TRANSACTIONS = """
WITH next AS MATERIALIZED ({messages})
SELECT n.id, n.topic, n.key, n.payload, n.created_at, t.event_time, t.amount_minor,
    t.fields::text, t.sealed
FROM next n
    LEFT JOIN transactions t
        ON t.transaction_id = (n.payload::jsonb ->> 'transaction_id') COLLATE "C"
ORDER BY n.id
"""


_REGISTER = """
INSERT INTO outbox_sinks (sink, cluster)
SELECT %s, system_identifier FROM pg_control_system()
ON CONFLICT (sink) DO UPDATE SET failure = NULL, failing_since = NULL
"""

_IS_FOREIGN = """
SELECT EXISTS (
    SELECT FROM outbox_sinks, pg_control_system() WHERE cluster IS DISTINCT FROM system_identifier
)
"""

_BEGIN_AGAIN = """
UPDATE outbox SET xid = pg_current_xact_id();
UPDATE outbox_sinks SET delivered = DEFAULT, target = NULL, last_id = 0,
    cluster = (SELECT system_identifier FROM pg_control_system())
"""


def lead(connection: Connection, sink: str) -> bool:
    """Become the one that delivers to a sink, until the session ends; False if another does."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (text_id(f"outbox sink {sink}"),))
        is_leader: bool = cursor.fetchall()[0][0]
        if is_leader:
            _begin_again_in_another_cluster(cursor)
            cursor.execute(_REGISTER, (sink,))
    return is_leader


def _begin_again_in_another_cluster(cursor: Cursor) -> None:
    """Make all messages undelivered if the ledger was dumped and restored into another cluster.

    The snapshots and transactions its rows name are the old cluster's. Here they mean nothing,
    or later on, worse, other transactions.
    """
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (text_id("outbox cluster"),))
    cursor.execute(_IS_FOREIGN)
    if cursor.fetchall()[0][0]:
        cursor.execute(_BEGIN_AGAIN)


def next_batch(
    cursor: Cursor, sink: str, limit: int, *, with_transactions: bool = False
) -> Batch | None:
    """The next messages for a sink, in the order to deliver them; None if it has them all.

    Nothing is noted: until `note_progress` is called the same messages come again.

    Args:
        cursor: of the session that leads the sink.
        sink: its name.
        limit: most messages.
        with_transactions: whether messages carry the transactions they are about.
    """
    delivered, target, last_id, now = _progress(cursor, sink)
    span: dict[str, object] = {"delivered": delivered, "target": target or now}
    if target is None:
        found = _messages(cursor, _FEW, span | {"limit": limit + 1}, with_transactions)
        if len(found) <= limit:
            return Batch(found, Progress(now, None, 0)) if found else None
        cursor.execute(_FIRST_ID, span)
        last_id = cursor.fetchall()[0][0] - 1
    found = _messages(cursor, _NEXT, span | {"last_id": last_id, "limit": limit}, with_transactions)
    if len(found) < limit:
        return Batch(found, Progress(target or now, None, 0))
    return Batch(found, Progress(delivered, target or now, found[-1].outbox_id))


def note_progress(cursor: Cursor, sink: str, after: Progress) -> None:
    """Note that a sink has a batch, or that what it refused is among its dead letters."""
    cursor.execute(
        """
        UPDATE outbox_sinks SET delivered = %s, target = %s, last_id = %s WHERE sink = %s
        """,
        (after.delivered, after.target, after.last_id, sink),
    )


def note_failure(cursor: Cursor, sink: str, failure: str) -> None:
    """Note why nothing can be delivered to a sink now."""
    cursor.execute(
        """
        UPDATE outbox_sinks SET failure = %s, failing_since = coalesce(failing_since, now())
        WHERE sink = %s
        """,
        (failure, sink),
    )


def clear_failure(cursor: Cursor, sink: str) -> None:
    """Note that a sink takes messages again."""
    cursor.execute(
        "UPDATE outbox_sinks SET failure = NULL, failing_since = NULL WHERE sink = %s", (sink,)
    )


def messages_by_id(cursor: Cursor, outbox_ids: Sequence[int]) -> list[Message]:
    """Messages with what they are about, by number."""
    return _messages(cursor, _BY_ID, {"ids": list(outbox_ids)}, with_transactions=True)


def _progress(cursor: Cursor, sink: str) -> tuple[str, str | None, int, str]:
    """What a sink has, what it is getting and how far, and the snapshot of now."""
    cursor.execute(_PROGRESS, (sink,))
    rows = cursor.fetchall()
    if not rows:
        raise NotFound(
            f"The ledger knows no sink {sink!r} any more.", remedy="Start its relay again."
        )
    delivered, target, last_id, now = rows[0]
    return delivered, target, last_id, now


def _messages(
    cursor: Cursor, query: str, values: Mapping[str, object], with_transactions: bool
) -> list[Message]:
    if with_transactions:
        query = _WITH_TRANSACTIONS.format(messages=query)
    cursor.execute(query, values)
    return [_message(*row) for row in cursor.fetchall()]


def _message(
    outbox_id: int,
    topic: str,
    key: str,
    payload: str,
    created_at: dt.datetime,
    event_time: dt.datetime | None = None,
    amount_minor: int = 0,
    fields: str = "",
    sealed: str | None = None,
) -> Message:
    transaction = None
    if event_time is not None:
        transaction = StoredTransaction(event_time, amount_minor, fields, sealed)
    return Message(outbox_id, topic, key, payload, created_at, transaction)

"""What the service decided and learned after the lake was complete, from the ledger.

Part of the serving path: frames of these rows are made in `tail_frames`, which needs pandas.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from psycopg2.extensions import cursor as Cursor

from fraud.domain.event import Event, field_kinds, to_us
from fraud.domain.fraud_type import Entity, FraudType

COLUMNS = "t.fraud_type, t.transaction_id, t.seq, t.event_time, t.observed_at, t.amount_minor"

_EVENTS = f"""
SELECT {COLUMNS}, t.fields FROM transactions t
WHERE t.fraud_type = %s AND t.seq > %s AND t.id <= %s ORDER BY t.seq
"""

_KNOWN = f"SELECT {COLUMNS}, t.fields FROM transactions t WHERE t.transaction_id = ANY(%s)"

_CUT = """
SELECT pg_advisory_xact_lock(hashtext('labels'), hashtext(%s));
SELECT pg_advisory_xact_lock(hashtext('transactions'));
SELECT (SELECT coalesce(max(id), 0) FROM transactions), (SELECT coalesce(max(id), 0) FROM labels)
"""
"""The locks are those of `fraud.ledger.labels`: nobody is between taking an id and committing."""

_EVENTS_AFTER = f"""
SELECT {COLUMNS}, t.fields FROM transactions t
WHERE t.id > %s AND t.fraud_type = %s AND {{key}} = ANY(%s) ORDER BY t.seq
"""

_LABELS_AFTER = f"""
SELECT l.seq, l.reported_at, {COLUMNS}, t.fields
FROM labels l JOIN transactions t USING (transaction_id)
WHERE l.id > %s AND t.fraud_type = %s AND l.is_fraud AND l.seq > t.seq AND {{key}} = ANY(%s)
    AND NOT EXISTS (
        SELECT 1 FROM labels earlier
        WHERE earlier.transaction_id = l.transaction_id AND earlier.is_fraud
            AND earlier.seq > t.seq AND earlier.seq < l.seq
    )
ORDER BY l.seq
"""

_FOREVER = 2**63 - 1


class TailEvent(NamedTuple):
    """An event of the ledger, its observation number, and when it was observed."""

    seq: int
    observed_at: dt.datetime
    event: Event


class TailLabel(NamedTuple):
    """The first fraud label of an event, its observation number, and when it was reported."""

    seq: int
    reported_us: int
    event: Event


class Cut(NamedTuple):
    """A point in the growth of the ledger, as the ids of the last rows before it.

    Observation numbers cannot say what was committed before a moment: a writer whose clock is
    behind, or which is slow, commits a lower one later.
    """

    last_event_id: int = _FOREVER
    last_label_id: int = _FOREVER


def cut(cursor: Cursor, fraud_type: FraudType) -> Cut:
    """The present end of the ledger; waits for the batches that are under way.

    Other writers wait until the caller's transaction ends: end it at once.
    """
    cursor.execute(_CUT, (fraud_type.name,))
    return Cut(*cursor.fetchall()[0])


def tail_events(
    cursor: Cursor, fraud_type: FraudType, after_seq: int, until: Cut | None = None
) -> list[TailEvent]:
    """The events the ledger observed after `after_seq`, in observation order, up to a cut."""
    last_id = (until or Cut()).last_event_id
    cursor.execute(_EVENTS, (fraud_type.name, after_seq, last_id))
    return [event_of_row(fraud_type, row) for row in cursor]


def known_events(
    cursor: Cursor, fraud_type: FraudType, transaction_ids: Sequence[str]
) -> dict[str, TailEvent]:
    """Those of these transactions that the ledger knows, also where it is of another fraud type."""
    cursor.execute(_KNOWN, (list(transaction_ids),))
    found = (event_of_row(fraud_type, row) for row in cursor)
    return {each.event.transaction_id: each for each in found}


def entity_additions(
    cursor: Cursor, fraud_type: FraudType, entity: Entity, keys: Iterable[str], since: Cut
) -> list[TailEvent | TailLabel]:
    """What some entities were shown after a cut, in observation order.

    Args:
        cursor: of a transaction that holds the states of these entities locked.
        fraud_type: whose entities.
        entity: which kind of them.
        keys: of their states.
        since: the cut.
    """
    head = len(f"{fraud_type.name} {entity.name} ")
    wanted = [key[head:] for key in keys]
    fields = ", ".join(["t.fields ->> %s"] * len(entity.fields))
    key = f"concat_ws(' ', {fields})"
    found: list[TailEvent | TailLabel] = []
    parameters = (fraud_type.name, *entity.fields, wanted)
    cursor.execute(_EVENTS_AFTER.format(key=key), (since.last_event_id, *parameters))
    found += [event_of_row(fraud_type, row) for row in cursor]
    cursor.execute(_LABELS_AFTER.format(key=key), (since.last_label_id, *parameters))
    found += [
        TailLabel(seq, to_us(told), event_of_row(fraud_type, row).event)
        for seq, told, *row in cursor
    ]
    return sorted(found, key=lambda each: each.seq)


def event_of_row(fraud_type: FraudType, row: Sequence[Any]) -> TailEvent:
    """The event in a row of `COLUMNS` and the fields."""
    of, name, seq, happened, seen, minor, fields = row
    # A field the type gained after an event was decided is null in it.
    unknown = dict.fromkeys(field_kinds(fraud_type.transaction))
    return TailEvent(seq, seen, Event(of, name, to_us(happened), minor, unknown | fields))

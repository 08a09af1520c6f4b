"""What the service decided and learned after the lake was complete, from the ledger."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from psycopg2.extensions import cursor as Cursor

from feature_store.schema import empty_frame
from fraud.domain.event import Event, field_kinds, from_us, to_us
from fraud.domain.fraud_type import Entity, FraudType

_COLUMNS = "t.fraud_type, t.transaction_id, t.seq, t.event_time, t.observed_at, t.amount_minor"

_EVENTS = f"""
SELECT {_COLUMNS}, t.fields FROM transactions t
WHERE t.fraud_type = %s AND t.seq > %s AND t.id <= %s ORDER BY t.seq
"""

_LABELS = """
SELECT transaction_id, is_fraud, reported_at, source, seq FROM labels
WHERE fraud_type = %s AND seq > %s AND id <= %s AND is_fraud ORDER BY seq
"""

_RELATED = f"""
SELECT {_COLUMNS}, t.fields, t.id FROM transactions t
WHERE t.fraud_type = %s AND t.seq <= %s AND ({{is_related}}) ORDER BY t.seq
"""

_LABELS_OF = """
SELECT transaction_id, is_fraud, reported_at, source, seq, id FROM labels
WHERE fraud_type = %s AND seq < %s AND is_fraud AND transaction_id = ANY(%s::varchar[])
ORDER BY seq
"""

_KNOWN = f"SELECT {_COLUMNS}, t.fields FROM transactions t WHERE t.transaction_id = ANY(%s)"

_CUT = """
SELECT pg_advisory_xact_lock(hashtext('labels'), hashtext(%s));
SELECT pg_advisory_xact_lock(hashtext('transactions'));
SELECT (SELECT coalesce(max(id), 0) FROM transactions), (SELECT coalesce(max(id), 0) FROM labels)
"""
"""The locks are those of `fraud.ledger.labels`: nobody is between taking an id and committing."""

_EVENTS_AFTER = f"""
SELECT {_COLUMNS}, t.fields FROM transactions t
WHERE t.id > %s AND t.fraud_type = %s AND {{key}} = ANY(%s) ORDER BY t.seq
"""

_LABELS_AFTER = f"""
SELECT l.seq, l.reported_at, {_COLUMNS}, t.fields
FROM labels l JOIN transactions t USING (transaction_id)
WHERE l.id > %s AND t.fraud_type = %s AND l.is_fraud AND l.seq > t.seq AND {{key}} = ANY(%s)
    AND NOT EXISTS (
        SELECT 1 FROM labels earlier
        WHERE earlier.transaction_id = l.transaction_id AND earlier.is_fraud
            AND earlier.seq > t.seq AND earlier.seq < l.seq
    )
ORDER BY l.seq
"""

_LABEL_NAMES = ("transaction_id", "is_fraud", "reported_at", "source", "seq")

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
    return [_event(fraud_type, row) for row in cursor]


def known_events(
    cursor: Cursor, fraud_type: FraudType, transaction_ids: Sequence[str]
) -> dict[str, TailEvent]:
    """Those of these transactions that the ledger knows, also where it is of another fraud type."""
    cursor.execute(_KNOWN, (list(transaction_ids),))
    found = (_event(fraud_type, row) for row in cursor)
    return {each.event.transaction_id: each for each in found}


def related_events(
    cursor: Cursor, fraud_type: FraudType, values: Mapping[str, Sequence[str]], last_seq: int
) -> tuple[pd.DataFrame, list[int]]:
    """The events up to a number that have one of these values in its field, and their row ids.

    Returns:
        A canonical frame in observation order, and each row's id in `transactions`.
    """
    is_related = " OR ".join(["t.fields ->> %s = ANY(%s)"] * len(values))
    given = [part for field, wanted in values.items() for part in (field, list(wanted))]
    cursor.execute(_RELATED.format(is_related=is_related), (fraud_type.name, last_seq, *given))
    found, ids = [], []
    for *row, row_id in cursor:
        found.append(_event(fraud_type, row))
        ids.append(row_id)
    return events_frame(fraud_type, found), ids


def related_labels(
    cursor: Cursor, fraud_type: FraudType, transaction_ids: Sequence[str], last_seq: int
) -> tuple[pd.DataFrame, list[int]]:
    """The fraud labels of some events, told before a number; see `related_events`."""
    cursor.execute(_LABELS_OF, (fraud_type.name, last_seq, list(transaction_ids)))
    rows = cursor.fetchall()
    named = [dict(zip(_LABEL_NAMES, row[:-1], strict=True)) for row in rows]
    return _frame(empty_frame(fraud_type, "labels"), named), [row[-1] for row in rows]


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
    found += [_event(fraud_type, row) for row in cursor]
    cursor.execute(_LABELS_AFTER.format(key=key), (since.last_label_id, *parameters))
    found += [
        TailLabel(seq, to_us(told), _event(fraud_type, row).event) for seq, told, *row in cursor
    ]
    return sorted(found, key=lambda each: each.seq)


def events_frame(fraud_type: FraudType, tail: list[TailEvent]) -> pd.DataFrame:
    """Those events as a canonical frame."""
    rows: list[dict[str, object]] = [
        {
            "transaction_id": each.event.transaction_id,
            "seq": each.seq,
            "event_time": from_us(each.event.event_time_us),
            "observed_at": each.observed_at,
            "amount_minor": each.event.amount_minor,
            **each.event.fields,
        }
        for each in tail
    ]
    return _frame(empty_frame(fraud_type, "events"), rows)


def tail_labels(
    cursor: Cursor, fraud_type: FraudType, after_seq: int, until: Cut | None = None
) -> pd.DataFrame:
    """Canonical frame of the fraud labels the ledger observed after `after_seq`, up to a cut."""
    last_id = (until or Cut()).last_label_id
    cursor.execute(_LABELS, (fraud_type.name, after_seq, last_id))
    rows = [dict(zip(_LABEL_NAMES, row, strict=True)) for row in cursor]
    return _frame(empty_frame(fraud_type, "labels"), rows)


def _event(fraud_type: FraudType, row: Sequence[Any]) -> TailEvent:
    of, name, seq, happened, seen, minor, fields = row
    # A field the type gained after an event was decided is null in it.
    unknown = dict.fromkeys(field_kinds(fraud_type.transaction))
    return TailEvent(seq, seen, Event(of, name, to_us(happened), minor, unknown | fields))


def _frame(empty: pd.DataFrame, rows: list[dict[str, object]]) -> pd.DataFrame:
    if not rows:
        return empty
    return pd.DataFrame(rows, columns=list(empty.columns)).astype(empty.dtypes.to_dict())

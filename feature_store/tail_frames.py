"""Events and labels of the ledger as canonical frames, for what trains and rebuilds."""

from collections.abc import Mapping, Sequence

import pandas as pd
from psycopg2.extensions import cursor as Cursor

from feature_store.schema import empty_frame
from feature_store.tail import COLUMNS, Cut, TailEvent, event_of_row
from fraud.domain.event import from_us
from fraud.domain.fraud_type import FraudType

_LABELS = """
SELECT transaction_id, is_fraud, reported_at, source, seq FROM labels
WHERE fraud_type = %s AND seq > %s AND id <= %s AND is_fraud ORDER BY seq
"""

_RELATED = f"""
SELECT {COLUMNS}, t.fields, t.id FROM transactions t
WHERE t.fraud_type = %s AND t.seq <= %s AND ({{is_related}}) ORDER BY t.seq
"""

_LABELS_OF = """
SELECT transaction_id, is_fraud, reported_at, source, seq, id FROM labels
WHERE fraud_type = %s AND seq < %s AND is_fraud AND transaction_id = ANY(%s::varchar[])
ORDER BY seq
"""

_LABEL_NAMES = ("transaction_id", "is_fraud", "reported_at", "source", "seq")


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
        found.append(event_of_row(fraud_type, row))
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


def _frame(empty: pd.DataFrame, rows: list[dict[str, object]]) -> pd.DataFrame:
    if not rows:
        return empty
    return pd.DataFrame(rows, columns=list(empty.columns)).astype(empty.dtypes.to_dict())

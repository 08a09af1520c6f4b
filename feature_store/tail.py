"""What the service decided and learned after the lake was complete, from the ledger."""

import datetime as dt
from typing import NamedTuple

import pandas as pd
from psycopg2.extensions import cursor as Cursor

from feature_store.schema import empty_frame
from fraud.domain.event import Event, field_kinds, from_us, to_us
from fraud.domain.fraud_type import FraudType

_EVENTS = """
SELECT transaction_id, seq, event_time, observed_at, amount_minor, fields FROM transactions
WHERE fraud_type = %s AND seq > %s ORDER BY seq
"""

_LABELS = """
SELECT transaction_id, is_fraud, reported_at, source, seq FROM labels
WHERE fraud_type = %s AND seq > %s AND is_fraud ORDER BY seq
"""


class TailEvent(NamedTuple):
    """An event of the ledger, its observation number, and when it was observed."""

    seq: int
    observed_at: dt.datetime
    event: Event


def tail_events(cursor: Cursor, fraud_type: FraudType, after_seq: int) -> list[TailEvent]:
    """The events the ledger observed after `after_seq`, in observation order."""
    cursor.execute(_EVENTS, (fraud_type.name, after_seq))
    # A field the type gained after an event was decided is null in it.
    unknown = dict.fromkeys(field_kinds(fraud_type.transaction))
    return [
        TailEvent(seq, seen, Event(fraud_type.name, each, to_us(happened), minor, unknown | fields))
        for each, seq, happened, seen, minor, fields in cursor
    ]


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


def tail_labels(cursor: Cursor, fraud_type: FraudType, after_seq: int) -> pd.DataFrame:
    """Canonical frame of the fraud labels the ledger observed after `after_seq`."""
    cursor.execute(_LABELS, (fraud_type.name, after_seq))
    names = ("transaction_id", "is_fraud", "reported_at", "source", "seq")
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    return _frame(empty_frame(fraud_type, "labels"), rows)


def _frame(empty: pd.DataFrame, rows: list[dict[str, object]]) -> pd.DataFrame:
    if not rows:
        return empty
    return pd.DataFrame(rows, columns=list(empty.columns)).astype(empty.dtypes.to_dict())

"""What the platform itself saw: events it decided on and labels reported to it.

They belong in the event log like those of any source, under the observation numbers they
were decided with, so that a training frame and a rebuilt state hold what serving saw.
"""

import datetime as dt

import pandas as pd

from feature_store.observation import day_start_us
from feature_store.schema import empty_frame
from feature_store.tail import tail_events
from feature_store.tail_frames import events_frame
from fraud.domain.fraud_type import FraudType
from fraud.domain.windows import DAY_US
from fraud.ledger.pool import ConnectionPool

_LABELS = """
SELECT transaction_id, is_fraud, reported_at, source, seq FROM labels
WHERE fraud_type = %s AND seq >= %s AND seq < %s ORDER BY seq
"""


def served_events(
    pool: ConnectionPool, fraud_type: FraudType, first: dt.date, last: dt.date
) -> pd.DataFrame:
    """Canonical events that were decided from one day to another, with their numbers."""
    with pool.transaction() as cursor:
        events = tail_events(cursor, fraud_type, day_start_us(first) - 1)
    frame = events_frame(fraud_type, events)
    return frame[frame["seq"] < day_start_us(last) + DAY_US].reset_index(drop=True)


def served_labels(
    pool: ConnectionPool, fraud_type: FraudType, first: dt.date, last: dt.date
) -> pd.DataFrame:
    """Canonical labels that reached the service from one day to another."""
    with pool.transaction() as cursor:
        cursor.execute(_LABELS, (fraud_type.name, day_start_us(first), day_start_us(last) + DAY_US))
        rows = cursor.fetchall()
    empty = empty_frame(fraud_type, "labels")
    return pd.DataFrame(rows, columns=list(empty.columns)).astype(empty.dtypes.to_dict())


def days_of(seq: pd.Series) -> pd.Series:
    """The UTC day each observation number belongs to."""
    return pd.to_datetime(seq // DAY_US, unit="D").dt.date

"""What the platform itself saw: events it decided on and labels reported to it.

They belong in the event log like those of any source, under the observation numbers they
were decided with, so that a training frame and a rebuilt state hold what serving saw.
"""

import datetime as dt
from collections.abc import Sequence

import pandas as pd

from feature_store.lake import Lake
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


def add_served_events(
    lake: Lake, fraud_type: FraudType, served: pd.DataFrame, days: Sequence[dt.date]
) -> None:
    """Put what was decided into days of the log, beside what stands there already.

    Args:
        lake: the log.
        fraud_type: whose.
        served: what `served_events` found.
        days: which days; their other rows keep their numbers.
    """
    decided = dict(iter(served.groupby(days_of(served["seq"]))))
    for day in days:
        rows = decided.get(day)
        if rows is not None:
            there = lake.events(fraud_type, day, day)
            others = there[~there["transaction_id"].isin(rows["transaction_id"])]
            lake.write_events(fraud_type, day, _stacked(rows, others))


def add_served_labels(
    lake: Lake,
    fraud_type: FraudType,
    served: pd.DataFrame,
    moved: pd.DataFrame,
    days: Sequence[dt.date],
) -> None:
    """Put labels that reached the service into days of the log.

    Args:
        lake: the log.
        fraud_type: whose.
        served: what `served_labels` found.
        moved: labels of these days in the log that the ledger keeps as well: they stand there
            on the day they acted, which `served` says.
        days: which days; their other rows keep their numbers.
    """
    told = dict(iter(served.groupby(days_of(served["seq"]))))
    touched = set(told) | set(days_of(moved["seq"]))
    for day in touched.intersection(days):
        there = lake.labels(fraud_type, day, day)
        others = there[~there["seq"].isin(moved["seq"])]
        lake.write_labels(fraud_type, day, _stacked(told.get(day), others))


def _stacked(*pieces: pd.DataFrame | None) -> pd.DataFrame:
    some = [piece for piece in pieces if piece is not None]
    return pd.concat([piece for piece in some if len(piece)] or some[:1])

"""The Fraud Detection Handbook's data and protocol (Le Borgne et al. 2022, chapters 3 to 5).

A fold trains on 7 days, skips 7 whose labels are not known yet, and tests on 7. Customers
known by then to be defrauded are left out of each test day.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fraud.domain.errors import MalformedInput, NotFound
from fraud.domain.event import EPOCH, field_kinds
from fraud.domain.fraud_type import FraudType
from fraud.domain.windows import DAY_US

FOLDS = tuple(dt.date(2018, month, day) for month, day in ((8, 15), (8, 8), (8, 1), (7, 25)))
"""First training days of the four published folds."""

TRAIN_DAYS, DELAY_DAYS, TEST_DAYS = 7, 7, 7

COLUMNS = {
    "TRANSACTION_ID": "transaction_id",
    "TX_DATETIME": "event_time",
    "CUSTOMER_ID": "user_id",
    "TERMINAL_ID": "merchant_id",
    "TX_AMOUNT": "amount_minor",
    "TX_FRAUD": "is_fraud",
}

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class History:
    """The file as the platform sees it.

    Attributes:
        events: canonical events in observation order.
        labels: canonical fraud labels, each reported seven days after its transaction.
        is_fraud: truth, bool [n]; the protocol judges by it, features never see it.
        customer: number of the customer, int64 [n].
        day: days since 1970, int64 [n].
    """

    events: pd.DataFrame
    labels: pd.DataFrame
    is_fraud: NDArray[np.bool_]
    customer: Rows
    day: Rows


def read_history(path: Path, fraud_type: FraudType) -> History:
    """Reads the joined daily files, mapped as in `examples/handbook.yaml`.

    Raises:
        NotFound: there is no such file.
        MalformedInput: it lacks a column.
    """
    if not path.is_file():
        raise NotFound(f"There is no file {path}.", remedy="Give DATA= the joined Parquet file.")
    missing = sorted(set(COLUMNS) - set(pq.read_schema(path).names))
    if missing:
        raise MalformedInput(
            f"{path.name} lacks {', '.join(missing)}.", remedy=f"It must hold {', '.join(COLUMNS)}."
        )
    raw = pd.read_parquet(path, columns=list(COLUMNS)).rename(columns=COLUMNS)
    raw = raw.sort_values(["event_time", "transaction_id"], kind="stable", ignore_index=True)
    time_us = raw["event_time"].to_numpy("datetime64[us]").astype(np.int64)
    is_fraud = raw["is_fraud"].to_numpy() == 1
    events = pd.DataFrame(
        {
            "transaction_id": raw["transaction_id"].astype(str),
            "seq": _numbered(time_us),
            "event_time": _utc(time_us),
            "observed_at": _utc(time_us),
            "amount_minor": np.rint(raw["amount_minor"].to_numpy() * 100.0).astype(np.int64),
            "user_id": raw["user_id"].astype(str),
            "merchant_id": raw["merchant_id"].astype(str),
            "merchant_category": "unknown",
        }
    )
    for name, kind in field_kinds(fraud_type.transaction).items():
        if name not in events:
            events[name] = pd.Series(None, events.index, "object" if kind == "text" else "float64")
    reported_us = time_us + DELAY_DAYS * DAY_US
    labels = pd.DataFrame(
        {
            "transaction_id": events["transaction_id"],
            "is_fraud": is_fraud,
            "reported_at": _utc(reported_us),
            "source": "chargeback",
            "seq": _numbered(reported_us),
        }
    )
    return History(
        events=events,
        labels=labels[is_fraud].reset_index(drop=True),
        is_fraud=is_fraud,
        customer=raw["user_id"].to_numpy(np.int64),
        day=time_us // DAY_US,
    )


def fold_rows(history: History, start: dt.date) -> tuple[Rows, Rows]:
    """Rows to train on and rows to test on, of the fold that starts on a day."""
    first = (start - EPOCH.date()).days
    day, customer, is_fraud = history.day, history.customer, history.is_fraud
    train = np.flatnonzero((day >= first) & (day < first + TRAIN_DAYS))
    known = set(customer[train[is_fraud[train]]].tolist())
    tests = []
    for offset in range(TEST_DAYS):
        known |= set(customer[(day == first + TRAIN_DAYS + offset - 1) & is_fraud].tolist())
        today = np.flatnonzero(day == first + TRAIN_DAYS + DELAY_DAYS + offset)
        tests.append(today[~np.isin(customer[today], list(known))])
    return train, np.concatenate(tests)


def _numbered(time_us: Rows) -> Rows:
    """Strictly rising observation numbers: the time, moved on where it is taken."""
    place = np.arange(len(time_us), dtype=np.int64)
    numbers: Rows = np.maximum.accumulate(time_us - place) + place
    return numbers


def _utc(time_us: Rows) -> "pd.Series[pd.Timestamp]":
    return pd.Series(pd.to_datetime(time_us, unit="us", utc=True)).astype("datetime64[us, UTC]")

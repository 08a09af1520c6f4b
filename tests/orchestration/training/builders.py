"""Builders of small feature frames and their labels."""

import datetime as dt

import numpy as np
import pandas as pd

from fraud.domain.fraud_type import FraudType
from fraud.types.credit_card import CREDIT_CARD
from orchestration.training.split import Split, temporal_split

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MATURITY_DAYS = 7  # what credit_card declares


def a_frame(
    days: int = 60, per_day: int = 100, seed: int = 0, fraud_type: FraudType = CREDIT_CARD
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A frame whose frauds, about 4 %, stand out in a few features, and labels 1 to 6 days late.

    Features have the shapes of real ones: whole numbers, long-tailed amounts, durations of up
    to a year in whole seconds (neighbours in float32), columns that never change.
    """
    random = np.random.default_rng(seed)
    count = days * per_day
    time_us = np.sort(random.integers(0, days * 86_400_000_000, count))
    event_time = pd.Timestamp(START) + pd.to_timedelta(time_us, unit="us")
    is_fraud = random.random(count) < 0.04
    features = {name: np.zeros(count) for name in fraud_type.feature_names}
    amount_minor = np.exp(random.normal(8 + is_fraud, 1.0, count)).astype(np.int64)
    features["amount"] = amount_minor / 100.0
    features["user_count_1d"] = random.poisson(2 + 3 * is_fraud).astype(np.float64)
    features["merchant_matured_fraud_share_3"] = random.binomial(3, 0.02 + 0.5 * is_fraud) / 3
    features["user_log_amount_above_genuine"] = random.normal(1.5 * is_fraud, 1.0)
    features["user_seconds_since_last"] = np.floor(random.uniform(0, 366 * 86_400.0, count))
    features["merchant_seconds_since_latest_fraud"] = np.where(
        random.random(count) < 0.5, 31_622_400.0, 31_622_400.0 - random.integers(0, 9, count)
    )
    ids = np.array([f"tx-{number}" for number in range(count)], dtype=object)
    frame = pd.DataFrame(
        {
            "transaction_id": ids,
            "seq": np.arange(count, dtype=np.int64),
            "event_time": event_time.astype("datetime64[us, UTC]"),
            "observed_at": event_time.astype("datetime64[us, UTC]"),
            "amount_minor": amount_minor,
            "user_id": np.array([f"user-{n}" for n in random.integers(0, 300, count)], object),
            **features,
        }
    )
    delay = pd.to_timedelta(random.uniform(1, 6, count), unit="D")
    labels = a_label_frame(ids[is_fraud], True, (event_time + delay)[is_fraud])
    return frame, labels


def a_label_frame(ids: object, is_fraud: bool, reported_at: object) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "transaction_id": np.asarray(ids, dtype=object),
            "is_fraud": is_fraud,
            "reported_at": pd.DatetimeIndex(reported_at).astype("datetime64[us, UTC]"),
            "source": "chargeback",
        }
    )


def a_split(days: int = 60, per_day: int = 100, seed: int = 0) -> Split:
    """23 days of training, then 7 of gap, 10 of validation, 10 of test, and 7 of maturing."""
    frame, labels = a_frame(days, per_day, seed)
    return temporal_split(
        frame,
        labels,
        CREDIT_CARD,
        cutoff=START + dt.timedelta(days=days),
        train_days=days,
        validation_days=10,
        test_days=10,
    )

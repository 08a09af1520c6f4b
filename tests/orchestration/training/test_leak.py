"""From events and labels to the training sample: what came to light later leaves no trace."""

import datetime as dt

import numpy as np
import pandas as pd

from feature_store.offline import build_frame
from fraud.domain.event import field_kinds
from fraud.types.credit_card import CREDIT_CARD
from orchestration.training.split import Sample, temporal_split

START_US = 1_767_225_600_000_000  # 2026-01-01
DAY_US = 86_400_000_000
DAYS, COUNT = 50, 4000


def events() -> pd.DataFrame:
    random = np.random.default_rng(5)
    time_us = START_US + np.sort(random.choice(DAYS * DAY_US, COUNT, replace=False))
    columns: dict[str, object] = {
        "transaction_id": [f"tx-{number}" for number in range(COUNT)],
        "seq": time_us,
        "event_time": pd.to_datetime(time_us, unit="us", utc=True),
        "observed_at": pd.to_datetime(time_us, unit="us", utc=True),
        "amount_minor": random.integers(100, 50_000, COUNT),
    }
    columns |= {
        name: pd.Series([None] * COUNT, dtype="object" if kind == "text" else "float64")
        for name, kind in field_kinds(CREDIT_CARD.transaction).items()
    }
    columns["user_id"] = [f"u{number}" for number in random.integers(0, 40, COUNT)]
    columns["merchant_id"] = [f"m{number}" for number in random.integers(0, 30, COUNT)]
    return pd.DataFrame(columns)


def labels_of(rows: np.ndarray, seq: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "transaction_id": [f"tx-{row}" for row in rows],
            "is_fraud": True,
            "reported_at": pd.to_datetime(seq, unit="us", utc=True),
            "source": "chargeback",
            "seq": seq,
        }
    )


def train_sample(events: pd.DataFrame, labels: pd.DataFrame) -> tuple[Sample, dt.datetime]:
    split = temporal_split(
        build_frame(CREDIT_CARD, events, labels),
        labels,
        CREDIT_CARD,
        cutoff=dt.datetime(2026, 2, 20, tzinfo=dt.UTC),
        train_days=20,
        validation_days=7,
        test_days=7,
    )
    return split.train, split.label_cutoff


def test_shuffling_later_labels_changes_no_byte_of_features_or_truth() -> None:
    log = events()
    random = np.random.default_rng(6)
    fraud = np.sort(random.choice(COUNT, 300, replace=False))
    reported = log["seq"].to_numpy()[fraud] + random.integers(1, 20 * DAY_US, 300)
    order = np.argsort(reported)
    labels = labels_of(fraud[order], reported[order])
    train, label_cutoff = train_sample(log, labels)

    late = (labels["reported_at"] > label_cutoff).to_numpy()
    assert late.sum() > 50  # or the test proves nothing
    known, unknown = labels[~late], labels[late].copy()
    # Above all, the frauds in the training span that were not reported yet.
    candidates = log.index[~log["transaction_id"].isin(known["transaction_id"])].to_numpy()
    unknown["transaction_id"] = [
        f"tx-{row}" for row in random.permutation(candidates)[: len(unknown)]
    ]
    again, _ = train_sample(log, pd.concat([known, unknown], ignore_index=True))

    assert len(set(unknown["transaction_id"]) & set(train.transaction_id)) > 20
    assert again.features.tobytes() == train.features.tobytes()
    assert again.is_fraud.tobytes() == train.is_fraud.tobytes()
    assert again.transaction_id.tolist() == train.transaction_id.tolist()
    assert 0 < train.frauds < len(train)

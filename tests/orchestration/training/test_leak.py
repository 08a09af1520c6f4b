"""From events and labels to the training sample: what came to light later leaves no trace."""

import dataclasses
import datetime as dt
from random import Random

import numpy as np
import pandas as pd
import pytest

from feature_store.offline import build_frame
from fraud.domain.event import field_kinds, to_us
from fraud.domain.fraud_type import FraudType
from fraud.types.registry import fraud_type, fraud_types
from orchestration.training.split import Split, temporal_split, untimely
from tests.feature_store.worlds import a_body

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
START_US = 1_767_225_600_000_000
DAY_US = 86_400_000_000
COUNT = 1500


def days_of(kind: FraudType) -> int:
    """Twenty days to train on, two weeks to evaluate, and what their labels need twice."""
    return 20 + 14 + 2 * (kind.maturity_us // DAY_US)


def events(kind: FraudType) -> pd.DataFrame:
    random, rng = np.random.default_rng(5), Random(5)
    time_us = START_US + np.sort(random.choice(days_of(kind) * DAY_US, COUNT, replace=False))
    columns: dict[str, object] = {
        "transaction_id": [f"tx-{number}" for number in range(COUNT)],
        "seq": time_us,
        "event_time": pd.to_datetime(time_us, unit="us", utc=True),
        "observed_at": pd.to_datetime(time_us, unit="us", utc=True),
        "amount_minor": random.integers(100, 50_000, COUNT),
    }
    bodies = [a_body(rng, kind) for _ in range(COUNT)]
    for name, what in field_kinds(kind.transaction).items():
        dtype = {"text": object, "number": "float64", "flag": "boolean"}[what]
        columns[name] = pd.array([body.get(name) for body in bodies], dtype=dtype)
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


def split_of(kind: FraudType, events: pd.DataFrame, labels: pd.DataFrame) -> Split:
    return temporal_split(
        build_frame(kind, events, labels),
        labels,
        kind,
        cutoff=START + dt.timedelta(days=days_of(kind)),
        train_days=20,
        validation_days=7,
        test_days=7,
    )


def a_history(kind: FraudType) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events, and labels of a fifth of them that come up to twice the maturity later."""
    log, random = events(kind), np.random.default_rng(6)
    fraud = np.sort(random.choice(COUNT, COUNT // 5, replace=False))
    late_us = random.integers(1, 2 * kind.maturity_us, len(fraud))
    reported = log["seq"].to_numpy()[fraud] + late_us
    order = np.argsort(reported)
    return log, labels_of(fraud[order], reported[order])


@pytest.mark.parametrize("name", fraud_types())
def test_shuffling_later_labels_changes_no_byte_of_features_or_truth(name: str) -> None:
    kind = fraud_type(name)
    log, labels = a_history(kind)
    split = split_of(kind, log, labels)
    train = split.train

    late = (labels["reported_at"] > split.label_cutoff).to_numpy()
    assert late.sum() > 50  # or the test proves nothing
    known, unknown = labels[~late], labels[late].copy()
    # Above all, the frauds in the training span that were not reported yet.
    candidates = log.index[~log["transaction_id"].isin(known["transaction_id"])].to_numpy()
    shuffled = np.random.default_rng(7).permutation(candidates)
    unknown["transaction_id"] = [f"tx-{row}" for row in shuffled[: len(unknown)]]
    again = split_of(kind, log, pd.concat([known, unknown], ignore_index=True)).train

    assert len(set(unknown["transaction_id"]) & set(train.transaction_id)) > 10
    assert again.features.tobytes() == train.features.tobytes()
    assert again.is_fraud.tobytes() == train.is_fraud.tobytes()
    assert again.transaction_id.tolist() == train.transaction_id.tolist()
    assert 0 < train.frauds < len(train)


def test_a_training_sample_that_knows_too_much_is_found_out() -> None:
    kind = fraud_type("credit_card")
    log, labels = a_history(kind)
    train = split_of(kind, log, labels).train
    assert untimely(train, labels, kind.maturity_us) == 0
    reported = dict(zip(labels["transaction_id"], labels["reported_at"], strict=True))
    late = [reported.get(name, train.start) > train.known_as_of for name in train.transaction_id]
    assert sum(late) > 10
    told = dataclasses.replace(train, is_fraud=train.is_fraud | np.array(late))
    assert untimely(told, labels, kind.maturity_us) == sum(late)
    early = dataclasses.replace(train, known_as_of=train.end)
    unripe = train.time_us + kind.maturity_us > to_us(train.end)
    assert untimely(early, labels, kind.maturity_us) >= int((unripe & ~train.is_fraud).sum()) > 0


def test_where_only_frauds_are_ever_reported_the_sample_is_checked_as_well() -> None:
    kind = fraud_type("credit_card")
    log, labels = a_history(kind)
    frauds = labels[labels["is_fraud"]]
    train = split_of(kind, log, frauds).train
    assert untimely(train, frauds, kind.maturity_us) == 0
    told = dataclasses.replace(train, is_fraud=~train.is_fraud)
    assert untimely(told, frauds, kind.maturity_us) == len(train)

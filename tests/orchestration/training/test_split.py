import datetime as dt

import numpy as np
import pandas as pd
import pytest

from fraud.domain.errors import ContractError
from fraud.types.credit_card import CREDIT_CARD
from orchestration.training.split import (
    FRAUD,
    GENUINE,
    UNKNOWN,
    Sample,
    temporal_split,
    truth_as_of,
)
from tests.orchestration.training.builders import START, a_frame, a_label_frame, a_split

DAY = dt.timedelta(days=1)
CUTOFF = START + 60 * DAY
SPANS = {"cutoff": CUTOFF, "train_days": 20, "validation_days": 10, "test_days": 10}


def content(sample: Sample) -> tuple[bytes, ...]:
    return (
        sample.features.tobytes(),
        sample.is_fraud.tobytes(),
        sample.time_us.tobytes(),
        sample.amount_minor.tobytes(),
        "\n".join(sample.transaction_id).encode(),
    )


def test_spans_follow_each_other_with_room_for_labels() -> None:
    split = temporal_split(*a_frame(), CREDIT_CARD, **SPANS)
    assert split.test.end == CUTOFF - 7 * DAY  # so that its last event could mature
    assert split.test.start == split.validation.end == split.test.end - 10 * DAY
    assert split.validation.start == split.label_cutoff == split.validation.end - 10 * DAY
    assert split.train.end == split.validation.start - 7 * DAY  # the gap is the maturity
    assert split.train.start == split.train.end - 20 * DAY
    for sample in (split.train, split.validation, split.test):
        times = pd.to_datetime(sample.time_us, unit="us", utc=True)
        assert times.min() >= sample.start
        assert times.max() < sample.end
        assert len(sample.features) == len(sample.is_fraud) == len(sample.transaction_id)
        assert sample.features.shape[1] == len(CREDIT_CARD.feature_names)


def test_every_event_of_a_matured_span_has_a_truth() -> None:
    split = a_split()
    assert [s.unknown for s in (split.train, split.validation, split.test)] == [0, 0, 0]
    assert split.test.known_share == 1.0


def test_training_starts_with_the_data() -> None:
    split = a_split()
    assert split.train.start == START


def test_labels_reported_after_the_cutoff_change_no_byte_of_training() -> None:
    frame, labels = a_frame()
    split = temporal_split(frame, labels, CREDIT_CARD, **SPANS)
    random = np.random.default_rng(1)
    late = (labels["reported_at"] > split.label_cutoff).to_numpy()
    assert late.sum() > 50  # or the test proves nothing

    shuffled = labels.copy()
    shuffled.loc[late, "transaction_id"] = random.permutation(frame["transaction_id"])[: late.sum()]
    shuffled.loc[late, "is_fraud"] = random.random(late.sum()) < 0.5
    again = temporal_split(frame, shuffled, CREDIT_CARD, **SPANS)
    assert content(again.train) == content(split.train)
    assert content(again.test) != content(split.test)  # the shuffle did reach something


def test_a_label_reported_before_the_cutoff_does_count() -> None:
    frame, labels = a_frame()
    split = temporal_split(frame, labels, CREDIT_CARD, **SPANS)
    genuine = split.train.transaction_id[~split.train.is_fraud][0]
    more = pd.concat([labels, a_label_frame([genuine], True, [split.label_cutoff])])
    again = temporal_split(frame, more, CREDIT_CARD, **SPANS)
    assert again.train.frauds == split.train.frauds + 1


def test_nothing_reported_after_the_moment_of_training_is_seen() -> None:
    frame, labels = a_frame()
    split = temporal_split(frame, labels, CREDIT_CARD, **SPANS)
    later = a_label_frame(split.test.transaction_id, True, [CUTOFF + DAY] * len(split.test))
    again = temporal_split(frame, pd.concat([labels, later]), CREDIT_CARD, **SPANS)
    assert content(again.test) == content(split.test)


def test_truth_by_maturity_and_labels() -> None:
    now = 100 * 86_400_000_000
    day = 86_400_000_000
    ids = np.array(["old", "young", "young-fraud", "cleared", "late", "both", "edge"], object)
    time_us = now - np.array([8, 3, 3, 3, 8, 8, 7]) * day
    at = pd.Timestamp(now, unit="us", tz="UTC")
    labels = pd.concat(
        [
            a_label_frame(["young-fraud", "both"], True, [at - DAY, at]),
            a_label_frame(["cleared", "both"], False, [at - DAY, at - DAY]),
            a_label_frame(["late", "young"], True, [at + pd.Timedelta("1us")] * 2),
        ]
    )
    truth = truth_as_of(ids, time_us, labels, 7 * day, now)
    assert dict(zip(ids, truth.tolist(), strict=True)) == {
        "old": GENUINE,
        "young": UNKNOWN,
        "young-fraud": FRAUD,
        "cleared": GENUINE,
        "late": GENUINE,
        "both": FRAUD,
        "edge": GENUINE,
    }


def test_a_gap_shorter_than_maturity_leaves_unknown_events_out() -> None:
    frame, labels = a_frame()
    split = temporal_split(frame, labels, CREDIT_CARD, **SPANS, gap=2 * DAY)
    assert split.train.unknown > 100  # about five days of events are not mature
    assert split.train.known_share < 1.0
    assert split.label_cutoff == split.train.end + 2 * DAY


def test_a_span_without_fraud_is_refused() -> None:
    frame, labels = a_frame()
    with pytest.raises(ContractError, match=r"train span .* 0 of them fraud"):
        temporal_split(frame, labels[labels["reported_at"] > CUTOFF], CREDIT_CARD, **SPANS)


def test_too_little_history_is_refused() -> None:
    frame, labels = a_frame()
    with pytest.raises(ContractError, match="where training would end"):
        temporal_split(frame, labels, CREDIT_CARD, **SPANS | {"cutoff": START + 34 * DAY})

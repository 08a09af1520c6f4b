"""Temporal split: train on what was known, choose by what came next, report on the rest.

    |<-- train_days -->|<-- gap -->|<-- validation_days -->|<-- test_days -->|<- maturity ->|
                                   ^ label cutoff of training                          cutoff ^

The gap is the time labels need: on the day training could have run, the label cutoff, the
last training event had just matured. The last events before `cutoff` have not, and wait.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bentos.scoring.manifest import DataWindow
from fraud.domain.errors import ContractError
from fraud.domain.event import from_us, to_us
from fraud.domain.fraud_type import FraudType
from fraud.domain.windows import DAY_US

Truth = NDArray[np.int8]
FRAUD, GENUINE, UNKNOWN = 1, 0, -1

SampleName = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Sample:
    """The events of one span whose truth is known, in observation order; n rows.

    Attributes:
        name: which part of the split it is.
        features: [n, F], exactly as served: float32 values, held as float64.
        is_fraud: bool [n].
        transaction_id: [n].
        time_us: event times, int64 [n].
        amount_minor: int64 [n].
        subject: whose case each event is, as the fraud type declares, [n].
        start: start of the span (included).
        end: end of the span (not included).
        known_as_of: labels reported later were not looked at.
        unknown: events of the span left out because their truth was not known.
    """

    name: SampleName
    features: NDArray[np.float64]
    is_fraud: NDArray[np.bool_]
    transaction_id: NDArray[np.object_]
    time_us: NDArray[np.int64]
    amount_minor: NDArray[np.int64]
    subject: NDArray[np.object_]
    start: dt.datetime
    end: dt.datetime
    known_as_of: dt.datetime
    unknown: int

    def __len__(self) -> int:
        return len(self.is_fraud)

    @property
    def frauds(self) -> int:
        """Fraudulent events."""
        return int(self.is_fraud.sum())

    @property
    def days(self) -> float:
        """Length of the span in days."""
        return (self.end - self.start) / dt.timedelta(days=1)

    @property
    def known_share(self) -> float:
        """Share of the span's events whose truth was known."""
        return len(self) / max(1, len(self) + self.unknown)

    @property
    def window(self) -> DataWindow:
        """The span as a manifest states it."""
        return DataWindow(start=self.start, end=self.end, rows=len(self), frauds=self.frauds)


@dataclass(frozen=True)
class Split:
    """The three samples of one training.

    Attributes:
        label_cutoff: no label reported later is in the training sample.
    """

    train: Sample
    validation: Sample
    test: Sample
    label_cutoff: dt.datetime


def truth_as_of(
    transaction_id: NDArray[np.object_],
    time_us: NDArray[np.int64],
    labels: pd.DataFrame,
    maturity_us: int,
    cutoff_us: int,
) -> Truth:
    """What was known of each event at `cutoff_us`: FRAUD, GENUINE or UNKNOWN, int8 [n].

    FRAUD where a fraud label had been reported; else GENUINE where a label said so or the
    event had matured; else UNKNOWN.

    Args:
        transaction_id: of the events, [n].
        time_us: event times, [n].
        labels: transaction_id, is_fraud, reported_at.
        maturity_us: age at which an event without a fraud label counts as genuine.
        cutoff_us: moment of knowing; labels reported at it are known.
    """
    reported_us = labels["reported_at"].to_numpy("datetime64[us]").astype(np.int64)
    known = labels[reported_us <= cutoff_us]
    is_fraud = known["is_fraud"].to_numpy(bool)
    ids = pd.Index(transaction_id)
    truth = np.full(len(ids), UNKNOWN, np.int8)
    truth[time_us + maturity_us <= cutoff_us] = GENUINE
    truth[ids.isin(known["transaction_id"][~is_fraud])] = GENUINE
    truth[ids.isin(known["transaction_id"][is_fraud])] = FRAUD
    return truth


def temporal_split(
    frame: pd.DataFrame,
    labels: pd.DataFrame,
    fraud_type: FraudType,
    *,
    cutoff: dt.datetime,
    train_days: int,
    validation_days: int,
    test_days: int,
    gap: dt.timedelta | None = None,
) -> Split:
    """Splits a feature frame by event time, each part with the truth of its own moment.

    Args:
        frame: what `feature_store.offline.build_frame` returns, in observation order.
        labels: transaction_id, is_fraud, reported_at, source.
        fraud_type: whose features.
        cutoff: the moment of training: labels reported later do not exist yet. The test
            span ends one maturity before it, so that all of it could mature.
        train_days: length of the training span; less is used where the frame starts later.
        validation_days: length of the span that chooses.
        test_days: length of the span that reports.
        gap: time between training and validation; the fraud type's maturity if None.

    Raises:
        ContractError: a part would hold no fraud or no genuine event, or no training day.
    """
    maturity = dt.timedelta(microseconds=fraud_type.maturity_us)
    test_end = cutoff - maturity
    test_start = test_end - dt.timedelta(days=test_days)
    validation_start = test_start - dt.timedelta(days=validation_days)
    train_end = validation_start - (maturity if gap is None else gap)
    train_start = max(train_end - dt.timedelta(days=train_days), _first_day(frame, train_end))

    rows = _Rows(frame, labels, fraud_type)
    return Split(
        train=rows.sample("train", train_start, train_end, known_as_of=validation_start),
        validation=rows.sample("validation", validation_start, test_start, known_as_of=cutoff),
        test=rows.sample("test", test_start, test_end, known_as_of=cutoff),
        label_cutoff=validation_start,
    )


def untimely(sample: Sample, labels: pd.DataFrame, maturity_us: int) -> int:
    """Rows of a sample whose truth nobody could know at its `known_as_of`; 0 unless it leaks.

    A fraud must have been reported by then. A genuine event must not have been, and must have
    matured or been called genuine.

    Args:
        sample: any part of a split.
        labels: all labels, also those reported later.
        maturity_us: age at which an event without a fraud label counts as genuine.
    """
    as_of = pd.Timestamp(sample.known_as_of)

    def told(verdict: bool) -> NDArray[np.bool_]:
        given = labels[labels["is_fraud"] == verdict]
        first = given.groupby("transaction_id")["reported_at"].min()
        return (first.reindex(sample.transaction_id) <= as_of).to_numpy(bool)

    reported, cleared = told(True), told(False)
    is_ripe = sample.time_us + maturity_us <= to_us(sample.known_as_of)
    known = np.where(sample.is_fraud, reported, ~reported & (is_ripe | cleared))
    return int((~known).sum())


class _Rows:
    """A frame and its labels, ready to be cut."""

    def __init__(self, frame: pd.DataFrame, labels: pd.DataFrame, fraud_type: FraudType) -> None:
        self.frame, self.labels, self.fraud_type = frame, labels, fraud_type
        self.time_us = frame["event_time"].to_numpy("datetime64[us]").astype(np.int64)

    def sample(
        self, name: SampleName, start: dt.datetime, end: dt.datetime, known_as_of: dt.datetime
    ) -> Sample:
        inside = np.flatnonzero((self.time_us >= to_us(start)) & (self.time_us < to_us(end)))
        ids = self.frame["transaction_id"].to_numpy(object)
        truth = truth_as_of(
            ids[inside],
            self.time_us[inside],
            self.labels,
            self.fraud_type.maturity_us,
            to_us(known_as_of),
        )
        rows = inside[truth != UNKNOWN]
        is_fraud = truth[truth != UNKNOWN] == FRAUD
        if len(set(is_fraud.tolist())) < 2:
            raise ContractError(
                f"The {name} span {start:%Y-%m-%d}..{end:%Y-%m-%d} holds {len(rows)} events of "
                f"known truth, {int(is_fraud.sum())} of them fraud.",
                remedy="Ingest more days or labels, or choose longer spans.",
            )
        return Sample(
            name=name,
            features=self._features(rows),
            is_fraud=is_fraud,
            transaction_id=ids[rows],
            time_us=self.time_us[rows],
            amount_minor=self.frame["amount_minor"].to_numpy(np.int64)[rows],
            subject=self.frame[self.fraud_type.subject].to_numpy(object)[rows],
            start=start,
            end=end,
            known_as_of=known_as_of,
            unknown=len(inside) - len(rows),
        )

    def _features(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        # Column by column: the frame may hold many times what a sample needs.
        out = np.empty((len(rows), len(self.fraud_type.feature_names)))
        for place, name in enumerate(self.fraud_type.feature_names):
            out[:, place] = self.frame[name].to_numpy()[rows]
        return out


def _first_day(frame: pd.DataFrame, train_end: dt.datetime) -> dt.datetime:
    """The UTC midnight before the frame's first event."""
    time_us = frame["event_time"].to_numpy("datetime64[us]").astype(np.int64)
    if len(time_us) == 0 or int(time_us.min()) >= to_us(train_end):
        raise ContractError(
            f"No event lies before {train_end:%Y-%m-%d}, where training would end.",
            remedy="Ingest more days, or choose shorter spans.",
        )
    return from_us(int(time_us.min()) // DAY_US * DAY_US)

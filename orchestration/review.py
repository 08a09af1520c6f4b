"""Looking back: the quality of a model week by week, and what the service decided."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bentos.scoring.model import ScoringModel
from fraud.domain.event import to_us
from fraud.domain.fraud_type import FraudType
from fraud.ledger.pool import ConnectionPool
from orchestration.frames import FrameInfo
from orchestration.training.metrics import ranking_metrics
from orchestration.training.split import FRAUD, UNKNOWN, truth_as_of

WEEK = dt.timedelta(days=7)

_DECISIONS = """
SELECT action, count(*), count(*) FILTER (WHERE is_known_fraud) FROM (
    SELECT action, EXISTS (
        SELECT 1 FROM labels
        WHERE labels.transaction_id = decisions.transaction_id AND labels.is_fraud
    ) AS is_known_fraud
    FROM decisions WHERE fraud_type = %s AND scored_at >= %s
) AS judged GROUP BY action ORDER BY action
"""


@dataclass(frozen=True)
class Week:
    """How a model ranked the events of one matured week."""

    start: dt.date
    events: int
    frauds: int
    metrics: Mapping[str, float]


def quality_by_week(
    frame: pd.DataFrame,
    labels: pd.DataFrame,
    info: FrameInfo,
    model: ScoringModel,
    fraud_type: FraudType,
    weeks: int,
) -> list[Week]:
    """The last matured weeks of a frame, oldest first; weeks without fraud are left out."""
    matured = info.cutoff - dt.timedelta(microseconds=fraud_type.maturity_us)
    found = []
    for number in range(weeks, 0, -1):
        start = matured - number * WEEK
        inside = (frame["event_time"] >= start) & (frame["event_time"] < start + WEEK)
        rows = frame[inside]
        truth = truth_as_of(
            rows["transaction_id"].to_numpy(object),
            rows["event_time"].to_numpy("datetime64[us]").astype(np.int64),
            labels,
            fraud_type.maturity_us,
            to_us(info.cutoff),
        )
        rows, is_fraud = rows[truth != UNKNOWN], truth[truth != UNKNOWN] == FRAUD
        if not is_fraud.any() or is_fraud.all():
            continue
        scores = model.probabilities(rows[list(fraud_type.feature_names)].to_numpy(np.float64))
        metrics = ranking_metrics(scores, is_fraud)
        found.append(Week(start.date(), len(rows), int(is_fraud.sum()), metrics))
    return found


def decisions_since(
    pool: ConnectionPool, fraud_type: FraudType, since: dt.datetime
) -> list[tuple[str, int, int]]:
    """Per action since a moment: how many decisions, and how many of them proved fraud."""
    with pool.transaction() as cursor:
        cursor.execute(_DECISIONS, (fraud_type.name, since))
        return [(action, count, frauds) for action, count, frauds in cursor.fetchall()]

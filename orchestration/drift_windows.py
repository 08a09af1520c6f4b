"""The two sides of a drift report: what the serving champion was taught, and the last days."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bentos.scoring.model import ScoringModel
from fraud.domain.aggregates import FirstTime, FraudTime, Lifetime
from fraud.domain.fraud_type import FraudType
from fraud.settings import Settings
from orchestration.frames import FrameStore
from orchestration.live import Served

CURRENT_DAYS = 7
SCORE = "fraud_probability"
LEAST_SERVED = 500
"""Decisions that make a report about what was served."""


def steady_features(fraud_type: FraudType) -> list[str]:
    """Features whose distribution does not follow from how long the log has been kept.

    Lifetimes, and what looks as far back as the first fraud ever known, differ between any
    two windows of the same world.
    """
    return [
        feature.name
        for feature in fraud_type.features
        if not any(
            isinstance(each, Lifetime | FirstTime | FraudTime) for each in feature.aggregates()
        )
    ]


@dataclass(frozen=True)
class DriftWindows:
    """The two sides of a drift report, with scores.

    Attributes:
        training: a sample of what the champion was taught.
        current: what it sees now.
        current_of: events that `current` was drawn from.
        is_served: whether these are decisions that were served, or the log's last days.
    """

    training: pd.DataFrame
    train_start: dt.datetime
    train_end: dt.datetime
    current: pd.DataFrame
    current_start: dt.datetime
    current_end: dt.datetime
    current_of: int
    is_served: bool


def drift_windows(
    reference: pd.DataFrame,
    served: Served | None,
    frames: FrameStore,
    model: ScoringModel,
    fraud_type: FraudType,
) -> DriftWindows:
    """What the model was taught against what it served.

    Where too few decisions were served to compare, the last days of the log stand for them.
    """
    trained = model.manifest.data_window.train
    if served is not None and served.of >= LEAST_SERVED:
        current, start, end, of = served.rows, served.start, served.end, served.of
    else:
        current, start, end = _last_days(frames, fraud_type)
        served, of = None, len(current)
    return DriftWindows(
        training=_scored(reference, model),
        train_start=trained.start,
        train_end=trained.end,
        current=_scored(current, model),
        current_start=start,
        current_end=end,
        current_of=of,
        is_served=served is not None,
    )


def _last_days(
    frames: FrameStore, fraud_type: FraudType
) -> tuple[pd.DataFrame, dt.datetime, dt.datetime]:
    frame, end = frames.frame(), frames.info().cutoff
    start = end - dt.timedelta(days=CURRENT_DAYS)
    moment = frame["event_time"]
    return frame.loc[(moment >= start) & (moment < end), list(fraud_type.feature_names)], start, end


def _scored(rows: pd.DataFrame, model: ScoringModel) -> pd.DataFrame:
    scores = model.probabilities(rows.to_numpy(np.float64)) if len(rows) else np.empty(0)
    return rows.assign(**{SCORE: scores})


def report_folder(settings: Settings, fraud_type: FraudType, now: dt.datetime) -> Path:
    """Where a report made now is kept."""
    return settings.run_dir / "reports" / fraud_type.name / f"{now:%Y%m%dT%H%M%SZ}"

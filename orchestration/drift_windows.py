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
from orchestration.frames import FrameInfo

CURRENT_DAYS = 7
SCORE = "fraud_probability"


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
    """The two sides of a drift report, with scores."""

    training: pd.DataFrame
    train_start: dt.datetime
    train_end: dt.datetime
    current: pd.DataFrame
    current_start: dt.datetime
    current_end: dt.datetime


def drift_windows(
    frame: pd.DataFrame, info: FrameInfo, model: ScoringModel, fraud_type: FraudType
) -> DriftWindows:
    """The days the model was trained on, and the last days of the frame."""
    trained = model.manifest.data_window.train
    current_start = info.cutoff - dt.timedelta(days=CURRENT_DAYS)
    moment = frame["event_time"]

    def scored(start: dt.datetime, end: dt.datetime) -> pd.DataFrame:
        rows = frame.loc[(moment >= start) & (moment < end), list(fraud_type.feature_names)]
        scores = model.probabilities(rows.to_numpy(np.float64)) if len(rows) else np.empty(0)
        return rows.assign(**{SCORE: scores})

    return DriftWindows(
        training=scored(trained.start, trained.end),
        train_start=trained.start,
        train_end=trained.end,
        current=scored(current_start, info.cutoff),
        current_start=current_start,
        current_end=info.cutoff,
    )


def report_folder(settings: Settings, fraud_type: FraudType, now: dt.datetime) -> Path:
    """Where a report made now is kept."""
    return settings.run_dir / "reports" / fraud_type.name / f"{now:%Y%m%dT%H%M%SZ}"

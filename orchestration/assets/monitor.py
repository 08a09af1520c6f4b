"""Monitoring: has the world moved away from the training data, and is the champion still good?"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd

from bentos.scoring.model import ScoringModel
from fraud.domain.aggregates import FirstTime, FraudTime, Lifetime
from fraud.domain.errors import NotFound
from fraud.domain.fraud_type import FraudType
from fraud.ledger.models import current_deployment
from fraud.settings import Settings
from orchestration.assets.evaluate import deployed_bundle as read_deployed
from orchestration.assets.naming import (
    DEPLOYED_BUNDLE,
    DRIFT_REPORT,
    PERFORMANCE_REVIEW,
    TRAINING_FRAME,
    Materialized,
    asset_key,
)
from orchestration.assets.pictures import numbers, table
from orchestration.frames import FrameInfo
from orchestration.report_log import log_report
from orchestration.resources import LakeResource, LedgerResource, MlflowResource
from orchestration.review import decisions_since, quality_by_week

FEW_DRIFTED = "few_columns_drifted"
MOST_DRIFTED = 0.3
"""Share of drifted columns above which the champion's training data no longer describe today."""

CURRENT_DAYS = 7
REVIEW_DAYS = 28
SCORE = "fraud_probability"


def drift_report_asset(fraud_type: FraudType) -> dg.AssetsDefinition:
    """The last week's features and scores against those the champion was trained on."""
    key = asset_key(fraud_type, DRIFT_REPORT)

    @dg.asset(
        key=key,
        deps=[asset_key(fraud_type, name) for name in (TRAINING_FRAME, DEPLOYED_BUNDLE)],
        group_name="monitoring",
        kinds={"evidently"},
        description=(
            f"**The last {CURRENT_DAYS} days of the log against the days the serving champion was "
            "trained on: which features, and is the score, distributed differently?**\n\n"
            "Features that grow with the age of the log are left out: they always move. "
            "Distances do not grow with the number of rows. Both sides are samples of stated "
            "size, drawn with a fixed seed. The full report is an HTML page, kept on disk and in "
            "MLflow."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                FEW_DRIFTED,
                asset=key,
                description=f"At most {MOST_DRIFTED:.0%} of the columns drifted.",
            )
        ],
    )
    def drift_report(
        lake: LakeResource,
        ledger: LedgerResource,
        mlflow_server: MlflowResource,
        settings: dg.ResourceParam[Settings],
    ) -> Materialized:
        # Evidently takes seconds to import, which only this step should pay for.
        from dashboards.drift.report import Window, write_drift_report

        model = serving_model(ledger, settings, fraud_type)
        store, now = lake.frames(fraud_type), dt.datetime.now(dt.UTC)
        windows = drift_windows(store.frame(), store.info(), model, fraud_type)
        summary = write_drift_report(
            f"{fraud_type.title}: drift since {model.version} was trained",
            Window("training", windows.train_start, windows.train_end, windows.training),
            Window("current", windows.current_start, windows.current_end, windows.current),
            [*steady_features(fraud_type), SCORE],
            report_folder(settings, fraud_type, now),
            most_drifted=MOST_DRIFTED,
        )
        metrics = {"drifted_share": summary.share, "score_distance": summary.distances[SCORE]}
        logged = log_report(
            fraud_type,
            f"drift {now:%Y-%m-%d %H:%M}",
            metrics,
            [summary.html, summary.json],
            tracking_uri=mlflow_server.tracking_uri,
        )
        return dg.MaterializeResult(
            metadata={
                **numbers(metrics),
                "drifted": table(
                    ["column", "distance"], [list(x) for x in summary.drifted.items()]
                ),
                "columns": summary.columns,
                "reference_rows": f"{summary.reference_rows:,} of {summary.reference_of:,}",
                "current_rows": f"{summary.current_rows:,} of {summary.current_of:,}",
                "model_version": model.version,
                "report": dg.MetadataValue.url(
                    mlflow_server.report_url(logged.experiment_id, logged.run_id, summary.html.name)
                ),
                "report_file": dg.MetadataValue.path(summary.html),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=FEW_DRIFTED,
                    passed=summary.share <= MOST_DRIFTED,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"share": summary.share},
                )
            ],
        )

    return drift_report


def performance_review_asset(fraud_type: FraudType) -> dg.AssetsDefinition:
    """How the serving champion did on matured weeks, and what the service decided."""

    @dg.asset(
        key=asset_key(fraud_type, PERFORMANCE_REVIEW),
        deps=[asset_key(fraud_type, name) for name in (TRAINING_FRAME, DEPLOYED_BUNDLE)],
        group_name="monitoring",
        kinds={"postgres"},
        description=(
            "**How well the serving champion ranks the latest weeks whose truth is known, and "
            f"what the service decided in the last {REVIEW_DAYS} days.**\n\n"
            f"A week counts once it is {fraud_type.maturity} old: before that, no label does not "
            "mean no fraud."
        ),
    )
    def performance_review(
        lake: LakeResource, ledger: LedgerResource, settings: dg.ResourceParam[Settings]
    ) -> Materialized:
        model, store = serving_model(ledger, settings, fraud_type), lake.frames(fraud_type)
        weeks = quality_by_week(
            store.frame(), store.labels(), store.info(), model, fraud_type, REVIEW_DAYS // 7
        )
        since = dt.datetime.now(dt.UTC) - dt.timedelta(days=REVIEW_DAYS)
        with ledger.pool() as pool:
            decided = decisions_since(pool, fraud_type, since)
        latest = weeks[-1].metrics if weeks else {}
        return dg.MaterializeResult(
            metadata={
                **numbers(latest),
                "weeks": table(
                    ["week from", "events", "frauds", *latest],
                    [
                        [week.start, week.events, week.frauds, *week.metrics.values()]
                        for week in weeks
                    ],
                ),
                "decisions": table(
                    ["action", "decisions", "known frauds"],
                    [[action, count, frauds] for action, count, frauds in decided],
                ),
                "model_version": model.version,
            }
        )

    return performance_review


def serving_model(
    ledger: LedgerResource, settings: Settings, fraud_type: FraudType
) -> ScoringModel:
    """The champion that serves.

    Raises:
        NotFound: nothing was ever deployed.
        BundleError: its bundle is damaged, or was built for other features.
    """
    with ledger.pool() as pool, pool.transaction() as cursor:
        deployment = current_deployment(cursor, fraud_type.name)
    if deployment is None:
        raise NotFound(
            f"No model of {fraud_type.name} was ever deployed.",
            remedy="Materialise `deployed_bundle` first.",
        )
    return ScoringModel(read_deployed(deployment, settings, fraud_type))


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

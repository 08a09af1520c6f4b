"""Monitoring: has the world moved away from the days the champion was trained on?"""

import datetime as dt
from collections.abc import Mapping

import dagster as dg

from fraud.domain.fraud_type import FraudType
from fraud.settings import Settings
from orchestration.assets.naming import (
    DEPLOYED_BUNDLE,
    DRIFT_REPORT,
    TRAINING_FRAME,
    Materialized,
    asset_key,
)
from orchestration.assets.pictures import numbers, table
from orchestration.drift_windows import (
    CURRENT_DAYS,
    SCORE,
    drift_windows,
    report_folder,
    steady_features,
)
from orchestration.report_log import log_report
from orchestration.resources import LakeResource, LedgerResource, MlflowResource
from orchestration.serving import serving_model

FEW_DRIFTED = "few_columns_drifted"
MOST_DRIFTED = 0.3
"""Share of drifted columns above which the champion's training data no longer describe today."""


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

        with ledger.pool() as pool:
            model = serving_model(pool, settings, fraud_type)
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
                "drifted": ", ".join(summary.drifted) or "none",
                "largest_distances": largest_distances(summary.distances),
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


def largest_distances(distances: Mapping[str, float]) -> dg.MarkdownMetadataValue:
    """The columns that moved most."""
    largest = sorted(distances.items(), key=lambda item: -item[1])[:10]
    return table(["column", "distance"], [list(each) for each in largest])

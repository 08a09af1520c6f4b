"""Monitoring: has the world moved away from the days the champion was trained on?"""

import datetime as dt
from collections.abc import Mapping, Sequence

import dagster as dg

from fraud.domain.event import from_us, to_us
from fraud.domain.fraud_type import FraudType
from fraud.ledger.measurements import (
    DEFAULT_RATE,
    DRIFT,
    DRIFT_DISTANCE,
    Measurement,
    measurement_history,
    record_measurements,
)
from fraud.settings import Settings
from orchestration.assets.naming import (
    DEPLOYED_BUNDLE,
    DRIFT_REPORT,
    FRESH_WEEKLY,
    TRAINING_FRAME,
    Materialized,
    asset_key,
)
from orchestration.assets.pictures import numbers, table
from orchestration.drift_windows import (
    CURRENT_DAYS,
    LEAST_SERVED,
    SCORE,
    drift_windows,
    report_folder,
    steady_features,
)
from orchestration.live import default_rates, served_sample
from orchestration.reference import importance
from orchestration.report_log import log_report
from orchestration.resources import LakeResource, LedgerResource, MlflowResource
from orchestration.serving import serving_model

FEW_DRIFTED = "few_columns_drifted"
SUMMARISED = 15
"""Features that the page on data quality looks at: each takes a fifth of a second."""

STRICT = 0.1
"""Distance from which the score counts as drifted, whatever it is made of."""

MOST_DRIFTED = 0.3
"""Share of drifted columns above which the champion's training data no longer describe today."""


def drift_report_asset(fraud_type: FraudType) -> dg.AssetsDefinition:
    """The last week's features and scores against those the champion was trained on."""
    key = asset_key(fraud_type, DRIFT_REPORT)

    @dg.asset(
        key=key,
        deps=[asset_key(fraud_type, name) for name in (TRAINING_FRAME, DEPLOYED_BUNDLE)],
        group_name="monitoring",
        freshness_policy=FRESH_WEEKLY,
        kinds={"evidently"},
        description=(
            f"**The decisions served in the last {CURRENT_DAYS} days against what the serving "
            "champion was taught: which features, and is the score, distributed differently?**\n\n"
            f"Where fewer than {LEAST_SERVED} were served, the log's last days stand for them. "
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
        from dashboards.drift.quality import write_data_quality
        from dashboards.drift.report import Window, thresholds_by_importance, write_drift_report

        now, store = dt.datetime.now(dt.UTC), lake.frames(fraud_type)
        since = now - dt.timedelta(days=CURRENT_DAYS)
        with ledger.pool() as pool:
            model = serving_model(pool, settings, fraud_type)
            with pool.transaction() as cursor:
                served = served_sample(cursor, fraud_type, since, now)
        reference = lake.references(fraud_type).reference(model, store)
        weights = importance(model, reference)
        windows = drift_windows(reference, served, store, model, fraud_type)
        columns = [*steady_features(fraud_type), SCORE]
        folder = report_folder(settings, fraud_type, now)
        summary = write_drift_report(
            f"{fraud_type.title}: drift since {model.version} was trained",
            Window("training", windows.train_start, windows.train_end, windows.training),
            Window(
                "served" if windows.is_served else "current",
                windows.current_start,
                windows.current_end,
                windows.current,
                windows.current_of,
            ),
            columns,
            folder,
            thresholds=thresholds_by_importance(weights) | {SCORE: STRICT},
            most_drifted=MOST_DRIFTED,
        )
        major = sorted(weights, key=lambda name: -weights[name])[:SUMMARISED]
        quality = write_data_quality(
            f"{fraud_type.title}: data quality of the {SUMMARISED} features that matter most",
            windows.training[major],
            windows.current[major],
            folder,
        )
        metrics = {
            "drifted": len(summary.drifted),
            "drifted_share": summary.share,
            "score_distance": summary.distances[SCORE],
        }
        logged = log_report(
            fraud_type,
            f"drift {now:%Y-%m-%d %H:%M}",
            metrics,
            [summary.html, summary.json, quality],
            tracking_uri=mlflow_server.tracking_uri,
        )
        page = mlflow_server.report_url(logged.experiment_id, logged.run_id, summary.html.name)
        rates = default_rates(windows.current, fraud_type)
        with ledger.pool() as pool, pool.transaction() as cursor:
            taken = {
                DRIFT: metrics | {"columns": summary.columns, "served": int(windows.is_served)},
                DRIFT_DISTANCE: summary.distances,
                DEFAULT_RATE: rates,
            }
            record_measurements(
                cursor,
                [
                    Measurement(
                        fraud_type.name,
                        name,
                        to_us(now),
                        values,
                        model.version,
                        windows.current_of if windows.is_served else 0,
                        page,
                    )
                    for name, values in taken.items()
                ],
            )
            history = measurement_history(cursor, fraud_type.name, DRIFT, limit=12)
        return dg.MaterializeResult(
            metadata={
                **numbers(metrics),
                "drifted": ", ".join(summary.drifted) or "none",
                "history": drift_history(history),
                "largest_distances": largest_distances(summary.distances),
                "columns": summary.columns,
                "reference_rows": f"{summary.reference_rows:,} of {summary.reference_of:,}",
                "current_rows": f"{summary.current_rows:,} of {summary.current_of:,}",
                "model_version": model.version,
                "report": dg.MetadataValue.url(page),
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


def drift_history(history: Sequence[Measurement]) -> dg.MarkdownMetadataValue:
    """The last reports, newest first."""
    return table(
        ["taken", "model", "decisions", "drifted", "score distance"],
        [
            [
                f"{from_us(each.taken_at_us):%Y-%m-%d %H:%M}",
                each.model_version,
                each.decisions,
                int(each.values["drifted"]),
                each.values["score_distance"],
            ]
            for each in history
        ],
    )


def largest_distances(distances: Mapping[str, float]) -> dg.MarkdownMetadataValue:
    """The columns that moved most."""
    largest = sorted(distances.items(), key=lambda item: -item[1])[:10]
    return table(["column", "distance"], [list(each) for each in largest])

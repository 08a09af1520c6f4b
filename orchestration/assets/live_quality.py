"""Live quality: how the decisions that were served turned out, once their labels matured."""

import datetime as dt
from collections.abc import Mapping

import dagster as dg

from fraud.domain.event import to_us
from fraud.domain.fraud_type import FraudType
from fraud.ledger.measurements import LABEL_DELAY, LIVE_QUALITY, Measurement, record_measurements
from fraud.settings import Settings
from orchestration.assets.naming import (
    DEPLOYED_BUNDLE,
    FRESH_WEEKLY,
    LIVE_QUALITY_ASSET,
    Materialized,
    asset_key,
)
from orchestration.assets.pictures import table
from orchestration.drift_windows import report_folder
from orchestration.live import LIVE_DAYS, judged_decisions, label_delays, live_quality
from orchestration.report_log import log_report
from orchestration.resources import LedgerResource, MlflowResource
from orchestration.serving import running_model

QUALITY_HOLDS = "live_quality_holds"
LEAST_ACCURACY = 0.8
"""Below it, the alert ModelAccuracyLow fires as well."""

SHOWN = {
    "accuracy": "accuracy",
    "precision": "precision, if what nobody reported is genuine",
    "weighted_precision": "precision by what was let through",
    "block_precision": "of blocks",
    "block_precision_low": "from",
    "block_precision_high": "to",
    "let_through": "let through",
    "recall": "recall",
    "roc_auc": "ROC AUC",
}
"""Numbers of a model and what heads their columns."""


def weighted_sentence(values: Mapping[str, float]) -> str:
    """What those let through at random say of the precision; empty where there were none."""
    if "weighted_precision" not in values:
        return ""
    naive = f"{values['precision']:.1%}" if "precision" in values else "unknown"
    return (
        f"Precision is {naive} if all that nobody reported is genuine, and "
        f"{values['weighted_precision']:.1%} by the {values['let_through']:.0f} let through at "
        f"random; of decisions to block {values['block_precision']:.1%} are right (95 % interval "
        f"{values['block_precision_low']:.1%} to {values['block_precision_high']:.1%})."
    )


def live_quality_asset(fraud_type: FraudType) -> dg.AssetsDefinition:
    """Precision, recall and accuracy of every model on the matured decisions it made."""
    key = asset_key(fraud_type, LIVE_QUALITY_ASSET)

    @dg.asset(
        key=key,
        deps=[asset_key(fraud_type, DEPLOYED_BUNDLE)],
        group_name="monitoring",
        freshness_policy=FRESH_WEEKLY,
        kinds={"postgres", "evidently"},
        description=(
            f"**How the decisions of {LIVE_DAYS} matured days turned out, model by model.**\n\n"
            f"An event counts once it is {fraud_type.maturity} old. Prometheus is told these "
            "numbers, among them `model_accuracy`."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                QUALITY_HOLDS,
                asset=key,
                description=f"Live accuracy of every model is at least {LEAST_ACCURACY:.0%}.",
            )
        ],
    )
    def measured(
        ledger: LedgerResource,
        mlflow_server: MlflowResource,
        settings: dg.ResourceParam[Settings],
    ) -> Materialized:
        now = dt.datetime.now(dt.UTC)
        with ledger.pool() as pool, pool.transaction() as cursor:
            judged = judged_decisions(cursor, fraud_type, now)
            delays = label_delays(cursor, fraud_type, now - dt.timedelta(days=LIVE_DAYS))
            model = running_model(pool, settings, fraud_type)
        versions = dict(tuple(judged.groupby("model_version")))
        found = {str(name): (len(rows), live_quality(rows)) for name, rows in versions.items()}
        taken = [
            Measurement(fraud_type.name, LIVE_QUALITY, to_us(now), values, version, decisions)
            for version, (decisions, values) in found.items()
        ]
        taken.append(Measurement(fraud_type.name, LABEL_DELAY, to_us(now), delays))
        with ledger.pool() as pool, pool.transaction() as cursor:
            record_measurements(cursor, taken)
        low = [name for name, (_, values) in found.items() if values["accuracy"] < LEAST_ACCURACY]
        metadata: dict[str, dg.MetadataValue | int] = {
            "decisions": len(judged),
            "frauds": int(judged["is_fraud"].sum()),
            "models": table(
                ["model", "decisions", *SHOWN.values()],
                [
                    [name, count, *(values.get(each, "-") for each in SHOWN)]
                    for name, (count, values) in found.items()
                ],
            ),
            "label_delay_days": table(
                ["quantile", "days"], [[q, seconds / 86_400] for q, seconds in delays.items()]
            ),
        }
        mine = versions.get(model.version) if model else None
        if model is not None and mine is not None and mine["is_fraud"].nunique() == 2:
            from dashboards.drift.quality import write_decision_quality

            page = write_decision_quality(
                f"{fraud_type.title}: decisions of {model.version}, matured",
                mine.astype({"is_fraud": int}),
                model.manifest.thresholds.review,
                weighted_sentence(found[model.version][1]),
                report_folder(settings, fraud_type, now),
            )
            logged = log_report(
                fraud_type,
                f"live quality {now:%Y-%m-%d %H:%M}",
                found[model.version][1],
                [page],
                tracking_uri=mlflow_server.tracking_uri,
            )
            metadata["report"] = dg.MetadataValue.url(
                mlflow_server.report_url(logged.experiment_id, logged.run_id, page.name)
            )
        return dg.MaterializeResult(
            metadata=metadata,
            check_results=[
                dg.AssetCheckResult(
                    check_name=QUALITY_HOLDS,
                    passed=not low,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"too_low": low},
                )
            ],
        )

    return measured

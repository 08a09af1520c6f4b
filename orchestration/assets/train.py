"""Candidates: one asset for every kind of model that is compared."""

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import dagster as dg
import pandas as pd

from fraud.domain.fraud_type import FraudType
from fraud.settings import Settings
from fraud.types.registry import fraud_type as declared
from orchestration.assets.naming import TRAINING_FRAME, Materialized, asset_key
from orchestration.assets.pictures import numbers, picture, table
from orchestration.frames import FrameStore
from orchestration.resources import LakeResource, MlflowResource
from orchestration.training.candidates import CANDIDATES
from orchestration.training.provenance import git_commit
from orchestration.training.search import SPACES, Found, search
from orchestration.training.split import Split, temporal_split, untimely
from orchestration.training.tracking import log_candidate
from orchestration.training.train import TrainedCandidate, train_candidate
from orchestration.workbench import CandidateRun, Workbench

ONNX_PARITY = "onnx_parity"
LABELS_IN_TIME = "labels_in_time"
SHOWN = (
    "average_precision",
    "roc_auc",
    "card_precision_100",
    "recall_at_1pct_fpr",
    "cost_minor_per_day",
    "alerts_per_day",
    "expected_calibration_error",
    "known_share",
)
LONGEST_WARM_UP, LONGEST_EVALUATION = 30, 14


class CandidateConfig(dg.Config):
    """How a candidate is trained.

    Attributes:
        search_seconds: time for the search of its hyper-parameters; 0 takes the stated ones.
    """

    search_seconds: float = 0.0


def candidate_assets(fraud_type: FraudType) -> list[dg.AssetsDefinition]:
    """One asset per candidate, in the order they are shown."""
    return [candidate_asset(fraud_type, name) for name in CANDIDATES]


def candidate_asset(fraud_type: FraudType, name: str) -> dg.AssetsDefinition:
    """A trained, calibrated, exported and measured model of one kind."""
    key, title = asset_key(fraud_type, name), CANDIDATES[name].title

    @dg.asset(
        key=key,
        deps=[asset_key(fraud_type, TRAINING_FRAME)],
        group_name="training",
        kinds={"mlflow", "onnx"},
        description=(
            f"**{title} as a candidate: fitted on older days, calibrated and given thresholds on "
            "later ones, measured on the latest that have matured.**\n\n"
            "Exported to an ONNX graph, which must answer what the model answers. Parameters, "
            "metrics, plots and importances are in the MLflow run."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                ONNX_PARITY,
                asset=key,
                description="The exported graph answers what the fitted model answers.",
            ),
            dg.AssetCheckSpec(
                LABELS_IN_TIME,
                asset=key,
                blocking=True,
                description="The training sample holds no truth that was reported after its label "
                "cutoff.",
            ),
        ],
    )
    def candidate(
        context: dg.AssetExecutionContext,
        config: CandidateConfig,
        lake: LakeResource,
        mlflow_server: MlflowResource,
        settings: dg.ResourceParam[Settings],
    ) -> Materialized:
        store = lake.frames(fraud_type)
        split = split_of(store, fraud_type)
        found = None
        if config.search_seconds > 0 and name in SPACES:
            found = search(
                name,
                split.train,
                fraud_type,
                settings.run_dir / "search" / f"{fraud_type.name}.journal",
                seconds=config.search_seconds,
                on_trial=lambda number, value, best: context.log.info(
                    f"{name}: trial {number} reaches {value:.4f}, the best so far {best:.4f}"
                ),
            )
        trained = train_candidate(name, split, fraud_type, params=found.params if found else None)
        info = store.info()
        now = dt.datetime.now(dt.UTC)
        run = log_candidate(
            trained,
            split,
            fraud_type,
            tracking_uri=mlflow_server.tracking_uri,
            trained_at=now,
            git_commit=git_commit(Path(__file__).parent),
            dagster_run_id=context.run.run_id,
        )
        Workbench(settings, fraud_type).put(
            name,
            CandidateRun(
                candidate=trained,
                trained_at=now,
                experiment_id=run.experiment_id,
                run_id=run.run_id,
                first=info.first,
                last=info.last,
            ),
        )
        return dg.MaterializeResult(
            metadata=metadata_of(trained, split)
            | searched(found)
            | {
                "mlflow_run": dg.MetadataValue.url(
                    mlflow_server.run_url(run.experiment_id, run.run_id)
                )
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=ONNX_PARITY,
                    passed=trained.parity.is_equal,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={
                        "rows": trained.parity.rows,
                        "max_difference": trained.parity.max_difference,
                        "tolerance": trained.parity.tolerance,
                    },
                ),
                labels_in_time(split, store.labels(), fraud_type),
            ],
        )

    return candidate


def searched(found: Found | None) -> dict[str, dg.MetadataValue]:
    """What the search of the hyper-parameters came to, if there was one."""
    if found is None:
        return {}
    return {
        "search_trials": dg.MetadataValue.int(found.trials),
        "search_average_precision": dg.MetadataValue.float(round(found.average_precision, 6)),
        "search_initial": dg.MetadataValue.float(round(found.initial, 6)),
        "search_params": dg.MetadataValue.json(dict(found.params)),
    }


def labels_in_time(
    split: Split, labels: pd.DataFrame, fraud_type: FraudType
) -> dg.AssetCheckResult:
    """Whether all that was learnt from could be known at the label cutoff."""
    late = untimely(split.train, labels, fraud_type.maturity_us)
    return dg.AssetCheckResult(
        check_name=LABELS_IN_TIME,
        passed=late == 0,
        metadata={
            "label_cutoff": split.label_cutoff.isoformat(),
            "rows": len(split.train),
            "rows_known_too_late": late,
        },
    )


@dataclass(frozen=True)
class Spans:
    """How many days of a frame are for what.

    Attributes:
        warm_up: at the start, where most windows are still filling; nothing is learnt there.
        train: at most so many days are learnt from.
        validation: days that choose.
        test: days that report.
    """

    warm_up: int
    train: int
    validation: int
    test: int


def spans_of(days: int) -> Spans:
    """The spans for a frame of so many days; a short one is cut proportionally."""
    evaluation = min(LONGEST_EVALUATION, max(3, days // 8))
    return Spans(min(LONGEST_WARM_UP, days // 5), days, evaluation, evaluation)


def split_of(store: FrameStore, fraud_type: FraudType) -> Split:
    """The split every candidate of a frame is trained and measured on.

    Raises:
        ContractError: the frame holds too few days or too few frauds.
    """
    return _split(store.url, store.version(), fraud_type.name)


@lru_cache(maxsize=1)
def _split(url: str, version: str, name: str) -> Split:
    # Every candidate of a run asks for the same split; `version` changes with the frame.
    store, fraud_type = FrameStore(url), declared(name)
    info = store.info()
    spans = spans_of((info.last - info.first).days + 1)
    frame = store.frame()
    start = dt.datetime.combine(info.first, dt.time(), dt.UTC) + dt.timedelta(days=spans.warm_up)
    return temporal_split(
        frame[frame["event_time"] >= start],
        store.labels(),
        fraud_type,
        cutoff=info.cutoff,
        train_days=spans.train,
        validation_days=spans.validation,
        test_days=spans.test,
    )


def metadata_of(trained: TrainedCandidate, split: Split) -> dict[str, dg.MetadataValue]:
    """What a person wants to see of a candidate."""
    test = trained.metrics["test"]
    shown = {name: test[name] for name in SHOWN if name in test}
    plots = {name: picture(name, png) for name, png in trained.plots.items()}
    return {
        **numbers(shown),
        "intervals": intervals_of(trained),
        "weeks_and_segments": slices_of(trained),
        "latency_p50_us": dg.MetadataValue.float(round(trained.report.latency.p50_us, 1)),
        "latency_p99_us": dg.MetadataValue.float(round(trained.report.latency.p99_us, 1)),
        **plots,
        "train_rows": dg.MetadataValue.int(len(split.train)),
        "train_frauds": dg.MetadataValue.int(split.train.frauds),
        "fit_seconds": dg.MetadataValue.float(round(trained.fit_seconds, 2)),
        "graph_kilobytes": dg.MetadataValue.float(round(len(trained.onnx_bytes) / 1024, 1)),
        "thresholds": dg.MetadataValue.text(
            f"review from {trained.thresholds.review:.4f}, block from "
            f"{trained.thresholds.block:.4f}, critical from {trained.thresholds.critical:.4f}"
        ),
    }


def intervals_of(trained: TrainedCandidate) -> dg.MarkdownMetadataValue:
    """Figures of the test days with their 95 % intervals, by bootstrap over customers."""
    rows = [
        [name.replace("_", " "), interval.value, interval.low, interval.high]
        for name, interval in trained.report.intervals.items()
    ]
    return table(["figure", "value", "from", "to"], rows)


def slices_of(trained: TrainedCandidate) -> dg.MarkdownMetadataValue:
    """Figures of the test days by week and segment."""
    header = [
        "part",
        "events",
        "frauds",
        "average precision",
        "recall of alerts",
        "genuine alerted",
    ]
    rows = [
        [
            f"{part.kind}: {part.name}",
            part.events,
            part.frauds,
            part.average_precision,
            part.recall_alert,
            part.alert_share,
        ]
        for part in trained.report.slices
    ]
    return table(header, rows)

"""Features: the training frame from the log, and the online state that serving starts from."""

import datetime as dt

import dagster as dg
import numpy as np
import pandas as pd

from feature_store.lake import Lake
from feature_store.materialize import materialize
from feature_store.offline import build_frame
from fraud.domain.errors import ContractError
from fraud.domain.fraud_type import FraudType
from orchestration.assets.naming import (
    LABELS,
    ONLINE_STATE,
    TRAINING_FRAME,
    TRANSACTIONS,
    Materialized,
    asset_key,
)
from orchestration.frames import FrameInfo
from orchestration.partitions import range_of_run
from orchestration.resources import LakeResource, LedgerResource

NO_NAN = "no_nan"
LABELS_KNOWN = "labels_known_at_cutoff"


class FrameConfig(dg.Config):
    """Which part of the log to use.

    Attributes:
        first: first day observed, YYYY-MM-DD; that of the run's range, else the log's first.
        last: last day observed; that of the run's range, else the log's last.
    """

    first: str = ""
    last: str = ""


def training_frame_asset(fraud_type: FraudType) -> dg.AssetsDefinition:
    """The features of every event of a window of the log."""
    key = asset_key(fraud_type, TRAINING_FRAME)

    @dg.asset(
        key=key,
        deps=[asset_key(fraud_type, TRANSACTIONS), asset_key(fraud_type, LABELS)],
        group_name="features",
        kinds={"numpy", "parquet"},
        code_version=fraud_type.schema_hash,
        description=(
            f"**One row per transaction, {len(fraud_type.feature_names)} features each, exactly as "
            "the service would have computed them at that moment.**\n\n"
            "A feature sees what had been observed before its own transaction, and labels only "
            "after they were reported. The frame ends at a cutoff; what was seen or reported "
            "later does not exist for it."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                NO_NAN,
                asset=key,
                blocking=True,
                description="Every feature of every transaction is a finite number.",
            ),
            dg.AssetCheckSpec(
                LABELS_KNOWN,
                asset=key,
                blocking=True,
                description="No label was reported at or after the frame's cutoff.",
            ),
        ],
    )
    def training_frame(
        context: dg.AssetExecutionContext, config: FrameConfig, lake: LakeResource
    ) -> Materialized:
        log = lake.open()
        first, last = window_of(context.run, config, log, fraud_type)
        cutoff = midnight_after(last)
        events = log.events(fraud_type, first, last, as_of=cutoff)
        labels = log.labels(fraud_type, first, last, as_of=cutoff)
        frame = build_frame(fraud_type, events, labels)
        info = FrameInfo(fraud_type.name, fraud_type.schema_hash, first, last, cutoff)
        lake.frames(fraud_type).write(frame, labels, info)
        values = frame[list(fraud_type.feature_names)]
        unusable = values.columns[~np.isfinite(values.to_numpy()).all(axis=0)].tolist()
        late = int((labels["reported_at"] >= cutoff).sum())
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(frame),
                "features": len(fraud_type.feature_names),
                "first_day": str(first),
                "last_day": str(last),
                "cutoff": cutoff.isoformat(),
                "known_frauds": int(labels["is_fraud"].sum()),
                "schema_hash": fraud_type.schema_hash,
                "distributions": dg.MetadataValue.md(distributions(values)),
            },
            data_version=dg.DataVersion(f"{fraud_type.schema_hash}-{first}-{last}-{len(frame)}"),
            check_results=[
                dg.AssetCheckResult(
                    check_name=NO_NAN, passed=not unusable, metadata={"features": unusable}
                ),
                dg.AssetCheckResult(
                    check_name=LABELS_KNOWN, passed=late == 0, metadata={"labels_too_late": late}
                ),
            ],
        )

    return training_frame


def online_state_asset(fraud_type: FraudType) -> dg.AssetsDefinition:
    """What the service knows of every entity when it starts."""

    @dg.asset(
        key=asset_key(fraud_type, ONLINE_STATE),
        deps=[asset_key(fraud_type, TRANSACTIONS), asset_key(fraud_type, LABELS)],
        group_name="features",
        kinds={"postgres"},
        description=(
            "**The history of every "
            + ", ".join(entity.name.replace("_", " x ") for entity in fraud_type.entities)
            + ", compressed to what features need, in the ledger's `entity_state`.**\n\n"
            "Rebuilt from the log by bulk load while the service keeps scoring; what it decided "
            "meanwhile is added on top. Afterwards the service computes the very values the "
            "training frame holds."
        ),
    )
    def online_state(
        context: dg.AssetExecutionContext,
        config: FrameConfig,
        lake: LakeResource,
        ledger: LedgerResource,
    ) -> Materialized:
        log = lake.open()
        first, last = window_of(context.run, config, log, fraud_type)
        events, labels = log.events(fraud_type, first, last), log.labels(fraud_type, first, last)

        def progress(done: int, total: int) -> None:
            context.log.info(f"{done} of {total} kinds of entities written")

        with ledger.pool() as pool:
            report = materialize(fraud_type, events, labels, pool, progress)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": report.entities,
                "events_replayed": report.events,
                "labels_acting": report.labels,
                "state_megabytes": round(report.state_bytes / 2**20, 1),
                "first_day": str(first),
                "last_day": str(last),
            }
        )

    return online_state


def window_of(
    run: dg.DagsterRun, config: FrameConfig, lake: Lake, fraud_type: FraudType
) -> tuple[dt.date, dt.date]:
    """First and last day to use: as configured, else the run's range, else all of the log.

    A run for a single day is a daily update; it uses the whole log up to that day.

    Raises:
        ContractError: the log is empty.
    """
    days = lake.days(fraud_type)
    if not days:
        raise ContractError(
            f"The event log of {fraud_type.name} is empty.",
            remedy="Materialise `transactions` first.",
        )
    of_run = range_of_run(run)
    first, last = days[0], days[-1]
    if of_run is not None:
        last = of_run[1]
        first = of_run[0] if of_run[0] < last else first
    return (
        dt.date.fromisoformat(config.first) if config.first else first,
        dt.date.fromisoformat(config.last) if config.last else last,
    )


def midnight_after(day: dt.date) -> dt.datetime:
    """The first moment after a UTC day."""
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC)


def distributions(values: pd.DataFrame) -> str:
    """A Markdown table of each feature's spread."""
    spread = values.quantile([0.05, 0.5, 0.95])
    lines = ["| feature | 5 % | median | 95 % | zeros |", "|---|---:|---:|---:|---:|"]
    zeros = (values == 0).mean()
    lines += [
        f"| {name} | {spread[name].iloc[0]:,.6g} | {spread[name].iloc[1]:,.6g} "
        f"| {spread[name].iloc[2]:,.6g} | {zeros[name]:.0%} |"
        for name in values.columns
    ]
    return "\n".join(lines)

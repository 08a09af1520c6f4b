"""Add a source to the event log, piece by piece: for files that a person hands over."""

import datetime as dt
from collections.abc import Callable

import pandas as pd
import pyarrow as pa

from feature_store.lake import Lake
from feature_store.schema import text_array
from fraud.domain.fraud_type import FraudType
from fraud.security.encryption import FieldProtection
from orchestration.ingest_report import IngestReport
from orchestration.intake import (
    Quarantine,
    are_new,
    checked,
    settled,
)
from orchestration.sources.batch import Batch, Source
from orchestration.sources.duplicates import suspects
from orchestration.sources.label_validation import check_labels


def append(
    source: Source,
    fraud_type: FraudType,
    lake: Lake,
    keep: Quarantine,
    now: dt.datetime,
    protection: FieldProtection,
    progress: Callable[[IngestReport], None] = lambda report: None,
) -> IngestReport:
    """Add all rows of a source to the log; a repetition finds only duplicates.

    Args:
        source: where they come from.
        fraud_type: what they are.
        lake: the log.
        keep: where refused rows go.
        now: the time of the ingest.
        protection: of what is sensitive.
        progress: called after every piece.
    """
    report = IngestReport()
    known = lake.transaction_ids(fraud_type)
    for batch in source.batches():
        report.rows_in += len(batch.transactions) + len(batch.broken)
        accepted, refused = checked(fraud_type, batch, now, protection)
        is_suspect = suspects(accepted["transaction_id"], known)
        fresh = accepted
        if is_suspect.any():
            ids = text_array(accepted["transaction_id"][is_suspect])
            fresh, contradicting = settled(accepted, lake.find(fraud_type, ids), report)
            refused = pd.concat([refused, contradicting], ignore_index=True)
        keep(source.name, refused)
        report.saw(lake.append(fraud_type, "events", fresh))
        known = pa.concat_arrays([known, text_array(fresh["transaction_id"])])
        report.count(len(fresh), refused["field"])
        _append_labels(source, batch, fraud_type, lake, keep, now, report)
        progress(report)
    return report


def _append_labels(
    source: Source,
    batch: Batch,
    fraud_type: FraudType,
    lake: Lake,
    keep: Quarantine,
    now: dt.datetime,
    report: IngestReport,
) -> None:
    if batch.labels.empty:
        return
    verdict = check_labels(batch.labels, now)
    accepted = verdict.accepted
    days = accepted["reported_at"].dt.date
    earlier = lake.labels(fraud_type, days.min(), days.max()) if len(accepted) else accepted
    is_new = are_new(accepted, earlier)
    lake.append(fraud_type, "labels", accepted[is_new])
    keep(f"{source.name} (labels)", verdict.quarantined)
    report.labels_in += len(batch.labels)
    report.labels += int(is_new.sum())
    report.labels_duplicate += int((~is_new).sum())
    report.count_refused_labels(verdict.quarantined["field"])

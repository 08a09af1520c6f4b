"""From raw batches to the event log: check, settle duplicates, set aside, write.

Two ways in. `appending.append` adds what a source has to whatever is there. Here,
`replace_transactions` and `replace_labels` write whole days: for scheduled runs, which may
be repeated. Either way every row ends up accepted, quarantined with a reason, or dropped as
the exact duplicate of another.
"""

import datetime as dt
from collections.abc import Callable

import pandas as pd
import pyarrow as pa

from feature_store.lake import Lake
from feature_store.pseudonyms import hidden_frame
from feature_store.schema import empty_frame, text_array
from fraud.domain.fraud_type import FraudType
from fraud.ledger.pool import transaction
from fraud.ledger.quarantine import RefusedRow, quarantine_rows
from fraud.security.encryption import FieldProtection
from orchestration.delivery import LedgerLabels
from orchestration.ingest_report import IngestReport
from orchestration.served import days_of
from orchestration.sources.batch import Batch, BrokenRow, Source
from orchestration.sources.coercion import Mask
from orchestration.sources.duplicates import settle, suspects
from orchestration.sources.label_validation import check_labels
from orchestration.sources.validation import QUARANTINE_COLUMNS, check_transactions, quarantine

Quarantine = Callable[[str, pd.DataFrame], None]
"""Keeps refused rows (`row_number, field, reason, raw`) of a source, by its name."""

LABEL_KEY = ["transaction_id", "is_fraud", "reported_at", "source"]


def into_ledger(
    url: str, fraud_type: FraudType, ingest_id: str, protection: FieldProtection
) -> Quarantine:
    """A quarantine in the ledger at `url`; `ingest_id` names the run."""

    def keep(source: str, rows: pd.DataFrame) -> None:
        if rows.empty:
            return
        refused = (
            RefusedRow(number, raw, reason)
            for number, raw, reason in zip(
                rows["row_number"], rows["raw"], rows["reason"], strict=True
            )
        )
        with transaction(url) as cursor:
            quarantine_rows(cursor, fraud_type.name, source, ingest_id, refused, protection)

    return keep


def replace_transactions(
    source: Source,
    fraud_type: FraudType,
    lake: Lake,
    keep: Quarantine,
    now: dt.datetime,
    days: list[dt.date],
    protection: FieldProtection,
    served: pd.DataFrame | None = None,
) -> IngestReport:
    """Write the transactions that were observed on some days, all of them.

    Args:
        source: where they come from; what it observed on other days is left out of the report.
        fraud_type: what they are.
        lake: the log.
        keep: where refused rows go.
        now: the time of the ingest.
        days: which days to replace, in order and without a gap.
        protection: of what is sensitive.
        served: numbered events the platform itself decided on in those days; they come first.
    """
    report = IngestReport()
    empty = empty_frame(fraud_type, "events")
    served = empty if served is None else served
    pieces, refusals = [], []
    for batch in source.batches(days[0], days[-1]):
        accepted, refused = checked(fraud_type, batch, now, protection)
        within = accepted["observed_at"].dt.date.isin(days)
        report.rows_in += len(batch.transactions) + len(batch.broken) - int((~within).sum())
        pieces.append(accepted[within])
        refusals.append(refused)
    rows = _stacked(pieces, empty.drop(columns="seq"))
    refused = _stacked(refusals, pd.DataFrame(columns=list(QUARANTINE_COLUMNS)))
    others = lake.transaction_ids(fraud_type, set(days))
    known = pa.concat_arrays([others, text_array(served["transaction_id"])])
    is_suspect = suspects(rows["transaction_id"], known)
    if is_suspect.any():
        ids = text_array(rows["transaction_id"][is_suspect])
        earlier = _stacked([served, lake.find(fraud_type, ids, set(days))], empty)
        rows, contradicting = settled(rows, earlier, report)
        refused = pd.concat([refused, contradicting], ignore_index=True)
    keep(source.name, refused)
    for day, events in _by_day(rows, "observed_at", served, days, empty).items():
        lake.write_events(fraud_type, day, events)
        report.saw([day] if len(events) else [])
    report.count(len(rows), refused["field"])
    report.rows_served = len(served)
    return report


def replace_labels(
    source: Source,
    fraud_type: FraudType,
    lake: Lake,
    keep: Quarantine,
    now: dt.datetime,
    days: list[dt.date],
    ledger: LedgerLabels | None = None,
) -> IngestReport:
    """Write the labels that were reported on some days; see `replace_transactions`.

    Labels about transactions that the platform decided go to `ledger` first. They stand in the
    log on the day they were delivered, under the numbers they have acted with.
    """
    report = IngestReport()
    empty = empty_frame(fraud_type, "labels")
    pieces = []
    for batch in source.batches(days[0], days[-1]):
        verdict = check_labels(batch.labels, now)
        within = verdict.accepted["reported_at"].dt.date.isin(days)
        report.labels_in += len(batch.labels) - int((~within).sum())
        pieces.append(verdict.accepted[within])
        report.count_refused_labels(verdict.quarantined["field"])
        keep(f"{source.name} (labels)", verdict.quarantined)
    labels = _stacked(pieces, empty.drop(columns="seq"))
    refused_before = report.labels_quarantined
    served, is_new = empty, are_new(labels, empty)
    if ledger is not None and len(labels):
        delivery = ledger.deliver(labels, source.name)
        refused = quarantine(labels, delivery.problems)
        keep(f"{source.name} (labels)", refused)
        report.count_refused_labels(refused["field"])
        is_new &= ~delivery.is_kept
        is_new[list(delivery.problems)] = False
        report.labels_delivered = int(delivery.is_news.sum())
    if ledger is not None:
        served = ledger.served(days[0], days[-1])
    for day, rows in _by_day(labels[is_new], "reported_at", served, days, empty).items():
        lake.write_labels(fraud_type, day, rows)
        report.saw([day] if len(rows) else [])
    report.labels = int(is_new.sum()) + report.labels_delivered
    refused_there = report.labels_quarantined - refused_before
    report.labels_duplicate = len(labels) - report.labels - refused_there
    report.labels_served = len(served)
    return report


def _by_day(
    rows: pd.DataFrame,
    moment: str,
    served: pd.DataFrame,
    days: list[dt.date],
    empty: pd.DataFrame,
) -> dict[dt.date, pd.DataFrame]:
    """Rows of a source and of the platform itself, by the day they were observed."""
    given = dict(iter(rows.groupby(rows[moment].dt.date)))
    numbered = dict(iter(served.groupby(days_of(served["seq"]))))
    return {day: _stacked([numbered.get(day, empty), given.get(day, empty)], empty) for day in days}


def are_new(labels: pd.DataFrame, earlier: pd.DataFrame) -> Mask:
    """Which labels are neither among earlier ones nor told twice, (n,)."""
    both = pd.concat([earlier[LABEL_KEY], labels[LABEL_KEY]])
    is_new: Mask = ~both.duplicated().to_numpy(bool)[len(earlier) :]
    return is_new


def checked(
    fraud_type: FraudType, batch: Batch, now: dt.datetime, protection: FieldProtection
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The transactions of a batch that were let in, and everything that was refused.

    From here on nobody sees what is sensitive of them: the log holds pseudonyms.
    """
    verdict = check_transactions(fraud_type, batch.transactions, now)
    accepted = hidden_frame(fraud_type, verdict.accepted, protection)
    if not batch.broken:
        return accepted, verdict.quarantined
    broken = pd.DataFrame([_refusal(row) for row in batch.broken])
    return accepted, pd.concat([verdict.quarantined, broken], ignore_index=True)


def _refusal(row: BrokenRow) -> dict[str, object]:
    # Nobody knows what stands in which place of it, so nothing of it is kept.
    cells = (row.row_number, "row", row.reason, {"characters": len(row.text)})
    return dict(zip(QUARANTINE_COLUMNS, cells, strict=True))


def settled(
    rows: pd.DataFrame, earlier: pd.DataFrame, report: IngestReport
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that are news, and those that contradict an earlier one."""
    settled = settle(rows, earlier)
    report.rows_duplicate += int(settled.is_equal.sum())
    return rows[settled.is_new], quarantine(rows, settled.problems)


def _stacked(pieces: list[pd.DataFrame], empty: pd.DataFrame) -> pd.DataFrame:
    filled = [piece for piece in pieces if len(piece)]
    return pd.concat(filled) if filled else empty

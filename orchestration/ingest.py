"""Ingest a file by hand: what `fraud ingest TYPE FILE --map MAP.yaml` does."""

import datetime as dt
import uuid
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from feature_store.lake import Lake
from fraud.ledger.embedded import ledger_url
from fraud.ledger.schema import migrate
from fraud.security.encryption import field_protection
from fraud.settings import Settings
from fraud.types.registry import fraud_type as declared
from orchestration.appending import append
from orchestration.history import note_files, widen_history
from orchestration.ingest_report import IngestReport, report_table
from orchestration.intake import into_ledger
from orchestration.sources.files import FileSource
from orchestration.sources.mapping import load_mapping


def ingest_file(
    settings: Settings,
    fraud_type: str,
    path: Path,
    mapping: Path,
    *,
    console: Console | None = None,
    now: dt.datetime | None = None,
) -> IngestReport:
    """Add the transactions and labels of a file to the event log, with visible progress.

    Args:
        settings: where log and ledger are.
        fraud_type: name of what the file holds.
        path: CSV or Parquet.
        mapping: YAML that says which column is what.
        console: where progress and the report are printed; the standard output if None.
        now: the time of the ingest; now if None.

    Raises:
        NotFound: file, mapping or fraud type do not exist.
        MalformedInput: the file or the mapping cannot be read.
        InvalidField: the mapping names unknown fields or columns.
        LedgerUnavailable: refused rows cannot be kept.
    """
    console = console or Console()
    kind = declared(fraud_type)
    source = FileSource(path, load_mapping(mapping, kind.transaction))
    ledger = ledger_url(settings)
    migrate(ledger)
    now = now or dt.datetime.now(dt.UTC)
    note_files(settings, kind, now)
    protection = field_protection(settings)
    keep = into_ledger(ledger, kind, f"file-{uuid.uuid4().hex}", protection)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("rows in"),
        TimeElapsedColumn(),
    )
    lake = Lake(settings.lake_url)
    with lake.writing(kind), Progress(*columns, console=console) as shown:
        task = shown.add_task(f"Ingesting {source.name}", total=source.size)
        report = append(
            source,
            kind,
            lake,
            keep,
            now,
            protection,
            lambda report: shown.update(task, completed=report.rows_in),
        )
        shown.update(task, total=report.rows_in)
    if report.first_day is not None:
        widen_history(settings, kind, report.first_day)
    console.print(report_table(report, source.name))
    return report

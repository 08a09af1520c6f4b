"""Run the whole loop of a fraud type from the command line, with visible progress."""

import datetime as dt
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterHomeNotSetError
from rich.console import Console

from feature_store.lake import Lake
from fraud.domain.errors import NotFound
from fraud.domain.fraud_type import FraudType
from fraud.ledger.embedded import ledger_url
from fraud.ledger.schema import migrate
from fraud.settings import Settings
from fraud.types.registry import fraud_type as declared
from fraud.types.registry import fraud_types
from orchestration.assets.naming import asset_key
from orchestration.automation import pipeline_job_name
from orchestration.definitions import build_definitions
from orchestration.display import Display, PipelineResult
from orchestration.history import holds_files, partitions_start, widen_history
from orchestration.partitions import range_tags
from orchestration.resources import SourceKind
from orchestration.sources.simulated import SIMULATORS
from orchestration.steps import LOGGER, StepEvent, StepListener, step_logger
from orchestration.training.search import SPACES


@dataclass(frozen=True)
class SourceChoice:
    """Where the run takes its transactions from; see `SourceResource`.

    Relative paths are taken from the current directory.
    """

    kind: SourceKind = "simulator"
    path: Path | None = None
    mapping: Path | None = None
    database_url: str = ""
    table: str = ""
    query: str = ""

    def config(self) -> dict[str, str]:
        """As run configuration of the resource `source`."""
        given = {
            "kind": self.kind,
            "path": str(self.path.absolute()) if self.path else "",
            "mapping": str(self.mapping.absolute()) if self.mapping else "",
            "database_url": self.database_url,
            "table": self.table,
            "query": self.query,
        }
        return {name: value for name, value in given.items() if value}


def run_pipeline(
    settings: Settings,
    fraud_type: str,
    *,
    first: dt.date | None = None,
    last: dt.date | None = None,
    source: SourceChoice | None = None,
    today: dt.date | None = None,
    search_seconds: float = 0.0,
    on_event: Callable[[StepEvent], None] = lambda event: None,
    console: Console | None = None,
) -> PipelineResult:
    """Run every asset of a fraud type over a range of days, in this process.

    The run is recorded in the Dagster instance of DAGSTER_HOME, or nowhere if it is not set.

    Args:
        settings: the configuration.
        fraud_type: name of the fraud type.
        first: first day; where the history begins if None.
        last: last day; if None yesterday (UTC), or the end of the lake where that is the source.
        source: where transactions come from; if None what the settings name, or what is in the
            lake where files were ingested.
        today: the current day; that of the clock if None.
        search_seconds: time to search hyper-parameters in, shared out among the candidates;
            0 trains each with its stated ones.
        on_event: told of everything that happens to a step.
        console: where progress is printed; the standard output if None.

    Raises:
        NotFound: the fraud type is not declared, or the range holds no complete day.
        LedgerUnavailable: the ledger does not answer.
    """
    _set_up_mlflow()
    kind = declared(fraud_type)
    today = today or dt.datetime.now(dt.UTC).date()
    if source is None:
        source = SourceChoice(kind="lake" if holds_files(settings, kind) else settings.source)
    migrate(ledger_url(settings))
    if first is not None:
        widen_history(settings, kind, first)
    first = first or partitions_start(settings, kind, today)
    last = last or _last_day(settings, kind, source, today)
    if not first <= last < today:
        raise NotFound(
            f"There is no complete day from {first} to {last}.",
            remedy=f"Choose days before today, {today}, the first not after the last.",
        )
    log = settings.run_dir / "logs" / f"pipeline-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}.log"
    with _own_standard_output(console) as shown, _instance() as instance:
        display = Display(shown, kind, log)

        def tell(event: StepEvent) -> None:
            display.hear(event)
            on_event(event)

        listener = StepListener(tell, log)
        display.begin(first, last)
        run_config: dict[str, Any] = {
            "resources": {"source": {"config": source.config()}},
            "loggers": {LOGGER: {"config": {}}},
            "ops": {
                asset_key(kind, name).to_python_identifier(): {
                    "config": {"search_seconds": search_seconds / len(SPACES)}
                }
                for name in SPACES
            },
        }
        try:
            definitions = build_definitions(
                settings, today, types={kind.name: kind}, loggers={LOGGER: step_logger(listener)}
            )
            result = definitions.resolve_job_def(pipeline_job_name(kind)).execute_in_process(
                run_config=run_config,
                instance=instance,
                tags=range_tags(first, last),
                raise_on_error=False,
            )
        finally:
            listener.close()
            display.end()
        display.result.success = result.success
        display.result.run_id = result.run_id
        display.summary()
    return display.result


def run_every_pipeline(
    settings: Settings,
    *,
    first: dt.date | None = None,
    last: dt.date | None = None,
    today: dt.date | None = None,
    search_seconds: float = 0.0,
    console: Console | None = None,
) -> dict[str, PipelineResult]:
    """Run the whole loop of each fraud type in turn; one that fails does not stop the others.

    Types that have neither a simulator nor ingested files are left out, and said to be.

    Returns:
        How each run ended, by fraud type.
    """
    shown = console or Console()
    results = {}
    for name, kind in fraud_types().items():
        if name not in SIMULATORS and not holds_files(settings, kind):
            shown.print(f"{kind.title}: left out, because no file was ingested (fraud ingest).")
            continue
        results[name] = run_pipeline(
            settings,
            name,
            first=first,
            last=last,
            today=today,
            search_seconds=search_seconds,
            console=console,
        )
    for name, result in results.items():
        ended = "done" if result.success else f"failed: {result.failure}"
        shown.print(f"{name:<20}{result.seconds:6.0f} s  {ended}", highlight=False)
    return results


def _last_day(settings: Settings, kind: FraudType, source: SourceChoice, today: dt.date) -> dt.date:
    yesterday = today - dt.timedelta(days=1)
    days = Lake(settings.lake_url).days(kind) if source.kind == "lake" else []
    return min(days[-1], yesterday) if days else yesterday


def _set_up_mlflow() -> None:
    """MLflow announces every run on the standard output; here each step has its line.

    Where its server does not run, its own seven attempts would take four minutes.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    logging.getLogger("mlflow").setLevel(logging.WARNING)


@contextmanager
def _own_standard_output(console: Console | None) -> Iterator[Console]:
    """A console that Dagster cannot redirect: while a step runs it captures what is printed."""
    if console is not None:
        yield console
        return
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as own:
        yield Console(file=own)


@contextmanager
def _instance() -> Iterator[dg.DagsterInstance]:
    try:
        instance = dg.DagsterInstance.get()
    except DagsterHomeNotSetError:
        instance = dg.DagsterInstance.ephemeral()
    with instance:
        yield instance

"""Run the whole loop of a fraud type from the command line, with visible progress."""

import datetime as dt
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from orchestration.automation import pipeline_job_name
from orchestration.definitions import build_definitions
from orchestration.history import holds_files, partitions_start, widen_history
from orchestration.partitions import range_tags
from orchestration.resources import SourceKind
from orchestration.steps import LOGGER, StepEvent, StepListener, step_logger


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


@dataclass
class PipelineResult:
    """How a run ended.

    Attributes:
        success: every step ran and every blocking check held.
        run_id: the run in Dagster.
        seconds: how long it took.
        log: the file with the whole log.
        metadata: what each asset said about itself.
        failure: why it failed; '' if it did not.
        failed_checks: checks that did not hold, as `asset: check`.
    """

    success: bool
    run_id: str
    seconds: float
    log: Path
    metadata: dict[str, Mapping[str, object]] = field(default_factory=dict)
    failure: str = ""
    failed_checks: list[str] = field(default_factory=list)


def run_pipeline(
    settings: Settings,
    fraud_type: str,
    *,
    first: dt.date | None = None,
    last: dt.date | None = None,
    source: SourceChoice | None = None,
    today: dt.date | None = None,
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
        source: where transactions come from; if None the simulator, or what is in the lake
            where files were ingested.
        today: the current day; that of the clock if None.
        on_event: told of everything that happens to a step.
        console: where progress is printed; the standard output if None.

    Raises:
        NotFound: the fraud type is not declared, or the range holds no complete day.
        LedgerUnavailable: the ledger does not answer.
    """
    _quiet()
    kind = declared(fraud_type)
    today = today or dt.datetime.now(dt.UTC).date()
    if source is None:
        source = SourceChoice(kind="lake" if holds_files(settings, kind) else "simulator")
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
        display = _Display(shown, kind, log)

        def tell(event: StepEvent) -> None:
            display.hear(event)
            on_event(event)

        listener = StepListener(tell, log)
        display.begin(first, last)
        run_config: dict[str, Any] = {
            "resources": {"source": {"config": source.config()}},
            "loggers": {LOGGER: {"config": {}}},
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


def _last_day(settings: Settings, kind: FraudType, source: SourceChoice, today: dt.date) -> dt.date:
    yesterday = today - dt.timedelta(days=1)
    days = Lake(settings.lake_url).days(kind) if source.kind == "lake" else []
    return min(days[-1], yesterday) if days else yesterday


_COUNTS: dict[str, tuple[str, ...]] = {
    "transactions": ("rows_in", "rows_accepted", "rows_quarantined", "rows_duplicate"),
    "labels": ("labels_accepted", "frauds"),
    "training_frame": ("dagster/row_count", "features"),
    "online_state": ("dagster/row_count", "events_replayed", "state_megabytes"),
    "champion": ("winner", "is_promoted"),
    "deployed_bundle": ("model_version",),
    "drift_report": ("drifted_share", "score_distance"),
    "performance_review": ("average_precision", "roc_auc"),
}
_COUNTS_OF_A_CANDIDATE = ("average_precision", "roc_auc", "card_precision_100")


class _Display:
    """What a person sees of a run: a line per step, and what is being waited for."""

    def __init__(self, console: Console, kind: FraudType, log: Path) -> None:
        self._console = console
        self._kind = kind
        self._begun = time.monotonic()
        self._status = console.status("Starting ...")
        self.result = PipelineResult(False, "", 0.0, log)

    def begin(self, first: dt.date, last: dt.date) -> None:
        days = (last - first).days + 1
        self._console.print(
            f"[bold]{self._kind.title}[/]: the whole loop over {days} days, {first} to {last}",
            highlight=False,
        )
        self._status.start()

    def end(self) -> None:
        self._status.stop()
        self.result.seconds = time.monotonic() - self._begun

    def hear(self, event: StepEvent) -> None:
        name = event.step.replace("_", " ")
        if event.kind == "started":
            self._status.update(f"{name} ...")
        elif event.kind == "done":
            self.result.metadata[event.step] = event.metadata
            self._line("[green]✓[/]", name, f"{event.seconds:5.1f} s  {self._counts(event)}")
        elif event.kind == "failed":
            self.result.failure = f"{name}: {event.message}"
            self._line("[red]✗[/]", name, event.message)
        elif event.kind == "check_failed":
            self.result.failed_checks.append(f"{event.step}: {event.message}")
            self._line("[yellow]![/]", name, f"check {event.message} does not hold")

    def summary(self) -> None:
        result = self.result
        if not result.success and not result.failure:
            result.failure = ", ".join(result.failed_checks) or "the run did not end well"
        verdict = "[green]Done[/]" if result.success else f"[red]Failed[/]: {result.failure}"
        self._console.print(
            f"{verdict} after {result.seconds:.0f} s", highlight=False, soft_wrap=True
        )
        if not result.success:
            self._console.print(f"The whole log: {result.log}", highlight=False, soft_wrap=True)

    def _line(self, mark: str, name: str, rest: str) -> None:
        self._console.print(f"{mark} {name:<22}{rest}", highlight=False, soft_wrap=True)

    @staticmethod
    def _counts(event: StepEvent) -> str:
        wanted = _COUNTS.get(event.step, _COUNTS_OF_A_CANDIDATE)
        return ", ".join(
            f"{name.rsplit('/', 1)[-1].replace('_', ' ')} {_shown(event.metadata[name])}"
            for name in wanted
            if name in event.metadata
        )


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _quiet() -> None:
    """MLflow announces every run on the standard output; here each step has its line."""
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

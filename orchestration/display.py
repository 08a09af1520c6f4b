"""What a person sees of a run: a line per step, what is being waited for, and how it ended."""

import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from fraud.domain.fraud_type import FraudType
from orchestration.steps import StepEvent


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


class Display:
    """Prints a run as it goes, and collects its result.

    Args:
        console: where.
        kind: the fraud type.
        log: the file with the whole log.
    """

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

"""The steps of a run as they happen, told by Dagster's own events through a logger."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import dagster as dg
from dagster import DagsterEventType as EventType

LOGGER = "steps"
"""Name of the logger a run must be configured with."""

MetadataValues = Mapping[str, object]


@dataclass(frozen=True)
class StepEvent:
    """Something that happened to a step.

    Attributes:
        step: name of the asset or check.
        kind: what happened.
        seconds: how long the step took, when it ended.
        metadata: what the asset said about itself, once it is done.
        message: why it failed, or what a failed check says.
    """

    step: str
    kind: Literal["started", "done", "failed", "skipped", "check_failed"]
    seconds: float = 0.0
    metadata: MetadataValues = field(default_factory=dict)
    message: str = ""


class StepListener(logging.Handler):
    """Turns log records of a run into step events, and everything into a log file.

    Args:
        tell: called with every event, in the thread that runs the step.
        log_file: where the whole log goes.
    """

    def __init__(self, tell: Callable[[StepEvent], None], log_file: Path) -> None:
        super().__init__(logging.DEBUG)
        self._tell = tell
        self._metadata: dict[str, MetadataValues] = {}
        log_file.parent.mkdir(parents=True, exist_ok=True)
        self._file = logging.FileHandler(log_file, encoding="utf-8")
        self._file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._file.emit(record)
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        if event is not None:
            self._hear(event)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _hear(self, event: dg.DagsterEvent) -> None:
        kind, step = event.event_type, named(event.step_key or "")
        if kind is EventType.STEP_START:
            self._tell(StepEvent(step, "started"))
        elif kind is EventType.ASSET_MATERIALIZATION:
            self._metadata[step] = plain(event.materialization.metadata)
        elif kind is EventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            if not found.passed:
                self._tell(StepEvent(step, "check_failed", message=found.check_name))
        elif kind is EventType.STEP_SUCCESS:
            seconds = event.step_success_data.duration_ms / 1000.0
            self._tell(StepEvent(step, "done", seconds, self._metadata.get(step, {})))
        elif kind is EventType.STEP_FAILURE:
            error = event.step_failure_data.error
            self._tell(StepEvent(step, "failed", message=reason(error) if error else ""))
        elif kind is EventType.STEP_SKIPPED:
            self._tell(StepEvent(step, "skipped"))


def step_logger(listener: StepListener) -> dg.LoggerDefinition:
    """The logger that a run's events reach a listener through."""

    def steps(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger(LOGGER, logging.DEBUG)
        logger.addHandler(listener)
        return logger

    return dg.LoggerDefinition(steps, description="Tells the steps of a run as they happen.")


def named(step_key: str) -> str:
    """A step's key without the fraud type: `credit_card__transactions` -> `transactions`."""
    return step_key.rsplit("__", 1)[-1]


def plain(metadata: Mapping[str, dg.MetadataValue]) -> MetadataValues:
    """Metadata as plain values."""
    return {name: value.value for name, value in metadata.items()}


def reason(error: object) -> str:
    """The message of a step's failure, as raised by the code Dagster ran."""
    while type_of(error).startswith("Dagster") and getattr(error, "cause", None) is not None:
        error = getattr(error, "cause", None)
    message = str(getattr(error, "message", error)).strip()
    # Dagster writes `package.module.Kind: what was wrong`.
    _, found, rest = message.partition(f"{type_of(error)}: ")
    return (rest if found else message).splitlines()[0] if message else "no message"


def type_of(error: object) -> str:
    """The name of the exception an error stands for."""
    return str(getattr(error, "cls_name", type(error).__name__))

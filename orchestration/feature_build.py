"""Build a feature frame by hand: what `fraud features build TYPE --out URL` does."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ByteSize, TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from feature_store.build_steps import Engine, LocalEngine
from feature_store.building import Span, build_dataset
from feature_store.dataset import DatasetInfo
from fraud.domain.errors import SettingsError
from fraud.settings import Settings
from fraud.types.registry import fraud_type as declared

_TITLES = {
    "survey": "Counting events and keys",
    "labels": "Copying labels",
    "distribute": "Sorting events by entity",
    "compute": "Computing features",
    "assemble": "Writing the frame",
}


def build_features(
    settings: Settings,
    fraud_type: str,
    out: str,
    *,
    span: Span,
    memory_budget: str,
    scheduler: str | None = None,
    scratch: str | None = None,
    console: Console | None = None,
) -> DatasetInfo:
    """Build the features of a log into a Parquet dataset, with visible progress.

    Args:
        settings: where the log is.
        fraud_type: name of the log.
        out: path or fsspec URL of the dataset.
        span: which part of the log to use.
        memory_budget: what each process may take, e.g. `2GB`.
        scheduler: address of a Dask scheduler; everything happens in this process if None.
        scratch: path or URL of the steps' files.
        console: where progress and the outcome are printed; the standard output if None.

    Raises:
        NotFound: there is no such fraud type.
        SettingsError: the budget cannot be read or is too small.
        UnavailableError: the scheduler does not answer, or has no workers.
        ContractError: the log is empty, or `out` holds something else.
    """
    console = console or Console()
    kind = declared(fraud_type)
    budget_bytes = parse_budget(memory_budget)
    with (
        _engine(scheduler) as engine,
        Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        ) as bars,
    ):
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(_TITLES[step], total=total)
            bars.update(tasks[step], completed=done)

        info = build_dataset(
            kind,
            settings.lake_url,
            out,
            span=span,
            memory_budget_bytes=budget_bytes,
            engine=engine,
            scratch_url=scratch,
            progress=show,
        )
    console.print(
        f"{info.rows:,} events of {info.first} to {info.last}, {len(kind.features)} features each, "
        f"in {len(info.part_rows)} parts at {out}",
        soft_wrap=True,
    )
    return info


def parse_budget(text: str) -> int:
    """Bytes of a memory budget such as `2GB`, `1.5 GiB` or `800MB`.

    Raises:
        SettingsError: it is none.
    """
    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        raise SettingsError(
            f"{text!r} is not an amount of memory.", remedy="Write a number and a unit: 2GB."
        ) from None


def moment(value: dt.datetime | None) -> dt.datetime | None:
    """A time of the command line, which is UTC where it does not say otherwise."""
    return value.replace(tzinfo=dt.UTC) if value and value.tzinfo is None else value


@contextmanager
def _engine(scheduler: str | None) -> Iterator[Engine]:
    if scheduler is None:
        yield LocalEngine()
        return
    try:
        from feature_store.distributed import DaskEngine, connected
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"A cluster needs a package that is not installed: {error.name}.",
            remedy="Install the platform with its extras train and scale.",
        ) from None
    with connected(scheduler) as client:
        yield DaskEngine(client)

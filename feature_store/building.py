"""Builds the feature frame of a log into a Parquet dataset, here or on a cluster."""

import datetime as dt
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import fsspec
import numpy as np
import pyarrow as pa

from feature_store.build_steps import (
    Build,
    Engine,
    LocalEngine,
    assemble,
    compute,
    copy_labels,
    distribute,
    survey,
    write_routes,
)
from feature_store.dataset import SPILL, DatasetInfo, FrameDataset
from feature_store.lake import Lake, Stream
from feature_store.partitions import (
    PartitionNumbers,
    Slice,
    check_busiest,
    cut,
    pack,
    partition_row_bytes,
    partitionings,
    range_row_bytes,
    row_limit,
)
from feature_store.spill import Spill
from fraud.domain.errors import ContractError
from fraud.domain.fraud_type import FraudType

T = TypeVar("T")

DEFAULT_BUDGET_BYTES = 2_000_000_000

_SURVEYS = 64
"""Calls the survey is divided into: each brings home half a megabyte of counts."""

StepProgress = Callable[[str, int, int], None]
"""Called with the step, how many of its calls are done, and how many there are."""


@dataclass(frozen=True)
class Span:
    """Which part of a log to use; all of it where nothing is given.

    Attributes:
        first: first day observed or reported.
        last: last day observed or reported.
        as_of: only what had been observed or reported before this moment.
    """

    first: dt.date | None = None
    last: dt.date | None = None
    as_of: dt.datetime | None = None


def build_dataset(
    fraud_type: FraudType,
    lake_url: str,
    out_url: str,
    *,
    span: Span | None = None,
    memory_budget_bytes: int = DEFAULT_BUDGET_BYTES,
    engine: Engine | None = None,
    scratch_url: str | None = None,
    progress: StepProgress = lambda step, done, total: None,
) -> DatasetInfo:
    """Computes all features of the events of a log; `FrameDataset(out_url)` reads them.

    The frame equals `build_frame(fraud_type, lake.events(...), lake.labels(...))` of the same
    span, bit for bit, whatever the engine and the budget.

    Args:
        fraud_type: whose features; a declared one.
        lake_url: of the log.
        out_url: of the dataset; an earlier frame there is replaced.
        span: part of the log to use.
        memory_budget_bytes: what each process may take in all, its libraries included.
        engine: where the steps run; in this process if None.
        scratch_url: where the steps' files are kept meanwhile, about twice the size of the
            log; a temporary folder for a build in this process, else below `out_url`.
        progress: told about every call of every step.

    Raises:
        ContractError: the log is empty or changed meanwhile, there is something else at
            `out_url`, or a feature needs entities that no partition holds together.
        SettingsError: the budget is too small.
    """
    span, engine, scratch = span or Span(), engine or LocalEngine(), scratch_url
    lake_url, out_url = anywhere(lake_url), anywhere(out_url)
    events = _days(fraud_type, lake_url, "events", span)
    labels = _days(fraud_type, lake_url, "labels", span)
    if not events:
        raise _empty(fraud_type, lake_url)
    if scratch is None and not isinstance(engine, LocalEngine):
        scratch = out_url
    with _scratch(scratch) as spill_url:
        build = Build(
            fraud_type.name, fraud_type.schema_hash, lake_url, out_url, spill_url, span.as_of
        )
        run = _Run(build, fraud_type, engine, progress)
        plan = run.plan(events, memory_budget_bytes)
        part_rows = run.carry_out(plan, labels)
    info = DatasetInfo(
        fraud_type=fraud_type.name,
        schema_hash=fraud_type.schema_hash,
        first=dt.date.fromisoformat(events[0]),
        last=dt.date.fromisoformat(events[-1]),
        cutoff=span.as_of or _midnight_after(max(events[-1], *labels[-1:])),
        part_rows=tuple(part_rows),
    )
    FrameDataset(out_url).finish(info)
    return info


def anywhere(url: str) -> str:
    """The URL as other processes understand it: a plain path becomes absolute."""
    if "::" in url:
        return url
    fs, path = fsspec.core.url_to_fs(url)
    absolute: str = fs.unstrip_protocol(path)
    return absolute


class _Plan(NamedTuple):
    """How a log is cut: see `feature_store.partitions`."""

    ranges: tuple[tuple[Slice, ...], ...]
    routes: list[PartitionNumbers]


class _Run:
    """The steps of one build on one engine."""

    def __init__(
        self, build: Build, fraud_type: FraudType, engine: Engine, progress: StepProgress
    ) -> None:
        self._build = build
        self._fraud_type = fraud_type
        self._engine = engine
        self._progress = progress
        self._spill = Spill(build.spill_url)
        self._out = FrameDataset(build.out_url)

    def plan(self, days: Sequence[str], budget_bytes: int) -> _Plan:
        """Counts the events of the days and cuts them."""
        kind, cuttings = self._fraud_type, partitionings(self._fraud_type)
        range_limit = row_limit(budget_bytes, range_row_bytes(kind))
        self._out.claim()
        self._spill.write("probe", pa.schema([]), [])
        log = f"{self._build.lake_url}/{kind.name}"
        self._engine.check(kind, log, self._spill.file_url("probe"))
        size = -(-len(days) // _SURVEYS)
        calls = [(days[begin : begin + size],) for begin in range(0, len(days), size)]
        found = self._step("survey", survey, calls)
        rows = [row for each in found for row in each.rows if row[1]]
        if not rows:
            raise _empty(kind, self._build.lake_url)
        fair_share = -(-sum(count for _, count in rows) // self._engine.parallelism)
        routes = []
        for number, cutting in enumerate(cuttings):
            counts = np.sum([each.counts[number] for each in found], axis=0)
            row_bytes = partition_row_bytes(kind, cutting)
            check_busiest(counts, cutting, row_bytes, budget_bytes)
            routes.append(pack(counts, min(fair_share, row_limit(budget_bytes, row_bytes))))
        return _Plan(cut(rows, min(fair_share, range_limit)), routes)

    def carry_out(self, plan: _Plan, label_days: Sequence[str]) -> list[int]:
        """Builds the dataset; returns the events of each part."""
        self._out.clear(keep=self._build.spill_url)
        write_routes(self._spill, plan.routes)
        self._step("labels", copy_labels, [(label_days,)])
        ranges = list(enumerate(plan.ranges))
        firsts = self._step("distribute", distribute, ranges)
        partitions = [int(route.max()) + 1 for route in plan.routes]
        self._step(
            "compute",
            compute,
            [(c, p, firsts) for c, count in enumerate(partitions) for p in range(count)],
        )
        return self._step("assemble", assemble, [(n, part, partitions) for n, part in ranges])

    def _step(
        self, name: str, step: Callable[..., T], calls: Sequence[tuple[object, ...]]
    ) -> list[T]:
        """The results of all calls of one step."""
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            self._progress(name, done, len(calls))

        self._progress(name, 0, len(calls))
        return self._engine.run(step, [(self._build, *call) for call in calls], tick)


@contextmanager
def _scratch(url: str | None) -> Iterator[str]:
    """The URL of a folder for the time of a build: below `url`, or on this machine."""
    if url is None:
        with tempfile.TemporaryDirectory(prefix="fraud-build-") as folder:
            yield anywhere(folder)
        return
    # A folder of its own: what else lies at the URL is not ours to remove.
    spill = Spill(anywhere(f"{url.rstrip('/')}/{SPILL}-{uuid.uuid4().hex}"))
    try:
        yield spill.url
    finally:
        spill.remove()


def _days(fraud_type: FraudType, lake_url: str, stream: Stream, span: Span) -> list[str]:
    lake = Lake(lake_url)
    days = lake.days_between(fraud_type, stream, span.first, span.last, span.as_of)
    return [day.isoformat() for day in days]


def _empty(fraud_type: FraudType, lake_url: str) -> ContractError:
    days = Lake(lake_url).days(fraud_type)
    if not days:
        return ContractError(
            f"The {fraud_type.name} log at {lake_url} is empty.",
            remedy="Ingest first: fraud ingest, or fraud pipeline run.",
        )
    return ContractError(
        f"The {fraud_type.name} log at {lake_url} has no event in the days and up to the moment "
        "asked for.",
        remedy=f"It reaches from {days[0]} to {days[-1]}.",
    )


def _midnight_after(day: str) -> dt.datetime:
    next_day = dt.date.fromisoformat(day) + dt.timedelta(days=1)
    return dt.datetime.combine(next_day, dt.time(), dt.UTC)

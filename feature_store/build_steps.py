"""The feature frame of a log of any size, within a stated memory budget.

Four steps, each a pure function of the log, the files the step before left, and a number;
every call of a step may run anywhere and be repeated:

    survey      counts rows per day and per bucket of keys    -> partitions and ranges
    distribute  one range of the log to the partitions        -> `distributed-<range>-<cutting>`
    compute     the features of one partition, by range       -> `computed-<cutting>-<partition>`
    assemble    one range of the frame                        -> `part-<range>.parquet`

`compute` runs `feature_store.offline.feature_matrix`, the same code as a build in memory, on
the complete histories of some of the entities; so the frames are equal. The memory model is
told in `feature_store.partitions`.
"""

import ctypes
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.dataset import FrameDataset
from feature_store.lake import Lake, Stream
from feature_store.offline import feature_matrix, leading_columns
from feature_store.partitions import (
    BUCKETS,
    PartitionNumbers,
    Slice,
    buckets,
    entityless,
    partitionings,
    restricted,
)
from feature_store.schema import arrow_schema, empty_frame, from_arrow
from feature_store.spill import Spill
from fraud.domain.errors import ContractError
from fraud.domain.event import to_us
from fraud.domain.features import Ints, Values
from fraud.domain.fraud_type import FraudType
from fraud.types.registry import fraud_type as declared

T = TypeVar("T")


@dataclass(frozen=True)
class Build:
    """What a step must know wherever it runs.

    Attributes:
        fraud_type: name of it.
        schema_hash: of its features where the build was started.
        lake_url: of the log.
        out_url: of the dataset.
        spill_url: of what is set aside between steps.
        as_of: only what had been observed or reported before this moment, if given.
    """

    fraud_type: str
    schema_hash: str
    lake_url: str
    out_url: str
    spill_url: str
    as_of: dt.datetime | None

    def open(self) -> "OpenBuild":
        """The build with its stores.

        Raises:
            ContractError: the code here has other features.
        """
        kind = declared(self.fraud_type)
        if kind.schema_hash != self.schema_hash:
            raise ContractError(
                f"A worker has {kind.name} features {kind.schema_hash}, the build was started "
                f"with {self.schema_hash}.",
                remedy="Give all workers and the client the same version of the platform.",
            )
        return OpenBuild(
            kind, Lake(self.lake_url), FrameDataset(self.out_url), Spill(self.spill_url)
        )


class OpenBuild(NamedTuple):
    """A build where a step runs."""

    kind: FraudType
    lake: Lake
    out: FrameDataset
    spill: Spill


class Survey(NamedTuple):
    """Rows of some days, and rows per bucket, shape (partitionings, BUCKETS)."""

    rows: list[tuple[str, int]]
    counts: Ints


class Engine(Protocol):
    """Where the calls of a step run.

    Attributes:
        parallelism: parts that a history should be cut into at least.
    """

    @property
    def parallelism(self) -> int: ...

    def check(self, fraud_type: FraudType, *urls: str) -> None:
        """Refuse to begin where calls could not use the fraud type or one of the URLs."""

    def run(
        self, step: Callable[..., T], calls: Sequence[tuple[Any, ...]], done: Callable[[], None]
    ) -> list[T]:
        """The results of `step(*call)` in the order of `calls`; `done` after each."""


class LocalEngine:
    """One call after another in this process; the kernels use all its cores."""

    parallelism = 1

    def check(self, fraud_type: FraudType, *urls: str) -> None:
        """See `Engine`: what this process can use, its steps can use."""

    def run(
        self, step: Callable[..., T], calls: Sequence[tuple[Any, ...]], done: Callable[[], None]
    ) -> list[T]:
        """See `Engine`."""
        results = []
        for call in calls:
            results.append(step(*call))
            return_free_memory()
            done()
        return results


def return_free_memory() -> None:
    """Gives the system back what the allocators keep for later: the next call may differ."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)


def survey(build: Build, days: Sequence[str]) -> Survey:
    """Counts the events of some days."""
    kind, lake, _, _ = build.open()
    cuttings = partitionings(kind)
    fields = dict.fromkeys(field for cutting in cuttings for field in cutting.fields)
    counts = np.zeros((len(cuttings), BUCKETS), np.int64)
    rows = []
    for day in days:
        total = 0
        for piece in _pieces(build, lake, kind, "events", day, ["seq", *fields]):
            events = from_arrow(piece)
            total += len(events)
            for number, cutting in enumerate(cuttings):
                counts[number] += np.bincount(buckets(events, cutting.fields), minlength=BUCKETS)
        rows.append((day, total))
    return Survey(rows, counts)


def copy_labels(build: Build, days: Sequence[str]) -> int:
    """Copies the labels into the dataset; returns how many there are."""
    kind, lake, out, _ = build.open()
    total = 0
    with out.writing_labels(arrow_schema(kind, "labels")) as writer:
        for day in days:
            for piece in _pieces(build, lake, kind, "labels", day, ()):
                writer.write_table(piece.cast(arrow_schema(kind, "labels")))
                total += len(piece)
    return total


def write_routes(spill: Spill, routes: Sequence[PartitionNumbers]) -> None:
    """Leaves the partition of each bucket, per partitioning, for `distribute`."""
    schema = pa.schema([("partition", pa.int32())])
    spill.write("routes", schema, [pa.record_batch([r], schema=schema) for r in routes])


def distribute(build: Build, number: int, slices: Sequence[Slice]) -> int:
    """Sorts one range of events by partition, once per partitioning; returns its first seq.

    Args:
        build: the build.
        number: of the range.
        slices: of the log that make the range.
    """
    kind, lake, _, spill = build.open()
    pieces = list(_range(lake, kind, slices))
    if sum(len(piece) for piece in pieces) != sum(len(part) for part in slices):
        raise _changed(build)
    table = pa.concat_tables(pieces).combine_chunks()
    for place, cutting in enumerate(partitionings(kind)):
        route = spill.read("routes", place)["partition"].to_numpy()
        columns = ["seq", *cutting.fields]
        partition = np.concatenate(
            [route[buckets(from_arrow(each.select(columns)), cutting.fields)] for each in pieces]
        )
        order = np.argsort(partition, kind="stable")
        ends = np.cumsum(np.bincount(partition, minlength=int(route.max()) + 1))
        starts = [0, *ends[:-1].tolist()]
        spill.write(
            f"distributed-{number}-{'+'.join(cutting.fields)}",
            table.schema,
            (_taken(table, order[s:e]) for s, e in zip(starts, ends.tolist(), strict=True)),
        )
    return int(table["seq"][0].as_py())


def compute(build: Build, cutting_number: int, partition: int, firsts: Sequence[int]) -> int:
    """Computes the features of one partition; returns how many events it has.

    Args:
        build: the build.
        cutting_number: which of the partitionings.
        partition: number of the partition.
        firsts: first seq of each range.
    """
    kind, _, out, spill = build.open()
    cutting = partitionings(kind)[cutting_number]
    name = "+".join(cutting.fields)
    table = pa.Table.from_batches(
        [spill.read(f"distributed-{n}-{name}", partition) for n in range(len(firsts))]
    )
    labels = _fraud_labels(kind, out, table["transaction_id"])
    events = from_arrow(table)
    seq = events["seq"].to_numpy(np.int64)
    matrix = feature_matrix(restricted(kind, cutting.places), events, labels)
    ends = [*np.searchsorted(seq, np.array(firsts[1:], np.int64)).tolist(), len(seq)]
    starts = [0, *ends[:-1]]
    spill.write(
        f"computed-{name}-{partition}",
        _values_schema(len(cutting.places)),
        (_values(seq[s:e], matrix[s:e]) for s, e in zip(starts, ends, strict=True)),
    )
    return len(seq)


def assemble(build: Build, number: int, slices: Sequence[Slice], partitions: Sequence[int]) -> int:
    """Writes one part of the dataset; returns how many events it has.

    Args:
        build: the build.
        number: of the range.
        slices: of the log that make the range.
        partitions: how many there are, per partitioning.

    Raises:
        ContractError: the log was changed since the build began.
    """
    kind, lake, out, spill = build.open()
    table = pa.concat_tables(_range(lake, kind, slices))
    seq = table["seq"].to_numpy()
    # Column after column, so that each can be written from where it stands.
    matrix: Values = np.empty((len(seq), len(kind.features)), np.float32, order="F")
    own = entityless(kind)
    matrix[:, own] = feature_matrix(
        restricted(kind, own), from_arrow(table), empty_frame(kind, "labels")
    )
    table = table.select(leading_columns(kind))
    for cutting, count in zip(partitionings(kind), partitions, strict=True):
        name = "+".join(cutting.fields)
        batches = (spill.read(f"computed-{name}-{partition}", number) for partition in range(count))
        if not _fill(matrix, seq, cutting.places, batches):
            raise _changed(build)
    for place, name in enumerate(kind.feature_names):
        table = table.append_column(name, pa.array(matrix[:, place]))
    out.write_part(number, table)
    return len(seq)


def _pieces(
    build: Build, lake: Lake, kind: FraudType, stream: Stream, day: str, columns: Sequence[str]
) -> Iterator[Any]:
    """A day in tables, without what was observed later than the build may know."""
    for piece in lake.pieces(kind, stream, dt.date.fromisoformat(day), columns):
        known = piece if build.as_of is None else _before(piece, to_us(build.as_of))
        if len(known):
            yield known


def _before(piece: Any, moment_us: int) -> Any:
    return piece.slice(0, int(np.searchsorted(piece["seq"].to_numpy(), moment_us)))


def _range(lake: Lake, kind: FraudType, slices: Sequence[Slice]) -> Iterator[Any]:
    for part in slices:
        day = dt.date.fromisoformat(part.day)
        yield from lake.pieces(kind, "events", day, rows=range(part.begin, part.end))


def _taken(table: Any, rows: Ints) -> Any:
    """These rows as one record batch."""
    taken = table.take(pa.array(rows)).combine_chunks()
    batches = taken.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _fraud_labels(kind: FraudType, out: FrameDataset, transaction_ids: Any) -> pd.DataFrame:
    """The fraud labels of these transactions, read piece by piece."""
    found = [arrow_schema(kind, "labels").empty_table()]
    for table in out.label_tables():
        fraud = table.filter(table["is_fraud"])
        found.append(fraud.filter(pc.is_in(fraud["transaction_id"], transaction_ids)))
    return from_arrow(pa.concat_tables(found))


def _values_schema(width: int) -> Any:
    return pa.schema([("seq", pa.int64()), ("values", pa.list_(pa.float32(), width))])


def _values(seq: Ints, matrix: Values) -> Any:
    """Features of some events in one batch, each row one list."""
    values = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    return pa.RecordBatch.from_arrays(
        [pa.array(seq), values], schema=_values_schema(matrix.shape[1])
    )


def _fill(matrix: Values, seq: Ints, places: Sequence[int], batches: Iterable[Any]) -> bool:
    """Put computed features into their rows; whether each row was met, and no other."""
    filled = 0
    for batch in batches:
        found = batch["seq"].to_numpy()
        rows = np.searchsorted(seq, found)
        if not np.array_equal(seq[np.minimum(rows, len(seq) - 1)], found):
            return False
        values = batch["values"].flatten().to_numpy().reshape(len(rows), len(places))
        for column, place in enumerate(places):
            matrix[rows, place] = values[:, column]
        filled += len(rows)
    return filled == len(seq)


def _changed(build: Build) -> ContractError:
    return ContractError(
        f"The {build.fraud_type} events at {build.lake_url} changed while features were built.",
        remedy="Build again, up to a day that is complete (--to).",
    )

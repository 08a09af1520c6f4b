"""NACHA files as they are kept in memory, and how they are written."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain
from operator import add

from bentos.connectors.ach.records import (
    FILE_CONTROL,
    FILLER,
    LENGTH,
    RECORDS_PER_BLOCK,
    BatchHeader,
    Entry,
    FileHeader,
    Totals,
)


@dataclass(frozen=True)
class Fault:
    """Why an entry cannot be decided.

    Attributes:
        line: of the file, from 1.
        trace: trace number, as far as it can be read.
        problem: what is wrong.
    """

    line: int
    trace: str
    problem: str


@dataclass(frozen=True)
class Batch:
    """A batch; `control` is record 8 as it came."""

    header: BatchHeader
    entries: tuple[Entry, ...]
    control: str

    @property
    def totals(self) -> Totals:
        """Added up from the entries."""
        return reduce(add, map(Totals.of, self.entries), Totals())


@dataclass(frozen=True)
class AchFile:
    """A file.

    Attributes:
        header: record 1.
        batches: with the entries that can be trusted.
        control: record 9 as it came.
        line_end: what stands between records; "" in files that are one long line.
        faults: the entries that cannot be trusted, in the order of the file.
    """

    header: FileHeader
    batches: tuple[Batch, ...]
    control: str
    line_end: str
    faults: tuple[Fault, ...] = ()

    @property
    def entries(self) -> Iterator[tuple[Batch, Entry]]:
        """Every entry with its batch, in the order of the file."""
        return ((batch, entry) for batch in self.batches for entry in batch.entries)


def write_file(file: AchFile, keeps: Callable[[Entry], bool]) -> bytes:
    """The file with only some of its entries, every control record counted again.

    Batches without entries are left out; the others keep their header and number.
    """
    kept = [replace(batch, entries=tuple(filter(keeps, batch.entries))) for batch in file.batches]
    batches = [batch for batch in kept if batch.entries]
    lines = [file.header.text]
    for batch in batches:
        records = chain.from_iterable(entry.records for entry in batch.entries)
        lines += [batch.header.text, *records, _batch_control(batch)]
    blocks = -(-(len(lines) + 1) // RECORDS_PER_BLOCK)
    lines.append(_file_control(batches, blocks))
    lines += [FILLER] * (blocks * RECORDS_PER_BLOCK - len(lines))
    return (file.line_end.join(lines) + file.line_end).encode("ascii")


def _batch_control(batch: Batch) -> str:
    totals = batch.totals
    counted = f"{totals.records:06}{totals.hash_total:010}"
    money = f"{totals.debit_minor:012}{totals.credit_minor:012}"
    return batch.control[:4] + counted + money + batch.control[44:]


def _file_control(batches: Sequence[Batch], blocks: int) -> str:
    totals = reduce(add, (batch.totals for batch in batches), Totals())
    counted = f"{len(batches):06}{blocks:06}{totals.records:08}{totals.hash_total:010}"
    money = f"{totals.debit_minor:012}{totals.credit_minor:012}"
    return (FILE_CONTROL + counted + money).ljust(LENGTH)

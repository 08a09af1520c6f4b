"""NACHA files, read strictly: what cannot be trusted is named by its line.

A file whose frame is broken (headers, controls, totals of batches) is refused as a whole. An
entry that is broken is set apart with its line number, and so is every entry of a batch whose
own totals do not agree: which of them was altered cannot be said.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add

from bentos.connectors.ach.file import AchFile, Batch, Fault
from bentos.connectors.ach.records import (
    ADDENDA,
    BATCH_CONTROL,
    BATCH_HEADER,
    CREDIT_CODES,
    CREDITS_ONLY,
    DEBIT_CODES,
    DEBITS_ONLY,
    ENTRY,
    FILE_CONTROL,
    FILE_HEADER,
    LENGTH,
    SERVICE_CLASSES,
    BatchHeader,
    Entry,
    FileHeader,
    Totals,
    is_routing_number,
)
from fraud.domain.errors import MalformedInput

Numbered = tuple[int, str]


def read_file(content: bytes) -> AchFile:
    """Read a file.

    Raises:
        MalformedInput: its frame is broken; the message names the line.
    """
    records, line_end = _records(content)
    reader = _Reader(records)
    header = FileHeader(reader.take(FILE_HEADER, "a file header"))
    batches: list[Batch] = []
    faults: list[Fault] = []
    while reader.kind == BATCH_HEADER:
        batch, wrong = _batch(reader)
        batches.append(batch)
        faults += wrong
    control = reader.take(FILE_CONTROL, "a batch or the file control")
    reader.expect_end()
    _check_file(control, batches)
    batches, doubled = _without_doubles(batches)
    faults += doubled
    return AchFile(header, tuple(batches), control, line_end, tuple(_ordered(faults)))


@dataclass
class _Reader:
    """Records one after the other."""

    records: Sequence[Numbered]
    place: int = field(default=0)

    @property
    def kind(self) -> str:
        """The type of the next record, "" at the end."""
        return self.records[self.place][1][:1] if self.place < len(self.records) else ""

    @property
    def line(self) -> int:
        """Number of the next record's line."""
        return self.records[min(self.place, len(self.records) - 1)][0]

    def next(self) -> Numbered:
        self.place += 1
        return self.records[self.place - 1]

    def take(self, kind: str, what: str) -> str:
        """The next record, which has to be of a type."""
        if self.kind != kind:
            found = f"a record of type {self.kind!r}" if self.kind else "the end of the file"
            raise _broken(self.line, f"has {found} where {what} must stand")
        line, text = self.next()
        if len(text) != LENGTH:
            raise _broken(line, f"has {len(text)} characters instead of {LENGTH}")
        return text

    def expect_end(self) -> None:
        for line, text in self.records[self.place :]:
            if text.strip("9"):
                raise _broken(line, "stands after the file control")


def _records(content: bytes) -> tuple[list[Numbered], str]:
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _broken(
            line, f"has the byte {content[error.start]:#04x}, which is not ASCII"
        ) from None
    if "\n" not in text.strip() and len(text.strip("\r\n")) > LENGTH:
        long = text.strip("\r\n")
        cut = [long[place : place + LENGTH] for place in range(0, len(long), LENGTH)]
        return list(enumerate(cut, 1)), ""
    line_end = "\r\n" if "\r\n" in text else "\n"
    lines = enumerate((line.rstrip("\r") for line in text.split("\n")), 1)
    found = [(number, line) for number, line in lines if line.strip()]
    if not found:
        raise MalformedInput("The file is empty.", remedy="Send a NACHA file.")
    return found, line_end


def _batch(reader: _Reader) -> tuple[Batch, list[Fault]]:
    header = BatchHeader(reader.take(BATCH_HEADER, "a batch header"))
    entries: list[Entry] = []
    while reader.kind == ENTRY:
        line, text = reader.next()
        addenda = []
        while reader.kind == ADDENDA:
            addenda.append(reader.next()[1])
        entries.append(Entry(line, text, tuple(addenda), header.sec_code))
    control_line = reader.line
    control = reader.take(BATCH_CONTROL, "an entry, addenda or the batch control")
    problems = [(entry, _problem(entry, header)) for entry in entries]
    faults = [_fault(entry, problem) for entry, problem in problems if problem]
    fine = tuple(entry for entry, problem in problems if not problem)
    batch = Batch(header, fine, control)
    declared = _declared(Totals.of_batch_control, control, control_line)
    if not faults and declared != batch.totals:
        how = _difference(declared, batch.totals)
        what = f"the totals of its batch (line {control_line}) do not agree: {how}"
        return replace(batch, entries=()), [_fault(entry, what) for entry in entries]
    return batch, faults


def _problem(entry: Entry, header: BatchHeader) -> str:
    """What is wrong with an entry, "" if nothing."""
    if any(len(record) != LENGTH for record in entry.records):
        return f"a record has other than {LENGTH} characters"
    checks = (
        (header.service_class in SERVICE_CLASSES, f"service class {header.service_class}"),
        (entry.code in CREDIT_CODES | DEBIT_CODES, f"transaction code {entry.code!r}"),
        (is_routing_number(entry.routing), f"routing number {entry.routing!r}"),
        (entry.text[29:39].isdigit(), f"amount {entry.text[29:39]!r}"),
        (entry.trace.isdigit(), f"trace number {entry.trace!r}"),
        (entry.account != "", "an empty account number"),
        (entry.has_addenda == bool(entry.addenda), "an addenda indicator that does not fit"),
        (_fits(entry, header), f"a {entry.direction} in a batch of class {header.service_class}"),
    )
    return next((f"it has {what}" for is_fine, what in checks if not is_fine), "")


def _fits(entry: Entry, header: BatchHeader) -> bool:
    only = {CREDITS_ONLY: "credit", DEBITS_ONLY: "debit"}
    return entry.direction == only.get(header.service_class, entry.direction)


def _without_doubles(batches: Iterable[Batch]) -> tuple[list[Batch], list[Fault]]:
    """The batches without entries that share a trace number: a decision belongs to one entry."""
    batches = list(batches)
    count = Counter(entry.trace for batch in batches for entry in batch.entries)
    faults = [
        _fault(entry, "its trace number stands in the file more than once")
        for batch in batches
        for entry in batch.entries
        if count[entry.trace] > 1
    ]
    single = [
        replace(batch, entries=tuple(each for each in batch.entries if count[each.trace] == 1))
        for batch in batches
    ]
    return single, faults


def _check_file(control: str, batches: Sequence[Batch]) -> None:
    declared = _declared(Totals.of_file_control, control, None)
    summed = reduce(add, (Totals.of_batch_control(batch.control) for batch in batches), Totals())
    if declared != summed:
        raise MalformedInput(
            f"The file control does not agree with its batches: {_difference(declared, summed)}.",
            remedy="Ask the originator for the file again.",
        )
    if control[1:7] != f"{len(batches):06}":
        raise MalformedInput(
            f"The file control counts {control[1:7]} batches, and there are {len(batches)}.",
            remedy="Ask the originator for the file again.",
        )


def _declared(read: Callable[[str], Totals], control: str, line: int | None) -> Totals:
    try:
        return read(control)
    except ValueError:
        raise _broken(line, "is a control record whose totals are no numbers") from None


def _difference(declared: Totals, counted: Totals) -> str:
    names = ("records", "hash_total", "debit_minor", "credit_minor")
    return ", ".join(
        f"{name} {getattr(declared, name)} declared, {getattr(counted, name)} counted"
        for name in names
        if getattr(declared, name) != getattr(counted, name)
    )


def _fault(entry: Entry, problem: str) -> Fault:
    return Fault(entry.line, entry.trace, problem)


def _ordered(faults: Iterable[Fault]) -> list[Fault]:
    return sorted(faults, key=lambda fault: fault.line)


def _broken(line: int | None, what: str) -> MalformedInput:
    where = "The file control" if line is None else f"Line {line}"
    return MalformedInput(f"{where} {what}.", remedy="Send a NACHA file as the bank takes it.")

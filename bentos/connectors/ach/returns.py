"""Returned entries as labels: the receiving bank says why, and some of its reasons are fraud."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bentos.connectors.ach.file import AchFile, Fault
from bentos.connectors.ach.records import RETURN_ADDENDA, Entry
from bentos.connectors.ach.transfers import created, trace_prefix
from bentos.connectors.scoring_client import MOST_PER_BATCH
from fraud.types.ach import RETURN_CODES

T = TypeVar("T")

Tell = Callable[[Sequence[Mapping[str, object]]], list[dict[str, Any]]]
"""Hands up to 1,000 labels to the platform."""

Known = Callable[[Sequence[str]], Mapping[str, Sequence[tuple[str, int]]]]
"""Ids and amounts (minor units) of the transactions whose ids begin with each of the prefixes,
newest first."""


@dataclass(frozen=True)
class Return:
    """A returned entry.

    Attributes:
        line: in the file of returns.
        code: reason, R01 and on.
        original_trace: of the entry that comes back.
        amount_minor: cents, those of that entry.
    """

    line: int
    code: str
    original_trace: str
    amount_minor: int


@dataclass
class ReturnReport:
    """What became of a file of returns.

    Attributes:
        stored: labels that are new.
        repeated: labels that were told before.
        frauds: of both, those that say fraud.
        faults: returned entries without a label, by line, and why.
    """

    stored: int = 0
    repeated: int = 0
    frauds: int = 0
    faults: list[Fault] = field(default_factory=list)


def returns_of(file: AchFile) -> Iterator[Return]:
    """The returned entries of a file; notifications of change and others are passed over."""
    for _, entry in file.entries:
        addenda = _return_addenda(entry)
        if addenda is not None:
            yield Return(entry.line, addenda[3:6], addenda[6:21], entry.amount_minor)


def tell_returns(file: AchFile, known: Known, tell: Tell) -> ReturnReport:
    """Make labels of a file of returns; telling it again changes nothing.

    A label is reported when the file was made. Of several entries with the trace number, it is
    about the newest one of the same amount.

    Raises:
        InvalidField: the file does not say when it was made.
        UnavailableError: the platform does not answer; run it again.
    """
    report = ReturnReport(faults=list(file.faults))
    reported_at = created(file.header).isoformat()
    labels: list[tuple[Return, dict[str, object]]] = []
    for chunk in _chunks(list(returns_of(file))):
        prefixes = [trace_prefix(each.original_trace) for each in chunk]
        found = known(prefixes)
        for each, prefix in zip(chunk, prefixes, strict=True):
            transaction_id, problem = _about(each, found.get(prefix, ()))
            if problem:
                report.faults.append(Fault(each.line, each.original_trace, problem))
                continue
            is_fraud = RETURN_CODES[each.code].is_fraud
            label = {"transaction_id": transaction_id, "is_fraud": is_fraud, "source": "return"}
            labels.append((each, {**label, "reported_at": reported_at}))
    for part in _chunks(labels):
        for (each, label), told in zip(part, tell([label for _, label in part]), strict=True):
            _count(report, each, label, told)
    report.faults.sort(key=lambda fault: fault.line)
    return report


def _count(
    report: ReturnReport, each: Return, label: Mapping[str, object], told: Mapping[str, Any]
) -> None:
    if told["status"] == "refused":
        problem = str(told["error"]["detail"])
        report.faults.append(Fault(each.line, each.original_trace, problem))
        return
    report.stored += told["status"] == "stored"
    report.repeated += told["status"] == "repeated"
    report.frauds += bool(label["is_fraud"])


def _about(each: Return, candidates: Sequence[tuple[str, int]]) -> tuple[str, str]:
    """The transaction a return is about, or what is wrong."""
    if each.code not in RETURN_CODES:
        return "", f"return code {each.code!r} has no declared meaning"
    same = [name for name, amount_minor in candidates if amount_minor == each.amount_minor]
    if same:
        return same[0], ""
    if candidates:
        return "", "an entry with this trace number was decided, but with another amount"
    return "", "no entry with this trace number was decided"


def _return_addenda(entry: Entry) -> str | None:
    return next((each for each in entry.addenda if each[1:3] == RETURN_ADDENDA), None)


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), MOST_PER_BATCH):
        yield items[first : first + MOST_PER_BATCH]

"""The entries of a file, decided: those with the nearest deadline first."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bentos.connectors.ach.file import AchFile, Batch, Fault
from bentos.connectors.ach.records import Entry
from bentos.connectors.ach.transfers import (
    Accounts,
    Balances,
    is_same_day,
    transaction_id,
    transaction_of,
)
from bentos.connectors.ach.windows import EASTERN, deadline
from bentos.connectors.scoring_client import MOST_PER_BATCH
from fraud.domain.errors import UnavailableError

Predict = Callable[[Sequence[Mapping[str, object]]], list[dict[str, Any]]]
"""`ScoringClient.predict_batch`, or whatever else hands transactions to the scorer."""

NO_WINDOW_LEFT = "no same-day window is left today"


@dataclass(frozen=True)
class EntryDecision:
    """What becomes of an entry.

    Attributes:
        line: of record 6 in the file.
        trace: its trace number.
        transaction_id: under which the platform remembers it.
        amount_minor: cents.
        direction: debit or credit.
        sec_code: its class.
        action: approve, review or block.
        reason: why, a stable code.
        fraud_probability: of the model.
        risk_level: of the policy.
        rules: that fired.
        decision_id: of the decision.
        degraded: whether it was decided without a model.
        deadline: by when a same-day entry has to be with the operator, Eastern; else "".
        late: why it will not be there, "" if it can.
    """

    line: int
    trace: str
    transaction_id: str
    amount_minor: int
    direction: str
    sec_code: str
    action: str
    reason: str
    fraud_probability: float
    risk_level: str
    rules: tuple[str, ...]
    decision_id: str
    degraded: bool
    deadline: str
    late: str


@dataclass(frozen=True)
class _Task:
    batch: Batch
    entry: Entry
    is_same_day: bool
    deadline: dt.datetime | None


def decide_file(
    file: AchFile,
    predict: Predict,
    accounts: Accounts,
    now: Callable[[], dt.datetime],
    *,
    balances: Balances | None = None,
    lead: dt.timedelta = dt.timedelta(minutes=10),
) -> tuple[list[EntryDecision], list[Fault]]:
    """Decide on every entry of a file.

    Deciding the same file again gives the same decisions: the platform remembers them. An entry
    the platform refuses, e.g. as its trace number was decided with other content, is a fault.

    Args:
        file: as read.
        predict: asks the platform, for up to 1,000 transactions at a time.
        accounts: names accounts.
        now: the time.
        balances: of accounts, where they are known.
        lead: how long before a deadline the file has to leave us.

    Returns:
        Decisions and faults, each in the order of the file.

    Raises:
        InvalidField: the file does not say when it was made.
        UnavailableError: the platform does not answer; run it again.
    """
    tasks = sorted(_tasks(file, now()), key=_urgency)
    decisions: list[EntryDecision] = []
    faults = list(file.faults)
    waiting = iter(tasks)
    while chunk := list(islice(waiting, MOST_PER_BATCH)):
        bodies = [
            transaction_of(file, task.batch, task.entry, accounts, balances or Balances())
            for task in chunk
        ]
        replies = predict(bodies)
        leaves = now() + lead
        for task, reply in zip(chunk, replies, strict=True):
            if "error" in reply:
                faults.append(_refused(task.entry, reply["error"]))
            else:
                decisions.append(_decision(file, task, reply, leaves))
    return sorted(decisions, key=lambda each: each.line), sorted(faults, key=lambda each: each.line)


def _tasks(file: AchFile, now: dt.datetime) -> Iterator[_Task]:
    for batch, entry in file.entries:
        wants = is_same_day(file.header, batch, entry)
        due = deadline(batch.header.descriptive_date, now) if wants else None
        yield _Task(batch, entry, wants, due)


def _urgency(task: _Task) -> tuple[bool, dt.datetime, int]:
    """The nearest deadline first; what has none keeps the order of the file."""
    far = dt.datetime.max.replace(tzinfo=EASTERN)
    return task.deadline is None, task.deadline or far, task.entry.line


def _decision(
    file: AchFile, task: _Task, reply: Mapping[str, Any], leaves: dt.datetime
) -> EntryDecision:
    entry, action, degraded = task.entry, reply["recommended_action"], reply["degraded"]
    reason = {"approve": "low_risk", "review": "moderate_risk", "block": "high_fraud_risk"}[action]
    if degraded and action == "approve":
        action = "review"  # nothing goes out that no model has seen
    return EntryDecision(
        line=entry.line,
        trace=entry.trace,
        transaction_id=transaction_id(file.header, entry),
        amount_minor=entry.amount_minor,
        direction=entry.direction,
        sec_code=entry.sec_code,
        action=action,
        reason="degraded" if degraded else reason,
        fraud_probability=reply["fraud_probability"],
        risk_level=reply["risk_level"],
        rules=tuple(reply["rules"]),
        decision_id=reply["decision_id"],
        degraded=degraded,
        deadline=task.deadline.isoformat() if task.deadline else "",
        late=_late(task, leaves),
    )


def _late(task: _Task, leaves: dt.datetime) -> str:
    if not task.is_same_day:
        return ""
    if task.deadline is None:
        return NO_WINDOW_LEFT
    missed = leaves > task.deadline
    return f"leaves after {task.deadline:%H:%M} Eastern" if missed else ""


def _refused(entry: Entry, problem: Mapping[str, Any]) -> Fault:
    """The fault behind an item's problem.

    Raises:
        UnavailableError: it is none of the entry's.
    """
    if int(problem["status"]) in (429, 503):
        raise UnavailableError(str(problem["detail"]), remedy="Run it again.")
    return Fault(entry.line, entry.trace, str(problem["detail"]))

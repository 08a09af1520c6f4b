"""Cases: decisions a person should look at, worked on by what is at stake.

The scoring transaction opens one for every decision above LOW, under the decision's id.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fraud.domain.errors import InvalidField, NotFound
from fraud.domain.event import from_us, to_us
from fraud.ledger.statement import Cursor

CaseStatus = Literal["open", "in_review", "closed"]
Verdict = Literal["fraud", "genuine"]


@dataclass(frozen=True, slots=True)
class Case:
    """A case; times in microseconds UTC, money in minor units.

    Attributes:
        case_id: the id of its decision.
        transaction_id: what it is about.
        fraud_type: of the transaction.
        status: open, in_review once somebody has it, closed.
        money_at_risk_minor: probability times amount.
        assignee: who works on it.
        verdict: what came out.
        comments: `{"by", "at", "text"}`, oldest first.
        opened_at_us: when it was opened.
        closed_at_us: when it was closed.
        amount_minor: of the transaction.
        probability: of the decision.
        risk_level: of the decision.
        alert_type: what raised it most.
        user_id: whose transaction, where there is a user.
    """

    case_id: str
    transaction_id: str
    fraud_type: str
    status: CaseStatus
    money_at_risk_minor: int
    assignee: str | None
    verdict: Verdict | None
    comments: Sequence[Mapping[str, Any]]
    opened_at_us: int
    closed_at_us: int | None
    amount_minor: int
    probability: float
    risk_level: str
    alert_type: str
    user_id: str | None


_CASES = """
SELECT c.case_id, c.transaction_id, c.fraud_type, c.status, c.priority, c.assignee, c.verdict,
    c.notes, c.opened_at, c.closed_at, t.amount_minor, d.probability, d.risk_level,
    coalesce(d.rules->>0, 'MODEL_SCORE'), t.user_id
FROM cases c JOIN transactions t USING (transaction_id) JOIN decisions d USING (transaction_id)
"""


def queue(
    cursor: Cursor,
    fraud_type: str,
    status: CaseStatus,
    *,
    assignee: str | None = None,
    after: tuple[int, str] | None = None,
    limit: int = 100,
) -> list[Case]:
    """Cases of a status, most money at risk first.

    Args:
        cursor: of any transaction.
        fraud_type: whose.
        status: which.
        assignee: only this person's, if given.
        after: money at risk and id of the last one seen.
        limit: most to answer.
    """
    conditions = ["c.status = %s", "c.fraud_type = %s"]
    values: list[object] = [status, fraud_type]
    if assignee is not None:
        conditions.append("c.assignee = %s")
        values.append(assignee)
    if after is not None:
        conditions.append("c.priority <= %s AND (c.priority < %s OR c.case_id > %s::uuid)")
        values += [after[0], after[0], after[1]]
    cursor.execute(
        f"{_CASES} WHERE {' AND '.join(conditions)} ORDER BY c.priority DESC, c.case_id LIMIT %s",
        (*values, limit),
    )
    return [_case(row) for row in cursor.fetchall()]


def case(cursor: Cursor, case_id: str) -> Case:
    """One case.

    Raises:
        NotFound: there is none of this id.
    """
    cursor.execute(f"{_CASES} WHERE c.case_id = %s::uuid", (case_id,))
    rows = cursor.fetchall()
    if not rows:
        raise NotFound(f"There is no case {case_id!r}.", remedy="GET /cases shows the queue.")
    return _case(rows[0])


def assign(cursor: Cursor, case_id: str, assignee: str | None) -> Case:
    """Give a case to somebody, or put it back into the queue.

    Raises:
        NotFound: there is none of this id.
        InvalidField: it is closed.
    """
    _open(cursor, case_id)
    status = "open" if assignee is None else "in_review"
    cursor.execute(
        "UPDATE cases SET assignee = %s, status = %s WHERE case_id = %s::uuid",
        (assignee, status, case_id),
    )
    return _with_alerts(cursor, case_id)


def comment(cursor: Cursor, case_id: str, text: str, actor: str, now_us: int) -> Case:
    """Add a comment, also to a closed case.

    Raises:
        NotFound: there is none of this id.
    """
    note = {"by": actor, "at": from_us(now_us).isoformat(), "text": text}
    cursor.execute(
        "UPDATE cases SET notes = notes || %s::jsonb WHERE case_id = %s::uuid",
        (json.dumps([note]), case_id),
    )
    return case(cursor, case_id)


def close(cursor: Cursor, case_id: str, verdict: Verdict, now_us: int) -> Case:
    """Close a case with its verdict; its alert is closed as well.

    Raises:
        NotFound: there is none of this id.
        InvalidField: it is closed already.
    """
    _open(cursor, case_id)
    cursor.execute(
        """
        UPDATE cases SET status = 'closed', verdict = %s, closed_at = %s WHERE case_id = %s::uuid
        """,
        (verdict, from_us(now_us), case_id),
    )
    return _with_alerts(cursor, case_id)


def _open(cursor: Cursor, case_id: str) -> None:
    """Hold a case that is not closed."""
    cursor.execute("SELECT status FROM cases WHERE case_id = %s::uuid FOR UPDATE", (case_id,))
    if case(cursor, case_id).status == "closed":
        what = f"case {case_id} is closed"
        remedy = "Comment on it; POST /labels corrects a verdict."
        raise InvalidField([("case_id", what, remedy)])


def _with_alerts(cursor: Cursor, case_id: str) -> Case:
    """The case, after its alerts were brought to its status."""
    found = case(cursor, case_id)
    cursor.execute(
        "UPDATE fraud_alerts SET status = %s WHERE transaction_id = %s",
        (found.status, found.transaction_id),
    )
    return found


def _case(row: Sequence[Any]) -> Case:
    opened_us, closed_us = to_us(row[8]), None if row[9] is None else to_us(row[9])
    columns: list[Any] = [*row[:8], opened_us, closed_us, *row[10:]]
    return Case(*columns)

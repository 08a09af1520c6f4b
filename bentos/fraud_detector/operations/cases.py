"""Cases: the queue of what analysts should look at, and what they make of it."""

import datetime as dt
import uuid
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from bentos.fraud_detector.operations.desk import Work
from bentos.fraud_detector.operations.labels import tell
from bentos.fraud_detector.operations.paging import place, token
from bentos.fraud_detector.operations.routing import (
    Answer,
    Asked,
    Limit,
    Prose,
    Sent,
    StrictRoute,
    optional,
    shown_time,
)
from fraud.domain.errors import FraudError, InvalidField, NotFound
from fraud.domain.label import Label
from fraud.ledger.cases import Case, CaseStatus, Verdict, assign, case, close, comment, queue

router = APIRouter(route_class=StrictRoute, tags=["cases"])

Person = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[!-~]+$")]
InPath = Annotated[str, Path(max_length=50)]


class Assignment(Sent):
    """Who works on a case."""

    assignee: Person | None = Field(description="Null puts it back into the queue.")


class Comment(Sent):
    """What somebody has to say."""

    text: Prose = Field(min_length=1, max_length=2000)


class Closure(Sent):
    """What came out."""

    verdict: Verdict
    comment: Prose | None = Field(default=None, min_length=1, max_length=2000)


class CommentShown(Answer):
    """A comment."""

    by: str
    at: dt.datetime
    text: str


class CaseShown(Answer):
    """A case; money in minor units."""

    case_id: str = Field(description="The id of its decision.")
    transaction_id: str
    fraud_type: str
    status: CaseStatus
    money_at_risk_minor: int = Field(description="Probability times amount.")
    amount_minor: int
    fraud_probability: float
    risk_level: str
    alert_type: str
    user_id: str | None
    assignee: str | None
    verdict: Verdict | None
    comments: list[CommentShown]
    opened_at: dt.datetime
    closed_at: dt.datetime | None


class CasesShown(Answer):
    """A page of the queue, most money at risk first."""

    cases: list[CaseShown]
    next: str | None = Field(description="Send it as `after` for the next page; null at the end.")


@router.get("/cases")
async def show_queue(
    asked: Asked,
    status: Annotated[CaseStatus, Query()] = "open",
    assignee: Annotated[str | None, Query(max_length=200)] = None,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 100,
) -> CasesShown:
    """Show cases of a status, most money at risk first."""
    seen = place(after)

    def work(at: Work) -> CasesShown:
        found = queue(
            at.cursor, asked.fraud_type, status, assignee=assignee, after=seen, limit=limit + 1
        )
        shown = [_shown(each) for each in found[:limit]]
        at.record("cases.read", "cases", asked.fraud_type, count=len(shown))
        last = found[limit - 1] if len(found) > limit else None
        return CasesShown(cases=shown, next=optional(_token, last))

    return await asked.run(work)


@router.get("/cases/{case_id}")
async def show_case(asked: Asked, case_id: InPath) -> CaseShown:
    """Show a case."""
    known = _uuid(case_id)

    def work(at: Work) -> CaseShown:
        found = case(at.cursor, known)
        at.record("case.read", "case", known)
        return _shown(found)

    return await asked.run(work)


@router.post("/cases/{case_id}/assignment")
async def assign_case(asked: Asked, case_id: InPath, sent: Assignment) -> CaseShown:
    """Give a case to somebody, or put it back."""
    known = _uuid(case_id)

    def work(at: Work) -> CaseShown:
        found = assign(at.cursor, known, sent.assignee)
        at.record("case.assign", "case", known, assignee=sent.assignee)
        return _shown(found)

    return await asked.run(work)


@router.post("/cases/{case_id}/comments")
async def comment_case(asked: Asked, case_id: InPath, sent: Comment) -> CaseShown:
    """Comment on a case."""
    known = _uuid(case_id)

    def work(at: Work) -> CaseShown:
        found = comment(at.cursor, known, sent.text, at.actor, at.now_us)
        at.record("case.comment", "case", known)
        return _shown(found)

    return await asked.run(work)


@router.post("/cases/{case_id}/closure")
async def close_case(asked: Asked, case_id: InPath, sent: Closure) -> CaseShown:
    """Close a case with a verdict, which becomes an analyst's label of its transaction."""
    known = _uuid(case_id)

    # The label first: should we break in between, the case is still open and closed again,
    # and a verdict that was told twice does nothing twice.
    def find(at: Work) -> tuple[Case, int]:
        found = case(at.cursor, known)
        if found.status == "closed":
            remedy = "Comment on it; POST /labels corrects a verdict."
            raise InvalidField([("case_id", f"case {known} is closed", remedy)])
        at.record("case.read", "case", known)
        return found, at.now_us

    found, now_us = await asked.run(find)
    label = Label(found.transaction_id, sent.verdict == "fraud", now_us, "analyst")
    (receipt,) = await tell(asked, found.fraud_type, [label])
    if isinstance(receipt, FraudError):
        raise receipt

    def work(at: Work) -> CaseShown:
        if sent.comment is not None:
            comment(at.cursor, known, sent.comment, at.actor, at.now_us)
        closed = close(at.cursor, known, sent.verdict, at.now_us)
        at.record("case.close", "case", known, verdict=sent.verdict)
        return _shown(closed)

    return await asked.run(work)


def _token(last: Case) -> str:
    return token(last.money_at_risk_minor, last.case_id)


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise NotFound(f"{text!r} is no id of a case.", remedy="Send its UUID.") from None


def _shown(found: Case) -> CaseShown:
    return CaseShown(
        case_id=found.case_id,
        transaction_id=found.transaction_id,
        fraud_type=found.fraud_type,
        status=found.status,
        money_at_risk_minor=found.money_at_risk_minor,
        amount_minor=found.amount_minor,
        fraud_probability=found.probability,
        risk_level=found.risk_level,
        alert_type=found.alert_type,
        user_id=found.user_id,
        assignee=found.assignee,
        verdict=found.verdict,
        comments=[CommentShown(**each) for each in found.comments],
        opened_at=shown_time(found.opened_at_us),
        closed_at=optional(shown_time, found.closed_at_us),
    )

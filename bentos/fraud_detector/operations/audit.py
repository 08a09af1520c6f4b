"""The audit log: search it, and check that nobody altered it."""

import datetime as dt
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from psycopg2.extensions import connection as Connection
from pydantic import Field

from bentos.fraud_detector.operations.desk import Work
from bentos.fraud_detector.operations.routing import (
    Answer,
    Asked,
    Limit,
    StrictRoute,
    optional,
    shown_time,
)
from fraud.domain.errors import InvalidField
from fraud.domain.event import Timestamp, to_us
from fraud.ledger.audit_anchors import read_anchors
from fraud.ledger.audit_check import AuditReport, verify
from fraud.ledger.audit_search import AuditRow, AuditSearch, search_audit

router = APIRouter(route_class=StrictRoute, tags=["audit"])


class RecordShown(Answer):
    """An audit record."""

    chain: str
    position: int
    recorded_at: dt.datetime
    actor: str
    action: str
    outcome: str
    origin: str
    object_type: str
    object_id: str
    detail: Any


class RecordsShown(Answer):
    """A page of audit records, newest first."""

    records: list[RecordShown]
    next: str | None = Field(description="Send it as `after` for older ones; null at the end.")


class FindingShown(Answer):
    """Something wrong with the log."""

    chain: str
    position: int
    kind: str
    text: str


class VerificationShown(Answer):
    """What a check of the whole log found."""

    is_intact: bool
    records: int
    chains: int
    found: int
    findings: list[FindingShown]


@router.get("/audit")
async def search(
    asked: Asked,
    actor: Annotated[str | None, Query(max_length=200)] = None,
    action: Annotated[str | None, Query(max_length=100)] = None,
    object_type: Annotated[str | None, Query(max_length=50)] = None,
    object_id: Annotated[str | None, Query(max_length=200)] = None,
    since: Annotated[Timestamp | None, Query(description="Recorded at or after.")] = None,
    until: Annotated[Timestamp | None, Query(description="Recorded before.")] = None,
    after: Annotated[str | None, Query(max_length=200)] = None,
    limit: Limit = 100,
) -> RecordsShown:
    """Search the audit log, newest records first."""
    looked_for = AuditSearch(
        actor=actor,
        action=action,
        object_type=object_type,
        object_id=object_id,
        from_us=optional(to_us, since),
        until_us=optional(to_us, until),
        after=_place(after),
    )

    def work(at: Work) -> RecordsShown:
        found = search_audit(at.cursor, looked_for, limit + 1)
        at.record("audit.search", "audit_log", "all", count=min(limit, len(found)))
        last = found[limit - 1] if len(found) > limit else None
        return RecordsShown(
            records=[
                RecordShown(
                    chain=each.chain,
                    position=each.position,
                    recorded_at=shown_time(each.recorded_at_us),
                    actor=each.actor,
                    action=each.action,
                    outcome=each.outcome,
                    origin=each.origin,
                    object_type=each.object_type,
                    object_id=each.object_id,
                    detail=each.detail,
                )
                for each in found[:limit]
            ],
            next=optional(_token, last),
        )

    return await asked.run(work)


@router.post("/audit/verification")
async def check(request: Request, asked: Asked) -> VerificationShown:
    """Recompute the whole log and compare it with the heads noted outside the ledger.

    It reads every record, so do it when there is time.
    """
    noted: Path = request.app.state.runtime.settings.audit_anchor_file

    def recompute(connection: Connection) -> AuditReport:
        return verify(connection, read_anchors(noted) if noted.exists() else ())

    report = await asked.desk.apart(recompute)

    def work(at: Work) -> None:
        at.record("audit.verify", "audit_log", "all", intact=report.is_intact, found=report.found)

    await asked.run(work)
    return VerificationShown(
        is_intact=report.is_intact,
        records=report.records,
        chains=report.chains,
        found=report.found,
        findings=[
            FindingShown(chain=each.chain, position=each.position, kind=each.kind, text=each.text)
            for each in report.findings[:100]
        ],
    )


def _token(last: AuditRow) -> str:
    return f"{last.recorded_at_us}.{last.position}.{last.chain}"


def _place(sent: str | None) -> tuple[int, int, str] | None:
    if sent is None:
        return None
    time_us, _, rest = sent.partition(".")
    position, _, chain = rest.partition(".")
    is_number = all(each.isascii() and each.isdigit() for each in (time_us, position))
    if not is_number or max(len(time_us), len(position)) > 17 or not chain:
        remedy = "Send the `next` of the page before, unchanged, or leave it out."
        raise InvalidField([("after", "is not a place in these results", remedy)])
    return int(time_us), int(position), chain

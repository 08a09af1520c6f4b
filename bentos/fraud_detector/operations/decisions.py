"""Decisions: one with all it was made from, or many by time, risk and user."""

import datetime as dt
import uuid
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query
from pydantic import Field

from bentos.fraud_detector.operations.desk import Work
from bentos.fraud_detector.operations.paging import place, token
from bentos.fraud_detector.operations.routing import (
    Answer,
    Asked,
    Limit,
    StrictRoute,
    optional,
    shown_time,
)
from fraud.domain.errors import NotFound
from fraud.domain.event import Timestamp, to_us
from fraud.domain.features import shortest_decimal
from fraud.ledger.archive import (
    ArchivedDecision,
    DecisionSummary,
    Search,
    decision_by_id,
    decision_of,
    search_decisions,
)
from fraud.ledger.models import feature_names
from fraud.ledger.statement import Cursor
from fraud.security.encryption import FieldProtection
from fraud.types.registry import fraud_types

router = APIRouter(route_class=StrictRoute, tags=["decisions"])

Level = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]


class SummaryShown(Answer):
    """A decision; money in minor units."""

    decision_id: str
    transaction_id: str
    fraud_type: str
    user_id: str | None
    amount_minor: int
    fraud_probability: float
    risk_level: Level
    recommended_action: str
    rules: list[str]
    degraded: bool
    scored_at: dt.datetime


class DecisionsShown(Answer):
    """A page of decisions, newest first."""

    decisions: list[SummaryShown]
    next: str | None = Field(description="Send it as `after` for older ones; null at the end.")


class FeatureShown(Answer):
    """A feature as the model saw it."""

    name: str
    value: float


class ReasonShown(Answer):
    """A reason as it was answered."""

    code: str
    text: str
    feature: str
    value: float
    contribution: float


class VersionsShown(Answer):
    """What decided."""

    model: str
    policy: str
    rules: int
    lists: int
    features: str


class LabelShown(Answer):
    """A verdict since."""

    is_fraud: bool
    source: str
    reported_at: dt.datetime


class DecisionShown(SummaryShown):
    """A decision with all it was made from."""

    event_time: dt.datetime
    observed_at: dt.datetime
    seq: int
    fields: dict[str, Any]
    features: list[FeatureShown]
    reasons: list[ReasonShown]
    shadow_rules: list[str]
    versions: VersionsShown
    actor: str
    labels: list[LabelShown]


@router.get("/decisions")
async def search(
    asked: Asked,
    since: Annotated[Timestamp | None, Query(description="Made at or after.")] = None,
    until: Annotated[Timestamp | None, Query(description="Made before.")] = None,
    risk_level: Annotated[Level | None, Query()] = None,
    user_id: Annotated[str | None, Query(max_length=50)] = None,
    transaction_id: Annotated[str | None, Query(max_length=50)] = None,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 100,
) -> DecisionsShown:
    """Search decisions, newest first."""
    looked_for = Search(
        fraud_type=asked.fraud_type,
        from_us=optional(to_us, since),
        until_us=optional(to_us, until),
        risk_level=risk_level,
        user_id=user_id,
        transaction_id=transaction_id,
        after=place(after),
    )

    def work(at: Work) -> DecisionsShown:
        found = search_decisions(at.cursor, looked_for, limit + 1)
        shown = [SummaryShown(**_summary(each)) for each in found[:limit]]
        at.record("decisions.search", "decisions", asked.fraud_type, count=len(shown))
        last = found[limit - 1] if len(found) > limit else None
        return DecisionsShown(decisions=shown, next=optional(_token, last))

    return await asked.run(work)


@router.get("/decisions/{decision_id}")
async def show_decision(
    asked: Asked, decision_id: Annotated[str, Path(max_length=50)]
) -> DecisionShown:
    """Show a decision with inputs, features, reasons and versions."""
    known = _uuid(decision_id)

    def work(at: Work) -> DecisionShown:
        found = decision_by_id(at.cursor, known)
        at.record("decision.read", "decision", known)
        return _shown(at.cursor, found, asked.desk.protection)

    return await asked.run(work)


@router.get("/transactions/{transaction_id:path}/decision")
async def show_decision_of(
    asked: Asked, transaction_id: Annotated[str, Path(max_length=50)]
) -> DecisionShown:
    """Show the decision about a transaction."""

    def work(at: Work) -> DecisionShown:
        found = decision_of(at.cursor, transaction_id)
        at.record("decision.read", "decision", found.summary.decision_id)
        return _shown(at.cursor, found, asked.desk.protection)

    return await asked.run(work)


def _token(last: DecisionSummary) -> str:
    return token(last.scored_at_us, last.decision_id)


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise NotFound(f"{text!r} is no id of a decision.", remedy="Send its UUID.") from None


def _summary(found: DecisionSummary) -> dict[str, Any]:
    return {
        "decision_id": found.decision_id,
        "transaction_id": found.transaction_id,
        "fraud_type": found.fraud_type,
        "user_id": found.user_id,
        "amount_minor": found.amount_minor,
        "fraud_probability": found.probability,
        "risk_level": found.risk_level,
        "recommended_action": found.action,
        "rules": list(found.rules),
        "degraded": found.degraded,
        "scored_at": shown_time(found.scored_at_us),
    }


def _shown(cursor: Cursor, found: ArchivedDecision, protection: FieldProtection) -> DecisionShown:
    event = protection.revealed(found.event, found.sealed)
    values = np.frombuffer(found.feature_values, dtype="<f8").tolist()
    names = _feature_names(cursor, found, len(values))
    return DecisionShown(
        **_summary(found.summary),
        event_time=shown_time(event.event_time_us),
        observed_at=shown_time(found.observed_at_us),
        seq=found.seq,
        fields=dict(event.fields),
        features=[
            FeatureShown(name=name, value=shortest_decimal(value))
            for name, value in zip(names, values, strict=True)
        ],
        reasons=[ReasonShown(**each) for each in found.reasons],
        shadow_rules=list(found.shadow_rules),
        versions=VersionsShown(**found.versions, features=found.schema_hash),
        actor=found.actor,
        labels=[LabelShown(**each) for each in found.labels],
    )


def _feature_names(cursor: Cursor, found: ArchivedDecision, count: int) -> list[str]:
    """What the values are called: by the code that runs, else by the ledger, else by place."""
    kind = fraud_types().get(found.summary.fraud_type)
    if kind is not None and kind.schema_hash == found.schema_hash:
        return list(kind.feature_names)
    known = feature_names(cursor, found.schema_hash)
    return known if known and len(known) == count else [f"feature_{n}" for n in range(count)]

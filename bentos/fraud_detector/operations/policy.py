"""Policy: which thresholds turn a probability into an action, who proposed and activated them."""

import datetime as dt
import secrets
from dataclasses import asdict
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Request
from pydantic import Field, model_validator

from bentos.fraud_detector.operations.desk import Work
from bentos.fraud_detector.operations.routing import (
    Answer,
    Asked,
    Prose,
    Sent,
    StrictRoute,
    optional,
    shown_time,
)
from fraud.domain.errors import ModelUnavailable
from fraud.domain.policy import MOST_SHARE, PassThrough, Thresholds, policy_version
from fraud.ledger.policies import (
    MODEL_DEFAULT,
    StoredPolicy,
    activate_policy,
    policies_of,
    propose_policy,
)

router = APIRouter(route_class=StrictRoute, tags=["policy"])

Share = Annotated[float, Field(gt=0.0, le=1.0)]


class ThresholdsSent(Sent):
    """Least probabilities of MEDIUM (review), HIGH (block) and CRITICAL, rising."""

    review: Share
    block: Share
    critical: Share

    @model_validator(mode="after")
    def _rise(self) -> Self:
        if not self.review <= self.block <= self.critical:
            raise ValueError("must rise: review <= block <= critical")
        return self


class PassThroughSent(Sent):
    """How much of what would be blocked is let through at random, to learn what it was."""

    share: float = Field(gt=0.0, le=MOST_SHARE)
    daily_count: int = Field(ge=1, le=1_000_000)
    daily_minor: int = Field(ge=0, le=10**15, description="Amounts together, minor units.")


class Proposal(Sent):
    """Thresholds to be activated later."""

    thresholds: ThresholdsSent
    pass_through: PassThroughSent | None = None
    reason: Prose = Field(min_length=1, max_length=300)


class ThresholdsShown(Answer):
    """Least probabilities of MEDIUM, HIGH and CRITICAL."""

    review: float
    block: float
    critical: float


class PassThroughShown(Answer):
    """How much is let through at random."""

    share: float
    daily_count: int
    daily_minor: int


class PolicyShown(Answer):
    """A policy that was proposed."""

    version: str
    thresholds: ThresholdsShown
    pass_through: PassThroughShown | None
    reason: str
    created_by: str
    created_at: dt.datetime
    is_active: bool


class PoliciesShown(Answer):
    """What counts, and what was proposed, newest first."""

    source: str = Field(description="`policy`, or `model` where the model's own thresholds count.")
    version: str | None = Field(description="As decisions record it; null without a model.")
    thresholds: ThresholdsShown | None
    costs: dict[str, Any] = Field(description="Of the fraud type; training chooses by them.")
    proposed: list[PolicyShown]


class PolicyActivated(Answer):
    """What counts from now on."""

    source: str
    policy: PolicyShown | None


@router.get("/policy")
async def show_policy(request: Request, asked: Asked) -> PoliciesShown:
    """Show the thresholds that count and those that were proposed."""
    try:
        model = request.app.state.runtime.champions.model(asked.fraud_type)
        own: Thresholds | None = model.manifest.thresholds
    except ModelUnavailable:
        own = None

    def work(at: Work) -> PoliciesShown:
        found = policies_of(at.cursor, asked.fraud_type)
        active = next((each for each in found if each.is_active), None)
        counts = active.thresholds if active else own
        at.record("policy.read", "policy", asked.fraud_type)
        return PoliciesShown(
            source="policy" if active else "model",
            version=active.version if active else optional(policy_version, counts),
            thresholds=optional(_thresholds, counts),
            costs=asdict(asked.kind.costs),
            proposed=[_shown(each) for each in found],
        )

    return await asked.run(work)


@router.post("/policy", status_code=201)
async def propose(asked: Asked, sent: Proposal) -> PolicyShown:
    """Propose thresholds; they count once somebody activates them."""
    thresholds = Thresholds(**sent.thresholds.model_dump())
    pass_through = optional(_pass_through, sent.pass_through)

    def work(at: Work) -> PolicyShown:
        made = propose_policy(
            at.cursor,
            asked.fraud_type,
            thresholds,
            sent.reason,
            at.actor,
            at.now_us,
            pass_through,
        )
        at.record("policy.propose", "policy", made.version, **asdict(thresholds))
        return _shown(made)

    return await asked.run(work)


@router.post("/policy/{version}/activation")
async def activate(
    asked: Asked,
    version: Annotated[
        str, Path(max_length=100, description=f"Of a proposal, or `{MODEL_DEFAULT}`.")
    ],
) -> PolicyActivated:
    """Let a proposal count, or with `model` the model's own thresholds, within a second."""

    def work(at: Work) -> PolicyActivated:
        made = activate_policy(at.cursor, asked.fraud_type, version, at.actor, at.now_us)
        at.record("policy.activate", "policy", version)
        source = "policy" if made else "model"
        return PolicyActivated(source=source, policy=optional(_shown, made))

    return await asked.run(work)


def _pass_through(sent: PassThroughSent) -> PassThrough:
    """With a key of its own, which is never shown."""
    return PassThrough(**sent.model_dump(), key=secrets.token_hex(16))


def _shown_pass_through(known: PassThrough) -> PassThroughShown:
    return PassThroughShown(
        share=known.share, daily_count=known.daily_count, daily_minor=known.daily_minor
    )


def _thresholds(thresholds: Thresholds) -> ThresholdsShown:
    return ThresholdsShown(**asdict(thresholds))


def _shown(stored: StoredPolicy) -> PolicyShown:
    return PolicyShown(
        version=stored.version,
        thresholds=_thresholds(stored.thresholds),
        pass_through=optional(_shown_pass_through, stored.pass_through),
        reason=stored.reason,
        created_by=stored.created_by,
        created_at=shown_time(stored.created_at_us),
        is_active=stored.is_active,
    )

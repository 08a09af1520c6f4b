"""Labels: what became known about transactions, told one by one or by the thousand."""

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field

from bentos.fraud_detector.operations.routing import Answer, Asked, Operation, Sent, StrictRoute
from bentos.fraud_detector.problems import problem_of
from bentos.scoring.labeller import Labeller, LabelReceipt
from fraud.domain.errors import FraudError, InvalidField
from fraud.domain.event import FUTURE_TOLERANCE_US, Identifier, Timestamp, from_us, to_us
from fraud.domain.label import Label, LabelSource

router = APIRouter(route_class=StrictRoute, tags=["labels"])

MOST_LABELS = 1000


class LabelSent(Sent):
    """A verdict about a transaction."""

    transaction_id: Identifier
    is_fraud: bool
    source: LabelSource
    reported_at: Timestamp | None = Field(
        default=None, description="When it was reported; the time of arrival if absent."
    )


class LabelsSent(Sent):
    """Verdicts, in the order they became known."""

    labels: list[LabelSent] = Field(min_length=1, max_length=MOST_LABELS)


class LabelTold(Answer):
    """What became of a label."""

    transaction_id: str
    status: Literal["stored", "repeated", "refused"]
    reported_at: dt.datetime
    acted: bool = Field(default=False, description="It changed features of what comes next.")
    error: dict[str, Any] | None = Field(default=None, description="A problem, where refused.")


class LabelsTold(Answer):
    """What became of labels, in the order they were sent."""

    labels: list[LabelTold]


@router.post("/labels")
async def post_labels(asked: Asked, sent: LabelsSent) -> LabelsTold:
    """Take in labels of one fraud type; each has its own fate, sent again it changes nothing."""
    now_us = asked.desk.now_us()
    labels = [_label(place, each, now_us) for place, each in enumerate(sent.labels)]
    told = await tell(asked, asked.fraud_type, labels)
    return LabelsTold(
        labels=[_told(label, outcome) for label, outcome in zip(labels, told, strict=True)]
    )


async def tell(
    asked: Operation, fraud_type: str, labels: Sequence[Label]
) -> list[LabelReceipt | FraudError]:
    """Hand labels to the one path on which they act; each receipt is durable."""
    desk, call = asked.desk, asked.call

    def observe() -> list[LabelReceipt | FraudError]:
        labeller = Labeller(desk.pool, desk.now_us, desk.chain)
        return labeller.observe(fraud_type, labels, call.actor, call.origin)

    return await asyncio.to_thread(observe)


def _label(place: int, sent: LabelSent, now_us: int) -> Label:
    reported_us = now_us if sent.reported_at is None else to_us(sent.reported_at)
    if reported_us > now_us + FUTURE_TOLERANCE_US:
        what = f"{from_us(reported_us).isoformat()} lies in the future"
        remedy = "Send when the verdict was reported, in UTC, and check the clock."
        raise InvalidField([(f"labels.{place}.reported_at", what, remedy)])
    return Label(sent.transaction_id, sent.is_fraud, reported_us, sent.source)


def _told(label: Label, outcome: LabelReceipt | FraudError) -> LabelTold:
    transaction_id, reported_at = label.transaction_id, from_us(label.reported_at_us)
    if isinstance(outcome, FraudError):
        return LabelTold(
            transaction_id=transaction_id,
            status="refused",
            reported_at=reported_at,
            error=problem_of(outcome).body(),
        )
    return LabelTold(
        transaction_id=transaction_id,
        status="repeated" if outcome.is_repeated else "stored",
        reported_at=reported_at,
        acted=outcome.has_acted,
    )

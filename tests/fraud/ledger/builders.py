"""Records to put into a ledger; say only what the test is about."""

import dataclasses
import hashlib
import itertools
import uuid
from typing import Any

import numpy as np

from fraud.domain.decision import Decision, Reason, new_decision_ids
from fraud.domain.event import Event
from fraud.domain.rules import RiskLevel
from fraud.ledger.decisions import DecisionRecord

NOON_US = 1_790_078_400_123_457  # 2026-09-22T12:00:00.123457Z: microseconds must survive

_numbers = itertools.count(1)


def an_event(**changes: Any) -> Event:
    event = Event(
        fraud_type="credit_card",
        transaction_id=f"tx-{uuid.uuid4().hex[:12]}",
        event_time_us=NOON_US,
        amount_minor=12_34,
        fields={
            "user_id": "user-1",
            "merchant_id": "merchant-1",
            "merchant_category": "grocery",
            "distance_from_home_km": 12.5,
            "foreign_transaction": False,
            "card_present": True,
            "used_chip": None,
            "device_id": None,
            "country": "DE",
        },
    )
    return dataclasses.replace(event, **changes)


def a_reason(**changes: Any) -> Reason:
    reason = Reason("VELOCITY", "Many payments in an hour.", "user_count_1h", 14.0, 0.731)
    return dataclasses.replace(reason, **changes)


def a_decision(event: Event, **changes: Any) -> Decision:
    decision = Decision(
        transaction_id=event.transaction_id,
        decision_id=new_decision_ids(NOON_US, 1)[0],
        fraud_type=event.fraud_type,
        fraud_probability=0.1 + 0.2,  # 0.30000000000000004: every bit must survive
        risk_level=RiskLevel.LOW,
        reasons=(),
        rules=(),
        model_version="credit_card-1",
        policy_version="p-1",
        degraded=False,
        scored_at_us=NOON_US + 1,
    )
    return dataclasses.replace(decision, **changes)


def a_record(
    event: Event | None = None, decision: Decision | None = None, subject: str = "user-1"
) -> DecisionRecord:
    event = event or an_event()
    return DecisionRecord(
        event=event,
        sealed=None,
        subject=subject,
        seq=next(_numbers),
        observed_at_us=NOON_US + 2,
        body_digest=hashlib.sha256(event.transaction_id.encode()).digest(),
        decision=decision or a_decision(event),
        feature_values=np.array([1.5, -0.0, 1e300], dtype="<f8").tobytes(),
        schema_hash="0123456789abcdef",
        actor="till-7",
    )

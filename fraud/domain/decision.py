"""Decisions: what was answered, why, and by which versions."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from fraud.domain.deployment import CHAMPION, Role
from fraud.domain.event import iso_text
from fraud.domain.policy import ACTIONS, Action
from fraud.domain.rules import RiskLevel


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision is what it is.

    Attributes:
        code: stable reason code.
        text: one sentence for analysts.
        feature: the feature or field behind it, "" where there is none.
        value: that feature's value.
        contribution: what it added to the score's log-odds; 0 for lists and rules.
    """

    code: str
    text: str
    feature: str
    value: float
    contribution: float


@dataclass(frozen=True, slots=True)
class ShadowScore:
    """What a model said of an event beside the one that answered.

    Attributes:
        model_version: which model.
        probability: its probability of fraud; None where it gave none.
        problem: why it gave none: `broke`, or `skipped` to spare those who wait.
        took_us: microseconds its batch took.
    """

    model_version: str
    probability: float | None
    problem: Literal["", "broke", "skipped"]
    took_us: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one event; see the reply of `/predict` for the meaning of each part.

    What the reply leaves out: `shadow_rules` are the codes of shadow rules that held,
    `rules_version` and `lists_version` name the ruleset that decided, `role` and `deployment_id`
    say as what its model answered, and `shadow` what a challenger or the champion said beside.
    `propensity` is the chance that a decision to block had of being let through, None where it
    had to stay; `is_let_through` says that it was.
    """

    transaction_id: str
    decision_id: str
    fraud_type: str
    fraud_probability: float
    risk_level: RiskLevel
    reasons: tuple[Reason, ...]
    rules: tuple[str, ...]
    model_version: str
    policy_version: str
    degraded: bool
    scored_at_us: int
    is_replayed: bool = False
    shadow_rules: tuple[str, ...] = ()
    rules_version: int = 0
    lists_version: int = 0
    role: Role = CHAMPION
    deployment_id: int | None = None
    shadow: ShadowScore | None = None
    propensity: float | None = None
    is_let_through: bool = False
    _reply: bytes = field(default=b"", init=False, repr=False, compare=False)

    @property
    def recommended_action(self) -> Action:
        """approve, review or block."""
        return "approve" if self.is_let_through else ACTIONS[self.risk_level]


def reply(decision: Decision) -> dict[str, object]:
    """The decision as the JSON object that `/predict` answers."""
    return {
        "transaction_id": decision.transaction_id,
        "decision_id": decision.decision_id,
        "fraud_type": decision.fraud_type,
        "fraud_probability": decision.fraud_probability,
        "risk_level": decision.risk_level.name,
        "recommended_action": decision.recommended_action,
        "reasons": [
            {
                "code": reason.code,
                "text": reason.text,
                "feature": reason.feature,
                "value": reason.value,
                "contribution": reason.contribution,
            }
            for reason in decision.reasons
        ],
        "rules": list(decision.rules),
        "model_version": decision.model_version,
        "policy_version": decision.policy_version,
        "degraded": decision.degraded,
        "scored_at": iso_text(decision.scored_at_us),
        "replayed": decision.is_replayed,
    }


def reply_json(decision: Decision, write: Callable[[object], bytes]) -> bytes:
    """`reply` as JSON. It is written once: the ledger keeps what the caller is told."""
    if not decision._reply:
        object.__setattr__(decision, "_reply", write(reply(decision)))
    return decision._reply


def new_decision_ids(now_us: int, count: int) -> list[str]:
    """UUIDs whose first 48 bits are the time in ms (version 7, RFC 9562): they sort by time.

    The first is random, the others count on from it (the RFC's section 6.2, method 2).
    """
    random = uuid.uuid4().int
    time_ms, first = f"{now_us // 1000:012x}", random & _LOW_62
    head = f"{time_ms[:8]}-{time_ms[8:]}-7{random >> 64 & 0xFFF:03x}"
    tails = [f"{0x2 << 62 | (first + number) & _LOW_62:016x}" for number in range(count)]
    return [f"{head}-{tail[:4]}-{tail[4:]}" for tail in tails]


_LOW_62 = (1 << 62) - 1

"""Policy: what follows from a probability, and what from a level of risk."""

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from functools import cache
from typing import Literal

from fraud.domain.errors import ContractError
from fraud.domain.rules import RiskLevel

Action = Literal["approve", "review", "block"]

ACTIONS: dict[RiskLevel, Action] = {
    RiskLevel.LOW: "approve",
    RiskLevel.MEDIUM: "review",
    RiskLevel.HIGH: "block",
    RiskLevel.CRITICAL: "block",
}


@dataclass(frozen=True)
class Costs:
    """What mistakes cost, to choose thresholds by: a share of the amount and a fixed part.

    A fraud type that moves no money, such as logins, has the fixed parts only.

    Attributes:
        review_minor: an analyst's look at one transaction, minor units.
        false_block_share: share of a genuine transaction's amount lost by blocking it.
        false_block_minor: lost by each genuine transaction blocked, whatever its amount.
        missed_fraud_share: share of a fraudulent transaction's amount lost by approving it.
        missed_fraud_minor: lost by each missed fraud, whatever its amount, e.g. a fee.
        daily_reviews: transactions the analysts can look at per day.
    """

    review_minor: int = 300
    false_block_share: float = 0.10
    false_block_minor: int = 0
    missed_fraud_share: float = 1.0
    missed_fraud_minor: int = 1500
    daily_reviews: int = 100


@dataclass(frozen=True)
class Thresholds:
    """Least probabilities of the levels MEDIUM (review), HIGH (block) and CRITICAL."""

    review: float
    block: float
    critical: float

    def __post_init__(self) -> None:
        if not 0.0 < self.review <= self.block <= self.critical <= 1.0:
            raise ContractError(
                f"thresholds must rise within (0, 1]: {self.review}, {self.block}, {self.critical}",
                remedy="Order them review <= block <= critical.",
            )

    def level(self, probability: float) -> RiskLevel:
        """The risk level of a probability."""
        if probability >= self.critical:
            return RiskLevel.CRITICAL
        if probability >= self.block:
            return RiskLevel.HIGH
        return RiskLevel.MEDIUM if probability >= self.review else RiskLevel.LOW


MOST_SHARE = 0.2
"""Of what would be blocked, at most."""


@dataclass(frozen=True)
class PassThrough:
    """How much of what would be blocked is let through; part of a policy.

    Attributes:
        share: propensity of each event, while the day's budget lasts.
        daily_count: events let through on one day (UTC), at most.
        daily_minor: their amounts together, minor units, at most.
        key: hexadecimal; nobody who does not know it can tell who will be let through.
    """

    share: float
    daily_count: int
    daily_minor: int
    key: str

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= MOST_SHARE or self.daily_count < 1 or self.daily_minor < 0:
            raise ContractError(
                f"A pass-through of {self.share:g} with {self.daily_count} events and "
                f"{self.daily_minor} minor units a day cannot be.",
                remedy=f"The share lies above 0 and at most at {MOST_SHARE:g}, the rest above 0.",
            )

    def is_drawn(self, transaction_id: str, propensity: float) -> bool:
        """Whether a transaction is let through; always the same for equal arguments."""
        digest = hmac.digest(bytes.fromhex(self.key), transaction_id.encode(), hashlib.sha256)
        return int.from_bytes(digest[:8], "big") < propensity * 2.0**64


@cache
def policy_version(thresholds: Thresholds, pass_through: PassThrough | None = None) -> str:
    """Content address of a policy: equal thresholds and pass-through, equal version."""
    parts = asdict(thresholds)
    if pass_through is not None:
        parts["pass_through"] = asdict(pass_through)
    content = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]

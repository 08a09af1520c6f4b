"""Policy: what follows from a probability, and what from a level of risk."""

import hashlib
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


@cache
def policy_version(thresholds: Thresholds) -> str:
    """Content address of a policy: equal thresholds, equal version."""
    content = json.dumps(asdict(thresholds), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]

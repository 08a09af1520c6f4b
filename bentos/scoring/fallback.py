"""What is answered when the model is away: lists and rules alone, openly marked as degraded."""

from fraud.domain.fraud_type import FraudType
from fraud.domain.policy import Thresholds
from fraud.domain.rules import RiskLevel
from fraud.domain.ruleset import Findings

NO_MODEL = "none"


def rules_only(fraud_type: FraudType, findings: Findings) -> tuple[float, RiskLevel]:
    """Probability and level of a decision without a model.

    The level is at least MEDIUM unless an allow list says otherwise: without a model nobody
    is approved unseen. The probability is the least one of that level under the type's
    fallback thresholds.
    """
    level = findings.level(RiskLevel.MEDIUM)
    thresholds: Thresholds = fraud_type.fallback_thresholds
    least = {
        RiskLevel.LOW: 0.0,
        RiskLevel.MEDIUM: thresholds.review,
        RiskLevel.HIGH: thresholds.block,
        RiskLevel.CRITICAL: thresholds.critical,
    }
    return least[level], level

"""What is answered when the model is away: the rules alone, openly marked as degraded."""

from collections.abc import Mapping

from fraud.domain.fraud_type import FraudType
from fraud.domain.policy import policy_version
from fraud.domain.rules import RiskLevel, Rule

NO_MODEL = "none"


def rules_only(
    fraud_type: FraudType, values: Mapping[str, float]
) -> tuple[float, RiskLevel, tuple[Rule, ...]]:
    """Probability, level and fired rules of a decision without a model.

    The level is at least MEDIUM: without a model nobody is approved unseen. The probability
    is the least one of that level under the type's fallback thresholds.
    """
    fired = tuple(rule for rule in fraud_type.rules if rule.fires(values))
    level = max([RiskLevel.MEDIUM, *(rule.level for rule in fired)])
    thresholds = fraud_type.fallback_thresholds
    least = {
        RiskLevel.MEDIUM: thresholds.review,
        RiskLevel.HIGH: thresholds.block,
        RiskLevel.CRITICAL: thresholds.critical,
    }
    return least[level], level, fired


def fallback_policy_version(fraud_type: FraudType) -> str:
    """Version of the policy that `rules_only` applies."""
    return policy_version(fraud_type.fallback_thresholds, fraud_type.rules)

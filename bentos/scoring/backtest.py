"""A rule tried on decisions of the past: how often it holds, and what that would have changed."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bentos.scoring.ruleset import CompiledRuleset
from fraud.domain.fraud_type import FraudType
from fraud.domain.rules import RiskLevel, RuleVersion
from fraud.domain.ruleset import Ruleset, ValueList
from fraud.ledger.past import PastDecision


@dataclass
class Backtest:
    """What a rule would have done; money in minor units.

    Attributes:
        decisions: it was tried on.
        skipped: decisions made with other features than the rule looks at.
        oldest_us: when the oldest of them was made.
        hits: on which it holds.
        hit_amount_minor: their money.
        raised: hits whose level it would have raised.
        raised_amount_minor: their money.
        labelled: hits with a label.
        fraud_hits: hits labelled as fraud.
        fraud_amount_minor: their money.
        missed_fraud_hits: of these, those that had been approved.
        missed_fraud_amount_minor: their money.
    """

    decisions: int = 0
    skipped: int = 0
    oldest_us: int | None = None
    hits: int = 0
    hit_amount_minor: int = 0
    raised: int = 0
    raised_amount_minor: int = 0
    labelled: int = 0
    fraud_hits: int = 0
    fraud_amount_minor: int = 0
    missed_fraud_hits: int = 0
    missed_fraud_amount_minor: int = 0

    def add(self, past: PastDecision, level: RiskLevel) -> None:
        """Count a hit of a rule of this level."""
        amount = past.event.amount_minor
        self.hits += 1
        self.hit_amount_minor += amount
        if level > past.risk_level:
            self.raised += 1
            self.raised_amount_minor += amount
        self.labelled += past.is_fraud is not None
        if past.is_fraud:
            self.fraud_hits += 1
            self.fraud_amount_minor += amount
            if past.risk_level is RiskLevel.LOW:
                self.missed_fraud_hits += 1
                self.missed_fraud_amount_minor += amount


def backtest(
    fraud_type: FraudType,
    rule: RuleVersion,
    lists: tuple[ValueList, ...],
    past: Iterable[PastDecision],
) -> Backtest:
    """Try a rule on past decisions, with their own features and probabilities.

    Args:
        fraud_type: whose.
        rule: in whatever state.
        lists: as they are now; what they held then does not count.
        past: decisions of that fraud type.

    Raises:
        InvalidField: the rule no longer fits the fraud type.
    """
    active = RuleVersion(rule.code, rule.version, rule.text, rule.level, rule.expression, "active")
    compiled = CompiledRuleset(fraud_type, Ruleset(fraud_type.name, (active,), lists))
    compiled.rules.language.check(rule.expression)
    found = Backtest()
    for each in past:
        if each.schema_hash != fraud_type.schema_hash:
            found.skipped += 1
            continue
        found.decisions += 1
        found.oldest_us = min(each.scored_at_us, found.oldest_us or each.scored_at_us)
        row = np.frombuffer(each.feature_values, dtype="<f8").tolist()
        probability = math.nan if each.degraded else each.probability
        if compiled.find(each.event, row, probability, each.scored_at_us).fired:
            found.add(each, rule.level)
    return found

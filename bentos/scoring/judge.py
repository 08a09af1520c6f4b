"""From features to decisions: the model, lists and rules, the policy, the reasons."""

import logging
import math
from collections.abc import Sequence

from bentos.scoring.fallback import NO_MODEL, rules_only
from bentos.scoring.model import ScoringModel, to_probabilities
from bentos.scoring.ruleset import CompiledRuleset
from fraud.domain.decision import Decision, Reason, new_decision_ids
from fraud.domain.errors import ContractError, ModelUnavailable
from fraud.domain.event import Event
from fraud.domain.features import Floats
from fraud.domain.fraud_type import FraudType
from fraud.domain.policy import ACTIONS, policy_version
from fraud.domain.reasons import MAX_REASONS, NO_MODEL_REASON, hit_reasons, top_reasons
from fraud.domain.rules import RiskLevel
from fraud.domain.ruleset import Findings

log = logging.getLogger("fraud.scoring")


class Judge:
    """Decides on feature rows of one fraud type with one ruleset, and one model or none.

    Args:
        fraud_type: whose events.
        model: the champion, or None where lists and rules must do.
        compiled: the ruleset.
        lack: the reason given for a decision without a model.
    """

    def __init__(
        self,
        fraud_type: FraudType,
        model: ScoringModel | None,
        compiled: CompiledRuleset,
        lack: Reason = NO_MODEL_REASON,
    ) -> None:
        self._lack = lack
        self._fraud_type = fraud_type
        self._model = model
        self._compiled = compiled
        if model is None:
            self._thresholds = fraud_type.fallback_thresholds
        else:
            self._thresholds = compiled.ruleset.thresholds or model.manifest.thresholds
        self.model_version = NO_MODEL if model is None else model.version
        self.pass_through = None if model is None else compiled.ruleset.pass_through
        self.policy_version = policy_version(self._thresholds, self.pass_through)

    def decide(self, events: Sequence[Event], matrix: Floats, now_us: int) -> list[Decision]:
        """A decision per event; `matrix` holds their features, shape (n, features).

        Raises:
            ModelUnavailable: the model breaks on an event, and the type refuses to go without.
        """
        try:
            return self.decide_with_model(events, matrix, now_us)
        except Exception:
            if self._model is None:
                raise
            if len(events) > 1:  # one event shall not take the model from its neighbours
                each = (slice(place, place + 1) for place in range(len(events)))
                return [self.decide(events[one], matrix[one], now_us)[0] for one in each]
            log.exception("Model %s broke on an event", self.model_version)
        if self._fraud_type.on_failure == "refuse":
            raise ModelUnavailable(f"Model {self.model_version} broke.", remedy="Try again.")
        without = Judge(self._fraud_type, None, self._compiled)
        return without.decide(events, matrix, now_us)

    def decide_with_model(
        self, events: Sequence[Event], matrix: Floats, now_us: int
    ) -> list[Decision]:
        """Likewise, but whatever the model raises is the caller's business."""
        if self._model is None:
            probabilities = [math.nan] * len(events)
        else:
            probabilities = finite_probabilities(self._model, matrix)
        ids = new_decision_ids(now_us, len(events))
        return [
            self._decide_one(*each, now_us)
            for each in zip(ids, events, matrix, matrix.tolist(), probabilities, strict=True)
        ]

    def _decide_one(
        self,
        decision_id: str,
        event: Event,
        row: Floats,
        values: list[float],
        probability: float,
        now_us: int,
    ) -> Decision:
        findings = self._compiled.find(event, values, probability, now_us)
        if self._model is None:
            probability, level = rules_only(self._fraud_type, findings)
        else:
            level = findings.level(self._thresholds.level(probability))
        ruleset = self._compiled.ruleset
        return Decision(
            transaction_id=event.transaction_id,
            decision_id=decision_id,
            fraud_type=event.fraud_type,
            fraud_probability=probability,
            risk_level=level,
            reasons=self._reasons(row, values, level, findings),
            rules=findings.codes,
            model_version=self.model_version,
            policy_version=self.policy_version,
            degraded=self._model is None,
            scored_at_us=now_us,
            shadow_rules=tuple(hit.rule.code for hit in findings.shadow),
            rules_version=ruleset.rules_version,
            lists_version=ruleset.lists_version,
            deployment_id=None if self._model is None else self._model.deployment_id,
            propensity=self._propensity(level, findings),
        )

    def _propensity(self, level: RiskLevel, findings: Findings) -> float | None:
        """Of what the model alone would block; what a list or a rule says stays."""
        if self.pass_through is None or findings.codes or ACTIONS[level] != "block":
            return None
        return self.pass_through.share

    def _reasons(
        self, row: Floats, values: list[float], level: RiskLevel, findings: Findings
    ) -> tuple[Reason, ...]:
        reasons = hit_reasons(findings) if findings.codes else ()
        if level is RiskLevel.LOW:
            return reasons
        if self._model is None:
            return (*reasons, self._lack)
        _, contributions = self._model.contributions(row)
        most = MAX_REASONS - len(reasons)
        features = self._fraud_type.features
        return reasons + top_reasons(features, values, contributions.tolist(), most)


def finite_probabilities(model: ScoringModel, matrix: Floats) -> list[float]:
    """A model's probabilities, shape (n, features) -> n of them.

    Raises:
        ContractError: one is not a number, which no threshold would hold against.
    """
    probabilities: list[float] = to_probabilities(model.margins(matrix)).tolist()
    if any(map(math.isnan, probabilities)):
        raise ContractError(
            f"Model {model.version} answered what is not a number.", remedy="Roll it back."
        )
    return probabilities

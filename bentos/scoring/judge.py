"""From features to decisions: the model, the rules, the policy, the reasons."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bentos.scoring.fallback import NO_MODEL, fallback_policy_version, rules_only
from bentos.scoring.model import ScoringModel, to_probabilities
from fraud.domain.decision import Decision, Reason, new_decision_id
from fraud.domain.errors import ModelUnavailable
from fraud.domain.event import Event
from fraud.domain.features import Floats
from fraud.domain.fraud_type import FraudType
from fraud.domain.policy import decide, policy_version
from fraud.domain.reasons import top_reasons
from fraud.domain.rules import RiskLevel

if TYPE_CHECKING:
    from bentos.scoring.scorer import Champions


class Judge:
    """Decides on feature rows of one fraud type with one model, or with the rules alone.

    Args:
        fraud_type: whose events.
        model: the champion, or None where the rules must do.
    """

    def __init__(self, fraud_type: FraudType, model: ScoringModel | None) -> None:
        self._fraud_type = fraud_type
        self._model = model
        if model is None:
            self.model_version = NO_MODEL
            self.policy_version = fallback_policy_version(fraud_type)
        else:
            self._thresholds = model.manifest.thresholds
            self.model_version = model.version
            self.policy_version = policy_version(self._thresholds, fraud_type.rules)

    def decide(self, events: Sequence[Event], matrix: Floats, now_us: int) -> list[Decision]:
        """A decision per event; `matrix` holds their features, shape (n, features)."""
        probabilities = (
            to_probabilities(self._model.margins(matrix)) if self._model else np.zeros(len(events))
        )
        return [
            self._decide_one(event, row, float(probability), now_us)
            for event, row, probability in zip(events, matrix, probabilities, strict=True)
        ]

    def _decide_one(self, event: Event, row: Floats, probability: float, now_us: int) -> Decision:
        values = dict(zip(self._fraud_type.feature_names, row.tolist(), strict=True))
        if self._model is None:
            probability, level, fired = rules_only(self._fraud_type, values)
        else:
            fired = tuple(rule for rule in self._fraud_type.rules if rule.fires(values))
            level = decide(probability, self._thresholds, fired)
        return Decision(
            transaction_id=event.transaction_id,
            decision_id=new_decision_id(now_us),
            fraud_type=event.fraud_type,
            fraud_probability=probability,
            risk_level=level,
            reasons=self._reasons(row, level),
            rules=tuple(rule.code for rule in fired),
            model_version=self.model_version,
            policy_version=self.policy_version,
            degraded=self._model is None,
            scored_at_us=now_us,
        )

    def _reasons(self, row: Floats, level: RiskLevel) -> tuple[Reason, ...]:
        if self._model is None or level is RiskLevel.LOW:
            return ()
        _, contributions = self._model.contributions(row)
        return top_reasons(self._fraud_type.features, row.tolist(), contributions.tolist())


def judge_of(fraud_type: FraudType, champions: "Champions") -> Judge:
    """The judge for a batch: with the champion, or without where the type allows it.

    Raises:
        ModelUnavailable: there is no champion and the type refuses to go without.
    """
    try:
        return Judge(fraud_type, champions.model(fraud_type.name))
    except ModelUnavailable:
        if fraud_type.on_failure == "refuse":
            raise
        return Judge(fraud_type, None)

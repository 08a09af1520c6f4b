"""Which rulesets serve: the newest ones the watch has seen, each swapped in as a whole."""

import logging
from collections.abc import Mapping

from bentos.scoring.ruleset import CompiledRuleset
from fraud.domain.fraud_type import FraudType
from fraud.domain.ruleset import Ruleset, built_in

log = logging.getLogger("fraud.detector")


class RulesetShelf:
    """The rulesets that serve, one per fraud type; implements `bentos.scoring.ruleset.Rulesets`.

    Until the ledger was seen for the first time, the built-in rules serve. While it is away,
    what was seen last goes on. `refresh` belongs to one thread; `ruleset` may be called from
    any: it hands out immutable rulesets.

    Args:
        fraud_types: declared fraud types by name.
    """

    def __init__(self, fraud_types: Mapping[str, FraudType]) -> None:
        self._fraud_types = fraud_types
        self._serving = {
            name: CompiledRuleset(kind, built_in(kind)) for name, kind in fraud_types.items()
        }

    def ruleset(self, fraud_type: str) -> CompiledRuleset:
        return self._serving[fraud_type]

    def refresh(self, rulesets: Mapping[str, Ruleset]) -> None:
        """Take over rulesets that changed; rules are compiled only where they did."""
        for name, ruleset in rulesets.items():
            serving = self._serving[name]
            if ruleset == serving.ruleset:
                continue
            rules = serving.rules if serving.rules.fits(ruleset) else None
            self._serving[name] = CompiledRuleset(self._fraud_types[name], ruleset, rules)
            log.info(
                "Ruleset of %s: rules %d, lists %d, policy %d",
                *(name, ruleset.rules_version, ruleset.lists_version, ruleset.policy_version),
            )

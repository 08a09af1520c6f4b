"""A ruleset: the rules, lists and policy of a fraud type at one moment, never changed in place.

Precedence, from strongest to weakest: a deny list blocks; an allow list approves; rules raise
the risk to their level; the policy's thresholds turn the model's probability into a level.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fraud.domain.event import Event
from fraud.domain.fraud_type import FraudType
from fraud.domain.policy import PassThrough, Thresholds
from fraud.domain.rules import RiskLevel, RuleVersion

ListKind = Literal["allow", "deny", "reference"]

DENY_LIST, ALLOW_LIST = "DENY_LIST", "ALLOW_LIST"
"""Codes of list hits; they stand where the codes of rules stand."""


@dataclass(frozen=True, slots=True)
class ValueList:
    """Values of one field that somebody listed.

    Attributes:
        name: as rules call it, `lists.<name>`.
        kind: what a hit does; `reference` lists act through rules only.
        field: of the event.
        entries: when each value's entry expires, microseconds UTC, or None for never.
    """

    name: str
    kind: ListKind
    field: str
    entries: Mapping[str, int | None]

    def holds(self, event: Event, now_us: int) -> bool:
        """Whether the event's value is listed and the entry has not expired."""
        value = event.fields.get(self.field)
        if value not in self.entries:
            return False
        expires_us = self.entries[str(value)]
        return expires_us is None or now_us < expires_us


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What decides beside the model.

    Attributes:
        fraud_type: whose.
        rules: active and shadow ones, by code.
        lists: all of them, by name.
        thresholds: of the active policy; None where those that came with the model count.
        pass_through: of the active policy; None where nothing is let through at random.
        rules_version: number of the last change of a rule; 0 for the built-in ones alone.
        lists_version: number of the last change of a list; 0 for none.
        policy_version: number of the last change of the policy; 0 for none.
    """

    fraud_type: str
    rules: tuple[RuleVersion, ...] = ()
    lists: tuple[ValueList, ...] = ()
    thresholds: Thresholds | None = None
    rules_version: int = 0
    lists_version: int = 0
    policy_version: int = 0
    pass_through: PassThrough | None = None


@dataclass(frozen=True, slots=True)
class RuleHit:
    """A rule that holds for an event.

    Attributes:
        rule: which.
        variable: the first number it looks at, "" where it looks at none.
        value: that number.
    """

    rule: RuleVersion
    variable: str = ""
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Findings:
    """What a ruleset says of one event.

    Attributes:
        denied: the first deny list with its value.
        allowed: the first allow list with its value.
        fired: active rules that hold, highest level first.
        shadow: shadow rules that hold; they are recorded and never act.
    """

    denied: ValueList | None = None
    allowed: ValueList | None = None
    fired: tuple[RuleHit, ...] = ()
    shadow: tuple[RuleHit, ...] = ()

    def level(self, below: RiskLevel) -> RiskLevel:
        """The risk by precedence.

        Args:
            below: what counts where neither lists nor rules say more.
        """
        if self.denied is not None:
            return RiskLevel.CRITICAL
        if self.allowed is not None:
            return RiskLevel.LOW
        return max([below, *(hit.rule.level for hit in self.fired)])

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of all that hit, strongest first."""
        lists = ((DENY_LIST, self.denied), (ALLOW_LIST, self.allowed))
        found = [code for code, hit in lists if hit is not None]
        return (*found, *(hit.rule.code for hit in self.fired))


def built_in(fraud_type: FraudType) -> Ruleset:
    """The rules that come with a fraud type, as their first versions; no lists, no policy."""
    rules = tuple(
        RuleVersion(rule.code, 1, rule.text, rule.level, rule.expression, "active")
        for rule in sorted(fraud_type.rules, key=lambda rule: rule.code)
    )
    return Ruleset(fraud_type.name, rules)

"""Rules: declared conditions on fields and features that raise the risk of a decision."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

Comparison = Literal["==", "!=", "<", "<=", ">", ">="]
RuleState = Literal["draft", "shadow", "active", "retired"]


class RiskLevel(IntEnum):
    """How risky a decision is; a higher number wins."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3


@dataclass(frozen=True)
class Condition:
    """A comparison of one feature's value with a constant."""

    feature: str
    comparison: Comparison
    value: float

    @property
    def expression(self) -> str:
        """The condition in the language of rules."""
        return f"{self.feature} {self.comparison} {self.value!r}"


@dataclass(frozen=True)
class Rule:
    """A rule that comes with a fraud type; it raises the risk where all conditions hold.

    Attributes:
        code: stable name, shown to callers.
        text: what it means, for analysts.
        level: the least risk of a decision it fires on.
        conditions: all must hold.
    """

    code: str
    text: str
    level: RiskLevel
    conditions: tuple[Condition, ...]

    @property
    def expression(self) -> str:
        """The rule in the language of rules."""
        return " && ".join(condition.expression for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """One version of a rule as it serves.

    Attributes:
        code: stable name, shown to callers.
        version: of this rule, from 1.
        text: what it means, for analysts.
        level: the least risk of a decision it fires on.
        expression: holds where the rule fires.
        state: what its hits do.
    """

    code: str
    version: int
    text: str
    level: RiskLevel
    expression: str
    state: RuleState

"""Rules: declared conditions on fields and features that raise the risk of a decision."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

Comparison = Literal["==", "!=", "<", "<=", ">", ">="]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


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

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether the condition is true of these feature values."""
        return _COMPARE[self.comparison](values[self.feature], self.value)


@dataclass(frozen=True)
class Rule:
    """Raises the risk to `level` where all conditions hold.

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

    def fires(self, values: Mapping[str, float]) -> bool:
        """Whether all conditions hold."""
        return all(condition.holds(values) for condition in self.conditions)

"""A ruleset ready to decide: every rule compiled, all of them asked in one evaluation.

What an evaluation costs is mostly handing over its variables and fetching its answer. So the
rules are joined into one program, whose answer is an integer with one bit per rule; and it is
not asked about an event for which one comparison per rule already says that none holds.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bentos.scoring.expressions import (
    AMOUNT,
    COMPARISONS,
    LISTS,
    PROBABILITY,
    Expression,
    Kind,
    Language,
    Value,
    required_comparisons,
)
from fraud.domain.errors import InvalidField
from fraud.domain.event import Event
from fraud.domain.features import shortest_decimal
from fraud.domain.fraud_type import FraudType
from fraud.domain.rules import RuleVersion
from fraud.domain.ruleset import Findings, RuleHit, Ruleset, built_in
from fraud.types.registry import fraud_types

RULES_PER_PROGRAM = 60
"""Bits that fit into CEL's integers, with room for the sign."""

_ABSENT: dict[Kind, Value] = {"number": math.nan, "text": "", "flag": False}

log = logging.getLogger("fraud.scoring")

Row = Sequence[float]
Read = Callable[[Event, Row, float, int], Value]
_Comparison = tuple[Read, Callable[[Any, float], bool], float]


class Rulesets(Protocol):
    """Where the scorer finds the ruleset of a fraud type."""

    def ruleset(self, fraud_type: str) -> "CompiledRuleset":
        """The one to decide by now; the next call may give another."""


@dataclass(frozen=True)
class _Program:
    """Rules joined into one.

    Attributes:
        rules: each with the first number it looks at.
        variables: what they read.
        program: what evaluates them.
        required: for every rule, comparisons of which none fails where it holds.
    """

    rules: tuple[tuple[RuleVersion, str], ...]
    variables: tuple[tuple[str, Read], ...]
    program: Any
    required: tuple[tuple[_Comparison, ...], ...]

    def may_hold(self, event: Event, row: Row, probability: float, on: int) -> bool:
        """Whether a rule holds, as far as a cheap look tells."""
        for comparisons in self.required:
            for read, compare, number in comparisons:
                if not compare(read(event, row, probability, on), number):
                    break
            else:
                return True
        return False


class CompiledRules:
    """The rules of a ruleset, compiled; they stay as they are when lists change.

    Attributes:
        language: that they are written in.
        broken: what is wrong with rules that no longer fit the fraud type, by code; they do
            not take part.
    """

    def __init__(self, fraud_type: FraudType, ruleset: Ruleset) -> None:
        self.fraud_type = fraud_type
        self.rules = ruleset.rules
        self.list_names = tuple(each.name for each in ruleset.lists)
        self.broken: dict[str, str] = {}
        self.language = Language(fraud_type, self.list_names)
        checked: list[tuple[RuleVersion, Expression]] = []
        for rule in ruleset.rules:
            try:
                checked.append((rule, self.language.check(rule.expression)))
            except InvalidField as error:
                self.broken[rule.code] = str(error)
                log.error("Rule %s of %s is left out: %s", rule.code, fraud_type.name, error)
        self.programs = [
            self._program(checked[first : first + RULES_PER_PROGRAM])
            for first in range(0, len(checked), RULES_PER_PROGRAM)
        ]

    def fits(self, ruleset: Ruleset) -> bool:
        """Whether these are the rules of a ruleset, about lists that it has."""
        names = tuple(each.name for each in ruleset.lists)
        return self.rules == ruleset.rules and self.list_names == names

    def _program(self, checked: Sequence[tuple[RuleVersion, Expression]]) -> _Program:
        bits = [f"(({each.compiled}) ? {1 << bit} : 0)" for bit, (_, each) in enumerate(checked)]
        names = dict.fromkeys(name for _, each in checked for name in each.variables)
        return _Program(
            rules=tuple((rule, self._first_number(each)) for rule, each in checked),
            variables=tuple((name, self._reader(name)) for name in names),
            program=self.language.program(_sum(bits)),
            required=tuple(
                tuple(
                    (self._reader(name), COMPARISONS[sign], number)
                    for name, sign, number in required_comparisons(each)
                    if self.language.kinds.get(name) == "number"
                )
                for _, each in checked
            ),
        )

    def _first_number(self, expression: Expression) -> str:
        kinds = self.language.kinds
        return next((name for name in expression.variables if kinds[name] == "number"), "")

    def _reader(self, name: str) -> Read:
        """Reads a variable off an event, its features, the probability and the bits of lists."""
        kind = self.fraud_type
        if name in kind.feature_names:
            place = kind.feature_names.index(name)
            # Compared with what people write: 0.7 is 0.7, and not the float32 below it.
            return lambda event, row, probability, on: shortest_decimal(row[place])
        if name == PROBABILITY:
            return lambda event, row, probability, on: probability
        if name == AMOUNT:
            return lambda event, row, probability, on: event.amount_minor / 100.0
        if name.startswith(LISTS):
            bit = 1 << self.list_names.index(name.removeprefix(LISTS))
            return lambda event, row, probability, on: bool(on & bit)
        absent = _ABSENT[self.language.kinds[name]]
        is_number = self.language.kinds[name] == "number"

        def read(event: Event, row: Row, probability: float, on: int) -> Value:
            value = event.fields.get(name)
            if value is None:
                return absent
            return float(value) if is_number else value

        return read


class CompiledRuleset:
    """One immutable ruleset at work.

    Args:
        fraud_type: whose.
        ruleset: what decides.
        rules: its compiled rules, where a ruleset with the same ones was compiled before.
    """

    def __init__(
        self, fraud_type: FraudType, ruleset: Ruleset, rules: CompiledRules | None = None
    ) -> None:
        self.ruleset = ruleset
        self.rules = rules or CompiledRules(fraud_type, ruleset)
        self._lists = tuple(enumerate(ruleset.lists))

    def find(self, event: Event, row: Row, probability: float, now_us: int) -> Findings:
        """What lists and rules say of an event.

        Args:
            event: what happened.
            row: its features, in the order of the fraud type.
            probability: the model's; NaN where no model was asked, which no comparison holds for.
            now_us: the time, microseconds UTC, for entries that expire.
        """
        on, denied, allowed = 0, None, None
        for place, each in self._lists:
            if each.holds(event, now_us):
                on |= 1 << place
                denied = denied or (each if each.kind == "deny" else None)
                allowed = allowed or (each if each.kind == "allow" else None)
        hits = self._hits(event, row, probability, on)
        if not hits:
            return Findings(denied, allowed)
        fired = sorted((hit for hit in hits if hit.rule.state == "active"), key=_by_level)
        shadow = tuple(hit for hit in hits if hit.rule.state == "shadow")
        return Findings(denied, allowed, tuple(fired), shadow)

    def _hits(self, event: Event, row: Row, probability: float, on: int) -> list[RuleHit]:
        hits: list[RuleHit] = []
        for each in self.rules.programs:
            if not each.may_hold(event, row, probability, on):
                continue
            data = {name: read(event, row, probability, on) for name, read in each.variables}
            bits: int = each.program.eval(data=data).value()
            for bit in range(bits.bit_length()):
                if bits >> bit & 1:
                    rule, name = each.rules[bit]
                    value = float(data[name]) if name else 0.0
                    hits.append(RuleHit(rule, name, 0.0 if math.isnan(value) else value))
        return hits


class BuiltInRulesets:
    """The rules that come with the fraud types; implements `Rulesets` without a ledger."""

    def __init__(self) -> None:
        self._compiled = {
            name: CompiledRuleset(kind, built_in(kind)) for name, kind in fraud_types().items()
        }

    def ruleset(self, fraud_type: str) -> CompiledRuleset:
        return self._compiled[fraud_type]


def _by_level(hit: RuleHit) -> tuple[int, str]:
    return -hit.rule.level, hit.rule.code


def _sum(terms: list[str]) -> str:
    """The sum of terms as a balanced tree: CEL bounds how deep an expression may nest."""
    while len(terms) > 1:
        pairs = [terms[k : k + 2] for k in range(0, len(terms), 2)]
        terms = [f"({' + '.join(pair)})" for pair in pairs]
    return terms[0]

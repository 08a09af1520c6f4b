"""What rules may say, and how mistakes are shown to their authors."""

import math
import operator
import random

import pytest

from bentos.scoring.expressions import LONGEST, Language
from bentos.scoring.ruleset import CompiledRuleset
from fraud.domain.errors import InvalidField
from fraud.domain.fraud_type import FraudType
from fraud.domain.rules import RiskLevel, RuleVersion
from fraud.domain.ruleset import Ruleset, built_in
from fraud.types.credit_card import CREDIT_CARD
from fraud.types.registry import fraud_types
from tests.bentos.scoring.worlds import a_request

LANGUAGE = Language(CREDIT_CARD, ("vip",))
NAMES = CREDIT_CARD.feature_names


def problems(source: str) -> list[tuple[str, str, str]]:
    with pytest.raises(InvalidField) as caught:
        LANGUAGE.check(source)
    return caught.value.problems


def fires(source: str, probability: float = 0.1, row: dict[str, float] | None = None) -> bool:
    LANGUAGE.check(source)
    rule = RuleVersion("R", 1, "text", RiskLevel.HIGH, source, "active")
    compiled = CompiledRuleset(CREDIT_CARD, Ruleset("credit_card", (rule,)))
    event = a_request(user_id="U7", merchant_id="M1", merchant_category="fuel", country=None).event
    values = [(row or {}).get(name, 0.0) for name in NAMES]
    return bool(compiled.find(event, values, probability, 0).fired)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("user_count_1h >= 12", True),
        ("user_count_1h >= 13", False),
        ("user_count_1h > 1.15e1 && amount < 5", True),
        ("user_id == 'U7' && merchant_id in [\"M1\", 'M2']", True),
        ("!(merchant_category.startsWith('fu'))", False),
        ("merchant_category.contains('ue') ? true : false", True),
        ("country == ''", True),  # not sent
        ("probability > 0.05", True),
        ("user_count_1h / amount > 5 || -user_count_1h > 0", True),
        ("amount / 0 > 1", True),  # 2 / 0 is infinite, as IEEE 754 has it: nothing can fail
        ("user_count_1h\n  > 5", True),
    ],
)
def test_an_expression_says_what_it_means(source: str, expected: bool) -> None:
    assert fires(source, row={"user_count_1h": 12.0, "amount": 2.0}) is expected


def test_no_comparison_holds_for_a_probability_nobody_computed() -> None:
    assert not fires("probability < 0.5 || probability >= 0.5", math.nan)


@pytest.mark.parametrize(
    ("source", "where", "what", "remedy"),
    [
        ("user_cnt_1h > 2", "line 1, column 1", "undeclared reference", "user_count_1h"),
        ("amount > 5 &&\n  nope > 1", "line 2, column 3", "undeclared reference", "feature"),
        ("10 > amount && 5 > user_id", "line 1, column 18", "no matching overload", "docs/rules"),
        ("lists.staff", "line 1, column 6", "undeclared reference", "lists.vip"),
        ("amount >", "line 1, column 9", "Syntax error", "docs/rules"),
        ("amount = 5", "line 1, column 8", "not part of the language", "docs/rules"),
        ("amount", "", "is a double", "Compare"),
    ],
)
def test_a_mistake_is_shown_where_it_is(source: str, where: str, what: str, remedy: str) -> None:
    field, problem, hint = problems(source)[0]
    assert field == "expression"
    assert where in problem
    assert what in problem
    assert remedy in hint


@pytest.mark.parametrize(
    "source",
    [
        "[1, 2].all(x, [1, 2].all(y, x == y))",
        "[1, 2].map(x, x * 2) == [2, 4]",
        "user_id.matches('(a+)+$')",
        "__import__('os').system('true') == 0",
        "size(user_id) > 3",
        "user_id.size() > 3",
        "{'a': 1}['a'] == 1",
        "user_id == '''x'''",
        "user_id == r'x'",
        "amount > 5u",
        "amount > 0x10",
        "[1.0][7] > 1",
        "google.protobuf.Int64Value{value: 1} == 1",
        "amount > 1 // and the rest",
        "'" + "a" * LONGEST + "' == user_id",
        "(" * 40 + "amount > 1" + ")" * 40,
        "amount > 1" + " ? true : amount > 1" * 24 + " ? true : false",
        "",
    ],
)
def test_what_could_be_unsafe_or_expensive_is_refused(source: str) -> None:
    assert problems(source)


def test_whatever_is_accepted_alone_can_be_joined_with_59_others() -> None:
    """Joining nests deeper; a rule at the edge of what CEL takes must not break its neighbours."""
    depth = max(n for n in range(1, 40) if _is_accepted("(" * n + "amount > 1" + ")" * n))
    deepest = "(" * depth + "amount > 1" + ")" * depth
    rules = tuple(RuleVersion(f"R{n}", 1, "", RiskLevel.HIGH, deepest, "active") for n in range(60))
    compiled = CompiledRuleset(CREDIT_CARD, Ruleset("credit_card", rules))
    found = compiled.find(a_request().event, [9.0] * len(NAMES), 0.1, 0)
    assert depth >= 8
    assert len(found.fired) == 60


def test_many_rules_each_answer_for_themselves() -> None:
    """150 rules need three programs; every subset of hits must come out as it went in."""
    rules = tuple(
        RuleVersion(f"R{n:03}", 1, "", RiskLevel.MEDIUM, f"amount == {n} || amount > 500", "active")
        for n in range(150)
    )
    compiled = CompiledRuleset(CREDIT_CARD, Ruleset("credit_card", rules))
    event = a_request().event
    for amount in (0, 59, 60, 149, 200, 501):
        found = compiled.find(event, [float(amount), *[0.0] * (len(NAMES) - 1)], 0.1, 0)
        expected = 150 if amount > 500 else int(amount < 150)
        assert len(found.fired) == expected, amount


def test_the_built_in_rules_mean_what_their_conditions_say() -> None:
    compare = {
        "==": operator.eq, "!=": operator.ne, "<": operator.lt,
        "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    }  # fmt: skip
    rng = random.Random(7)
    compiled = CompiledRuleset(CREDIT_CARD, built_in(CREDIT_CARD))
    event = a_request().event
    hits = 0
    for _ in range(200):
        row = {name: rng.choice([0.0, 1.0, 8.0, 12.0, 20.0, 500.0]) for name in NAMES}
        expected = {
            rule.code
            for rule in CREDIT_CARD.rules
            if all(compare[c.comparison](row[c.feature], c.value) for c in rule.conditions)
        }
        found = compiled.find(event, list(row.values()), 0.1, 0)
        assert {hit.rule.code for hit in found.fired} == expected
        hits += len(expected)
    assert hits > 50


@pytest.mark.parametrize("kind", fraud_types().values(), ids=lambda kind: kind.name)
def test_the_built_in_rules_of_every_fraud_type_compile(kind: FraudType) -> None:
    compiled = CompiledRuleset(kind, built_in(kind))
    assert compiled.rules.broken == {}
    assert len(compiled.rules.rules) == len(kind.rules)


def test_a_rule_that_no_longer_fits_is_left_out_and_named() -> None:
    good = RuleVersion("GOOD", 1, "", RiskLevel.HIGH, "amount > 1", "active")
    bad = RuleVersion("BAD", 1, "", RiskLevel.HIGH, "feature_of_last_year > 1", "active")
    compiled = CompiledRuleset(CREDIT_CARD, Ruleset("credit_card", (bad, good)))
    assert list(compiled.rules.broken) == ["BAD"]
    found = compiled.find(a_request().event, [9.0] * len(NAMES), 0.1, 0)
    assert [hit.rule.code for hit in found.fired] == ["GOOD"]


def _is_accepted(source: str) -> bool:
    try:
        LANGUAGE.check(source)
    except InvalidField:
        return False
    return True

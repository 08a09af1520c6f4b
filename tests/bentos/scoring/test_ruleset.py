"""Who wins: deny lists, allow lists, rules, thresholds; and how a hit is explained."""

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos.scoring.judge import Judge
from bentos.scoring.model import ScoringModel
from bentos.scoring.ruleset import CompiledRuleset
from fraud.domain.decision import Decision
from fraud.domain.policy import Thresholds, policy_version
from fraud.domain.rules import RiskLevel, RuleVersion
from fraud.domain.ruleset import Ruleset, ValueList
from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.scoring.worlds import a_model, a_request

WIDTH = len(CREDIT_CARD.feature_names)
ALWAYS = "amount >= 0"
NOW_US = 1_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ScoringModel:
    return a_model(Path(tmp_path_factory.mktemp("model")))


def a_rule(code: str = "RULE", level: str = "HIGH", state: str = "active") -> RuleVersion:
    return RuleVersion(code, 1, f"{code} fired.", RiskLevel[level], ALWAYS, state)  # type: ignore[arg-type]


def a_list(kind: str, expires_us: int | None = None, value: str = "U1") -> ValueList:
    return ValueList(f"{kind}_users", kind, "user_id", {value: expires_us})  # type: ignore[arg-type]


def decide(
    model: ScoringModel | None,
    *lists: ValueList,
    rules: tuple[RuleVersion, ...] = (),
    probability: str = "low",
    thresholds: Thresholds | None = None,
    user_id: str = "U1",
) -> Decision:
    ruleset = Ruleset("credit_card", rules, lists, thresholds, 7, 8, 9)
    judge = Judge(CREDIT_CARD, model, CompiledRuleset(CREDIT_CARD, ruleset))
    row = np.zeros((1, WIDTH))
    if probability == "high":
        row[0, :2] = 5.0, 5.0  # the model multiplies these two
    (decision,) = judge.decide([a_request(user_id=user_id).event], row, NOW_US)
    return decision


PRECEDENCE = [
    # deny, allow, rule, model says -> level
    (False, False, None, "low", "LOW"),
    (False, False, None, "high", "CRITICAL"),
    (False, False, "MEDIUM", "low", "MEDIUM"),
    (False, False, "HIGH", "low", "HIGH"),
    (False, False, "MEDIUM", "high", "CRITICAL"),
    (False, True, None, "high", "LOW"),
    (False, True, "CRITICAL", "high", "LOW"),
    (True, False, None, "low", "CRITICAL"),
    (True, True, None, "low", "CRITICAL"),
    (True, True, "MEDIUM", "high", "CRITICAL"),
]


@pytest.mark.parametrize(("deny", "allow", "rule", "probability", "level"), PRECEDENCE)
def test_precedence(
    model: ScoringModel, deny: bool, allow: bool, rule: str | None, probability: str, level: str
) -> None:
    lists = [a_list("deny")] * deny + [a_list("allow")] * allow
    rules = () if rule is None else (a_rule(level=rule),)
    decision = decide(model, *lists, rules=rules, probability=probability)
    assert decision.risk_level.name == level
    expected = ["DENY_LIST"] * deny + ["ALLOW_LIST"] * allow + ["RULE"] * (rule is not None)
    assert list(decision.rules) == expected


@pytest.mark.parametrize(
    ("lists", "rules", "level"),
    [
        ((), (), "MEDIUM"),  # without a model nobody is approved unseen
        ((a_list("allow"),), (), "LOW"),  # but for those somebody vouched for
        ((), (a_rule(level="HIGH"),), "HIGH"),
        ((a_list("deny"), a_list("allow")), (), "CRITICAL"),
    ],
)
def test_precedence_without_a_model(
    lists: tuple[ValueList, ...], rules: tuple[RuleVersion, ...], level: str
) -> None:
    decision = decide(None, *lists, rules=rules)
    assert decision.degraded
    assert decision.risk_level.name == level
    if level != "LOW":
        assert decision.reasons[-1].code == "MODEL_UNAVAILABLE"


def test_an_entry_ends_when_it_expires(model: ScoringModel) -> None:
    assert decide(model, a_list("deny", NOW_US + 1)).risk_level is RiskLevel.CRITICAL
    assert decide(model, a_list("deny", NOW_US)).risk_level is RiskLevel.LOW


def test_a_reference_list_acts_through_rules_only(model: ScoringModel) -> None:
    rule = dataclasses.replace(a_rule(), expression="lists.reference_users && amount < 1")
    listed = a_list("reference")
    assert decide(model, listed).rules == ()
    assert decide(model, listed, rules=(rule,)).rules == ("RULE",)
    assert decide(model, listed, rules=(rule,), user_id="U2").rules == ()


def test_a_shadow_rule_is_recorded_and_does_nothing(model: ScoringModel) -> None:
    decision = decide(model, rules=(a_rule("QUIET", "CRITICAL", "shadow"), a_rule("LOUD")))
    assert decision.risk_level is RiskLevel.HIGH
    assert decision.rules == ("LOUD",)
    assert decision.shadow_rules == ("QUIET",)
    assert "QUIET" not in {reason.code for reason in decision.reasons}


def test_hits_give_reasons_and_leave_room_for_the_model(model: ScoringModel) -> None:
    rules = tuple(a_rule(f"R{n}", level) for n, level in enumerate(["MEDIUM", "HIGH", "CRITICAL"]))
    decision = decide(model, a_list("deny"), rules=rules, probability="high")
    codes = [reason.code for reason in decision.reasons]
    assert codes[:3] == ["DENY_LIST", "R2", "R1"]  # the strongest three of four
    assert codes[3:] == ["AMOUNT", "DISTANCE_FROM_HOME_KM"] or len(codes) == 5
    listed, ruled = decision.reasons[:2]
    assert (listed.feature, listed.value, listed.contribution) == ("user_id", 1.0, 0.0)
    assert "deny_users" in listed.text
    assert (ruled.text, ruled.feature, ruled.value) == ("R2 fired.", "amount", 5.0)


@pytest.mark.parametrize("comparison", ["==", "<=", ">="])
@pytest.mark.parametrize("value", [0.7, 20.0, 12.34, 99_999.99])
def test_a_rule_compares_what_people_write(comparison: str, value: float) -> None:
    """0.7 has no float32; the nearest one is below it."""
    expression = f"user_amount_ratio_30d {comparison} {value!r}"
    rule = RuleVersion("RULE", 1, "It holds.", RiskLevel.HIGH, expression, "active")
    row = np.zeros(WIDTH)
    row[CREDIT_CARD.feature_names.index("user_amount_ratio_30d")] = np.float32(value)
    compiled = CompiledRuleset(CREDIT_CARD, Ruleset("credit_card", (rule,), ()))
    (hit,) = compiled.find(a_request().event, row.tolist(), 0.5, NOW_US).fired
    assert hit.value == value


def test_versions_of_what_decided_are_recorded(model: ScoringModel) -> None:
    strict = Thresholds(review=0.0001, block=0.9, critical=0.95)
    plain, changed = decide(model), decide(model, thresholds=strict)
    assert (plain.rules_version, plain.lists_version) == (7, 8)
    assert plain.policy_version == policy_version(model.manifest.thresholds)
    assert changed.policy_version == policy_version(strict)
    assert plain.risk_level is RiskLevel.LOW
    assert changed.risk_level is RiskLevel.MEDIUM


def test_contributions_of_a_decision_sum_to_its_margin(model: ScoringModel) -> None:
    """Five reasons are shown, but they are taken from parts that add up to the score."""
    row = np.random.default_rng(1).random(WIDTH) * 3
    base, shares = model.contributions(row)
    assert base + shares.sum() == pytest.approx(model.margins(row[None])[0], abs=1e-6)


TERMS = (
    "amount >= 500",
    "amount >= 500 && user_count_1h == 2",
    "amount < 500 && user_count_1h == 2",
    "(amount < 2 || amount > 900)",
    "3 < amount",
    "1 == 1",
    "!(user_count_1h >= 2)",
    "!(amount >= 500 && user_count_1h == 2 && amount < 900)",
    "user_count_1h == 2",
    "distance_from_home_km > 5.5",
    "distance_from_home_km <= 5.5e0",
    'merchant_category == "a && amount > 1e9 && b"',
    "probability > -1",
    "user_count_1h in [1, 2, 3]",
    "amount / user_count_1h > 100",
    "lists.watched",
)
EXPRESSIONS = st.recursive(
    st.sampled_from(TERMS),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(" && ".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda each: f"({' || '.join(each)})"),
        st.lists(inner, min_size=2, max_size=3).map(" || ".join),
        st.tuples(inner, inner, inner).map(lambda each: f"{each[0]} ? {each[1]} : {each[2]}"),
    ),
    max_leaves=4,
)


AMOUNTS_MINOR, COUNTS, DISTANCES = (1_00, 500_00, 950_00), (0.0, 2.0, 5.0), (5.5, -1.0)


@pytest.mark.parametrize("term", TERMS)
def test_a_term_that_is_not_evaluated_would_not_hold(term: str) -> None:
    assert_no_hit_is_missed([term])


@given(st.lists(EXPRESSIONS.filter(lambda text: len(text) <= 400), min_size=1, max_size=3))
def test_rules_that_are_not_evaluated_would_not_hold(expressions: list[str]) -> None:
    assert_no_hit_is_missed(expressions)


def assert_no_hit_is_missed(expressions: list[str]) -> None:
    watched = ValueList("watched", "reference", "user_id", {"U1": None})
    sifted, evaluated = (
        CompiledRuleset(
            CREDIT_CARD,
            Ruleset(
                "credit_card",
                tuple(
                    RuleVersion(f"R{n}", 1, "", RiskLevel.HIGH, form.format(each), "active")
                    for n, each in enumerate(expressions)
                ),
                (watched,),
            ),
        )
        for form in ("{}", "({}) || false")  # nothing must hold for the second to hold
    )
    row = [0.0] * WIDTH
    for amount, count, distance in itertools.product(AMOUNTS_MINOR, COUNTS, DISTANCES):
        event = a_request(amount_minor=amount, user_id="U1").event
        row[CREDIT_CARD.feature_names.index("user_count_1h")] = count
        row[CREDIT_CARD.feature_names.index("distance_from_home_km")] = distance
        for probability in (0.5, math.nan):
            found = sifted.find(event, row, probability, NOW_US)
            assert [hit.rule.code for hit in found.fired] == [
                hit.rule.code for hit in evaluated.find(event, row, probability, NOW_US).fired
            ]

import dataclasses

import pytest

from fraud.domain.errors import ContractError
from fraud.domain.pass_through import PASS_THROUGH_REASON, drawn
from fraud.domain.policy import PassThrough, Thresholds, policy_version
from fraud.domain.rules import RiskLevel
from tests.fraud.ledger.builders import a_decision, an_event

RULE = PassThrough(share=0.1, daily_count=10, daily_minor=1_000_00, key="ab" * 16)
THRESHOLDS = Thresholds(0.1, 0.5, 0.9)


def test_the_share_is_drawn_and_equal_arguments_draw_alike() -> None:
    names = [f"tx-{number}" for number in range(10_000)]
    lots = [RULE.is_drawn(name, 0.1) for name in names]
    assert lots == [RULE.is_drawn(name, 0.1) for name in names]
    # Three standard deviations of a tenth of 10,000 are 0.9 points.
    assert sum(lots) / len(lots) == pytest.approx(0.1, abs=0.009)
    other = dataclasses.replace(RULE, key="cd" * 16)
    assert lots != [other.is_drawn(name, 0.1) for name in names]
    assert not any(RULE.is_drawn(name, 0.0) for name in names)


def test_what_is_let_through_is_approved_and_says_why() -> None:
    blocked = a_decision(an_event(), risk_level=RiskLevel.HIGH, propensity=0.1)
    kept, let = drawn(blocked, RULE, 0.0), drawn(blocked, RULE, 1.0)
    assert (kept.recommended_action, kept.propensity, kept.reasons) == ("block", 0.0, ())
    assert (let.recommended_action, let.risk_level) == ("approve", RiskLevel.HIGH)
    assert let.reasons == (PASS_THROUGH_REASON,)


def test_a_policy_without_pass_through_keeps_its_name() -> None:
    assert policy_version(THRESHOLDS) == policy_version(THRESHOLDS, None)
    named = {policy_version(THRESHOLDS, RULE), policy_version(THRESHOLDS)}
    named.add(policy_version(THRESHOLDS, dataclasses.replace(RULE, share=0.05)))
    assert len(named) == 3


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"share": 0.21}, {"daily_count": 0}])
def test_a_reckless_pass_through_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ContractError, match="cannot be"):
        dataclasses.replace(RULE, **wrong)  # type: ignore[arg-type]

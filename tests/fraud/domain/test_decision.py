"""From probability and rules to a level, an action and a reply."""

import uuid
from dataclasses import replace

import orjson
import pytest

from fraud.domain.decision import Decision, Reason, new_decision_ids, reply, reply_json
from fraud.domain.errors import ContractError
from fraud.domain.policy import Thresholds, policy_version
from fraud.domain.reasons import top_reasons
from fraud.domain.rules import RiskLevel
from fraud.types.credit_card import CREDIT_CARD

THRESHOLDS = Thresholds(review=0.3, block=0.7, critical=0.95)


@pytest.mark.parametrize(
    ("probability", "level"),
    [(0.0, "LOW"), (0.2999, "LOW"), (0.3, "MEDIUM"), (0.7, "HIGH"), (0.95, "CRITICAL")],
)
def test_a_threshold_belongs_to_the_level_above_it(probability: float, level: str) -> None:
    assert THRESHOLDS.level(probability).name == level


@pytest.mark.parametrize("bad", [(0.0, 0.5, 0.9), (0.6, 0.5, 0.9), (0.1, 0.5, 1.1)])
def test_thresholds_must_rise(bad: tuple[float, float, float]) -> None:
    with pytest.raises(ContractError, match="rise"):
        Thresholds(*bad)


def test_a_policy_is_named_by_its_content() -> None:
    version = policy_version(THRESHOLDS)
    assert version == policy_version(Thresholds(review=0.3, block=0.7, critical=0.95))
    assert version != policy_version(Thresholds(review=0.3, block=0.7, critical=0.96))


def test_reasons_name_what_raised_the_score_largest_first() -> None:
    names = ("amount", "distance_from_home_km", "foreign_transaction", "card_present")
    features = [CREDIT_CARD.features[CREDIT_CARD.feature_names.index(name)] for name in names]
    reasons = top_reasons(features, [900.0, 3.0, 1.0, 0.0], [0.5, 1.5, -2.0, 0.0])
    assert [reason.feature for reason in reasons] == ["distance_from_home_km", "amount"]
    assert reasons[1].code == "AMOUNT"
    assert reasons[1].text == "The event's amount in major units: 900 major units"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("amount_roundness", 4.0, "4 is whole major units, 8 is whole hundreds: 4"),
        ("used_chip", -1.0, "Used chip, as sent with the event: not sent"),
        ("user_count_1h", 7.0, "Events of the user in the last 1h: 7 events"),
        ("user_seconds_since_last", 5400.0, "Time since the user's last event: 1.5 h"),
        ("user_seconds_since_latest_fraud", 31_622_400.0, "the user's latest known fraud: never"),
        ("merchant_category_code", 3.0, "among the declared ones: electronics"),
        (
            "user_amount_ratio_60d_ago_14d",
            5.25,
            "The event's amount divided by the user's mean amount in the 60d up to 14d ago: 5.25",
        ),
        ("user_device_count", 0.0, "Events of the user-device pair ever observed"),
    ],
)
def test_a_reason_reads_like_a_sentence(name: str, value: float, text: str) -> None:
    feature = CREDIT_CARD.features[CREDIT_CARD.feature_names.index(name)]
    (reason,) = top_reasons([feature], [value], [1.0])
    assert text in reason.text


def test_decision_ids_sort_by_time_and_are_each_of_their_own() -> None:
    earlier = new_decision_ids(1_700_000_000_000_000, 500)
    later = new_decision_ids(1_700_000_000_001_000, 500)
    assert max(earlier) < min(later)
    assert len({*earlier, *later, *new_decision_ids(1_700_000_000_000_000, 500)}) == 1500
    for each in (*earlier, *later):
        assert str(uuid.UUID(each)) == each
        assert (uuid.UUID(each).version, uuid.UUID(each).variant) == (7, uuid.RFC_4122)


def test_the_reply_has_every_field_of_the_interface() -> None:
    decision = Decision(
        transaction_id="T",
        decision_id=new_decision_ids(0, 1)[0],
        fraud_type="credit_card",
        fraud_probability=0.8,
        risk_level=RiskLevel.HIGH,
        reasons=(Reason("AMOUNT", "amount is 9", "amount", 9.0, 0.5),),
        rules=("BURST",),
        model_version="m1",
        policy_version="p1",
        degraded=False,
        scored_at_us=1_767_225_600_000_000,
    )
    answer = reply(decision)
    assert answer["recommended_action"] == "block"
    assert answer["scored_at"] == "2026-01-01T00:00:00Z"
    assert set(answer) == {
        "transaction_id", "decision_id", "fraud_type", "fraud_probability", "risk_level",
        "recommended_action", "reasons", "rules", "model_version", "policy_version",
        "degraded", "scored_at", "replayed",
    }  # fmt: skip
    assert orjson.loads(reply_json(decision, orjson.dumps)) == answer
    again = replace(decision, is_replayed=True)
    assert orjson.loads(reply_json(again, orjson.dumps)) == {**answer, "replayed": True}
    assert b"_reply" not in orjson.dumps(decision)  # as the journal keeps it
    assert decision == replace(decision)

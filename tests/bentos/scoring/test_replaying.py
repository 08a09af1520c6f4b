"""Decisions replayed from a real ledger, a lake and signed bundles."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bentos.scoring.replay import Replay
from bentos.scoring.replaying import a_sample, replay_decisions, this_one
from fraud import cli
from fraud.domain.errors import NotFound
from fraud.domain.policy import Thresholds
from fraud.ledger.models import record_feature_schema
from fraud.ledger.pool import ConnectionPool
from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.scoring.past_worlds import PUBLIC, Past, halves
from tests.feature_store.worlds import DAY, HOUR
from tests.protection import given_keys

EVERY_REASON = {"thresholds": Thresholds(review=1e-6, block=0.9, critical=0.99)}
"""Nothing is LOW, so every decision has reasons."""


@pytest.fixture
def past(new_ledger: Callable[[], str], tmp_path: Path) -> Iterator[Past]:
    pool = ConnectionPool(new_ledger(), size=8)
    yield Past(pool, tmp_path)
    pool.close()


def replayed(past: Past, count: int = 1000) -> list[Replay]:
    return replay_decisions(past.archive, a_sample(count, seed=1))


def differing(past: Past, decision_id: str) -> dict[str, tuple[object, object]]:
    (found,) = replay_decisions(past.archive, this_one(decision_id))
    assert not found.obstacles
    return {each.part: (each.recorded, each.recomputed) for each in found.differences}


def told(replays: list[Replay]) -> list[object]:
    return [(each.differences, each.obstacles) for each in replays if not each.is_identical]


def test_what_a_canary_answered_is_replayed_with_the_canary(past: Past) -> None:
    past.promote("m1", 0.9)
    past.try_canary("m2", 0.4, share=0.7)  # of the two users it meets one
    decisions = past.score(30)
    assert {each.model_version for each in decisions} == {"m1", "m2"}
    assert told(replayed(past)) == []
    by_canary = next(each for each in decisions if each.role == "canary")
    past.tamper(
        "UPDATE decisions SET model_version = 'm1' WHERE decision_id = %s", by_canary.decision_id
    )
    assert "fraud_probability" in differing(past, by_canary.decision_id)


def test_all_is_identical_after_promotions_edits_late_data_and_rebuilt_states(past: Past) -> None:
    events, labels, past.clock.now_us = halves(past.folder / "source")
    past.give_lake(events[0], labels[0])
    past.materialize()
    decisions = past.score(9, step_us=HOUR)  # degraded, by the rules that come with the code
    past.promote("m1", 0.9)
    decisions += past.score(9, step_us=HOUR)
    past.activate_rule("LARGE", "amount > 5.0")
    past.put_on_list("bad", "X", expires_in_us=3 * HOUR)
    decisions += past.score(12, step_us=HOUR)  # the entry expires among these
    past.set_policy(Thresholds(review=0.05, block=0.3, critical=0.8))
    past.label("S1", "S7", "S20", "T3")  # T3 is known to the lake alone
    past.promote("m2", 0.4, **EVERY_REASON)
    decisions += past.score(9, step_us=HOUR, late_us=3 * DAY)
    past.activate_rule("LARGE", "amount > 1000.0")  # the older version is retired
    past.activate_rule("QUIET", "!lists.bad && amount > 1.0", state="shadow")
    decisions += past.score(6)
    # Now the lake learns of the days in which all this happened, and the states with it.
    past.give_lake(events[1], labels[1])
    decisions += past.score(6)
    past.materialize()
    decisions += past.score(9, step_us=HOUR)
    past.label("T5", "S40")
    decisions += past.score(6, step_us=DAY)
    past.put_on_list("bad", "Y")
    past.set_policy(Thresholds(review=0.5, block=0.6, critical=0.7))
    past.promote("m3", 2.0)

    replays = replayed(past)
    assert told(replays) == []
    assert {each.recorded.decision.decision_id for each in replays} == {
        each.decision_id for each in decisions
    }
    # The world is what the test's name says.
    assert {each.model_version for each in decisions} == {"none", "m1", "m2"}
    assert {each.degraded for each in decisions} == {True, False}
    assert len({(each.rules_version, each.lists_version) for each in decisions}) == 3
    assert len({each.policy_version for each in decisions}) == 3
    at_x = [
        "DENY_LIST" in each.recorded.decision.rules
        for each in replays[18:30]
        if each.recorded.event.fields["merchant_id"] == "X"
    ]
    assert at_x == sorted(at_x, reverse=True)
    assert set(at_x) == {True, False}, "the entry expired before or after these"
    assert any(each.shadow_rules for each in decisions)
    assert any("LARGE" in each.rules for each in decisions)


def test_what_a_rebuild_of_states_adds_is_not_seen_before_it(past: Past) -> None:
    """If it were, replaying yesterday's decisions would fail every morning."""
    events, labels, past.clock.now_us = halves(past.folder / "source")
    past.give_lake(events[0], labels[0])
    past.score(3)  # no states were ever built: nothing of the lake is known
    past.materialize()
    past.score(3)
    values = [each.recorded.feature_values for each in replayed(past)]
    count = CREDIT_CARD.feature_names.index("user_count_30d")
    seen = [np.frombuffer(each, "<f8")[count] for each in values]
    assert max(seen[:3]) <= 2, "the lake's events were seen"
    assert told(replayed(past)) == []


def test_what_an_old_day_gains_is_not_seen_before_the_next_rebuild(past: Past) -> None:
    events, labels, past.clock.now_us = halves(past.folder / "source")
    is_late = np.arange(len(events[0])) % 2 == 0
    past.give_lake(events[0][~is_late], labels[0].head(0))
    past.materialize()
    past.score(6)
    past.give_lake(events[0][is_late], labels[0])
    past.score(6)
    past.materialize()
    past.score(6)
    assert told(replayed(past)) == []


def test_decisions_made_while_states_are_being_rebuilt(past: Past) -> None:
    events, labels, past.clock.now_us = halves(past.folder / "source")
    past.promote("m1", 0.9)
    past.score(6)
    past.give_lake(events[0], labels[0])
    past.materialize(lambda done, total: past.score(3) and None)
    past.score(3)
    replays = replayed(past)
    assert len(replays) > 15
    assert told(replays) == []


def test_decisions_made_while_the_ledger_was_away(past: Past) -> None:
    """They looked at no history; what was stored with them is what they found on their return."""
    past.promote("m1", 0.9)
    past.activate_rule("SEEN", "user_count_30d > 1.0")
    for merchant in "XYZ":
        past.put_on_list("bad", merchant)
    past.score(12, step_us=HOUR)
    past.score_without_ledger(9)
    past.score(3)
    replays = replayed(past)
    assert told(replays) == []
    away = [each.recorded for each in replays if each.recorded.was_journalled]
    assert len(away) == 9
    assert {"DENY_LIST"} == {code for each in away for code in each.decision.rules}
    assert "SEEN" in replays[-1].recorded.decision.rules


@pytest.fixture
def victim(past: Past) -> str:
    """A decision with reasons, and others about the same people before and after it."""
    past.promote("m1", 0.9, **EVERY_REASON)
    past.activate_rule("ANY", "amount > 0.0")
    decisions = past.score(12, step_us=HOUR)
    assert told(replayed(past)) == []
    assert decisions[7].reasons[0].code == "ANY"
    assert decisions[7].reasons[1].contribution > 0
    return decisions[7].decision_id


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ("probability = probability * (1 + 1e-15)", "fraud_probability"),
        ("risk_level = 'LOW'", "risk_level"),
        ("action = 'approve'", "recommended_action"),
        ("rules = '[]'", "rules"),
        ("""shadow_rules = '["ANY"]'""", "shadow_rules"),
        ("policy_version = '000000000000'", "policy_version"),
        ("degraded = true", "degraded"),
        ("reasons = jsonb_set(reasons, '{1,contribution}', '0.5')", "reason 2 contribution"),
        ("reasons = jsonb_set(reasons, '{0,text}', '\"Trust me.\"')", "reason 1 text"),
        ("reasons = reasons - 0", "reason 1 code"),
    ],
)
def test_a_tampered_decision_is_found_and_named(
    past: Past, victim: str, change: str, part: str
) -> None:
    past.tamper(f"UPDATE decisions SET {change} WHERE decision_id = %s", victim)
    found = differing(past, victim)
    assert part in found
    if "reason" not in part:
        assert list(found) == [part]
    others = [each for each in replayed(past) if each.recorded.decision.decision_id != victim]
    assert told(others) == []


def test_a_tampered_feature_is_found_and_named(past: Past, victim: str) -> None:
    place = CREDIT_CARD.feature_names.index("user_count_30d")
    past.tamper(
        "UPDATE decisions SET feature_values = set_byte(feature_values, %s, "
        "get_byte(feature_values, %s) # 1) WHERE decision_id = %s",
        *(8 * place, 8 * place, victim),
    )
    assert list(differing(past, victim)) == ["user_count_30d"]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ("risk_level = 'LOW'", "transaction's risk_level"),
        ("recommended_action = 'approve'", "transaction's recommended_action"),
        ("fraud_probability = 1 - fraud_probability", "transaction's fraud_probability"),
        ("amount_minor = amount_minor + 1", "amount"),
        ("timestamp = timestamp - interval '1 day'", "user_seconds_since_last"),
    ],
)
def test_a_tampered_transaction_is_found(past: Past, victim: str, change: str, part: str) -> None:
    where = "transaction_id = (SELECT transaction_id FROM decisions WHERE decision_id = %s)"
    past.tamper(f"UPDATE transactions SET {change} WHERE {where}", victim)
    assert part in differing(past, victim)


def test_a_rule_rewritten_in_place_is_found(past: Past, victim: str) -> None:
    past.tamper("UPDATE rules SET expression = 'amount > 1000000.0' WHERE code = 'ANY'")
    assert {"rules", "reason 1 code"} <= set(differing(past, victim))


def test_a_bundle_that_is_gone_is_said_so_and_features_are_replayed_all_the_same(
    past: Past, victim: str
) -> None:
    past.promote("m2", 0.4)
    last = past.score(1)[0].decision_id
    shutil.rmtree(past.folder / "bundles" / "credit_card" / "m1")
    (found,) = replay_decisions(past.archive, this_one(victim))
    assert not found.differences
    assert "The bundle of model m1 is gone" in found.obstacles[0]
    assert not found.is_identical
    assert differing(past, last) == {}
    place = 8 * CREDIT_CARD.feature_names.index("amount")
    past.tamper(
        "UPDATE decisions SET feature_values = set_byte(feature_values, %s, 1) "
        "WHERE decision_id = %s",
        *(place, victim),
    )
    (found,) = replay_decisions(past.archive, this_one(victim))
    assert [each.part for each in found.differences] == ["amount"]


def test_another_bundle_in_its_place_is_refused(past: Past, victim: str) -> None:
    bundles = past.folder / "bundles" / "credit_card"
    past.promote("m2", 0.4)
    shutil.rmtree(bundles / "m1")
    shutil.copytree(bundles / "m2", bundles / "m1")
    (found,) = replay_decisions(past.archive, this_one(victim))
    assert "another bundle" in found.obstacles[0]


def test_decisions_on_other_features_are_decided_again_on_the_recorded_values(past: Past) -> None:
    names = list(CREDIT_CARD.feature_names)
    unused = names.index("merchant_fraud_labels_7d")  # always 0 here, so in no reason
    names[unused] = "user_wisdom_30d"
    past.promote("old", 0.9, schema_hash="0ld", feature_names=tuple(names), **EVERY_REASON)
    past.activate_rule("ANY", "amount > 0.0")
    decision = past.score(1)[0]
    past.tamper("UPDATE decisions SET schema_hash = '0ld'")
    (found,) = replayed(past)
    assert not found.differences
    assert "not replayable with this code" in found.obstacles[0]
    assert not found.is_identical
    with past.pool.transaction() as cursor:
        record_feature_schema(cursor, "0ld", "credit_card", names, {})
    assert len(replayed(past)[0].obstacles) == 1
    past.tamper("UPDATE decisions SET probability = 0.5")
    (found,) = replay_decisions(past.archive, this_one(decision.decision_id))
    assert [each.part for each in found.differences] == ["fraud_probability"]


def test_unknown_decisions(past: Past) -> None:
    with pytest.raises(NotFound, match="no decision 'nonsense'"):
        replay_decisions(past.archive, this_one("nonsense"))
    with pytest.raises(NotFound, match="no decision '00000000-"):
        replay_decisions(past.archive, this_one("00000000-0000-7000-8000-000000000000"))
    with pytest.raises(NotFound, match="no decision to replay"):
        replayed(past)


def test_a_seed_picks_the_same_decisions_again(past: Past) -> None:
    past.score(12)
    one, again, other = (
        {each.recorded.number for each in replay_decisions(past.archive, a_sample(5, seed))}
        for seed in (1, 1, 2)
    )
    assert len(one) == 5
    assert one == again != other
    assert len(replay_decisions(past.archive, a_sample(3, 1, "credit_card"))) == 3


@pytest.fixture
def fraud(past: Past, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    key = past.folder / "verify.pem"
    key.write_bytes(PUBLIC)
    for name, value in {
        "DATABASE_URL": past.pool.url,
        "FRAUD_RUN_DIR": past.folder / "run",
        "FRAUD_LAKE_URL": past.folder / "lake",
        "FRAUD_BUNDLE_DIR": past.folder / "bundles",
        **given_keys(past.folder),
        "FRAUD_VERIFY_KEY_FILE": key,
    }.items():
        monkeypatch.setenv(name, str(value))

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli.app, ["replay", *arguments])
        return result.exit_code, result.output

    return run


def test_the_command_says_what_differs(
    past: Past, victim: str, fraud: Callable[..., tuple[int, str]]
) -> None:
    code, out = fraud(victim)
    assert code == 0
    assert "Identical" in out
    code, out = fraud("--sample", "1000", "--seed", "4")
    assert code == 0
    assert json.loads(out.splitlines()[-1]) == {
        "replayed": 12,
        "identical": 12,
        "different": 0,
        "not_replayable": 0,
        "seed": 4,
    }
    past.tamper("UPDATE decisions SET probability = 0.25 WHERE decision_id = %s", victim)
    code, out = fraud(victim)
    assert code == 1
    assert "fraud_probability" in out
    assert "0.25" in out
    code, out = fraud("--sample", "1000", "--fraud-type", "credit_card")
    assert code == 1
    assert victim in out
    assert json.loads(out.splitlines()[-1])["different"] == 1


def test_the_command_fails_where_it_could_not_do_all(
    past: Past, victim: str, fraud: Callable[..., tuple[int, str]]
) -> None:
    shutil.rmtree(past.folder / "bundles")
    code, out = fraud("--sample", "5", "--seed", "1")
    assert code == 2
    assert json.loads(out.splitlines()[-1])["not_replayable"] == 5
    assert fraud(victim)[0] == 2
    for wrong in ((), (victim, "--sample", "3"), ("nonsense",)):
        code, out = fraud(*wrong)
        assert code == 2
        assert "fraud: " in out

"""What monitoring reads of the ledger: samples of what was served, and how it turned out."""

import datetime as dt
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from bentos.scoring.expressions import Language
from fraud.domain.decision import new_decision_ids
from fraud.domain.event import to_us
from fraud.domain.label import Label
from fraud.domain.rules import RiskLevel
from fraud.ledger.decisions import insert_decisions
from fraud.ledger.labels import upsert_labels
from fraud.ledger.measurements import (
    DRIFT,
    RETRAINING,
    Measurement,
    measurement_history,
    newest_measurements,
    record_measurements,
)
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.rules import rules_of
from fraud.types.ach import ACH
from fraud.types.credit_card import CREDIT_CARD
from orchestration.assets.live_quality import weighted_sentence
from orchestration.assets.patterns import draft_segments
from orchestration.capacity import capacity, daily_decisions, growth_of
from orchestration.live import (
    default_rates,
    judged_decisions,
    label_delays,
    live_quality,
    served_sample,
)
from orchestration.patterns import find_segments, with_features
from tests.fraud.ledger.builders import a_decision, a_record, an_event
from tests.orchestration.served_world import serve
from tests.protection import a_protection

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def pool(new_ledger: Callable[[], str]) -> Iterator[ConnectionPool]:
    pool = ConnectionPool(new_ledger(), size=4)
    maturity = dt.timedelta(microseconds=CREDIT_CARD.maturity_us)
    serve(pool, NOW, 2_000, age=maturity + dt.timedelta(days=10), seed=1)
    serve(pool, NOW, 2_000, age=maturity + dt.timedelta(days=2), seed=2)
    serve(pool, NOW, 900, age=dt.timedelta(days=1), seed=3)  # too young to be judged
    yield pool
    pool.close()


def test_only_matured_decisions_are_judged_and_the_figures_follow_from_them(
    pool: ConnectionPool,
) -> None:
    with pool.transaction() as cursor:
        judged = judged_decisions(cursor, CREDIT_CARD, NOW)
    assert len(judged) == 4_000
    flagged, fraud = judged["action"] != "approve", judged["is_fraud"]
    found = live_quality(judged)
    assert found["precision"] == 1.0  # the world flags nothing but fraud
    assert found["recall"] == pytest.approx((flagged & fraud).sum() / fraud.sum())
    assert found["accuracy"] == pytest.approx(1 - (fraud & ~flagged).sum() / 4_000)
    assert 0.4 < found["recall"] < 0.6
    assert found["roc_auc"] == pytest.approx((1 + found["recall"]) / 2, abs=0.01)


def test_what_cannot_be_said_is_left_out(pool: ConnectionPool) -> None:
    with pool.transaction() as cursor:
        judged = judged_decisions(cursor, CREDIT_CARD, NOW)
    genuine = judged[~judged["is_fraud"]]
    assert set(live_quality(genuine)) == {"accuracy", "frauds"}


def test_what_was_let_through_speaks_for_what_was_blocked(new_ledger: Callable[[], str]) -> None:
    at_us = to_us(NOW) - CREDIT_CARD.maturity_us - 86_400_000_000
    rng = np.random.default_rng(3)
    is_fraud, drawn = rng.random(2_000) < 0.8, rng.random(2_000) < 0.2
    records, labels = [], []
    for place in range(2_000):
        event = an_event(transaction_id=f"blocked-{place}", event_time_us=at_us)
        decision = a_decision(
            event,
            decision_id=new_decision_ids(at_us + place, 1)[0],
            risk_level=RiskLevel.HIGH,
            model_version="blocks",
            scored_at_us=at_us,
            propensity=0.2,
            is_let_through=bool(drawn[place]),
        )
        records.append(a_record(event, decision))
        if is_fraud[place] and drawn[place]:  # what was blocked is never reported
            labels.append(Label(event.transaction_id, True, at_us + 1, "bank"))
    pool = ConnectionPool(new_ledger(), size=1)
    with pool.transaction() as cursor:
        insert_decisions(cursor, records)
        upsert_labels(cursor, CREDIT_CARD.name, labels, to_us(NOW))
        found = live_quality(judged_decisions(cursor, CREDIT_CARD, NOW))
    pool.close()
    assert found["precision"] == 0.0, "of what was blocked nobody reported anything"
    # 400 are seen: a standard error of two points
    assert found["weighted_precision"] == pytest.approx(is_fraud.mean(), abs=0.06)
    assert found["block_precision"] == found["weighted_precision"]
    assert found["block_precision_low"] < is_fraud.mean() < found["block_precision_high"]
    assert found["let_through"] == drawn.sum()
    shown = weighted_sentence(found)
    assert "is 0.0% if" in shown
    assert f"by the {drawn.sum()} let through" in shown
    assert weighted_sentence({"precision": 1.0}) == ""


def test_a_sample_is_drawn_from_the_window_and_is_the_same_each_time(pool: ConnectionPool) -> None:
    since = NOW - dt.timedelta(days=100)
    with pool.transaction() as cursor:
        whole = served_sample(cursor, CREDIT_CARD, since, NOW)
        some = served_sample(cursor, CREDIT_CARD, since, NOW, most=500)
        again = served_sample(cursor, CREDIT_CARD, since, NOW, most=500)
        none = served_sample(cursor, CREDIT_CARD, NOW, NOW + dt.timedelta(days=1))
    assert none is None
    assert whole is not None
    assert some is not None
    assert again is not None
    assert (len(whole.rows), whole.of) == (4_900, 4_900)
    assert (len(some.rows), some.of) == (500, 4_900)
    assert some.rows.equals(again.rows)
    assert list(whole.rows) == list(CREDIT_CARD.feature_names)
    rates = default_rates(whole.rows, CREDIT_CARD)
    assert set(rates) == set(CREDIT_CARD.feature_names)
    assert rates["amount"] == 0.0


def test_delays_of_labels(pool: ConnectionPool) -> None:
    with pool.transaction() as cursor:
        delays = label_delays(cursor, CREDIT_CARD, NOW - dt.timedelta(days=1))
        none = label_delays(cursor, CREDIT_CARD, NOW + dt.timedelta(days=1))
    assert none == {}
    # Every label of this world is reported three days after its event.
    assert delays == {"0.5": pytest.approx(3 * 86_400), "0.9": pytest.approx(3 * 86_400)}


def test_the_segment_that_is_missed_becomes_a_rule_in_draft_once(pool: ConnectionPool) -> None:
    with pool.transaction() as cursor:
        decisions = with_features(cursor, CREDIT_CARD, judged_decisions(cursor, CREDIT_CARD, NOW))
    segments = find_segments(decisions, CREDIT_CARD.feature_names)
    assert segments
    best = segments[0]
    assert "amount >" in best.expression or "user_count_1h >" in best.expression
    assert best.lift > 4.5  # a fifth of the events holds all of the fraud
    assert "&&" not in best.expression  # nothing but that fifth
    assert best.missed > 50
    Language(CREDIT_CARD, []).check(best.expression)
    drafted = draft_segments(pool, CREDIT_CARD, segments, NOW, a_protection())
    rule, tried = drafted[0]
    assert rule.state == "draft"
    assert tried.missed_fraud_hits > 50
    again = draft_segments(pool, CREDIT_CARD, segments, NOW, a_protection())
    assert [rule.version for rule, _ in again] == [1] * len(segments)
    with pool.transaction() as cursor:
        stored = [each for each in rules_of(cursor, "credit_card") if each.rule.state == "draft"]
    assert len(stored) == len(segments)


def test_a_world_without_a_pattern_has_no_segment(pool: ConnectionPool) -> None:
    with pool.transaction() as cursor:
        decisions = with_features(cursor, CREDIT_CARD, judged_decisions(cursor, CREDIT_CARD, NOW))
    shuffled = decisions.assign(
        is_fraud=decisions["is_fraud"].sample(frac=1, random_state=3).values
    )
    assert find_segments(shuffled, CREDIT_CARD.feature_names) == []


def test_where_nothing_was_decided_there_is_nothing_to_find(pool: ConnectionPool) -> None:
    with pool.transaction() as cursor:
        judged = judged_decisions(cursor, ACH, NOW)
        decisions = with_features(cursor, ACH, judged)
    assert len(decisions) == 0
    assert find_segments(decisions, ACH.feature_names) == []


def test_capacity_says_what_a_decision_takes_and_where_growth_leads(pool: ConnectionPool) -> None:
    with pool.transaction() as cursor:
        found = capacity(cursor, NOW, cost_per_hour=2.0, cost_per_gb_month=0.1)
        daily = daily_decisions(cursor, NOW)
    assert sum(daily.values()) == 4_900
    assert found.bytes_per_decision is not None
    assert found.bytes_per_decision > 8 * len(CREDIT_CARD.features)  # its features alone
    assert found.storage_bytes == pytest.approx(found.bytes_per_decision * 4_900)
    assert found.cost_per_million is not None
    machines = 1e6 * 2.0 * 24 * len(daily) / 4_900
    assert found.cost_per_million == pytest.approx(
        machines + 1e6 * 0.1 * 12 * found.bytes_per_decision / 1e9
    )
    assert set(found.forecast) == {30, 90, 365}


def test_growth_does_not_follow_a_single_bad_day() -> None:
    counts = [1_000 + 10 * day for day in range(28)]
    counts[20] = 0
    assert growth_of(counts) == pytest.approx(10.0)
    assert growth_of(counts[:6]) is None


def test_the_newest_of_each_measurement_is_found(pool: ConnectionPool) -> None:
    at_us = to_us(NOW)
    with pool.transaction() as cursor:
        record_measurements(
            cursor,
            [
                Measurement("credit_card", DRIFT, at_us - 5, {"drifted": 4}),
                Measurement("credit_card", DRIFT, at_us, {"drifted": 1}, "a"),
                Measurement("credit_card", DRIFT, at_us, {"drifted": 2}, "b"),
                Measurement("ach", DRIFT, at_us - 9, {"drifted": 7}),
            ],
        )
        newest = newest_measurements(cursor, ["credit_card", "ach"], [DRIFT, RETRAINING])
        history = measurement_history(cursor, "credit_card", DRIFT, limit=2)
    assert [(each.fraud_type, each.values["drifted"]) for each in newest] == [
        ("credit_card", 1),
        ("credit_card", 2),
        ("ach", 7),
    ]
    assert [each.model_version for each in history] == ["b", "a"]
    with pytest.raises(ValueError, match="JSON"), pool.transaction() as cursor:
        record_measurements(cursor, [Measurement("ach", DRIFT, at_us, {"drifted": float("nan")})])

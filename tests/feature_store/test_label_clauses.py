"""Clauses of CONTRACT.md about labels, each on a log small enough to work out by hand."""

import math

from fraud.domain.aggregates import OUTCOME_MEMORY
from fraud.domain.history import YEAR_S
from tests.feature_store.agreement import World, f32

FIRST, REPORTED, NOW = "2026-04-01T12:00:00", "2026-04-10T12:00:00", "2026-04-15T12:00:00"


def test_a_label_acts_on_what_is_observed_after_it() -> None:
    world = World().event(FIRST).event(REPORTED).label("T0", REPORTED).event(REPORTED)
    assert [each["merchant_fraud_labels_7d"] for each in world.features()] == [0, 0, 1]


def test_only_the_first_label_of_a_transaction_acts() -> None:
    world = World().event(FIRST).label("T0", REPORTED).label("T0", "2026-04-11T12:00:00")
    assert world.event(NOW).last()["user_fraud_labels_30d"] == 1


def test_a_label_observed_before_its_transaction_never_acts() -> None:
    world = World().label("T0", FIRST).event(REPORTED).event(NOW)
    assert world.last()["user_fraud_labels_30d"] == 0
    assert world.last()["user_seconds_since_latest_fraud"] == YEAR_S


def test_label_windows_go_by_the_time_of_report() -> None:
    world = World().event("2026-01-01T12:00:00").event(FIRST).label("T0", REPORTED)
    found = world.event(NOW).last()
    assert found["merchant_fraud_labels_7d"] == 1, "though the payment was months ago"
    assert world.event("2026-04-18T12:00:00").last()["merchant_fraud_labels_7d"] == 0


def test_label_risk_divides_by_the_events_one_maturity_earlier() -> None:
    world = World()
    for day in ("2026-04-02", "2026-04-03", "2026-04-04", "2026-04-12"):
        world.event(f"{day}T12:00:00")
    found = world.label("T0", "2026-04-13T12:00:00").event(NOW).last()
    assert found["merchant_label_risk_7d"] == f32(1 / 3), "events of 1 to 8 April"
    found = (
        World().event("2026-04-12T12:00:00").label("T0", "2026-04-13T12:00:00").event(NOW).last()
    )
    assert found["merchant_label_risk_7d"] == 0, "there are none one maturity ago"


def test_matured_outcomes_are_those_of_the_last_old_enough_events() -> None:
    world = World().event("2026-04-01T12:00:00").event("2026-04-02T12:00:00")
    world.event("2026-04-03T12:00:00").event("2026-04-14T12:00:00")
    world.label("T1", REPORTED).label("T3", "2026-04-14T13:00:00")
    found = world.event(NOW).last()
    shares = [found[f"merchant_matured_fraud_share_{k}"] for k in (1, 3)]
    assert shares == [0, f32(1 / 3)], "that of 14 April is not mature, fraud or not"


def test_matured_outcomes_forget_what_is_older_than_64_events() -> None:
    world = World().event(FIRST).label("T0", REPORTED)
    for _ in range(OUTCOME_MEMORY - 1):
        world.event(REPORTED)
    assert world.event(NOW).last()["merchant_matured_fraud_share_1"] == 1
    assert world.event(NOW).last()["merchant_matured_fraud_share_1"] == 0


def test_fraud_times_are_of_the_events_and_not_of_the_reports() -> None:
    world = World().event("2026-03-01T12:00:00").event(FIRST).event("2026-04-02T12:00:00")
    world.label("T1", REPORTED).label("T0", "2026-04-11T12:00:00")
    found = world.event(NOW).last()
    assert found["merchant_seconds_since_latest_fraud"] == 14 * 86_400
    assert found["merchant_seconds_since_earliest_fraud"] == 45 * 86_400


def test_a_fraud_run_begins_after_the_last_genuine_matured_event() -> None:
    world = World().event("2026-03-28T12:00:00").event("2026-03-29T12:00:00")
    world.event("2026-04-01T12:00:00").event("2026-04-02T12:00:00").event("2026-04-14T12:00:00")
    for about in ("T0", "T2", "T3", "T4"):
        world.label(about, "2026-04-14T13:00:00")
    assert world.event(NOW).last()["merchant_fraud_run"] == 2, "T0 was before, T4 is not mature"
    assert world.event("2026-04-22T12:00:00").last()["merchant_fraud_run"] == 0, "T5 was genuine"


def test_times_of_a_run_are_of_its_first_event_and_of_the_last_genuine_one() -> None:
    world = World().event("2026-03-29T12:00:00").event("2026-03-28T12:00:00")
    found = world.event(FIRST).event("2026-04-02T12:00:00").event(NOW).last()
    assert found["merchant_seconds_since_genuine"] == 13 * 86_400
    assert found["merchant_seconds_since_fraud_run"] == YEAR_S
    world.label("T2", "2026-04-15T13:00:00").label("T3", "2026-04-15T13:00:00")
    found = world.event("2026-04-15T14:00:00").last()
    assert found["merchant_seconds_since_genuine"] == 18 * 86_400 + 7_200, "seen after T0"
    assert found["merchant_seconds_since_fraud_run"] == 14 * 86_400 + 7_200


def test_amounts_are_measured_by_the_genuine_outcomes() -> None:
    one, ten, thousand = 100, 1_000, 100_000  # log1p of 1, 10, 1000: .6931, 2.3979, 6.9088
    world = World().event("2026-03-29T12:00:00", amount=one).event(FIRST, amount=ten)
    world.event(FIRST, amount=thousand).label("T2", REPORTED)
    world.event("2026-04-14T12:00:00", amount=ten).event("2026-04-14T12:00:00", amount=one)
    found = world.event(NOW, amount=thousand).last()
    mean = (6_931 + 23_979) / 2
    assert found["user_log_amount_above_genuine"] == f32((69_088 - mean) / 10_000)
    assert found["user_unmatured_log_amount_above_genuine"] == f32((23_979 - mean) / 10_000)
    assert found["merchant_fraud_run_log_amount"] == f32(6.9088)


def test_an_attack_begins_with_a_fraud_or_on_a_day_since_the_last_genuine_event() -> None:
    def shown(odds: float) -> float:
        return f32(round(math.log1p(int(1_000_000 * odds) / 100), 4))

    world = World().event("2026-03-30T12:00:00").event("2026-04-03T12:00:00")
    found = world.event("2026-04-15T14:00:00").last()
    assert found["merchant_attack_odds_28d"] == shown(2e-4 * 12), "on a day since 3 April"
    world = World().event("2026-03-30T12:00:00").event("2026-04-03T12:00:00")
    world.label("T1", "2026-04-14T12:00:00")
    found = world.event("2026-04-15T14:00:00").last()
    odds = 2e-4 / 0.01 * 4 + 2e-4 * 12
    assert found["merchant_attack_odds_28d"] == shown(odds), "from 31 March to 3 April"
    found = world.event("2026-04-29T14:00:00").last()
    assert found["merchant_attack_odds_28d"] == shown(2e-4 * 14), "that of 15 April was genuine"
    world = World().event("2026-03-30T12:00:00").event("2026-04-03T12:00:00")
    world.label("T1", "2026-04-14T12:00:00")
    found = world.event("2026-04-29T14:00:00").last()
    odds = (2e-4 / 0.01 * 2 + 2e-4 * 26) / (1 + 2e-4 / 0.01 * 2)
    assert found["merchant_attack_odds_28d"] == shown(odds), "not if on 31 March or 1 April"


def test_without_outcomes_nothing_is_measured() -> None:
    found = World().event(NOW).event(NOW).last()
    assert found["user_log_amount_above_genuine"] == 0.0
    assert found["user_unmatured_log_amount_above_genuine"] == 0.0
    assert (found["merchant_fraud_run"], found["merchant_fraud_run_log_amount"]) == (0.0, -1.0)

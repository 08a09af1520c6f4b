"""Clauses of CONTRACT.md about labels, each on a log small enough to work out by hand."""

from fraud.domain.aggregates import OUTCOME_MEMORY
from fraud.domain.history import YEAR_S
from tests.feature_store.agreement import World

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
    assert found["merchant_label_risk_7d"] == 1 / 3, "events of 1 to 8 April"
    assert found["merchant_label_risk_1d"] == 0, "there are none on 7 and 8 April"


def test_matured_outcomes_are_those_of_the_last_old_enough_events() -> None:
    world = World().event("2026-04-01T12:00:00").event("2026-04-02T12:00:00")
    world.event("2026-04-03T12:00:00").event("2026-04-14T12:00:00")
    world.label("T1", REPORTED).label("T3", "2026-04-14T13:00:00")
    found = world.event(NOW).last()
    shares = [found[f"merchant_matured_fraud_share_{k}"] for k in (1, 3, 10)]
    assert shares == [0, 1 / 3, 1 / 3], "that of 14 April is not mature, fraud or not"


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

"""Clauses of CONTRACT.md about events, each on a log small enough to work out by hand."""

import dataclasses
import random

import numpy as np
import pytest
from pydantic import ValidationError

from feature_store.offline import feature_matrix
from fraud.domain.aggregates import DISTINCT_MEMORY
from fraud.domain.event import MAX_AMOUNT
from fraud.domain.features import quantised_log_of
from fraud.domain.fraud_type import Entity, FraudType
from fraud.domain.history import YEAR_S, Count
from fraud.domain.windows import Window
from fraud.types.ach import ACH
from fraud.types.credit_card import CREDIT_CARD, CreditCardTransaction
from tests.feature_store.agreement import World, f32
from tests.feature_store.oracle import Seen
from tests.feature_store.specimen import SPECIMEN
from tests.feature_store.worlds import (
    a_body,
    a_log,
    an_empty_log,
    by_offline,
    by_online,
    by_oracle,
    frames,
)

NOON = "2026-04-15T12:00:00"


def test_the_second_after_a_leap_second_is_one_second_later() -> None:
    body = {"transaction_id": "T", "amount": 1.0, "user_id": "u", "merchant_id": "m"}
    body |= {"merchant_category": "grocery", "timestamp": "2016-12-31T23:59:60Z"}
    with pytest.raises(ValidationError, match="timestamp"):
        CreditCardTransaction.model_validate(body)
    found = World().event("2016-12-31T23:59:59").event("2017-01-01T00:00:00").last()
    assert found["user_seconds_since_last"] == 1.0


def test_daylight_saving_moves_no_window() -> None:
    """In Paris the clock jumps at 01:00 UTC; in state and windows nothing does."""
    paris = {"time_zone": "Europe/Paris"}
    found = World().event("2026-03-29T00:30:00", **paris).event("2026-03-29T01:30:00", **paris)
    assert found.last()["user_count_1h"] == 1
    assert found.last()["user_seconds_since_last"] == 3600.0
    assert [each["local_hour"] for each in found.features()] == [1.0, 3.0]


def test_what_was_observed_later_is_not_seen_even_if_it_happened_before() -> None:
    first, second = World().event(NOON).event("2026-04-15T11:00:00", seen=NOON).features()
    assert (first["user_count"], first["user_count_1d"]) == (0, 0)
    assert (second["user_count"], second["user_count_30d"]) == (1, 1)


def test_an_event_is_not_in_its_own_windows() -> None:
    (found,) = World().event(NOON, amount=77).features()
    assert found["user_amount_sum_1d"] == found["user_distinct_merchant_id_1d"] == 0
    assert found["user_merchant_count"] == 0


def test_events_of_one_moment_see_each_other_in_observation_order() -> None:
    world = World()
    for _ in range(4):
        world.event(NOON)
    assert [each["user_count_1h"] for each in world.features()] == [0, 1, 2, 3]
    assert [each["user_seconds_since_last"] for each in world.features()] == [YEAR_S, 0, 0, 0]


def test_a_late_event_is_placed_where_it_happened_once_it_was_seen() -> None:
    world = World().event(NOON).event("2026-04-15T11:58:00", seen="2026-04-15T13:10:00")
    world.event("2026-04-15T12:59:00", seen="2026-04-15T13:20:00")
    found = world.features()
    assert found[1]["user_count_1h"] == 0, "noon lies ahead of it, in a later tile"
    assert found[2]["user_count_1h"] == 2, "tiles from 11:55 on"
    assert found[2]["user_seconds_since_last"] == 61 * 60, "since what was observed last"


def test_the_first_and_the_last_tile_count_whole() -> None:
    world = World()
    for moment in ("11:04:59.999999", "11:05:00", "12:09:59", "12:10:00"):
        world.event(f"2026-04-15T{moment}", seen="2026-04-15T13:00:00")
    found = world.event("2026-04-15T12:05:01", seen="2026-04-15T13:00:01").last()
    assert found["user_count_1h"] == 2, "five minutes' tiles from 11:05 up to 12:10"


def test_a_delayed_window_ends_its_delay_ago() -> None:
    world = World().event("2026-02-01T12:00:00", amount=500).event("2026-04-02T00:00:00")
    found = world.event(NOON, amount=1_000).last()
    assert found["user_amount_ratio_60d_ago_14d"] == 2.0, "the mean of 500 alone"
    assert found["user_amount_ratio_30d"] == 1.0, "the mean of 1,000 alone"


def test_an_event_later_than_twelve_hops_finds_its_window_cut_short() -> None:
    world = World().event("2026-04-15T10:30:00").event("2026-04-15T13:00:00")
    in_time = "2026-04-15T11:10:00"
    assert world.event(in_time, seen="2026-04-15T13:00:01").last()["user_count_1h"] == 0
    world = World().event("2026-04-15T11:01:00").event("2026-04-15T13:00:00")
    assert world.event(in_time, seen="2026-04-15T13:00:01").last()["user_count_1h"] == 1


def test_without_a_history_all_sums_are_zero() -> None:
    found = World().event("1980-01-01T00:00:00", user_id="new", merchant_id="new").last()
    sums = [name for name in found if "_count" in name or "_amount_sum" in name]
    assert len(sums) > 9
    assert {found[name] for name in sums} == {0.0}


def test_sums_are_of_whole_minor_units() -> None:
    world = World()
    for amount in (10, 20, 30) * 7:  # 0.10 + 0.20 + 0.30 in floats would not add up
        world.event(NOON, amount=amount)
    found = world.event(NOON).last()
    assert (found["user_amount_sum_1d"], found["user_amount_mean_1d"]) == (420, 20)


def test_the_largest_amounts_sum_exactly() -> None:
    largest = round(MAX_AMOUNT * 100)
    world = World()
    for _ in range(120):
        world.event(NOON, amount=largest)
    assert world.event(NOON).last()["user_amount_sum_1d"] == f32(120 * largest)
    most = 2**63 - 1
    assert most // largest > 922_000_000, "events of one entity in a window, for sums of amounts"
    assert most // quantised_log_of(largest) ** 2 > 271_000_000, "and of squared log amounts"
    assert largest * (most // largest) <= most, "an amount times a count, in a ratio"


def test_distinct_counts_stop_at_the_64_values_seen_last() -> None:
    world = World()
    for number in range(DISTINCT_MEMORY + 6):
        world.event(NOON, merchant_id=f"m{number}")
    world.event(NOON, merchant_id="m3").event(NOON, merchant_id=f"m{DISTINCT_MEMORY + 5}")
    counts = [each["user_distinct_merchant_id_1d"] for each in world.features()]
    assert counts[:66] == [*range(65), 64]
    assert counts[-1] == 64


def test_a_distinct_value_counts_by_its_last_sighting_and_null_is_none() -> None:
    world = World().event("2026-04-01T12:00:00", device_id="d1").event(NOON, device_id="d2")
    world.event("2026-04-07T12:00:00", seen=NOON, device_id="d2").event(NOON)
    assert world.event(NOON).last()["user_distinct_device_id_7d"] == 0, (
        "d2 was seen last on the 7th"
    )
    assert world.event("2026-04-14T12:30:00", seen=NOON).last()["user_distinct_device_id_7d"] == 1


def test_the_last_value_is_that_of_the_last_event_that_had_one() -> None:
    world = World().event(NOON, country="US").event(NOON).event(NOON, country="US")
    world.event(NOON, country="FR").event("2026-04-14T12:00:00", seen=NOON, country="US")
    world.event(NOON, country="US").event(NOON)
    changed = [each["user_country_changed"] for each in world.features()]
    assert changed == [0, 0, 0, 1, 1, 0, 0]


def test_seconds_since_count_from_what_was_observed_and_are_never_negative() -> None:
    world = World().event(NOON, device_id="d")
    world.event("2026-04-15T11:00:00", seen=NOON, device_id="d").event(NOON, device_id="d")
    found = world.features()
    assert [each["user_seconds_since_last"] for each in found] == [YEAR_S, 0, 3600]
    assert [each["user_device_seconds_since_first"] for each in found] == [YEAR_S, 0, 0]


def test_lifetime_counts_never_forget() -> None:
    world = World().event("2001-01-01T00:00:00").event("2015-01-01T00:00:00").event(NOON)
    assert [each["user_merchant_count"] for each in world.features()] == [0, 1, 2]


def test_pairs_and_devices_have_histories_of_their_own() -> None:
    world = World().event(NOON, user_id="a", device_id="d").event(NOON, user_id="b", device_id="d")
    world.event(NOON, user_id="b", device_id="d").event(NOON, user_id="b", device_id="e")
    world.event("2026-04-15T13:00:00", user_id="a", device_id="d").event(NOON, user_id="a")
    found = world.features()
    assert [each["device_count"] for each in found] == [0, 1, 2, 0, 3, 0]
    assert [each["user_device_count"] for each in found] == [0, 0, 1, 0, 1, 0]
    assert [each["device_distinct_user_id_7d"] for each in found] == [0, 1, 2, 0, 2, 0]
    assert found[4]["device_seconds_since_first"] == 3600
    assert found[5]["device_seconds_since_first"] == YEAR_S, "there is no device"


PARIS = {"latitude": 48.858222, "longitude": 2.2945}
SYDNEY = {"latitude": -33.856784, "longitude": 151.215297}


def test_the_last_position_is_that_of_the_last_event_that_had_one() -> None:
    world = World().event("2026-04-13T12:00:00", **PARIS).event("2026-04-14T12:00:00")
    world.event("2026-04-12T12:00:00", seen="2026-04-14T12:00:00", **SYDNEY).event(NOON, **SYDNEY)
    found = world.event(NOON, **PARIS).features()
    assert [each["user_km_since_last"] for each in found[:2]] == [-1, -1]
    assert found[2]["user_km_since_last"] == pytest.approx(16_960, abs=5)
    assert found[3]["user_km_since_last"] == 0, "observed last, though it happened before"
    assert found[4]["user_kmh_since_last"] == 10_000, "the cap"


def test_a_speed_is_over_a_minute_at_least_and_capped() -> None:
    near = PARIS | {"latitude": 48.867222}  # 0.009 degrees north: 1,001 m
    world = World().event(NOON, **PARIS).event(NOON, **near)
    world.event("2026-04-15T11:00:00", seen=NOON, **PARIS)
    world.event("2026-04-15T12:30:00", **near)
    found = world.features()
    assert found[1]["user_km_since_last"] == f32(1.001)
    assert found[1]["user_kmh_since_last"] == pytest.approx(60.06), "in no time: in a minute"
    assert found[2]["user_kmh_since_last"] == pytest.approx(60.06), "backwards: in a minute"
    assert found[3]["user_kmh_since_last"] == pytest.approx(1.001 / 1.5), "since 11:00"


def test_calendars_follow_the_zone_of_the_event_else_that_of_the_type() -> None:
    world = (
        World().event("2026-01-31T23:30:00").event("2026-01-31T23:30:00", time_zone="Asia/Tokyo")
    )
    found = world.features()
    assert [each["local_hour"] for each in found] == [23, 8]
    assert [each["local_weekday"] for each in found] == [5, 6]
    assert [each["is_night"] for each in found] == [0, 0]


def test_a_ratio_is_one_division_of_rounded_integers() -> None:
    world = World().event(NOON, amount=9_999_999_999).event(NOON, amount=1)
    found = world.event(NOON, amount=3).last()
    assert found["user_amount_ratio_30d"] == f32((3 * 2) / 10_000_000_000)
    assert found["user_amount_mean_1d"] == 5_000_000_000.0


def test_a_ratio_of_means_compares_the_week_with_the_baseline() -> None:
    name = "user_amount_mean_ratio_7d_60d_ago_14d"
    world = World().event("2026-03-10T12:00:00", amount=100).event(NOON, amount=300)
    assert world.last()[name] == 1, "nothing within a week"
    found = world.event(NOON, amount=400).event(NOON, amount=1).last()
    assert found[name] == (700 / 2) / (100 / 1)


def test_a_standard_score_needs_two_amounts_that_differ_and_stops_at_ten() -> None:
    world = World().event(NOON, amount=1_000).event(NOON, amount=9_999_999_999)
    world.event(NOON, amount=1_000).event(NOON, amount=1_001).event(NOON, amount=1_001)
    scores = [each["user_amount_zscore_30d"] for each in world.features()]
    assert scores[:2] == [0, 0], "of nothing, and of one"
    world = World().event(NOON, amount=1_000).event(NOON, amount=1_000).event(NOON, amount=5_000)
    assert world.last()["user_amount_zscore_30d"] == 0, "of equals"
    world = World().event(NOON, amount=1_000).event(NOON, amount=1_010)
    assert world.event(NOON, amount=9_999_999_999).last()["user_amount_zscore_30d"] == 10


def test_roundness_counts_the_round_sums_that_divide_an_amount() -> None:
    cents = {1_99: 0, 2_05: 1, 2_10: 2, 2_50: 3, 2_00: 4, 5_00: 5, 30_00: 6, 50_00: 7, 700_00: 8}
    for amount, roundness in cents.items():
        assert World().event(NOON, amount=amount).last()["amount_roundness"] == roundness, amount


def test_every_feature_has_its_default_where_it_is_undefined() -> None:
    (found,) = World().event(NOON, merchant_category="unheard of").features()
    always = {"amount", "amount_roundness", "local_hour", "local_weekday", "is_weekend", "is_night"}
    for feature in SPECIMEN.features:
        if feature.name not in always:
            assert found[feature.name] == feature.default, feature.name


def test_all_features_are_finite_float32() -> None:
    log = a_log(11)
    matrix = feature_matrix(CREDIT_CARD, *frames(log))
    assert matrix.dtype == np.float32
    assert np.isfinite(matrix).all()
    served = by_online(log)
    assert np.array_equal(served, served.astype(np.float32)), "held as float64"


def test_a_value_is_rounded_once_and_halves_go_to_even() -> None:
    """12.34 has no float32; from 2**24 cents on, sums may lie half-way between two."""
    found = World().event(NOON, amount=12_34).event(NOON, amount=2**24 - 12_34).event(NOON).last()
    assert found["user_amount_sum_1d"] == 2**24
    odd = World().event(NOON, amount=2**24).event(NOON, amount=1).event(NOON, amount=2)
    sums = [each["user_amount_sum_1d"] for each in odd.event(NOON).features()]
    assert sums == [0, 2**24, 2**24, 2**24 + 4], "16777217 goes down to even, 16777219 up"
    assert World().event(NOON, amount=12_34).last()["amount"] == 12.34000015258789


def test_what_lies_beyond_float32_becomes_its_largest_value() -> None:
    """A share of next to nothing would be infinite, and a model could not be asked."""
    log = an_empty_log(ACH)
    for number, balance in enumerate((1e-40, 5e-324, 100.0)):
        body = a_body(random.Random(number), ACH) | {"sender_balance": balance}
        log.events.append(Seen(number + 1, number + 1, f"T{number}", 9_999_999_999, body))
    place = ACH.feature_names.index("amount_share_of_sender_balance")
    largest = 3.4028234663852886e38
    for found in (by_offline(log), by_online(log), by_oracle(log)):
        assert found[:, place].tolist() == [largest, largest, f32(999_999.9999)]


def changed(**changes: object) -> FraudType:
    return dataclasses.replace(CREDIT_CARD, **changes)  # type: ignore[arg-type]


def test_the_schema_hash_names_every_part_of_a_contract() -> None:
    first, *rest = CREDIT_CARD.features
    variants = [
        changed(maturity="8d"),
        changed(features=tuple(rest), rules=()),
        changed(features=(dataclasses.replace(first, default=1.0), *rest)),
        changed(features=(*CREDIT_CARD.features, Count(entity="user", window=Window("2h")))),
        changed(entities=(*CREDIT_CARD.entities, Entity("country", ("country",)))),
    ]
    hashes = {kind.schema_hash for kind in (CREDIT_CARD, *variants)}
    assert len(hashes) == len(variants) + 1
    assert changed(title="Cards").schema_hash == CREDIT_CARD.schema_hash

from dataclasses import replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from fraud.domain.errors import SettingsError
from fraud.domain.label import SOURCES
from fraud.types.credit_card import CATEGORIES, CreditCardTransaction
from orchestration.sources.simulator import population
from orchestration.sources.simulator.credit_card import (
    CreditCardSimulation,
    Drift,
    DriftKind,
    Scenario,
    Simulated,
    simulate,
    simulate_days,
)

START = date(2026, 3, 2)
DRIFT_START = START + timedelta(days=10)


def a_world(**changes: Any) -> CreditCardSimulation:
    """A tenth of the published world: about 950 transactions a day."""
    small = CreditCardSimulation(start=START, days=12, seed=7, customers=500, merchants=1_000)
    return replace(small, **changes)


def with_truth(simulated: Simulated) -> pd.DataFrame:
    truth = simulated.truth
    return simulated.transactions.assign(is_fraud=truth["is_fraud"], scenario=truth["scenario"])


def assert_same(one: Simulated, other: Simulated) -> None:
    pd.testing.assert_frame_equal(one.transactions, other.transactions)
    pd.testing.assert_frame_equal(one.labels, other.labels)
    pd.testing.assert_frame_equal(one.truth, other.truth)


def auc(score: npt.ArrayLike, is_fraud: "pd.Series[bool]") -> float:
    """Area under the ROC curve from ranks, in the better of the two directions."""
    ranks = pd.Series(np.asarray(score, dtype=float)).rank().to_numpy()
    frauds = int(is_fraud.sum())
    above = ranks[is_fraud.to_numpy()].sum() - frauds * (frauds + 1) / 2
    area = float(above / (frauds * (len(is_fraud) - frauds)))
    return max(area, 1 - area)


@pytest.fixture(scope="module")
def month() -> Simulated:
    """Thirty days of the published world: about 290,000 transactions."""
    return simulate(CreditCardSimulation(start=START, days=30, seed=1))


def test_the_same_seed_gives_the_same_rows() -> None:
    first = simulate(a_world())
    population.population.cache_clear()
    assert_same(first, simulate(a_world()))


def test_another_seed_gives_other_rows() -> None:
    one, other = simulate(a_world()), simulate(a_world(seed=8))
    assert set(one.transactions["amount"].head(50)) != set(other.transactions["amount"].head(50))


def test_columns_are_what_the_next_stage_reads(month: Simulated) -> None:
    table = month.transactions
    assert {name: str(kind) for name, kind in table.dtypes.items()} == {
        "transaction_id": "object",
        "event_time": "datetime64[us, UTC]",
        "observed_at": "datetime64[us, UTC]",
        "amount": "float64",
        "user_id": "object",
        "merchant_id": "object",
        "merchant_category": "object",
        "distance_from_home_km": "float64",
        "foreign_transaction": "bool",
        "card_present": "bool",
        "used_chip": "bool",
        "device_id": "object",
        "country": "object",
        "latitude": "float64",
        "longitude": "float64",
    }
    assert table["transaction_id"].is_unique
    assert table["transaction_id"].str.len().max() <= 50
    assert table["observed_at"].is_monotonic_increasing
    assert (table["event_time"] < table["observed_at"]).all()
    assert table["user_id"].str.fullmatch(r"USER_\d{6}").all()
    assert table["merchant_id"].str.fullmatch(r"MERCH_\d{6}").all()
    assert list(month.labels.columns) == ["transaction_id", "is_fraud", "reported_at", "source"]
    assert str(month.labels["reported_at"].dtype) == "datetime64[us, UTC]"
    assert month.labels["reported_at"].is_monotonic_increasing
    assert list(month.truth["transaction_id"]) == list(table["transaction_id"])


def test_fields_agree_with_each_other(month: Simulated) -> None:
    table = month.transactions
    assert (table["device_id"].isna() == table["card_present"]).all()
    assert not (table["used_chip"] & ~table["card_present"]).any()
    assert (table["amount"] > 0).all()
    assert (table["amount"] == table["amount"].round(2)).all()
    assert set(table["merchant_category"]) == set(CATEGORIES)
    assert table.groupby("merchant_id")["merchant_category"].nunique().max() == 1
    # Most of the grid is in the United States: 92 of 100 km.
    assert 0.85 < (table["country"] == "US").mean() < 0.95


def test_the_door_accepts_a_simulated_transaction(month: Simulated) -> None:
    for row in month.transactions.sample(200, random_state=0).to_dict("records"):
        fields = {str(name): value for name, value in row.items() if name != "observed_at"}
        timestamp = fields.pop("event_time").isoformat()
        CreditCardTransaction.model_validate({**fields, "timestamp": timestamp})
        assert "+00:00" in timestamp


def test_amounts_and_volume_follow_the_published_laws(month: Simulated) -> None:
    table = with_truth(month)
    genuine = table.loc[~table["is_fraud"]]
    # 5,000 customers x 2 a day on average, 96.9 % of them inside the day (|z| < 2.16); 3 standard
    # errors of the mean of 5,000 rates drawn from U(0, 4) are 2.5 %.
    assert len(table) / 30 == pytest.approx(9_690, rel=0.03)
    # The mean of U(5, 100) is 52.5; redrawn negatives and unusual purchases add about 3 %.
    assert genuine["amount"].mean() == pytest.approx(54.5, rel=0.03)
    assert genuine["event_time"].dt.hour.median() in (11, 12)


def test_every_scenario_has_its_share(month: Simulated) -> None:
    share = month.truth["scenario"].value_counts(normalize=True)
    # 3 in 10,000 to 9: the tail of N(m, m / 2) above 220, with m from U(5, 100), is 0.06 %.
    assert 0.0003 < share[Scenario.LARGE_AMOUNT] < 0.0009
    # 56 of 10,000 merchants are compromised at any time; about 116 in a month, so within 30 %.
    assert share[Scenario.COMPROMISED_MERCHANT] == pytest.approx(0.0056, rel=0.3)
    # 42 of 5,000 customers, a third of their transactions.
    assert share[Scenario.COMPROMISED_CUSTOMER] == pytest.approx(0.0028, rel=0.35)
    assert Scenario.CARD_TESTING not in share
    assert 0.005 < month.truth["is_fraud"].mean() < 0.0125


def test_a_compromised_merchant_is_fraud_for_28_days_and_then_not() -> None:
    table = with_truth(simulate(a_world(days=70)))
    frauds = table.loc[table["scenario"] == Scenario.COMPROMISED_MERCHANT]
    days = frauds.groupby("merchant_id")["event_time"].agg(["min", "max"])
    lasted = (days["max"] - days["min"]).dt.total_seconds() / 86_400
    assert lasted.median() > 14
    assert lasted.quantile(0.9) <= 28  # a few merchants are compromised twice
    for merchant, (first, last) in days.iterrows():
        if last - first < timedelta(days=28):
            within = table["event_time"].between(first, last)
            there = table.loc[(table["merchant_id"] == merchant) & within]
            assert there["is_fraud"].all()


def test_a_small_world_has_the_same_fraud_rate() -> None:
    rate = simulate(a_world(days=90)).truth["is_fraud"].mean()
    # 50 compromised customers and 23 merchants in all: a quarter of noise, three times.
    assert 0.003 < rate < 0.018


def test_a_small_share_is_seen_late(month: Simulated) -> None:
    table = month.transactions
    lag_s = (table["observed_at"] - table["event_time"]).dt.total_seconds()
    is_late = lag_s > 1.0
    assert is_late.mean() == pytest.approx(0.02, rel=0.05)
    assert lag_s[is_late].min() >= 5
    assert 6 * 3_600 < lag_s.max() <= 12 * 3_600


def test_reports_arrive_days_later_and_some_never() -> None:
    world = CreditCardSimulation(start=START, days=30, seed=1)
    month = with_truth(simulate(world))
    labels = simulate_days(world, START, START + timedelta(days=62)).labels
    known = month.merge(labels, on="transaction_id", how="left", suffixes=("", "_label"))
    frauds = known.loc[known["is_fraud"]]
    reported = frauds.loc[frauds["reported_at"].notna()]
    assert 1 - len(reported) / len(frauds) == pytest.approx(0.03, abs=0.012)  # 3 deviations
    delay_days = (reported["reported_at"] - reported["observed_at"]).dt.total_seconds() / 86_400
    assert delay_days.median() == pytest.approx(3.0, rel=0.06)
    assert 0.88 < delay_days.between(1, 7).mean() < 0.95  # log-normal(ln 3, 0.55): 0.92
    assert delay_days.max() <= 30
    assert set(reported["source"]) == {"chargeback", "customer_report"}
    cleared = known.loc[~known["is_fraud"] & known["source"].notna()]
    assert set(cleared["source"]) == {"analyst"}
    assert 0.001 < len(cleared) / len(known) < 0.01


def test_labels_tell_the_truth(month: Simulated) -> None:
    known = month.labels.merge(month.truth, on="transaction_id", suffixes=("", "_true"))
    # A day's label may be about a transaction seen earlier, but never before the first day.
    assert len(known) == len(month.labels)
    assert (known["is_fraud"] == known["is_fraud_true"]).all()
    assert set(month.labels["source"]) < set(SOURCES)
    assert month.labels["transaction_id"].is_unique


@pytest.mark.parametrize("drift", [None, Drift(DriftKind.CARD_TESTING, DRIFT_START, 2.0)])
def test_single_days_together_are_the_whole_range(drift: Drift | None) -> None:
    # Many reports at the longest delay and many late transactions: both bounds are reached.
    slow = {"report_max_days": 4, "report_median_days": 4.0, "late_share": 0.3}
    world = a_world(**slow, late_max_s=86_000.0, drift=drift, days=14)
    whole = simulate(world)
    days = [START + timedelta(days=n) for n in range(world.days)]
    parts = {day: simulate_days(world, day, day) for day in reversed(days)}
    for day, part in parts.items():
        assert set(part.transactions["observed_at"].dt.date) == {day}
        assert set(part.labels["reported_at"].dt.date) <= {day}
    assert_same(
        whole,
        Simulated(
            *(
                pd.concat([getattr(parts[day], table) for day in days], ignore_index=True)
                for table in ("transactions", "labels", "truth")
            )
        ),
    )


def test_a_day_does_not_depend_on_when_the_history_starts() -> None:
    day = START + timedelta(days=5)
    later = simulate_days(a_world(start=day), day, day)
    usual = simulate_days(a_world(), day, day)
    same_day = usual.transactions["event_time"].dt.date == day
    pd.testing.assert_frame_equal(
        usual.transactions.loc[same_day].reset_index(drop=True), later.transactions
    )


def test_before_the_start_there_is_nothing() -> None:
    before = START - timedelta(days=1)
    nothing, something = simulate_days(a_world(), before, before), simulate(a_world())
    assert len(nothing.transactions) == len(nothing.labels) == len(nothing.truth) == 0
    for table in ("transactions", "labels", "truth"):
        empty = getattr(nothing, table).dtypes
        pd.testing.assert_series_equal(empty, getattr(something, table).dtypes)


def test_no_single_column_separates(month: Simulated) -> None:
    table = with_truth(month)
    is_fraud = table["is_fraud"]
    numeric = {
        "amount": table["amount"],
        "distance_from_home_km": table["distance_from_home_km"],
        "foreign_transaction": table["foreign_transaction"],
        "card_present": table["card_present"],
        "used_chip": table["used_chip"],
        "hour": table["event_time"].dt.hour,
        "hours_from_noon": (table["event_time"].dt.hour - 12).abs(),
        "latitude": table["latitude"],
        "longitude": table["longitude"],
        "lag_s": (table["observed_at"] - table["event_time"]).dt.total_seconds(),
        "transaction_id": table["transaction_id"].rank(),
    }
    areas = {name: auc(column, is_fraud) for name, column in numeric.items()}
    half = len(table) // 2
    past, future = table.iloc[:half], table.iloc[half:]
    for name in ("merchant_category", "country", "device_id", "user_id", "merchant_id"):
        # The past fraud rate of each value, drawn to the mean as if seen 20 times more.
        seen = past.groupby(past[name].fillna("none"))["is_fraud"].agg(["sum", "size"])
        mean = past["is_fraud"].mean()
        rate = (seen["sum"] + 20 * mean) / (seen["size"] + 20)
        areas[name] = auc(future[name].fillna("none").map(rate).fillna(mean), future["is_fraud"])
    assert max(areas.values()) < 0.85, areas
    # Every trace is there all the same; merchants and customers are told by their history.
    for name in ("amount", "distance_from_home_km", "card_present", "used_chip"):
        assert areas[name] > 0.55, areas


@pytest.mark.parametrize(
    "condition",
    [
        "amount > 220",
        "amount > 500",
        "distance_from_home_km > 100",
        "foreign_transaction",
        "~card_present and amount > 220",
        "card_present and ~used_chip",
    ],
)
def test_what_frauds_do_genuine_customers_do_too(month: Simulated, condition: str) -> None:
    rows = with_truth(month).query(condition)
    assert len(rows) > 30
    assert 0.01 < rows["is_fraud"].mean() < 0.9


without_drift = lru_cache(maxsize=1)(simulate)


def around(kind: DriftKind, strength: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Days of the drift in the same world without and with it; the days before are equal."""
    world = CreditCardSimulation(start=START, days=20, seed=3)
    calm = without_drift(world)
    changed = simulate(replace(world, drift=Drift(kind, DRIFT_START, strength)))
    before = calm.transactions["observed_at"].dt.date < DRIFT_START
    pd.testing.assert_frame_equal(
        calm.transactions.loc[before], changed.transactions.iloc[: before.sum()]
    )
    since = pd.Timestamp(DRIFT_START, tz="UTC")
    without, with_drift = with_truth(calm), with_truth(changed)
    return (
        without.loc[without["event_time"] >= since],
        with_drift.loc[with_drift["event_time"] >= since],
    )


def test_amount_inflation_raises_amounts() -> None:
    calm, changed = around(DriftKind.AMOUNT_INFLATION, 0.3)
    assert changed["amount"].sum() / calm["amount"].sum() == pytest.approx(1.3, rel=1e-3)
    assert (changed["is_fraud"].to_numpy() == calm["is_fraud"].to_numpy()).all()


def test_card_not_present_share_rises() -> None:
    calm, changed = around(DriftKind.CARD_NOT_PRESENT, 0.4)
    # Four in ten of what was in a shop; frauds that go online anyway change it by a per cent.
    assert changed["card_present"].mean() / calm["card_present"].mean() == pytest.approx(
        0.6, rel=0.02
    )


def test_card_testing_appears() -> None:
    calm, changed = around(DriftKind.CARD_TESTING, 1.0)
    tests = changed.loc[changed["scenario"] == Scenario.CARD_TESTING]
    assert Scenario.CARD_TESTING not in set(calm["scenario"])
    assert len(tests) / len(calm) == pytest.approx(0.005, rel=0.35)  # about 20 attacks
    assert tests["amount"].max() <= 5
    assert not tests["card_present"].any()
    assert tests.groupby("device_id")["merchant_id"].nunique().max() == 1
    assert tests.groupby("device_id")["user_id"].nunique().min() > 5
    assert not set(tests["device_id"]) & set(calm["device_id"].dropna())
    # The others go on as before, but for a few that are late at the end of the range.
    assert len(changed) - len(tests) == pytest.approx(len(calm), abs=20)


def test_category_mix_moves() -> None:
    calm, changed = around(DriftKind.CATEGORY_MIX, 0.5)
    share = [
        table["merchant_category"].isin(population.GROWING).mean() for table in (calm, changed)
    ]
    assert share[1] == pytest.approx(share[0] + 0.5 * (1 - share[0]), abs=0.02)


def test_fraud_rate_multiplies() -> None:
    calm, changed = around(DriftKind.FRAUD_RATE, 2.0)
    scripted = (Scenario.COMPROMISED_MERCHANT, Scenario.COMPROMISED_CUSTOMER)
    counts = [table["scenario"].isin(scripted).sum() for table in (calm, changed)]
    # Three times as many; those already compromised differ by a quarter in how much they trade.
    assert 2.2 < counts[1] / counts[0] < 3.8


def test_a_ramp_grows_evenly_to_full_strength() -> None:
    drift = Drift(DriftKind.AMOUNT_INFLATION, START, 0.4, ramp_days=3)
    first = START.toordinal()
    levels = [drift.level(first + day) for day in range(-1, 6)]
    assert levels == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_the_smallest_world_works() -> None:
    tiny = simulate(a_world(customers=1, merchants=2, days=40, trips_share=1.0))
    assert set(tiny.transactions["user_id"]) == {"USER_000000"}


def test_a_prefix_keeps_two_worlds_apart() -> None:
    one, other = simulate(a_world(days=1)), simulate(a_world(days=1, id_prefix="B"))
    assert not set(one.transactions["transaction_id"]) & set(other.transactions["transaction_id"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"days": 0},
        {"customers": 0},
        {"merchants": 1},
        {"seed": -1},
        {"late_share": 1.5},
        {"late_max_s": 90_000.0},
        {"id_prefix": ""},
    ],
)
def test_an_impossible_world_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=str(next(iter(wrong)))):
        a_world(**wrong)


def test_a_meaningless_drift_or_range_is_refused() -> None:
    with pytest.raises(SettingsError, match="above 1"):
        Drift(DriftKind.CATEGORY_MIX, START, 1.5)
    with pytest.raises(SettingsError, match="strength"):
        Drift(DriftKind.FRAUD_RATE, START, float("nan"))
    with pytest.raises(SettingsError, match="ramp"):
        Drift(DriftKind.FRAUD_RATE, START, 1.0, ramp_days=-1)
    with pytest.raises(SettingsError, match="ends before it begins"):
        simulate_days(a_world(), START, START - timedelta(days=1))

"""What every simulated world must be: reproducible, delayed, drifting, and not too easy."""

import datetime as dt
import time
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from feature_store.offline import build_frame
from fraud.domain.errors import SettingsError
from fraud.domain.label import SOURCES
from fraud.types.ach import RETURN_CODES
from fraud.types.registry import fraud_type
from orchestration.sources.simulator.account_opening import OpeningSimulation, OpeningWorld
from orchestration.sources.simulator.account_takeover import (
    TakeoverSimulation,
    TakeoverWorld,
)
from orchestration.sources.simulator.ach import AchSimulation, AchWorld
from orchestration.sources.simulator.drift import Drift, DriftKind
from orchestration.sources.simulator.world import (
    Simulated,
    Simulation,
    World,
    simulate,
    simulate_days,
    simulate_pieces,
)
from orchestration.sources.validation import check_transactions

START = dt.date(2026, 3, 2)
LATER = dt.datetime(2027, 3, 2, tzinfo=dt.UTC)

WORLDS: dict[str, tuple[type[Simulation], Any]] = {
    "account_opening": (OpeningSimulation, OpeningWorld),
    "account_takeover": (TakeoverSimulation, TakeoverWorld),
    "ach": (AchSimulation, AchWorld),
}
EVERY_WORLD = pytest.mark.parametrize("name", sorted(WORLDS))
EVERY_DRIFT = pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name, (simulation, _) in WORLDS.items() for kind in simulation.drifts()],
)


def a_world(name: str, **changes: Any) -> World:
    simulation, world = WORLDS[name]
    return world(
        simulation(**({"start": START, "days": 12, "seed": 7, "customers": 300} | changes))
    )


@cache
def history(name: str) -> Simulated:
    """A hundred days of a small world."""
    return simulate(a_world(name, days=100, customers=1_500))


@cache
def frame(name: str) -> pd.DataFrame:
    """Its features, as the platform computes them from what was known at each moment."""
    kind, simulated = fraud_type(name), history(name)
    rows = simulated.transactions.rename(columns={"event_time": "timestamp"})
    events = check_transactions(kind, rows, LATER).accepted
    return build_frame(
        kind,
        events.assign(seq=numbered(events["observed_at"])),
        simulated.labels.assign(seq=numbered(simulated.labels["reported_at"])),
    )


def numbered(moments: pd.Series) -> npt.NDArray[np.int64]:
    """Observation numbers: microseconds, raised where two are equal."""
    us, place = moments.to_numpy("datetime64[us]").astype(np.int64), np.arange(len(moments))
    return np.maximum.accumulate(us - place) + place


def assert_same(one: Simulated, other: Simulated) -> None:
    for table in ("transactions", "labels", "truth"):
        pd.testing.assert_frame_equal(getattr(one, table), getattr(other, table))


def area(is_fraud: npt.NDArray[np.bool_], score: npt.ArrayLike) -> float:
    """Area under the ROC curve, in the better of the two directions."""
    found = float(roc_auc_score(is_fraud, np.nan_to_num(np.asarray(score, float), nan=-1.0)))
    return max(found, 1 - found)


def column_areas(simulated: Simulated) -> dict[str, float]:
    """How far each column goes alone: numbers as they are, texts by their past fraud rate."""
    is_fraud = simulated.truth["is_fraud"].to_numpy()
    half, areas = len(is_fraud) // 2, {}
    for name, column in simulated.transactions.items():
        if column.dtype == object:
            texts = column.fillna("none").to_numpy()
            mean = is_fraud[:half].mean()
            seen = pd.Series(is_fraud[:half]).groupby(texts[:half]).agg(["sum", "size"])
            rate = (seen["sum"] + 20 * mean) / (seen["size"] + 20)
            score = pd.Series(texts[half:]).map(rate).fillna(mean)
            areas[str(name)] = area(is_fraud[half:], score)
        elif isinstance(column.dtype, pd.DatetimeTZDtype):
            areas[f"{name} hour"] = area(is_fraud, column.dt.hour)
            areas[f"{name} from noon"] = area(is_fraud, (column.dt.hour - 12).abs())
        else:
            areas[str(name)] = area(is_fraud, column)
    return areas


# --- reproducible ------------------------------------------------------------------------------


@EVERY_WORLD
def test_the_same_seed_gives_the_same_rows_and_another_does_not(name: str) -> None:
    assert_same(simulate(a_world(name)), simulate(a_world(name)))
    other = simulate(a_world(name, seed=8)).transactions["event_time"]
    assert set(other.head(50)) != set(simulate(a_world(name)).transactions["event_time"].head(50))


@EVERY_WORLD
def test_single_days_together_are_the_whole_range(name: str) -> None:
    # Reports at the longest delay and many late rows: both bounds are reached.
    world = a_world(name, late_share=0.3, report_max_days=4)
    days = [START + dt.timedelta(days=number) for number in range(12)]
    parts = {day: simulate_days(world, day, day) for day in reversed(days)}
    for day, part in parts.items():
        assert set(part.transactions["observed_at"].dt.date) <= {day}
        assert set(part.labels["reported_at"].dt.date) <= {day}
    together = {
        table: pd.concat([getattr(parts[day], table) for day in days], ignore_index=True)
        for table in ("transactions", "labels", "truth")
    }
    assert_same(simulate(world), Simulated(**together))


@EVERY_WORLD
@pytest.mark.parametrize("first", [-3, 0, 4])
def test_a_range_comes_in_pieces_and_no_day_is_simulated_twice(
    name: str, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = a_world(name, late_share=0.3, report_max_days=4)
    begin, end = START + dt.timedelta(days=first), START + dt.timedelta(days=9)
    lengths = [3] * ((10 - first) // 3) + [(10 - first) % 3] * bool((10 - first) % 3)
    starts = [begin + dt.timedelta(days=3 * number) for number in range(len(lengths))]
    expected = [
        simulate_days(world, start, start + dt.timedelta(days=length - 1))
        for start, length in zip(starts, lengths, strict=True)
    ]
    make, made = type(world).day, []
    monkeypatch.setattr(
        type(world), "day", lambda self, ordinal: made.append(ordinal) or make(self, ordinal)
    )
    pieces = list(simulate_pieces(world, begin, end, 3))
    assert len(pieces) == len(expected)
    for piece, whole in zip(pieces, expected, strict=True):
        assert_same(piece, whole)
    days = [START.toordinal() + number for number in range(10)]
    for_its_columns = days[:1] if first < 0 else []  # of the piece before the start
    assert made == for_its_columns + days[max(0, first - 1 - 4) :]


@EVERY_WORLD
def test_a_day_does_not_depend_on_when_the_history_starts(name: str) -> None:
    day = START + dt.timedelta(days=5)
    usual, later = (
        simulate_days(a_world(name, start=start), day, day).transactions for start in (START, day)
    )
    same_day = usual["event_time"].dt.date == day
    pd.testing.assert_frame_equal(usual.loc[same_day].reset_index(drop=True), later)


@EVERY_WORLD
def test_before_the_start_there_is_nothing(name: str) -> None:
    before = START - dt.timedelta(days=1)
    nothing, something = simulate_days(a_world(name), before, before), simulate(a_world(name))
    for table in ("transactions", "labels", "truth"):
        assert len(getattr(nothing, table)) == 0
        assert list(getattr(nothing, table)) == list(getattr(something, table))


@EVERY_WORLD
def test_a_million_rows_take_seconds(name: str) -> None:
    # On two shared cores; alone it is about a third of that.
    world = a_world(name, days=10, customers=20_000)
    started = time.process_time()
    rows = len(simulate(world).transactions)
    assert (time.process_time() - started) / rows * 1e6 < 45


@EVERY_WORLD
@pytest.mark.parametrize(
    "wrong", [{"days": 0}, {"customers": 1}, {"late_share": 1.5}, {"drift": "card_not_present"}]
)
def test_a_world_that_cannot_be_is_refused(name: str, wrong: dict[str, Any]) -> None:
    if "drift" in wrong:
        wrong = {"drift": Drift(DriftKind(wrong["drift"]), START, 0.5)}
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        a_world(name, **wrong)


# --- what the platform reads ---------------------------------------------------------------------


@EVERY_WORLD
def test_the_door_accepts_every_row(name: str) -> None:
    rows = history(name).transactions.rename(columns={"event_time": "timestamp"})
    assert len(check_transactions(fraud_type(name), rows, LATER).quarantined) == 0
    fields = set(fraud_type(name).transaction.model_fields) | {"observed_at"}
    assert set(rows) <= fields - {"fraud_type"}
    assert rows["transaction_id"].is_unique
    assert rows["observed_at"].is_monotonic_increasing


@EVERY_WORLD
def test_labels_come_late_from_several_sources_and_tell_the_truth(name: str) -> None:
    simulated = history(name)
    labels = simulated.labels
    assert set(labels["source"]) <= set(SOURCES)
    assert labels["source"].nunique() >= 2
    assert labels["transaction_id"].is_unique
    known = labels.merge(simulated.truth, on="transaction_id", suffixes=("", "_true"))
    assert (known["is_fraud"] == known["is_fraud_true"]).all()
    about = known.merge(simulated.transactions, on="transaction_id")
    delay = about["reported_at"] - about["observed_at"]
    assert delay.min() >= pd.Timedelta(hours=1)
    frauds = delay[about["is_fraud"]]
    assert frauds.median() > pd.Timedelta(days=1)
    # A good part is known by the maturity the type declares, and not all of it.
    maturity = pd.Timedelta(fraud_type(name).maturity)
    old = about["is_fraud"] & (about["observed_at"] < about["observed_at"].max() - maturity)
    assert 0.75 < (delay[old] <= maturity).mean() < 1.0
    never = ~simulated.truth["transaction_id"].isin(labels["transaction_id"])
    assert (never & simulated.truth["is_fraud"]).any()


@EVERY_WORLD
def test_fraud_is_rare_and_has_every_scenario(name: str) -> None:
    truth = history(name).truth
    assert 0.003 < truth["is_fraud"].mean() < 0.08
    assert set(truth["scenario"]) == {0, 1, 2, 3}, "4 is there by drift only"


MOST_BY_ONE_COLUMN = 0.85
LEAST_GAIN = 0.08


@EVERY_WORLD
def test_no_single_column_separates_but_a_model_does(name: str) -> None:
    simulated = history(name)
    best = max(column_areas(simulated).values())
    assert best < MOST_BY_ONE_COLUMN, column_areas(simulated)
    is_fraud = simulated.truth["is_fraud"].to_numpy()
    features = frame(name)[list(fraud_type(name).feature_names)].to_numpy(np.float32)
    first, middle = len(features) // 4, len(features) * 7 // 10
    model = HistGradientBoostingClassifier(max_iter=80, max_leaf_nodes=15, random_state=0)
    model.fit(features[first:middle], is_fraud[first:middle])
    reached = area(is_fraud[middle:], model.predict_proba(features[middle:])[:, 1])
    assert reached > best + LEAST_GAIN
    assert reached < 0.999, "nobody would believe it"


# --- drift ---------------------------------------------------------------------------------------


@EVERY_DRIFT
def test_a_drift_changes_what_comes_after_it_and_nothing_before(name: str, kind: DriftKind) -> None:
    since = START + dt.timedelta(days=6)
    calm = simulate(a_world(name, customers=1_500))
    world = a_world(name, customers=1_500, drift=Drift(kind, since, 0.9))
    changed = simulate(world)
    before = calm.transactions["observed_at"].dt.date < since
    pd.testing.assert_frame_equal(
        calm.transactions.loc[before], changed.transactions.iloc[: before.sum()]
    )
    without, with_drift = (
        each.transactions.assign(
            is_fraud=each.truth["is_fraud"], scenario=each.truth["scenario"]
        ).loc[lambda rows: rows["event_time"].dt.date >= since]
        for each in (calm, changed)
    )
    CHANGES[kind](without, with_drift)


def _more_fraud(calm: pd.DataFrame, changed: pd.DataFrame) -> None:
    assert 1.3 < changed["is_fraud"].sum() / calm["is_fraud"].sum() < 2.8


def _inflated(calm: pd.DataFrame, changed: pd.DataFrame) -> None:
    assert changed["amount"].sum() / calm["amount"].sum() == pytest.approx(1.9, rel=0.01)


def _faster(calm: pd.DataFrame, changed: pd.DataFrame) -> None:
    assert calm["same_day"].mean() < 0.2
    assert changed["same_day"].mean() > 0.85


def _new_scenario(calm: pd.DataFrame, changed: pd.DataFrame) -> None:
    assert 4 not in set(calm["scenario"])
    assert 0.002 < (changed["scenario"] == 4).mean() < 0.03


def _relayed(calm: pd.DataFrame, changed: pd.DataFrame) -> None:
    relays = [each["email_domain"].str.startswith("relay").mean() for each in (calm, changed)]
    assert relays[0] < 0.05
    assert relays[1] > 0.8


def _elsewhere(calm: pd.DataFrame, changed: pd.DataFrame) -> None:
    proxies = [each["ip_is_proxy"].mean() for each in (calm, changed)]
    assert proxies[0] < 0.1
    assert proxies[1] > 0.4


CHANGES = {
    DriftKind.FRAUD_RATE: _more_fraud,
    DriftKind.AMOUNT_INFLATION: _inflated,
    DriftKind.SAME_DAY: _faster,
    DriftKind.MULE_RING: _new_scenario,
    DriftKind.BOT_FARM: _new_scenario,
    DriftKind.SIM_SWAP: _new_scenario,
    DriftKind.MOBILITY: _elsewhere,
    DriftKind.DISPOSABLE_EMAIL: _relayed,
}


# --- transfers -----------------------------------------------------------------------------------


def test_returns_say_fraud_exactly_where_their_codes_do() -> None:
    simulated = history("ach")
    returned = simulated.truth[simulated.truth["return_code"].notna()]
    says = returned["return_code"].map(lambda code: RETURN_CODES[code].is_fraud)
    assert (says == returned["is_fraud"]).all()
    assert {"R01", "R03", "R05", "R07", "R10", "R11", "R29"} <= set(returned["return_code"])
    labels = simulated.labels.set_index("transaction_id")
    told = returned[returned["transaction_id"].isin(labels.index)]
    assert set(labels.loc[told["transaction_id"], "source"]) == {"return"}


def test_corporate_entries_come_back_as_r29() -> None:
    simulated = history("ach")
    returned = simulated.truth["return_code"] == "R29"
    assert set(simulated.transactions["sec_code"][returned]) <= {"CCD", "CTX"}


def test_money_leaves_the_account_of_whoever_pushes_it() -> None:
    rows = history("ach").transactions
    own = "ACC_00" + rows["user_id"].str.removeprefix("USER_")
    pushed = rows["direction"] == "credit"
    assert (rows["sender_id"][pushed] == own[pushed]).all()
    assert (rows["receiver_id"][~pushed] == own[~pushed]).all()
    assert rows["sender_balance"][pushed].notna().all()

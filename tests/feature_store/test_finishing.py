"""Each compiled step gives the very bits of the feature's own `finish`."""

from dataclasses import fields, replace

import numpy as np
import pytest

from feature_store.batch import TypeLayout
from feature_store.finishing import finish_rows
from feature_store.inputs import (
    AMOUNT,
    LOG,
    PLACE,
    TIME,
    VALUE_ID,
    ColumnInputs,
    category_column,
    hours_column,
    number_column,
)
from feature_store.steps import steps
from fraud.domain.aggregates import NONE, LastPlace
from fraud.domain.features import (
    LARGEST,
    Amount,
    AmountRoundness,
    AmountShare,
    Calendar,
    Category,
    Feature,
    Number,
)
from fraud.domain.history import (
    AmountMean,
    AmountMeanRatio,
    AmountRatio,
    AmountSum,
    AmountZScore,
    Changed,
    Count,
    CountRatio,
    DistinctCount,
    FraudLabels,
    LabelRisk,
    LifetimeCount,
    MaturedFraudShare,
    SecondsSince,
)
from fraud.domain.outcomes import (
    AmountAboveGenuine,
    AttackOdds,
    FraudRun,
    FraudRunAmount,
    UnmaturedAmountAboveGenuine,
)
from fraud.domain.places import DistanceSinceLast, SpeedSinceLast, place_ids
from fraud.domain.windows import HOUR_US, Window
from tests.feature_store.specimen import SPECIMEN
from tests.feature_store.worlds import a_log, by_online
from tests.fraud.domain.globes import a_globe

DAY, MONTH = Window("1d"), Window("30d")
FEATURES = (
    Count(entity="user", window=DAY),
    AmountSum(entity="user", window=DAY, default=-1.0),
    AmountMean(entity="user", window=DAY),
    AmountRatio(entity="user", window=DAY),
    AmountMeanRatio(entity="user", window=DAY, baseline=MONTH),
    AmountZScore(entity="user", window=DAY, default=12.0),
    CountRatio(entity="user", window=DAY, longer=MONTH),
    DistinctCount(entity="user", of="merchant_id", window=DAY),
    LifetimeCount(entity="user"),
    SecondsSince(entity="user", moment="last"),
    SecondsSince(entity="user", moment="earliest_fraud", default=-3.0),
    Changed(entity="user", of="country"),
    FraudLabels(entity="user", window=DAY),
    LabelRisk(entity="user", window=DAY),
    MaturedFraudShare(entity="user", k=3),
    FraudRun(entity="user", default=-1.0),
    FraudRunAmount(entity="user"),
    AmountAboveGenuine(entity="user", default=-2.0),
    UnmaturedAmountAboveGenuine(entity="user"),
    AttackOdds(entity="user", default=-1.0),
    DistanceSinceLast(entity="user"),
    SpeedSinceLast(entity="user", default=-2.0),
)
CHANNEL = Category(field="channel", values=("web", "app"))
OF_THE_EVENT = (
    Amount(),
    AmountRoundness(),
    Number(field="balance", default=-1.0),
    AmountShare(field="balance"),
    CHANNEL,
    Calendar(part="hour"),
    Calendar(part="weekday"),
    Calendar(part="is_weekend"),
    Calendar(part="is_night"),
)
ROWS = 700
"""More than one block of the compiled loop, and not a multiple of it."""

EDGES = [NONE, -1, 0, 1, 2, 3, 2**53 + 1, 2**62, np.iinfo(np.int64).max]


def integers(rng: np.random.Generator) -> np.ndarray:
    """Small, huge, edge and missing values."""
    small = rng.integers(-3, 50, ROWS)
    plausible = rng.integers(0, 10**13, ROWS)
    edges = rng.choice(np.array(EDGES, np.int64), ROWS)
    return np.choose(rng.integers(0, 3, ROWS), [small, plausible, edges])


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_a_compiled_step_equals_finish(feature: Feature) -> None:
    rng = np.random.default_rng(5)
    names = [TIME, AMOUNT, LOG, f"{VALUE_ID} country", PLACE, *feature.aggregates()]
    columns = np.stack([integers(rng) for _ in names])
    columns[:3] = rng.integers(0, 10**13, (3, ROWS))  # an event's own columns are never missing
    if isinstance(feature, Changed):
        columns[3] = np.where(rng.random(ROWS) < 0.5, columns[5], columns[3])
    for number, name in enumerate(names):
        if name == PLACE or isinstance(name, LastPlace):
            known = place_ids(*a_globe(ROWS, seed=number))
            columns[number] = np.where(rng.random(ROWS) < 0.1, NONE, known)
    numbers = {name: number for number, name in enumerate(names)}
    inputs = ColumnInputs(
        dict(zip(names[:5], columns[:5], strict=True)),
        {},
        {},
        {},
        dict(zip(names[5:], columns[5:], strict=True)),
    )

    compiled, others = steps([feature], [0], numbers)
    found = np.empty((ROWS, 1), np.float32)
    nothing = np.empty((0, 0))
    finish_rows(columns, numbers[LOG], *compiled, nothing, np.arange(ROWS), found)

    assert others == []
    with np.errstate(all="ignore"):
        finished = feature.finish(inputs)
        wanted = finished.astype(np.float32)
    assert found[:, 0].tobytes() == wanted.tobytes()
    assert np.array_equal(np.isfinite(finished), np.isfinite(wanted)), "no need to clip"


@pytest.mark.parametrize("feature", OF_THE_EVENT, ids=lambda feature: feature.name)
def test_a_compiled_step_over_the_event_itself_equals_finish(feature: Feature) -> None:
    rng = np.random.default_rng(6)
    time_us = rng.integers(-(10**15), 10**16, ROWS)
    round_amounts = rng.integers(0, 300, ROWS) * rng.choice([1, 5, 10, 50, 100, 2_500], ROWS)
    amount = np.where(rng.random(ROWS) < 0.2, rng.integers(0, 10**10, ROWS), round_amounts)
    edges = [np.nan, 0.0, -0.0, -1.0, 1.0, 1e-320, LARGEST, -1e300, 1e300, 5e-324]
    balance = np.where(rng.random(ROWS) < 0.5, rng.choice(edges, ROWS), rng.normal(0, 1e3, ROWS))
    code = rng.integers(-1, 2, ROWS)
    inputs = ColumnInputs(
        {TIME: time_us, AMOUNT: amount},
        {"balance": balance},
        {},
        {("channel", CHANNEL.values): code.astype(np.int32)},
        {},
    )
    columns = {
        AMOUNT: amount,
        number_column("balance"): balance.view(np.int64),
        category_column(CHANNEL): np.where(code < 0, NONE, code),
        hours_column(Calendar()): time_us // HOUR_US,
    }
    compiled, others = steps([feature], [0], {name: k for k, name in enumerate(columns)})
    found = np.empty((ROWS, 1), np.float32)
    table = np.stack([*columns.values()])
    finish_rows(table, 0, *compiled, np.empty((0, 0)), np.arange(ROWS), found)

    assert others == []
    wanted = np.clip(feature.finish(inputs), -LARGEST, LARGEST).astype(np.float32)
    assert found[:, 0].tobytes() == wanted.tobytes()
    assert len(np.unique(wanted)) > 1


def without_step(feature: Feature) -> Feature:
    """The same feature as one of somebody's own, which the compiled loop does not know."""
    known = type(feature)
    own = type(f"Own{known.__name__}", (known,), {})
    changed: Feature = own(**{each.name: getattr(feature, each.name) for each in fields(feature)})
    return changed


def test_online_a_feature_without_a_step_has_the_value_of_one_with_it() -> None:
    own = replace(SPECIMEN, features=tuple(map(without_step, SPECIMEN.features)))
    assert len(TypeLayout(own).others) == len(SPECIMEN.features)
    assert TypeLayout(SPECIMEN).others == []
    log = a_log(11, 150, SPECIMEN)
    assert by_online(log, 4, own).tobytes() == by_online(log, 4).tobytes()


def test_a_feature_without_a_step_is_left_to_its_own_finish() -> None:
    class Doubled(Count):
        def finish(self, inputs):
            return 2 * super().finish(inputs)

    feature = Doubled(entity="user", window=DAY)
    compiled, others = steps([feature], [0], {feature.aggregates()[0]: 0})
    found = np.empty((ROWS, 1), np.float32)
    own = np.full((1, ROWS), 7.0)
    finish_rows(np.zeros((1, ROWS), np.int64), 0, *compiled, own, np.arange(ROWS), found)
    assert others == [0]
    assert (found == 7.0).all()

"""Which features are finished by compiled steps, and from which columns.

`Feature.finish` says what a feature is, in numpy. All that the platform knows are so plain that
a whole history spends its time moving temporaries between numpy calls, and a single event in
the calls themselves; so each is also an operation of the compiled loop in `finishing.py`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from feature_store.inputs import (
    AMOUNT,
    LOG,
    PLACE,
    TIME,
    VALUE_ID,
    category_column,
    hours_column,
    number_column,
)
from fraud.domain.aggregates import Aggregate
from fraud.domain.features import (
    Amount,
    AmountRoundness,
    AmountShare,
    Calendar,
    Category,
    Feature,
    Floats,
    Ints,
    Number,
    log_tables,
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
from fraud.domain.places import DistanceSinceLast, SpeedSinceLast

TAKE, DIVIDE, SECONDS, ZSCORE, ODDS = range(5)
AMOUNT_RATIO, MEAN_RATIO, DIFFERS, LOG_MEAN, LOG_ABOVE = range(5, 10)
MAJOR, ROUNDNESS, NUMBER, SHARE, DISTANCE, SPEED = range(10, 16)
HOUR, WEEKDAY, WEEKEND, NIGHT = range(16, 20)

_OPERATION: dict[type[Feature], int] = {
    Count: TAKE,
    AmountSum: TAKE,
    DistinctCount: TAKE,
    LifetimeCount: TAKE,
    FraudLabels: TAKE,
    FraudRun: TAKE,
    Category: TAKE,
    AmountMean: DIVIDE,
    CountRatio: DIVIDE,
    LabelRisk: DIVIDE,
    MaturedFraudShare: DIVIDE,
    AmountRatio: AMOUNT_RATIO,
    SecondsSince: SECONDS,
    AmountZScore: ZSCORE,
    AmountMeanRatio: MEAN_RATIO,
    Changed: DIFFERS,
    FraudRunAmount: LOG_MEAN,
    AmountAboveGenuine: LOG_ABOVE,
    UnmaturedAmountAboveGenuine: LOG_ABOVE,
    AttackOdds: ODDS,
    Amount: MAJOR,
    AmountRoundness: ROUNDNESS,
    Number: NUMBER,
    AmountShare: SHARE,
    DistanceSinceLast: DISTANCE,
    SpeedSinceLast: SPEED,
    Calendar: HOUR,
}
_PARTS = {"hour": HOUR, "weekday": WEEKDAY, "is_weekend": WEEKEND, "is_night": NIGHT}

_OPERANDS = 5


class Steps(NamedTuple):
    """Compiled steps: what to do with which columns, and where the value goes.

    Attributes:
        operations: shape (steps, 1 + _OPERANDS): the operation and its column numbers.
        defaults: shape (steps,), value where the feature is undefined.
        constants: shape (steps, any), what else the operation goes by.
        log_tables: see `fraud.domain.features.log_tables`.
        places: where the values go: columns of the frame, those of the steps first, then
            those of the features that have none.
    """

    operations: Ints
    defaults: Floats
    constants: Floats
    log_tables: tuple[Ints, Ints]
    places: Ints


def steps(
    features: Sequence[Feature], places: Sequence[int], columns: Mapping[Aggregate | str, int]
) -> tuple[Steps, list[int]]:
    """The steps of the features at `places`, and the places of those that have none.

    Args:
        features: all features of the fraud type.
        places: those of one entity.
        columns: number of each aggregate and of each column of the events themselves.
    """
    compiled = [place for place in places if type(features[place]) in _OPERATION]
    operations = np.zeros((len(compiled), 1 + _OPERANDS), np.int64)
    constants = {place: _constants(features[place]) for place in compiled}
    for row, place in zip(operations, compiled, strict=True):
        operands = _operands(features[place])
        row[0] = _operation(features[place])
        row[1 : len(operands) + 1] = [columns[operand] for operand in operands]
    others = [place for place in places if place not in compiled]
    defaults = np.array([features[place].default for place in compiled], np.float64)
    written = np.array([*compiled, *others], np.int64)
    table = np.zeros((len(compiled), max(map(len, constants.values()), default=0)))
    for own, values in zip(table, constants.values(), strict=True):
        own[: len(values)] = values
    return Steps(operations, defaults, table, log_tables(), written), others


def _operation(feature: Feature) -> int:
    return _PARTS[feature.part] if isinstance(feature, Calendar) else _OPERATION[type(feature)]


def _constants(feature: Feature) -> list[float]:
    if not isinstance(feature, AttackOdds):
        return []
    return [feature.lasts_days, *feature.weights(), *feature.without_run()]


def _operands(feature: Feature) -> list[Aggregate | str]:
    """The columns a step reads, in order: the feature's aggregates, then the event's own."""
    aggregates = feature.aggregates()
    if isinstance(feature, AmountAboveGenuine):
        return [*aggregates, aggregates[0], LOG]
    return [*aggregates, *own_columns(feature)]


def own_columns(feature: Feature) -> list[str]:
    """The columns of the events themselves that a step of this feature reads."""
    match feature:
        case Amount() | AmountRoundness() | AmountRatio():
            return [AMOUNT]
        case AmountShare():
            return [AMOUNT, number_column(feature.field)]
        case Number():
            return [number_column(feature.field)]
        case Category():
            return [category_column(feature)]
        case Calendar():
            return [hours_column(feature)]
        case SecondsSince() | AttackOdds():
            return [TIME]
        case DistanceSinceLast() | SpeedSinceLast():
            return [PLACE, TIME]
        case Changed():
            return [f"{VALUE_ID} {feature.of}"]
    return []

"""Finishing the features of one entity in compiled code, straight into the frame.

`Feature.finish` says what a feature is, in numpy. The common features are so plain that a
whole history spends its time moving temporaries between numpy calls; for those this module
has the same few operations as compiled steps. They use the same float64 operations in the
same order, and round once to float32 at the end, so not a bit differs
(`tests/feature_store/test_finishing.py` holds each step against its `finish`, `test_parity.py`
holds both against the oracle). Made of int64, no step comes near the largest float32. A feature
without a step is finished by its own `finish`, and clipped where it is rounded.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numba
import numpy as np

from feature_store.grouping import Rows
from feature_store.inputs import AMOUNT, LOG, TIME, VALUE_ID
from feature_store.prefetch import prefetch
from fraud.domain.aggregates import NONE, Aggregate
from fraud.domain.features import LARGEST, LOG_SCALE, Feature, Floats, Ints, Values, log_tables
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
    LONG_AGO,
    MOST_ODDS,
    MOST_POWERS,
    ODDS_SCALE,
    AmountAboveGenuine,
    AttackOdds,
    FraudRun,
    FraudRunAmount,
    UnmaturedAmountAboveGenuine,
)
from fraud.domain.windows import DAY_US

TAKE, DIVIDE, SECONDS, ZSCORE, ODDS = range(5)
AMOUNT_RATIO, MEAN_RATIO, DIFFERS, LOG_MEAN, LOG_ABOVE = range(5, 10)

_OPERATION: dict[type[Feature], int] = {
    Count: TAKE,
    AmountSum: TAKE,
    DistinctCount: TAKE,
    LifetimeCount: TAKE,
    FraudLabels: TAKE,
    FraudRun: TAKE,
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
}

_compile = numba.njit(cache=True, nogil=True, error_model="numpy")
_inline = numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")

_OPERANDS = 5
_LINE = 16  # values in a cache line
_BLOCK = 256  # rows whose values stay in the first-level cache until they are written


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
        feature = features[place]
        operands: list[Aggregate | str] = [*feature.aggregates()]
        if isinstance(feature, AmountRatio):
            operands.append(AMOUNT)
        elif isinstance(feature, SecondsSince | AttackOdds):
            operands.append(TIME)
        elif isinstance(feature, AmountAboveGenuine):
            operands += (operands[0], LOG)
        elif isinstance(feature, Changed):
            operands.append(f"{VALUE_ID} {feature.of}")
        row[0] = _OPERATION[type(feature)]
        row[1 : len(operands) + 1] = [columns[operand] for operand in operands]
    others = [place for place in places if place not in compiled]
    defaults = np.array([features[place].default for place in compiled], np.float64)
    written = np.array([*compiled, *others], np.int64)
    table = np.zeros((len(compiled), max(map(len, constants.values()), default=0)))
    for own, values in zip(table, constants.values(), strict=True):
        own[: len(values)] = values
    return Steps(operations, defaults, table, log_tables(), written), others


def _constants(feature: Feature) -> list[float]:
    if not isinstance(feature, AttackOdds):
        return []
    return [feature.lasts_days, *feature.weights(), *feature.without_run()]


@_inline
def _zscore(count: float, log: float, log_sq: float, own: float, default: float) -> float:
    spread = count * log_sq - log * log
    if not (count >= 2.0 and spread > 0.0):
        return min(max(default, -10.0), 10.0)
    score: float = (count * own - log) / np.sqrt(spread)
    return min(max(score, -10.0), 10.0)


@_inline
def _mean_ratio(a: int, b: int, c: int, d: int, default: float) -> float:
    mean = float(a) / float(b) if b > 0 and a != NONE else 0.0
    usual = float(c) / float(d) if d > 0 and c != NONE else 0.0
    return mean / usual if b > 0 and usual > 0.0 else default


@_inline
def _fill_rare(
    operation: int, a: Ints, b: Ints, c: Ints, d: Ints, default: float, values: Values
) -> None:
    """The rarer steps; a loop for each, which the processor's vector instructions take."""
    if operation == AMOUNT_RATIO:
        for i in range(len(values)):
            total = c[i] * max(b[i], 0)
            values[i] = float(total) / float(a[i]) if a[i] > 0 and total != NONE else default
    elif operation == MEAN_RATIO:
        for i in range(len(values)):
            values[i] = _mean_ratio(a[i], b[i], c[i], d[i], default)
    elif operation == LOG_MEAN:
        for i in range(len(values)):
            values[i] = float(b[i]) / float(LOG_SCALE * a[i]) if a[i] > 0 else default
    elif operation == LOG_ABOVE:
        for i in range(len(values)):
            count, above = a[i], float(a[i] * d[i] - b[i])
            values[i] = above / float(LOG_SCALE * count) if count > 0 and c[i] > 0 else default
    else:
        for i in range(len(values)):
            differs = 1.0 if a[i] != b[i] else 0.0
            values[i] = default if a[i] == NONE or b[i] == NONE else differs


@_inline
def quantised_log_of(amount_minor: int, small: Ints, steps: Ints) -> int:
    """`fraud.domain.features.quantised_log` of one amount, by its tables."""
    if amount_minor < len(small):
        return int(small[amount_minor])
    return int(np.searchsorted(steps, amount_minor, side="right"))


@_inline
def _days_since(today: int, moment_us: int) -> int:
    return LONG_AGO if moment_us == NONE else max(today - moment_us // DAY_US, 0)


@_inline
def _odds(count: int, first: int, genuine: int, latest: int, constants: Floats) -> float:
    """The odds of `AttackOdds`, of days since the moments."""
    length, begins_daily = int(constants[0]), constants[1]
    oldest = min(genuine, latest + length) if count > 0 else genuine
    beginnings = max(oldest - first, 0)
    lasting = max(min(oldest, length) - first, 0)
    unseen = min(latest if count > 0 else genuine, length)
    weight = constants[1 + min(max(count, 0), MOST_POWERS)]
    odds: float = (weight * lasting + begins_daily * unseen) / (
        1.0 + weight * (beginnings - lasting)
    )
    return odds


@_inline
def _seconds(then_us: Ints, now_us: Ints, default: float, values: Values) -> None:
    for i in range(len(values)):
        then = then_us[i]
        values[i] = float(max(now_us[i] - then, 0)) / 1e6 if then != NONE else default


@_inline
def _attack_odds(
    columns: Ints,
    step: Ints,
    default: float,
    constants: Floats,
    log_tables: tuple[Ints, Ints],
    begin: int,
    values: Values,
) -> None:
    small, steps = log_tables
    for i in range(len(values)):
        place = begin + i
        count, genuine_us = columns[step[1], place], columns[step[3], place]
        if count <= 0 and genuine_us == NONE:
            values[i] = default
            continue
        today = columns[step[5], place] // DAY_US
        genuine = _days_since(today, genuine_us)
        if count <= 0 and columns[step[2], place] == NONE and genuine <= LONG_AGO:
            values[i] = constants[MOST_POWERS + 2 + min(genuine, int(constants[0]))]
            continue
        first = _days_since(today, columns[step[2], place])
        latest = _days_since(today, columns[step[4], place])
        odds = min(_odds(count, first, genuine, latest, constants), MOST_ODDS)
        log = quantised_log_of(int(odds * (100 * ODDS_SCALE)), small, steps)
        values[i] = log / LOG_SCALE


@_inline
def _fill(
    columns: Ints,
    step: Ints,
    log: int,
    default: float,
    constants: Floats,
    log_tables: tuple[Ints, Ints],
    begin: int,
    values: Values,
) -> None:
    """One step for `len(values)` events from `begin` on."""
    operation, end = step[0], begin + len(values)
    first, second = columns[step[1], begin:end], columns[step[2], begin:end]
    third, fourth = columns[step[3], begin:end], columns[step[4], begin:end]
    if operation == TAKE:
        for i in range(len(values)):
            values[i] = float(first[i]) if first[i] != NONE else default
    elif operation == DIVIDE:
        for i in range(len(values)):
            a, b = first[i], second[i]
            values[i] = float(a) / float(b) if b > 0 and a != NONE else default
    elif operation == SECONDS:
        _seconds(first, second, default, values)
    elif operation == ZSCORE:
        own = columns[log, begin:end]
        for i in range(len(values)):
            count, total, squares = float(first[i]), float(second[i]), float(third[i])
            values[i] = _zscore(count, total, squares, float(own[i]), default)
    elif operation == ODDS:
        _attack_odds(columns, step, default, constants, log_tables, begin, values)
    else:
        _fill_rare(operation, first, second, third, fourth, default, values)


@_inline
def _round(finished: Floats, values: Values) -> None:
    """The nearest float32, ties to even; what lies beyond the largest one becomes it."""
    for i in range(len(values)):
        values[i] = np.float32(min(max(finished[i], -LARGEST), LARGEST))


@_inline
def _ask_for(rows: Rows, places: Ints, out: Values) -> None:
    """Have the lines of columns `places` of these rows fetched, which lie anywhere in memory."""
    for i in range(len(rows)):
        for k in range(0, len(places), _LINE):
            prefetch(out, rows[i], places[k])
        prefetch(out, rows[i], places[-1])


@_inline
def _write(values: Values, rows: Rows, places: Ints, out: Values) -> None:
    """Write `values` (k, m) into columns `places` of these rows."""
    for i in range(len(rows)):
        row = out[rows[i]]
        for k in range(len(places)):
            row[places[k]] = values[k, i]


@_compile
def finish_rows(
    columns: Ints,
    log: int,
    operations: Ints,
    defaults: Floats,
    constants: Floats,
    log_tables: tuple[Ints, Ints],
    places: Ints,
    others: Floats,
    rows: Rows,
    out: Values,
) -> None:
    """Take the steps for every event of `columns` (numbers, m), into rows of `out`.

    Args:
        columns: integer columns of m events.
        log: number of the column with the events' own quantised log amounts.
        operations: see `Steps`.
        defaults: see `Steps`.
        constants: see `Steps`.
        log_tables: see `Steps`.
        places: where the steps' values go, then where the `others` go.
        others: shape (others, m), values of the features that have no step.
        rows: shape (m,), the events' rows in `out`.
        out: shape (n, features).
    """
    if len(places) == 0:
        return
    values = np.empty((len(places), _BLOCK), np.float32)
    for begin in range(0, len(rows), _BLOCK):
        size = min(_BLOCK, len(rows) - begin)
        here, share = rows[begin : begin + size], size // max(len(operations), 1) + 1
        for k in range(len(operations)):
            # Memory answers while values are computed: some rows are asked for at each step.
            _ask_for(here[k * share : (k + 1) * share], places, out)
            step, own = operations[k], constants[k]
            _fill(columns, step, log, defaults[k], own, log_tables, begin, values[k, :size])
        for k in range(len(operations), len(places)):
            _round(others[k - len(operations), begin : begin + size], values[k, :size])
        _write(values, here, places, out)


@_compile
def write_rows(finished: Floats, places: Ints, first: int, out: Values) -> None:
    """Write `finished` (k, m) into columns `places` of the m rows of `out` from `first` on."""
    values = np.empty((len(places), _BLOCK), np.float32)
    for begin in range(0, finished.shape[1], _BLOCK):
        size = min(_BLOCK, finished.shape[1] - begin)
        for k in range(len(places)):
            _round(finished[k, begin : begin + size], values[k, :size])
        for i in range(size):
            row = out[first + begin + i]
            for k in range(len(places)):
                row[places[k]] = values[k, i]


@_compile
def fill_rows(rows: Rows, places: Ints, values: Values, out: Values) -> None:
    """Write `values` (k,) into columns `places` of each of the rows `rows` of `out`."""
    for row in rows:
        for k in range(len(places)):
            out[row, places[k]] = values[k]

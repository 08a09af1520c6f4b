"""Finishing the features of one entity in compiled code, straight into the frame.

`Feature.finish` says what a feature is, in numpy. The common features are so plain that a
whole history spends its time moving temporaries between numpy calls; for those this module
has the same few operations as compiled steps. They use the same float64 operations in the
same order, so not a bit differs (`tests/feature_store/test_finishing.py` holds each step
against its `finish`, `test_parity.py` holds both against the oracle). A feature without a
step is finished by its own `finish`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numba
import numpy as np

from feature_store.grouping import Rows
from feature_store.inputs import AMOUNT, LOG, TIME, VALUE_ID
from feature_store.prefetch import prefetch
from fraud.domain.aggregates import NONE, Aggregate
from fraud.domain.features import LOG_SCALE, Feature, Floats, Ints
from fraud.domain.history import (
    AmountMean,
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
    FraudRun,
    FraudRunAmount,
    UnmaturedAmountAboveGenuine,
)

TAKE, DIVIDE, AMOUNT_RATIO, SECONDS, ZSCORE, DIFFERS, LOG_MEAN, LOG_ABOVE = range(8)

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
    Changed: DIFFERS,
    FraudRunAmount: LOG_MEAN,
    AmountAboveGenuine: LOG_ABOVE,
    UnmaturedAmountAboveGenuine: LOG_ABOVE,
}

_compile = numba.njit(cache=True, nogil=True, error_model="numpy")
_inline = numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")

_LINE = 8  # values in a cache line
_BLOCK = 128  # rows whose values stay in the first-level cache until they are written


class Steps(NamedTuple):
    """Compiled steps: what to do with which columns, and where the value goes.

    Attributes:
        operations: shape (steps, 5): the operation and up to four column numbers.
        defaults: shape (steps,), value where the feature is undefined.
        places: where the values go: columns of the frame, those of the steps first, then
            those of the features that have none.
    """

    operations: Ints
    defaults: Floats
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
    operations = np.zeros((len(compiled), 5), np.int64)
    for row, place in zip(operations, compiled, strict=True):
        feature = features[place]
        operands: list[Aggregate | str] = [*feature.aggregates()]
        if isinstance(feature, AmountRatio):
            operands.append(AMOUNT)
        elif isinstance(feature, SecondsSince):
            operands.append(TIME)
        elif isinstance(feature, AmountAboveGenuine):
            operands += (operands[0], LOG)
        elif isinstance(feature, Changed):
            operands.append(f"{VALUE_ID} {feature.of}")
        row[0] = _OPERATION[type(feature)]
        row[1 : len(operands) + 1] = [columns[operand] for operand in operands]
    others = [place for place in places if place not in compiled]
    defaults = np.array([features[place].default for place in compiled], np.float64)
    return Steps(operations, defaults, np.array([*compiled, *others], np.int64)), others


@_inline
def _zscore(count: float, log: float, log_sq: float, own: float, default: float) -> float:
    spread = count * log_sq - log * log
    if not (count >= 2.0 and spread > 0.0):
        return min(max(default, -10.0), 10.0)
    score: float = (count * own - log) / np.sqrt(spread)
    return min(max(score, -10.0), 10.0)


@_inline
def _rare(operation: int, a: int, b: int, c: int, d: int, default: float) -> float:
    """The rarer steps."""
    if operation == AMOUNT_RATIO:
        total = c * max(b, 0)
        return float(total) / float(a) if a > 0 and total != NONE else default
    if operation == SECONDS:
        return float(max(b - a, 0)) / 1e6 if a != NONE else default
    if operation == LOG_MEAN:
        return float(b) / float(LOG_SCALE * a) if a > 0 else default
    if operation == LOG_ABOVE:
        return float(a * d - b) / float(LOG_SCALE * a) if a > 0 and c > 0 else default
    if a == NONE or b == NONE:
        return default
    return 1.0 if a != b else 0.0


@_inline
def _fill(columns: Ints, step: Ints, log: int, default: float, begin: int, values: Floats) -> None:
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
    elif operation == ZSCORE:
        own = columns[log, begin:end]
        for i in range(len(values)):
            count, total, squares = float(first[i]), float(second[i]), float(third[i])
            values[i] = _zscore(count, total, squares, float(own[i]), default)
    else:
        for i in range(len(values)):
            values[i] = _rare(operation, first[i], second[i], third[i], fourth[i], default)


@_inline
def _write(values: Floats, rows: Rows, places: Ints, out: Floats) -> None:
    """Write `values` (k, m) into columns `places` of rows that lie anywhere in memory.

    Their lines are asked for beforehand, so that the processor waits for all at once.
    """
    for i in range(len(rows)):
        for k in range(0, len(places), _LINE):
            prefetch(out, rows[i], places[k])
        if len(places) > 0:
            prefetch(out, rows[i], places[-1])
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
    places: Ints,
    others: Floats,
    rows: Rows,
    out: Floats,
) -> None:
    """Take the steps for every event of `columns` (numbers, m), into rows of `out`.

    Args:
        columns: integer columns of m events.
        log: number of the column with the events' own quantised log amounts.
        operations: see `Steps`.
        defaults: see `Steps`.
        places: where the steps' values go, then where the `others` go.
        others: shape (others, m), values of the features that have no step.
        rows: shape (m,), the events' rows in `out`.
        out: shape (n, features).
    """
    values = np.empty((len(places), _BLOCK))
    for begin in range(0, len(rows), _BLOCK):
        size = min(_BLOCK, len(rows) - begin)
        for k in range(len(operations)):
            _fill(columns, operations[k], log, defaults[k], begin, values[k, :size])
        for k in range(len(operations), len(places)):
            values[k, :size] = others[k - len(operations), begin : begin + size]
        _write(values, rows[begin : begin + size], places, out)


@_compile
def write_rows(values: Floats, places: Ints, rows: Rows, out: Floats) -> None:
    """Write `values` (k, m) into columns `places` of the rows `rows` of `out`."""
    block = np.empty((len(places), _BLOCK))
    for begin in range(0, len(rows), _BLOCK):
        size = min(_BLOCK, len(rows) - begin)
        block[:, :size] = values[:, begin : begin + size]
        _write(block, rows[begin : begin + size], places, out)


@_compile
def fill_rows(rows: Rows, places: Ints, values: Floats, out: Floats) -> None:
    """Write `values` (k,) into columns `places` of each of the rows `rows` of `out`."""
    for row in rows:
        for k in range(len(places)):
            out[row, places[k]] = values[k]

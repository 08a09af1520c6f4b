"""Finishing the features of one entity in compiled code, straight into the frame.

The steps (`steps.py`) use the same float64 operations in the same order as each feature's own
`finish`, and round once to float32 at the end, so not a bit differs
(`tests/feature_store/test_finishing.py` holds each step against its `finish`, `test_parity.py`
holds both against the oracle). Made of int64, no value comes near the largest float32; what an
event's own numbers can make of it is clipped, and so is a feature without a step, which is
finished by its own `finish`.
"""

import numpy as np

from feature_store.distances import distance_m
from feature_store.grouping import Rows
from feature_store.machine_code import compiled, inlined
from feature_store.prefetch import prefetch
from feature_store.steps import (
    AMOUNT_RATIO,
    DISTANCE,
    DIVIDE,
    HOUR,
    LOG_ABOVE,
    LOG_MEAN,
    MAJOR,
    MEAN_RATIO,
    NIGHT,
    NUMBER,
    ODDS,
    ROUNDNESS,
    SECONDS,
    SHARE,
    SPEED,
    TAKE,
    WEEKDAY,
    ZSCORE,
)
from fraud.domain.aggregates import NONE
from fraud.domain.features import (
    LARGEST,
    LOG_SCALE,
    ROUND_MINOR,
    Floats,
    Ints,
    Values,
)
from fraud.domain.outcomes import LONG_AGO, MOST_ODDS, MOST_POWERS, ODDS_SCALE
from fraud.domain.places import FASTEST_KMH, LEAST_ELAPSED_US
from fraud.domain.windows import DAY_US

_LINE = 16  # values in a cache line
_BLOCK = 256  # rows whose values stay in the first-level cache until they are written


@inlined
def _zscore(count: float, log: float, log_sq: float, own: float, default: float) -> float:
    spread = count * log_sq - log * log
    if not (count >= 2.0 and spread > 0.0):
        return min(max(default, -10.0), 10.0)
    score: float = (count * own - log) / np.sqrt(spread)
    return min(max(score, -10.0), 10.0)


@inlined
def _zscores(
    counts: Ints, logs: Ints, log_sqs: Ints, own: Ints, default: float, values: Values
) -> None:
    for i in range(len(values)):
        count, total, squares = float(counts[i]), float(logs[i]), float(log_sqs[i])
        values[i] = _zscore(count, total, squares, float(own[i]), default)


@inlined
def _mean_ratio(a: int, b: int, c: int, d: int, default: float) -> float:
    mean = float(a) / float(b) if b > 0 and a != NONE else 0.0
    usual = float(c) / float(d) if d > 0 and c != NONE else 0.0
    return mean / usual if b > 0 and usual > 0.0 else default


@inlined
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


@inlined
def quantised_log_of(amount_minor: int, small: Ints, steps: Ints) -> int:
    """`fraud.domain.features.quantised_log` of one amount, by its tables."""
    if amount_minor < len(small):
        return int(small[amount_minor])
    return int(np.searchsorted(steps, amount_minor, side="right"))


@inlined
def _days_since(today: int, moment_us: int) -> int:
    return LONG_AGO if moment_us == NONE else max(today - moment_us // DAY_US, 0)


@inlined
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


@inlined
def _seconds(then_us: Ints, now_us: Ints, default: float, values: Values) -> None:
    for i in range(len(values)):
        then = then_us[i]
        values[i] = float(max(now_us[i] - then, 0)) / 1e6 if then != NONE else default


@inlined
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


@inlined
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
        _zscores(first, second, third, columns[log, begin:end], default, values)
    elif operation == ODDS:
        _attack_odds(columns, step, default, constants, log_tables, begin, values)
    elif operation < MAJOR:
        _fill_rare(operation, first, second, third, fourth, default, values)
    elif operation in (DISTANCE, SPEED):
        _fill_moved(operation, first, second, third, fourth, default, values)
    else:
        _fill_own(operation, first, second, default, values)


@inlined
def _clipped(value: float) -> float:
    return min(max(value, -LARGEST), LARGEST)


@inlined
def _km_per_hour(moved_m: int, then_us: int, now_us: int) -> float:
    elapsed = max(now_us - (now_us if then_us == NONE else then_us), LEAST_ELAPSED_US)
    return min(float(moved_m * 3_600_000) / float(elapsed), FASTEST_KMH)


@compiled
def _fill_moved(
    operation: int,
    there: Ints,
    then_us: Ints,
    here: Ints,
    now_us: Ints,
    default: float,
    values: Values,
) -> None:
    """How far and how fast the entity moved."""
    for i in range(len(values)):
        moved = distance_m(here[i], there[i])
        if moved == NONE:
            values[i] = default
        elif operation == DISTANCE:
            values[i] = moved / 1000.0
        else:
            values[i] = _km_per_hour(moved, then_us[i], now_us[i])


@inlined
def _calendar(operation: int, hours: int) -> int:
    """A part of the local calendar, by whole hours since 1970."""
    days = hours // 24
    if operation in (HOUR, NIGHT):
        hour = hours - 24 * days
        return hour if operation == HOUR else int(hour <= 6)
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday
    return weekday if operation == WEEKDAY else int(weekday >= 5)


@inlined
def _roundness(amount_minor: int) -> int:
    divide = 0
    for unit in ROUND_MINOR:
        divide += int(amount_minor % unit == 0)
    return divide


@compiled
def _fill_own(operation: int, a: Ints, b: Ints, default: float, values: Values) -> None:
    """What events say themselves."""
    if operation == NUMBER:
        numbers = a.view(np.float64)
        for i in range(len(values)):
            values[i] = default if np.isnan(numbers[i]) else _clipped(numbers[i])
    elif operation == SHARE:
        wholes = b.view(np.float64)
        for i in range(len(values)):
            values[i] = _clipped((a[i] / 100.0) / wholes[i]) if wholes[i] > 0 else default
    elif operation == MAJOR:
        for i in range(len(values)):
            values[i] = a[i] / 100.0
    elif operation == ROUNDNESS:
        for i in range(len(values)):
            values[i] = _roundness(a[i])
    else:
        for i in range(len(values)):
            values[i] = _calendar(operation, a[i])


@inlined
def _round(finished: Floats, values: Values) -> None:
    """The nearest float32, ties to even; what lies beyond the largest one becomes it."""
    for i in range(len(values)):
        values[i] = np.float32(_clipped(finished[i]))


@inlined
def _ask_for(rows: Rows, places: Ints, out: Values) -> None:
    """Have the lines of columns `places` of these rows fetched, which lie anywhere in memory."""
    for i in range(len(rows)):
        for k in range(0, len(places), _LINE):
            prefetch(out, rows[i], places[k])
        prefetch(out, rows[i], places[-1])


@inlined
def _write(values: Values, rows: Rows, places: Ints, out: Values) -> None:
    """Write `values` (k, m) into columns `places` of these rows."""
    for i in range(len(rows)):
        row = out[rows[i]]
        for k in range(len(places)):
            row[places[k]] = values[k, i]


@compiled
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


@compiled
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


@compiled
def fill_rows(rows: Rows, places: Ints, values: Values, out: Values) -> None:
    """Write `values` (k,) into columns `places` of each of the rows `rows` of `out`."""
    for row in rows:
        for k in range(len(places)):
            out[row, places[k]] = values[k]

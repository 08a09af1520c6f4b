"""Observation numbers: the order in which we saw things, as one integer per row.

A number is the microsecond (UTC, since 1970) of observation, moved on where another row of
the same day already has it: `seq[i] = max(observed_us[i], seq[i-1] + 1)`. Where a day ends in
more rows than microseconds are left, the last rows are moved back instead: a number never
leaves its day.
"""

import datetime as dt

import numpy as np
from numpy.typing import NDArray

from fraud.domain.errors import ContractError
from fraud.domain.event import to_us
from fraud.domain.windows import DAY_US

Ints = NDArray[np.int64]


def day_start_us(day: dt.date) -> int:
    """Microseconds since 1970 of midnight UTC."""
    return to_us(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC))


def number_observations(observed_us: Ints, day: dt.date, taken: Ints | None = None) -> Ints:
    """Strictly rising observation numbers of one day's rows, shape (n,).

    Args:
        observed_us: times of observation, not falling.
        day: the UTC day they lie in.
        taken: numbers that other rows of the day have already, rising.
    """
    taken = np.empty(0, np.int64) if taken is None else taken
    # Counted without the taken numbers, the free ones have no gaps.
    counted = observed_us - np.searchsorted(taken, observed_us)
    place = np.arange(len(counted), dtype=np.int64)
    forward = np.maximum.accumulate(counted - place) + place
    latest = day_start_us(day) + DAY_US - len(taken) - len(counted) + place
    free = np.minimum(forward, latest)
    return free + np.searchsorted(taken - np.arange(len(taken)), free, side="right")


def check_numbers(seq: Ints, day: dt.date, what: str) -> None:
    """Refuse given numbers that repeat or leave their day.

    Raises:
        ContractError: with the first number at fault.
    """
    start = day_start_us(day)
    outside = (seq < start) | (seq >= start + DAY_US)
    wrong = outside | (np.diff(seq, prepend=start - 1) <= 0)
    if wrong.any():
        raise ContractError(
            f"{what}: observation number {seq[wrong][0]} repeats or lies outside {day}.",
            remedy="Give each row its own number within the day, or leave `seq` out.",
        )

"""Time zones of the IANA database: which there are, and how far each is from UTC, when.

Both executions ask the same tables, made once per process and zone from the rules that are
installed: a change of offset is found to the second, whatever the minute it falls on.
"""

import datetime as dt
from bisect import bisect_right
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Texts = tuple[NDArray[np.int32], list[str]]
"""Codes into distinct values, and those values; code -1 is null."""

FIRST, LAST = dt.datetime(1999, 12, 25, tzinfo=dt.UTC), dt.datetime(2200, 1, 8, tzinfo=dt.UTC)
"""The times events may have, with a week to spare on both sides."""

_STEP_S = 7 * 86_400  # no zone changes its offset and changes it back within a week
_SECOND_US = 1_000_000
_OF_THIS_MACHINE = {"localtime", "Factory"}


class Offsets(NamedTuple):
    """A zone's offsets from UTC: `offsets_us[k]` holds from `changes_us[k - 1]` on."""

    changes_us: Ints
    offsets_us: Ints


@cache
def zone_names() -> frozenset[str]:
    """All names an event may give, such as `Europe/Paris`."""
    return frozenset(available_timezones() - _OF_THIS_MACHINE)


def known_zone(name: str) -> str:
    """The name, if it is a time zone's.

    Raises:
        ValueError: there is no such zone.
    """
    if name not in zone_names():
        raise ValueError("is not an IANA time zone, e.g. 'Europe/Paris'")
    return name


@cache
def zone_offsets(name: str) -> Offsets:
    """The offsets of a zone over all times events may have."""
    zone = ZoneInfo(name)

    def offset_s(second: int) -> int:
        moment = dt.datetime.fromtimestamp(second, tz=zone)
        return (moment.utcoffset() or dt.timedelta(0)) // dt.timedelta(seconds=1)

    begin, end = int(FIRST.timestamp()), int(LAST.timestamp())
    changes, offsets = [], [offset_s(begin)]
    for later in range(begin + _STEP_S, end + 1, _STEP_S):
        now = offset_s(later)
        if now == offsets[-1]:
            continue
        low, high = later - _STEP_S, later
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if offset_s(middle) == now else (middle, high)
        changes.append(high)
        offsets.append(now)
    return Offsets(
        np.array(changes, np.int64) * _SECOND_US, np.array(offsets, np.int64) * _SECOND_US
    )


def utc_offset_us(time_us: Ints, name: str) -> Ints:
    """A zone's offset from UTC at each time, shape (n,), microseconds."""
    if name == "UTC":
        return np.zeros_like(time_us)
    changes_us, offsets_us = zone_offsets(name)
    found: Ints = offsets_us[np.searchsorted(changes_us, time_us, side="right")]
    return found


@cache
def _offset_lists(name: str) -> tuple[list[int], list[int]]:
    changes_us, offsets_us = zone_offsets(name)
    return changes_us.tolist(), offsets_us.tolist()


def utc_offset_of(time_us: int, name: str) -> int:
    """`utc_offset_us` of a single time."""
    if name == "UTC":
        return 0
    changes_us, offsets_us = _offset_lists(name)
    return offsets_us[bisect_right(changes_us, time_us)]


def utc_offsets_us(time_us: Ints, zones: Texts, default: str) -> Ints:
    """Each time's offset from UTC in its own zone, shape (n,), microseconds.

    Args:
        time_us: times, microseconds UTC.
        zones: the name of each time's zone; `default` stands for null.
        default: name of a zone.
    """
    codes, names = zones
    found = utc_offset_us(time_us, default)
    if names:
        present = np.bincount(codes + 1, minlength=1)[1:]
        for code in np.flatnonzero(present).tolist():
            rows = codes == code
            found[rows] = utc_offset_us(time_us[rows], names[code])
    return found

"""Sorting a history by entity; loops are compiled."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_store.machine_code import compiled

Ints = NDArray[np.int64]
Rows = NDArray[np.signedinteger[Any]]
"""Numbers of rows: int32 where memory matters, else int64."""


@compiled
def group_rows(codes: Rows, count: int) -> tuple[Rows, Ints]:
    """Rows sorted by code, equal codes in their order, and where each code starts.

    A counting sort; rows whose code is negative are left out. The rows have the codes' type.
    """
    starts = np.zeros(count + 1, np.int64)
    for code in codes:
        if code >= 0:
            starts[code + 1] += 1
    starts = np.cumsum(starts)
    free = starts[:-1].copy()
    out = np.empty(starts[-1], codes.dtype)
    for row in range(len(codes)):
        code = codes[row]
        if code >= 0:
            out[free[code]] = row
            free[code] += 1
    return out, starts


@compiled
def regroup_rows(order: Rows, codes: Rows, count: int) -> tuple[Rows, Ints]:
    """`group_rows` of the rows `order`, equal codes left in their order there.

    Applied to several codes, the last one first, it is a radix sort by all of them.
    """
    starts = np.zeros(count + 1, np.int64)
    for row in order:
        if codes[row] >= 0:
            starts[codes[row] + 1] += 1
    starts = np.cumsum(starts)
    free = starts[:-1].copy()
    out = np.empty(starts[-1], order.dtype)
    for row in order:
        code = codes[row]
        if code >= 0:
            out[free[code]] = row
            free[code] += 1
    return out, starts


def group_numbers(order: Rows, starts: Ints, size: int) -> Ints:
    """Of each of `size` rows the number of its group, -1 where it is in none."""
    numbers = np.full(size, -1, np.int64)
    numbers[order] = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    return numbers


def parts(starts: Ints, rows: int) -> Iterator[tuple[int, int]]:
    """First and last-plus-one group of successive parts of at most `rows` rows.

    A larger group is a part of its own.
    """
    begin, groups = 0, len(starts) - 1
    while begin < groups:
        end = int(np.searchsorted(starts, starts[begin] + rows, side="right")) - 1
        yield begin, max(begin + 1, end)
        begin = max(begin + 1, end)


@compiled
def split_groups(order: Rows, starts: Ints, codes: Rows) -> Ints:
    """The starts of groups that are split further wherever `codes` changes."""
    out = np.empty(len(order) + 1, np.int64)
    count = 0
    for group in range(len(starts) - 1):
        for place in range(starts[group], starts[group + 1]):
            if place == starts[group] or codes[order[place]] != codes[order[place - 1]]:
                out[count] = place
                count += 1
    out[count] = len(order)
    return out[: count + 1].copy()

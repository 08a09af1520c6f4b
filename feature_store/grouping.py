"""Sorting a history by entity, and gathering its columns in that order; loops are compiled."""

from collections.abc import Iterator

import numba
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_compile = numba.njit(cache=True, nogil=True, error_model="numpy")


@_compile
def regroup_rows(order: Ints, codes: Ints, count: int) -> tuple[Ints, Ints]:
    """Rows `order` sorted by code, equal codes left in their order, and where each code starts.

    A counting sort; rows whose code is negative are left out. Applied to several codes, the
    last one first, it is a radix sort by all of them.
    """
    starts = np.zeros(count + 1, np.int64)
    for row in order:
        if codes[row] >= 0:
            starts[codes[row] + 1] += 1
    starts = np.cumsum(starts)
    free = starts[:-1].copy()
    out = np.empty(starts[-1], np.int64)
    for row in order:
        code = codes[row]
        if code >= 0:
            out[free[code]] = row
            free[code] += 1
    return out, starts


def group_rows(codes: Ints, count: int) -> tuple[Ints, Ints]:
    """All rows sorted by code; see `regroup_rows`."""
    grouped: tuple[Ints, Ints] = regroup_rows(np.arange(len(codes)), codes, count)
    return grouped


def group_numbers(order: Ints, starts: Ints, size: int) -> Ints:
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


@_compile
def split_groups(order: Ints, starts: Ints, codes: Ints) -> Ints:
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


@_compile
def interleave(columns: tuple[Ints, ...], begin: int, end: int, table: Ints) -> None:
    """Rows `begin` to `end` of columns (n,) side by side, into `table` (n, columns)."""
    for row in range(begin, end):
        for number, column in enumerate(columns):
            table[row, number] = column[row]


@_compile
def take_rows(table: Ints, rows: Ints, numbers: Ints, columns: Ints) -> None:
    """Columns `numbers` of the rows `rows` of `table` -> `columns` (numbers, m)."""
    for i in range(len(rows)):
        row = table[rows[i]]
        for k in range(len(numbers)):
            columns[k, i] = row[numbers[k]]

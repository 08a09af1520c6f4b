"""Compiled loops that sort a history by entity and gather its columns in that order."""

import numba
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_compile = numba.njit(cache=True, nogil=True, error_model="numpy")


@_compile
def group_rows(codes: Ints, count: int) -> tuple[Ints, Ints]:
    """Rows by code, each code's rows in order, and where each of `count` codes starts.

    A counting sort; rows whose code is negative are left out.
    """
    starts = np.zeros(count + 1, np.int64)
    for code in codes:
        if code >= 0:
            starts[code + 1] += 1
    starts = np.cumsum(starts)
    free = starts[:-1].copy()
    order = np.empty(starts[-1], np.int64)
    for row in range(len(codes)):
        code = codes[row]
        if code >= 0:
            order[free[code]] = row
            free[code] += 1
    return order, starts


@_compile
def regroup_rows(order: Ints, codes: Ints, count: int) -> tuple[Ints, Ints]:
    """Rows `order` sorted by code, equal codes left in their order, and where each code starts.

    With `group_rows` this is a radix sort by several codes, the last one first.
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

"""The columns of a history side by side, so that a visit to memory brings all of an event."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feature_store.columns import History
from feature_store.finishing import quantised_log_of
from feature_store.grouping import Rows
from feature_store.inputs import AMOUNT, CODE, LABEL, LABELS_KNOWN, LOG, TIME
from feature_store.machine_code import compiled, inlined
from fraud.domain.features import Ints, log_tables

_BLOCK = 256  # rows whose columns are read one after another
_LINE = 64  # bytes
_WIDE = (TIME, AMOUNT)


class Facts:
    """Integer columns of the events themselves, packed by event.

    Args:
        history: whose events.
        names: of columns, as in `inputs`; only codes need to be among them, the others are in.
    """

    def __init__(self, history: History, names: Sequence[str]) -> None:
        codes = sorted({name for name in names if name.startswith(f"{CODE} ")})
        self._history = history
        self._narrow_names = [LOG, LABEL, LABELS_KNOWN, *codes]
        width = len(_WIDE) + (len(self._narrow_names) + 1) // 2
        width = 1 << (width - 1).bit_length()  # so that an event lies in as few lines as can be
        # One table under two types: wide columns first, then the narrow ones, two in a place.
        self._wide = _in_lines(np.empty(history.size * width + _LINE, np.int64), width)
        self._narrow = self._wide.view(np.int32)

    def fill(self, rows: slice) -> None:
        """Pack these rows; to be done for all rows before the first `take`."""
        history, narrow = self._history, self._narrow[rows, 2 * len(_WIDE) :]
        own = history.time_us[rows], history.amount_minor[rows]
        of_labels = history.label[rows], history.labels_known[rows]
        _pack(*own, *of_labels, log_tables(), self._wide[rows], narrow)
        for place, name in enumerate(self._narrow_names[3:], start=3):
            narrow[:, place] = history.texts[name.removeprefix(f"{CODE} ")].codes[rows]

    def holds(self, name: str) -> bool:
        """Whether this column is packed."""
        return name in _WIDE or name in self._narrow_names

    def take(self, names: Sequence[str], rows: Rows, out: Ints) -> None:
        """Columns of some rows -> `out` (names, rows)."""
        places = {name: place for place, name in enumerate(self._narrow_names, 2 * len(_WIDE))}
        wide = [(k, _WIDE.index(name)) for k, name in enumerate(names) if name in _WIDE]
        narrow = [(k, places[name]) for k, name in enumerate(names) if name in places]
        tables = self._wide.ravel(), self._narrow.ravel(), self._wide.shape[1]
        _take(*tables, _pairs(wide), _pairs(narrow), rows, out)


def _pairs(numbers: list[tuple[int, int]]) -> Ints:
    return np.array(numbers, np.int64).reshape(len(numbers), 2)


def _in_lines(memory: Ints, width: int) -> Ints:
    """A table (n, width) that begins with a cache line of this memory."""
    begin = -memory.ctypes.data % _LINE // memory.itemsize
    rows = (len(memory) - _LINE) // width
    return memory[begin : begin + rows * width].reshape(rows, width)


@compiled
def _pack(
    time_us: Ints,
    amount_minor: Ints,
    label: Rows,
    labels_known: Rows,
    log_tables: tuple[Ints, Ints],
    wide: Ints,
    narrow: Rows,
) -> None:
    """The first columns of both tables."""
    small, steps = log_tables
    for i in range(len(time_us)):
        wide[i, 0], wide[i, 1] = time_us[i], amount_minor[i]
        narrow[i, 0] = quantised_log_of(amount_minor[i], small, steps)
        narrow[i, 1], narrow[i, 2] = label[i], labels_known[i]


@compiled
def _take(
    wide: Ints, narrow: Rows, width: int, of_wide: Ints, of_narrow: Ints, rows: Rows, out: Ints
) -> None:
    """Columns of some rows of a table -> `out`; of each its number there and its number here."""
    places = np.empty(_BLOCK, np.uint64)  # unsigned: none counts from the end
    for begin in range(0, len(rows), _BLOCK):
        end = min(begin + _BLOCK, len(rows))
        for i in range(end - begin):
            places[i] = rows[begin + i] * width
        for k in range(len(of_wide)):
            _taken(wide[of_wide[k, 1] :], places, 1, out[of_wide[k, 0], begin:end])
        for k in range(len(of_narrow)):
            _taken(narrow[of_narrow[k, 1] :], places, 2, out[of_narrow[k, 0], begin:end])


@inlined
def _taken(column: Rows, places: NDArray[np.uint64], size: int, out: Ints) -> None:
    for i in range(len(out)):
        out[i] = column[np.uint64(size) * places[i]]

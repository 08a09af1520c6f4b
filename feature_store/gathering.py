"""The columns of a history side by side, so that a visit to memory brings all of an event."""

from collections.abc import Sequence

import numba
import numpy as np

from feature_store.columns import History
from feature_store.finishing import quantised_log_of
from feature_store.grouping import Rows
from feature_store.inputs import AMOUNT, CODE, LABEL, LABELS_KNOWN, LOG, TIME
from fraud.domain.features import Ints, log_tables

_compile = numba.njit(cache=True, nogil=True, error_model="numpy")
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
        width = 1 << (len(self._narrow_names) - 1).bit_length()  # so that lines hold whole events
        self._wide = _in_lines(np.empty(history.size * len(_WIDE) + _LINE, np.int64), len(_WIDE))
        self._narrow = _in_lines(np.empty(history.size * width + _LINE, np.int32), width)

    def fill(self, rows: slice) -> None:
        """Pack these rows; to be done for all rows before the first `take`."""
        history, narrow = self._history, self._narrow[rows]
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
        wide = [(k, _WIDE.index(name)) for k, name in enumerate(names) if name in _WIDE]
        _take(self._wide.ravel(), len(_WIDE), np.array(wide), rows, out)
        places = {name: place for place, name in enumerate(self._narrow_names)}
        narrow = [(k, places[name]) for k, name in enumerate(names) if name in places]
        if narrow:
            _take(self._narrow.ravel(), self._narrow.shape[1], np.array(narrow), rows, out)


def _in_lines(memory: Rows, width: int) -> Rows:
    """A table (n, width) that begins with a cache line of this memory."""
    begin = -memory.ctypes.data % _LINE // memory.itemsize
    rows = (len(memory) - _LINE) // width
    return memory[begin : begin + rows * width].reshape(rows, width)


@_compile
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


@_compile
def _take(table: Rows, width: int, wanted: Ints, rows: Rows, out: Ints) -> None:
    """Columns of some rows of a table -> `out`; of each its number there and its number here."""
    places = np.empty(_BLOCK, np.int64)
    for begin in range(0, len(rows), _BLOCK):
        size = min(_BLOCK, len(rows) - begin)
        for i in range(size):
            places[i] = rows[begin + i] * width
        for k in range(len(wanted)):
            target, column = out[wanted[k, 0], begin : begin + size], table[wanted[k, 1] :]
            for i in range(size):
                target[i] = column[np.uint64(places[i])]  # unsigned: none counts from the end

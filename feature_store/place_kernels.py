"""The compiled loop over the places of an entity's history; see `kernels.py` for the layout."""

import numba
import numpy as np
from numpy.typing import NDArray

from fraud.domain.aggregates import NONE

Ints = NDArray[np.int64]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def last_places(starts: Ints, time_us: Ints, place_ids: Ints, out: Ints) -> None:
    """Where and when each entity was seen last before each event -> `out` (2, n)."""
    for group in range(len(starts) - 1):
        place, seen_us = NONE, NONE
        for row in range(starts[group], starts[group + 1]):
            out[0, row] = place
            out[1, row] = seen_us
            if place_ids[row] != NONE:
                place, seen_us = place_ids[row], time_us[row]

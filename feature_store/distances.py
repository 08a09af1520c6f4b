"""`fraud.domain.places.distance_m` of one pair of places, compiled.

The same operations in the same order, and none of them fused or reordered: not a bit differs.
"""

import math

import numpy as np

from feature_store.machine_code import compiled
from fraud.domain.aggregates import NONE
from fraud.domain.places import (
    ARCSINE,
    DEGREE,
    EARTH_RADIUS_M,
    HALVINGS,
    LONGITUDE_BITS,
    SINE,
    TURN,
)

_HALF_TURN = TURN // 2
_LONGITUDES = (1 << LONGITUDE_BITS) - 1
_HALF = math.pi / TURN
_DIAMETER_M = 2.0 * EARTH_RADIUS_M
_SINE, _ARCSINE = np.array(SINE), np.array(ARCSINE)


@compiled
def _sin_half(angle: int) -> float:
    """Sine of half of an angle of at most 180 degrees, given in millionths of a degree."""
    half = angle * _HALF
    squared = half * half
    total = _SINE[-1]
    for k in range(len(_SINE) - 2, -1, -1):
        total = total * squared + _SINE[k]
    sine: float = half * total
    return sine


@compiled
def _from_sines(haversine: float, opposite: float) -> float:
    """Half the central angle, radians."""
    squared = haversine / (2.0 * (1.0 + np.sqrt(opposite)))
    for _ in range(HALVINGS - 1):
        squared = squared / (2.0 * (1.0 + np.sqrt(1.0 - squared)))
    total = _ARCSINE[-1]
    for k in range(len(_ARCSINE) - 2, -1, -1):
        total = total * squared + _ARCSINE[k]
    angle: float = 2.0**HALVINGS * np.sqrt(squared) * total
    return angle


@compiled
def distance_m(here: int, there: int) -> int:
    """Great-circle distance of packed places in whole metres; NONE where unknown."""
    if here == NONE or there == NONE:
        return NONE
    north, east = (here >> LONGITUDE_BITS) - 90 * DEGREE, here & _LONGITUDES
    other_north, other_east = (there >> LONGITUDE_BITS) - 90 * DEGREE, there & _LONGITUDES
    apart = abs(east - other_east)
    apart = min(apart, TURN - apart)
    cosines = _sin_half(_HALF_TURN - 2 * abs(north)) * _sin_half(_HALF_TURN - 2 * abs(other_north))
    along, across = _sin_half(north - other_north), _sin_half(apart)
    far_along, far_across = _sin_half(north + other_north), _sin_half(_HALF_TURN - apart)
    haversine = along * along + cosines * (across * across)
    opposite = far_along * far_along + cosines * (far_across * far_across)
    return int(np.rint(_DIAMETER_M * _from_sines(haversine, opposite)))

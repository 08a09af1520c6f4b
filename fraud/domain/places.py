"""Places on the globe, and features of how far and how fast an entity moved.

Two executions, and two processors, must agree on every bit, and library sines do not: their
last bit depends on the processor and on the place in the array. So nothing is used here but
`+ - * /` and `sqrt`, which IEEE 754 rounds in one way only, and a distance is rounded to
whole metres, so that it is an integer like every other aggregate.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fraud.domain.aggregates import NONE, Aggregate, LastPlace, LastPlaceTime
from fraud.domain.features import Floats, Inputs, Ints
from fraud.domain.history import OfEntity

LATITUDE, LONGITUDE = "latitude", "longitude"
"""The fields of an event that say where it happened, in degrees; both or neither."""

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the GRS 80 ellipsoid: Moritz 2000, "Geodetic Reference System 1980"."""

LEAST_ELAPSED_US = 60_000_000
"""A speed is over at least a minute: no division by zero, no speed out of jitter."""

FASTEST_KMH = 10_000.0
"""The cap of every speed: ten times an airliner's."""

DEGREE = 1_000_000
TURN = 360 * DEGREE
LONGITUDE_BITS = 29
"""A packed place: its latitude in millionths of a degree, from the south pole, then as many bits
of longitude, from the date line."""

SINE = tuple((-1.0) ** n / math.factorial(2 * n + 1) for n in range(12))
ARCSINE = tuple(math.comb(2 * n, n) / (4.0**n * (2 * n + 1)) for n in range(9))
HALVINGS = 4
"""Coefficients of the sine and of the arcsine, which is asked of small angles only: those that
are left after so many halvings."""


def place_id(latitude: float, longitude: float) -> int:
    """A position as the int64 that states keep: millionths of a degree, packed."""
    north, east = round(latitude * DEGREE), round(longitude * DEGREE)
    return (north + 90 * DEGREE << LONGITUDE_BITS) + east + 180 * DEGREE


def place_ids(latitude: Floats, longitude: Floats) -> Ints:
    """`place_id` of columns in which NaN is null, shape (n,)."""
    known = ~(np.isnan(latitude) | np.isnan(longitude))
    out = np.full(len(latitude), NONE, np.int64)
    north = np.rint(latitude[known] * DEGREE).astype(np.int64) + 90 * DEGREE
    east = np.rint(longitude[known] * DEGREE).astype(np.int64) + 180 * DEGREE
    out[known] = (north << LONGITUDE_BITS) + east
    return out


def distance_m(here: Ints, there: Ints) -> Ints:
    """Great-circle distance of packed places in whole metres, shape (n,); NONE where unknown.

    The haversine formula (R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope
    68(2), 1984, p. 159). Beside the haversine itself, that of the distance to the antipode is
    computed, so that the result is good to a millimetre all the way round the globe.
    """
    known = (here != NONE) & (there != NONE)
    out = np.full(len(here), NONE, np.int64)
    if known.any():
        out[known] = np.rint(2.0 * EARTH_RADIUS_M * _half_angle(here[known], there[known]))
    return out


def _half_angle(here: Ints, there: Ints) -> Floats:
    """Half the central angle between known places, radians, 0 to pi/2."""
    (north, east), (other_north, other_east) = _unpacked(here), _unpacked(there)
    apart = np.abs(east - other_east)
    apart = np.minimum(apart, TURN - apart)
    half_turn = TURN // 2
    # Sines of all angles at once: for a few places, calls cost more than arithmetic.
    sines = _sin_half(
        np.stack(
            (
                half_turn - 2 * np.abs(north),
                half_turn - 2 * np.abs(other_north),
                north - other_north,
                apart,
                north + other_north,
                half_turn - apart,
            )
        )
    )
    cosines, squares = sines[0] * sines[1], sines[2:] * sines[2:]
    haversine: Floats = squares[0] + cosines * squares[1]
    opposite: Floats = squares[2] + cosines * squares[3]
    # sin^2(x/2) = sin^2(x) / (2 (1 + cos x)): halved until a few terms of the arcsine do.
    squared = haversine / (2.0 * (1.0 + np.sqrt(opposite)))
    for _ in range(HALVINGS - 1):
        squared = squared / (2.0 * (1.0 + np.sqrt(1.0 - squared)))
    return 2.0**HALVINGS * np.sqrt(squared) * _polynomial(ARCSINE, squared)


def _unpacked(place: Ints) -> tuple[Ints, Ints]:
    """Latitude and longitude in millionths of a degree."""
    east = (place & ((1 << LONGITUDE_BITS) - 1)) - 180 * DEGREE
    return (place >> LONGITUDE_BITS) - 90 * DEGREE, east


def _sin_half(angle: Ints) -> Floats:
    """Sines of half of angles of at most 180 degrees, given in millionths of a degree."""
    half = angle * (math.pi / TURN)
    return half * _polynomial(SINE, half * half)


def _polynomial(coefficients: tuple[float, ...], at: Floats) -> Floats:
    total = np.full(at.shape, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total *= at
        total += coefficient
    return total


@dataclass(frozen=True)
class OfPlace(OfEntity):
    """Base of features that compare the event's place with the entity's last one."""

    field: ClassVar[str] = LATITUDE
    default: float = -1.0

    def aggregates(self) -> tuple[Aggregate, ...]:
        return (LastPlace(self.entity), LastPlaceTime(self.entity))

    def shown(self, value: float) -> str:
        return "unknown" if value == self.default else super().shown(value)

    def _moved_m(self, inputs: Inputs) -> Ints:
        def compute() -> Ints:
            return distance_m(inputs.place_id(), inputs.aggregate(LastPlace(self.entity)))

        return inputs.shared(("moved_m", self.entity), compute)


@dataclass(frozen=True)
class DistanceSinceLast(OfPlace):
    """Distance from where the entity was last observed."""

    unit: str = "km"

    @property
    def name(self) -> str:
        return f"{self.entity}_km_since_last"

    def finish(self, inputs: Inputs) -> Floats:
        moved = self._moved_m(inputs)
        return np.where(moved == NONE, self.default, moved / 1000.0)


@dataclass(frozen=True)
class SpeedSinceLast(OfPlace):
    """Speed at which the entity must have come from where it was last observed."""

    unit: str = "km/h"

    @property
    def name(self) -> str:
        return f"{self.entity}_kmh_since_last"

    def finish(self, inputs: Inputs) -> Floats:
        moved = self._moved_m(inputs)
        then = inputs.aggregate(LastPlaceTime(self.entity))
        now = inputs.time_us()
        elapsed = np.maximum(now - np.where(then == NONE, now, then), LEAST_ELAPSED_US)
        speed = np.minimum(np.maximum(moved, 0) * 3_600_000 / elapsed, FASTEST_KMH)
        return np.where(moved == NONE, self.default, speed)

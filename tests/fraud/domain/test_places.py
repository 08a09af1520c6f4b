"""Distances: right all round the globe, and the same bits wherever they are computed."""

import math

import numpy as np
import pytest

from fraud.domain.aggregates import NONE
from fraud.domain.places import EARTH_RADIUS_M, distance_m, place_id, place_ids
from tests.fraud.domain.globes import a_globe, two_globes

HALF_ROUND_M = round(math.pi * EARTH_RADIUS_M)


def by_vincenty(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Metres by another formula, well conditioned everywhere, with the library's functions."""
    north, east = map(math.radians, one)
    other_north, other_east = map(math.radians, other)
    across = math.cos(other_north) * math.sin(other_east - east)
    along = math.cos(north) * math.sin(other_north) - math.sin(north) * math.cos(
        other_north
    ) * math.cos(other_east - east)
    inwards = math.sin(north) * math.sin(other_north) + math.cos(north) * math.cos(
        other_north
    ) * math.cos(other_east - east)
    return EARTH_RADIUS_M * math.atan2(math.hypot(across, along), inwards)


@pytest.mark.parametrize(
    ("one", "other", "metres"),
    [
        ((0.0, 0.0), (0.0, 0.0), 0),
        ((90.0, 0.0), (90.0, 123.0), 0),  # every longitude is the pole
        ((12.0, 180.0), (12.0, -180.0), 0),
        ((0.0, 0.0), (0.0, 180.0), HALF_ROUND_M),
        ((90.0, 0.0), (-90.0, 50.0), HALF_ROUND_M),
        ((48.858222, 2.2945), (-48.858222, -177.7055), HALF_ROUND_M),
        ((0.0, 179.999), (0.0, -179.999), 222),
        # Nashville to Los Angeles airport, an example often given: 2886.44 km for R = 6371 km
        ((36.12, -86.67), (33.94, -118.40), round(2_886_444.44 * EARTH_RADIUS_M / 6_371_000)),
    ],
)
def test_known_distances(one: tuple[float, float], other: tuple[float, float], metres: int) -> None:
    here, there = np.array([place_id(*one)]), np.array([place_id(*other)])
    assert distance_m(here, there).tolist() == distance_m(there, here).tolist() == [metres]


def test_distances_agree_with_another_formula_everywhere() -> None:
    north, east, other_north, other_east = two_globes(20_000)
    here, there = (north, east), (other_north, other_east)
    found = distance_m(place_ids(*here), place_ids(*there))
    pairs = zip(zip(*here, strict=True), zip(*there, strict=True), strict=True)
    wanted = np.array([by_vincenty(one, other) for one, other in pairs])
    assert np.abs(found - wanted).max() <= 0.5 + 1e-6, "rounded to a metre, and nothing more"


def test_a_distance_has_one_value_whatever_the_array_around_it() -> None:
    """Library sines do not: their last bit depends on the length and the alignment."""
    here, there = place_ids(*a_globe(5_003)), place_ids(*a_globe(5_003, seed=2))
    whole = distance_m(here, there)
    one_by_one = [
        int(distance_m(here[k : k + 1], there[k : k + 1])[0]) for k in range(0, len(here), 7)
    ]
    assert whole[::7].tolist() == one_by_one
    for shift in range(1, 9):
        shifted = distance_m(here[shift:], there[shift:])
        assert shifted.tobytes() == whole[shift:].tobytes()
        assert distance_m(here[::shift], there[::shift]).tobytes() == whole[::shift].tobytes()


def test_a_place_is_packed_alike_one_by_one_and_in_columns() -> None:
    north, east = a_globe(2_000)
    east[::5] = np.nan
    north[::7] = np.nan
    one_by_one = [
        NONE if math.isnan(a) or math.isnan(b) else place_id(a, b)
        for a, b in zip(north.tolist(), east.tolist(), strict=True)
    ]
    assert place_ids(north, east).tolist() == one_by_one
    assert min(place_id(-90.0, -180.0), place_id(90.0, 180.0)) >= 0


def test_a_distance_to_nowhere_is_unknown() -> None:
    here = np.array([place_id(1.0, 2.0), NONE, NONE, place_id(1.0, 2.0)])
    assert distance_m(here, here[::-1].copy()).tolist() == [0, NONE, NONE, 0]
    assert distance_m(here, here[[1, 1, 1, 1]]).tolist() == [NONE] * 4

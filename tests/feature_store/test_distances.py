"""The compiled distance is, to the bit, the one that the domain defines."""

import numpy as np

from feature_store.distances import distance_m
from fraud.domain import places
from fraud.domain.aggregates import NONE
from fraud.domain.places import place_ids
from tests.fraud.domain.globes import two_globes

PAIRS = 1_000_000


def test_a_compiled_distance_is_that_of_the_definition_everywhere() -> None:
    north, east, other_north, other_east = two_globes(PAIRS, seed=7)
    here, there = place_ids(north, east), place_ids(other_north, other_east)
    # from a millionth of a degree on, where most of the digits cancel out
    near = np.random.default_rng(7).integers(-200, 201, PAIRS // 6)
    there[: PAIRS // 6] += near * (np.abs(other_east[: PAIRS // 6]) < 179)
    here[::101], there[::103] = NONE, NONE
    found = list(map(distance_m, here.tolist(), there.tolist()))
    wanted = places.distance_m(here, there).tolist()
    assert found == wanted
    known = [metres for metres in wanted if metres != NONE]
    assert min(known) == 0
    assert max(known) > 20_015_000, "half round the globe"

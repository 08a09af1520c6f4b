"""Places all round the globe."""

import numpy as np


def a_globe(size: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Degrees of places everywhere, a tenth of them on a pole, the equator or the date line."""
    rng = np.random.default_rng(seed)
    north, east = rng.uniform(-90, 90, size), rng.uniform(-180, 180, size)
    rare = rng.random(size) < 0.1
    north[rare] = rng.choice([-90.0, 0.0, 90.0], rare.sum())
    east[rare] = rng.choice([-180.0, 0.0, 180.0], rare.sum())
    return np.round(north, 6), np.round(east, 6)


def two_globes(size: int, seed: int = 1) -> tuple[np.ndarray, ...]:
    """Pairs of places: a third equal, a third opposite each other, the others anywhere."""
    (north, east), (other_north, other_east) = a_globe(size, seed), a_globe(size, seed + 1)
    equal, opposite = slice(0, size // 3), slice(size // 3, 2 * size // 3)
    other_north[equal], other_east[equal] = north[equal], east[equal]
    other_north[opposite] = -north[opposite]
    other_east[opposite] = (east[opposite] + 360.0) % 360 - 180
    return north, east, other_north, other_east

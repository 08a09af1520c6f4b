"""Where on the globe the simulated world lies, and where each payment was made.

The grid is laid on the prairie so that its border line is the 49th parallel; overseas shops
lie in their country's direction. A payment in a shop is made at the shop. One without the
card is made where its device is: as far from home as its distance says, in one direction per
customer and day, so that a customer who stays at home does not seem to circle it.
"""

import numpy as np

from fraud.domain.places import EARTH_RADIUS_M
from orchestration.sources.simulator.day import Transactions
from orchestration.sources.simulator.parameters import CreditCardSimulation
from orchestration.sources.simulator.population import Floats, Ints, Population

BORDER_NORTH, WEST_EDGE_EAST = 49.0, -98.0
"""Degrees north of the border line and east of the grid's western edge."""

TOWARDS = np.radians([0.0, 0.0, 40.0, 37.0, 45.0, 172.0, 135.0, 315.0, 330.0, 80.0])
"""Direction of each country from the grid, clockwise from north."""

_RADIUS_KM = EARTH_RADIUS_M / 1000
_MIX_1, _MIX_2, _MIX_3 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(31)

Place = tuple[Floats, Floats]
"""Degrees north and east."""


def homes(parameters: CreditCardSimulation, world: Population, customer: Ints) -> Place:
    """Where these customers live."""
    return _on_globe(parameters, world.customer_xy[customer])


def payments(parameters: CreditCardSimulation, world: Population, rows: Transactions) -> Place:
    """Where these payments were made, to the metre."""
    centre = _on_globe(parameters, np.full((len(rows), 2), parameters.grid_km / 2))
    far_km = world.merchant_distance_km[rows.merchant]
    towards = TOWARDS[world.merchant_country[rows.merchant]]
    shop = _on_globe(parameters, world.merchant_xy[rows.merchant])
    overseas = _away(centre, far_km, towards)
    device = _away(
        homes(parameters, world, rows.customer),
        rows.distance_km,
        _direction(parameters.seed, rows.customer, rows.day),
    )

    def chosen(axis: int) -> Floats:
        in_shop = np.where(far_km > 0, overseas[axis], shop[axis])
        degrees: Floats = np.where(rows.card_present, in_shop, device[axis])
        return np.round(degrees, 5)

    return chosen(0), chosen(1)


def _on_globe(parameters: CreditCardSimulation, xy: Floats) -> Place:
    """Points of the grid; distances between them keep to within a hundredth."""
    degree_km = np.pi * _RADIUS_KM / 180
    north = BORDER_NORTH + (xy[:, 1] - parameters.border_km) / degree_km
    middle = BORDER_NORTH + (parameters.grid_km / 2 - parameters.border_km) / degree_km
    return north, WEST_EDGE_EAST + xy[:, 0] / (degree_km * np.cos(np.radians(middle)))


def _away(start: Place, distance_km: Floats, direction: Floats) -> Place:
    """The place so far from another, setting out in a direction: spherical trigonometry."""
    north, east = np.radians(start[0]), np.radians(start[1])
    angle = distance_km / _RADIUS_KM
    sine = np.sin(north) * np.cos(angle) + np.cos(north) * np.sin(angle) * np.cos(direction)
    turned = np.arctan2(
        np.sin(direction) * np.sin(angle) * np.cos(north), np.cos(angle) - np.sin(north) * sine
    )
    longitude = np.degrees(east + turned)
    return np.degrees(np.arcsin(sine)), (longitude + 540) % 360 - 180


def _direction(seed: int, customer: Ints, day: Ints) -> Floats:
    """A direction for each customer and day, evenly spread: a hash, not a draw."""
    mixed = (customer * 1_000_003 + day).astype(np.uint64) + np.uint64(seed % 2**32)
    mixed = mixed * _MIX_1
    mixed = (mixed ^ (mixed >> _MIX_3)) * _MIX_2
    return (mixed >> np.uint64(11)).astype(np.float64) * (2 * np.pi / 2**53)

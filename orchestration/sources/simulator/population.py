"""Who lives in the simulated world: customers, merchants, and who shops where."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from orchestration.sources.simulator.parameters import CreditCardSimulation
from orchestration.sources.simulator.streams import Stream, stream

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

CATEGORIES: dict[str, tuple[float, float]] = {
    # category: (weight among merchants, share of its purchases made with the card not present)
    "grocery": (0.17, 0.08),
    "restaurant": (0.15, 0.15),
    "fuel": (0.09, 0.02),
    "clothing": (0.11, 0.30),
    "health": (0.09, 0.12),
    "home": (0.08, 0.25),
    "entertainment": (0.08, 0.40),
    "electronics": (0.06, 0.45),
    "travel": (0.05, 0.60),
    "digital_goods": (0.04, 0.97),
    "online_retail": (0.06, 0.95),
    "cash_advance": (0.02, 0.02),
}
"""Merchant categories; weights and channel shares are our own, chosen to give about 29 % online."""

GROWING = ("electronics", "travel", "digital_goods")
"""Where purchases go when the category mix drifts."""

COUNTRIES = ("US", "CA", "GB", "DE", "FR", "MX", "BR", "JP", "CN", "NG")
"""ISO 3166-1 alpha-2; the first two share the grid, the others are overseas."""

OVERSEAS_KM = np.array([0, 0, 6800, 7600, 7300, 2700, 7500, 10500, 11200, 9700], dtype=np.float64)
"""Typical distance of each country from the grid."""


@dataclass(frozen=True)
class Neighbourhoods:
    """For each customer (or country) its merchants, as one array and its row bounds."""

    merchant: Ints
    bounds: Ints

    def pick(self, row: Ints, uniform: Floats) -> Ints:
        """One merchant for each, by a uniform draw; -1 where there is none."""
        first, end = self.bounds[row], self.bounds[row + 1]
        size = end - first
        if not self.merchant.size:
            return np.full(len(row), -1, dtype=np.int64)
        place = np.minimum(first + (uniform * size).astype(np.int64), self.merchant.size - 1)
        return np.where(size > 0, self.merchant[place], -1)

    def only(self, wanted: Bools) -> "Neighbourhoods":
        """The same neighbourhoods with the wanted merchants only."""
        keep = wanted[self.merchant]
        kept = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(keep, dtype=np.int64)])
        return Neighbourhoods(self.merchant[keep], kept[self.bounds])


@dataclass(frozen=True)
class Population:
    """Everything about customers and merchants that does not change from day to day.

    Positions are in km on the grid, amounts in currency units, rates in transactions a day;
    `overseas` lists the merchants that are not on the grid, `abroad` the same by country.
    """

    customer_xy: Floats
    customer_mean_amount: Floats
    customer_rate: Floats
    customer_online: Floats
    customer_devices: Ints
    customer_country: Ints
    merchant_xy: Floats
    merchant_category: Ints
    merchant_country: Ints
    merchant_distance_km: Floats
    nearby: Neighbourhoods
    growing: Neighbourhoods
    overseas: Ints
    abroad: Neighbourhoods

    def distance_km(self, customer: Ints, merchant: Ints) -> Floats:
        """Distance from home to shop: on the grid, or that of the shop's country."""
        gap = self.customer_xy[customer] - self.merchant_xy[merchant]
        far = self.merchant_distance_km[merchant]
        return np.where(far > 0, far, np.hypot(gap[:, 0], gap[:, 1]))


@lru_cache(maxsize=4)
def population(parameters: CreditCardSimulation) -> Population:
    """Draw the world of a seed.

    A customer with no merchant within the radius uses the nearest one.

    Args:
        parameters: Sizes and laws of the world.

    Returns:
        The population; treat its arrays as read-only, they are shared between calls.
    """
    rng = stream(parameters.seed, Stream.POPULATION)
    customers, merchants = parameters.customers, parameters.merchants
    customer_xy = rng.uniform(0, parameters.grid_km, (customers, 2))
    mean_amount = rng.uniform(*parameters.mean_amount, customers)
    rate = rng.uniform(*parameters.mean_daily_transactions, customers)
    online = rng.uniform(0.3, 1.7, customers)
    devices = rng.integers(1, 4, customers)

    merchant_xy = rng.uniform(0, parameters.grid_km, (merchants, 2))
    weights = np.array([weight for weight, _ in CATEGORIES.values()])
    category = rng.choice(len(weights), merchants, p=weights / weights.sum()).astype(np.int64)
    abroad = min(max(1, round(parameters.overseas_merchants_share * merchants)), merchants - 1)
    overseas = np.sort(rng.permutation(merchants)[:abroad]).astype(np.int64)
    country = (merchant_xy[:, 1] >= parameters.border_km).astype(np.int64)
    country[overseas] = rng.integers(2, len(COUNTRIES), abroad)
    distance_km = OVERSEAS_KM[country] * rng.uniform(0.93, 1.07, merchants)

    nearby = _neighbourhoods(
        customer_xy, merchant_xy, np.flatnonzero(distance_km == 0), parameters.radius_km
    )
    names = list(CATEGORIES)
    return Population(
        customer_xy=customer_xy,
        customer_mean_amount=mean_amount,
        customer_rate=rate,
        customer_online=online,
        customer_devices=devices,
        customer_country=(customer_xy[:, 1] >= parameters.border_km).astype(np.int64),
        merchant_xy=merchant_xy,
        merchant_category=category,
        merchant_country=country,
        merchant_distance_km=distance_km,
        nearby=nearby,
        growing=nearby.only(np.isin(category, [names.index(name) for name in GROWING])),
        overseas=overseas,
        abroad=_by_country(overseas, country[overseas]),
    )


def _by_country(merchant: Ints, country: Ints) -> Neighbourhoods:
    size = np.bincount(country, minlength=len(COUNTRIES))
    bounds = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(size, dtype=np.int64)])
    return Neighbourhoods(merchant[np.argsort(country, kind="stable")], bounds)


def _neighbourhoods(
    customer_xy: Floats, merchant_xy: Floats, on_grid: Ints, radius_km: float, block: int = 500
) -> Neighbourhoods:
    by_x = on_grid[np.argsort(merchant_xy[on_grid, 0], kind="stable")]
    xs = merchant_xy[by_x, 0]
    found, sizes = [], []
    for first in range(0, len(customer_xy), block):
        xy = customer_xy[first : first + block]
        low = np.searchsorted(xs, xy[:, 0] - radius_km)
        width = np.searchsorted(xs, xy[:, 0] + radius_km, side="right") - low
        customer = np.repeat(np.arange(len(xy)), width)
        place = np.arange(width.sum()) - np.repeat(np.cumsum(width) - width, width) + low[customer]
        gap = xy[customer] - merchant_xy[by_x[place]]
        near = gap[:, 0] ** 2 + gap[:, 1] ** 2 < radius_km**2
        size = np.bincount(customer[near], minlength=len(xy))
        alone = np.flatnonzero(size == 0)
        gaps = xy[alone, None, :] - merchant_xy[None, on_grid, :]
        nearest = on_grid[np.argmin((gaps**2).sum(axis=2), axis=1)]
        merged = np.concatenate([customer[near], alone])
        order = np.argsort(merged, kind="stable")
        found.append(np.concatenate([by_x[place[near]], nearest])[order])
        sizes.append(np.where(size == 0, 1, size))
    bounds = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.concatenate(sizes))])
    return Neighbourhoods(np.concatenate(found), bounds.astype(np.int64))

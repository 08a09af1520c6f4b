"""What customers buy on one day, before any fraud."""

import numpy as np

from orchestration.sources.simulator.day import (
    DAY_S,
    NO_DEVICE,
    Transactions,
    customer_device,
    new_device,
    no_numbers,
)
from orchestration.sources.simulator.drift import DriftKind
from orchestration.sources.simulator.parameters import CreditCardSimulation
from orchestration.sources.simulator.population import CATEGORIES, Bools, Floats, Ints, Population
from orchestration.sources.simulator.streams import Stream, stream
from orchestration.sources.simulator.travel import Trips, trips

ONLINE_BY_CATEGORY = np.array([online for _, online in CATEGORIES.values()])
CHIP_SHARE = 0.88
"""Share of purchases in a shop where the chip is read; the rest is swiped or keyed."""
NEW_DEVICE_SHARE = 0.03
"""Share of a customer's online purchases from a device never seen before."""
LOCATION_ERROR_KM = (1.0, 1.1)
"""Mean and deviation of the log of the error when a home is located by network address."""


def genuine_day(
    parameters: CreditCardSimulation, world: Population, day: int
) -> tuple[Transactions, Bools]:
    """Everything customers do on a day by themselves.

    The number, time and amount of purchases follow the published laws (see
    `CreditCardSimulation`); the shop is drawn uniformly within reach of home, or of wherever the
    customer is on a trip; channel, chip, device and distance are our extension.

    Args:
        parameters: The world's parameters.
        world: Its population.
        day: Day as a proleptic ordinal.

    Returns:
        The transactions in no particular order, and which of them were above the large amount
        before unusual purchases were enlarged.
    """
    rng = stream(parameters.seed, Stream.PURCHASES, day)
    customer = np.repeat(np.arange(parameters.customers), rng.poisson(world.customer_rate))
    second = rng.normal(DAY_S / 2, parameters.noon_spread_s, customer.size)
    inside = (second > 0) & (second < DAY_S)
    customer, second = customer[inside], second[inside]
    amount = _amounts(world.customer_mean_amount[customer], rng)
    is_large = amount > parameters.large_amount
    is_unusual = rng.random(customer.size) < parameters.unusual_share
    amount = np.where(is_unusual, amount * rng.uniform(2.5, 6.0, customer.size), amount)

    rng = stream(parameters.seed, Stream.CHANNELS, day)
    away = trips(parameters, world, day)
    merchant = _shops(parameters, world, away, customer, day, rng)
    is_online = _is_online(parameters, world, customer, merchant, day, rng)
    orders_abroad = is_online & (rng.random(customer.size) < parameters.overseas_online_share)
    distant = world.overseas[rng.integers(0, world.overseas.size, customer.size)]
    merchant = np.where(orders_abroad, distant, merchant)
    chip = rng.random(customer.size) < CHIP_SHARE
    device = _devices(world, customer, day, rng)
    transactions = Transactions(
        time_us=(second * 1e6).astype(np.int64),
        amount=amount,
        customer=customer,
        merchant=merchant,
        distance_km=_distances(world, away, customer, merchant, is_online, rng),
        card_present=~is_online,
        used_chip=~is_online & chip,
        device=np.where(is_online, device, NO_DEVICE),
        scenario=no_numbers(customer.size),
        observed_us=no_numbers(customer.size),
        day=np.full(customer.size, day, dtype=np.int64),
        number=no_numbers(customer.size),
    )
    return transactions, is_large


def _amounts(mean: Floats, rng: np.random.Generator) -> Floats:
    amount = rng.normal(mean, mean / 2)
    return np.where(amount < 0, rng.uniform(0, 2 * mean), amount)


def _shops(
    parameters: CreditCardSimulation,
    world: Population,
    away: Trips,
    customer: Ints,
    day: int,
    rng: np.random.Generator,
) -> Ints:
    choice, mood, overseas = rng.random((3, customer.size))
    merchant = world.nearby.pick(away.host[customer], choice)
    moved = mood < parameters.drift_level(DriftKind.CATEGORY_MIX, day)
    if moved.any():
        growing = world.growing.pick(away.host[customer], choice)
        merchant = np.where(moved & (growing >= 0), growing, merchant)
    country = world.merchant_country[away.overseas_merchant[customer]]
    merchant = np.where(away.abroad[customer], world.abroad.pick(country, overseas), merchant)
    return merchant


def _is_online(
    parameters: CreditCardSimulation,
    world: Population,
    customer: Ints,
    merchant: Ints,
    day: int,
    rng: np.random.Generator,
) -> Bools:
    share = ONLINE_BY_CATEGORY[world.merchant_category[merchant]] * world.customer_online[customer]
    share = np.minimum(share, 0.98)
    share += (1 - share) * parameters.drift_level(DriftKind.CARD_NOT_PRESENT, day)
    return np.asarray(rng.random(customer.size) < share)


def _devices(world: Population, customer: Ints, day: int, rng: np.random.Generator) -> Ints:
    # The first device is the favourite: squaring a uniform draw favours low numbers.
    which = (rng.random(customer.size) ** 2 * world.customer_devices[customer]).astype(np.int64)
    is_new = rng.random(customer.size) < NEW_DEVICE_SHARE
    row = np.arange(customer.size)
    return np.where(is_new, new_device(day, row), customer_device(customer, which))


def _distances(
    world: Population,
    away: Trips,
    customer: Ints,
    merchant: Ints,
    is_online: Bools,
    rng: np.random.Generator,
) -> Floats:
    at_shop = world.distance_km(customer, merchant)
    gap = world.customer_xy[customer] - world.customer_xy[away.host[customer]]
    overseas_km = world.merchant_distance_km[away.overseas_merchant[customer]]
    on_trip = np.where(away.abroad[customer], overseas_km, np.hypot(gap[:, 0], gap[:, 1]))
    at_device = on_trip + rng.lognormal(*LOCATION_ERROR_KM, customer.size)
    return np.where(is_online, at_device, at_shop)

"""How fraud happens on one day: the three published scenarios and the traces they leave."""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from orchestration.sources.simulator.day import (
    NO_DEVICE,
    Transactions,
    customer_device,
    fraud_device,
)
from orchestration.sources.simulator.drift import DriftKind
from orchestration.sources.simulator.parameters import CreditCardSimulation, Scenario
from orchestration.sources.simulator.population import Bools, Floats, Ints, Population
from orchestration.sources.simulator.streams import Stream, stream, whole_number


@dataclass(frozen=True)
class Traces:
    """What a scenario leaves in the other fields, as shares of its frauds.

    Attributes:
        goes_online: Moved from the shop to card-not-present.
        ring_device: Of those online: made on a device of the fraud ring.
        remote: Of those online: made far from the customer's home.
        elsewhere: Of those in a shop: made with a copied card at a merchant anywhere.
        chip: Of those in a shop: the chip was read.
    """

    goes_online: float
    ring_device: float
    remote: float
    elsewhere: float
    chip: float


TRACES = {
    Scenario.LARGE_AMOUNT: Traces(0.40, 0.45, 0.40, 0.15, 0.70),
    Scenario.COMPROMISED_MERCHANT: Traces(0.15, 0.25, 0.20, 0.0, 0.65),
    Scenario.COMPROMISED_CUSTOMER: Traces(0.50, 0.50, 0.45, 0.30, 0.60),
}
"""Our own choice: informative together, never enough alone."""

REMOTE_KM = (5.5, 1.6)
"""Mean and deviation of the log of a remote fraudster's distance."""
LONGEST_KM = 15_000.0
ELSEWHERE_OVERSEAS = 0.2
CUSTOMERS_PER_RING_DEVICE = 300

Column = TypeVar("Column", Ints, Floats, Bools)


def compromised(
    seed: int, purpose: Stream, size: int, daily: float, duration_days: int, day: int
) -> Bools:
    """Who of `size` is compromised on a day, drawn on that day or one of the days before it.

    Args:
        seed: The world's seed.
        purpose: The stream of these draws.
        size: Number of customers or merchants.
        daily: Expected number of new ones a day.
        duration_days: Days for which one stays compromised, the first included.
        day: Day as a proleptic ordinal.

    Returns:
        One truth value for each of the `size`.
    """
    state = np.zeros(size, dtype=np.bool_)
    for age_days in range(duration_days):
        rng = stream(seed, purpose, day - age_days)
        count = whole_number(daily, rng.random())
        state[(rng.random(count) * size).astype(np.int64)] = True
    return state


def with_frauds(
    parameters: CreditCardSimulation,
    world: Population,
    genuine: Transactions,
    is_large: Bools,
    day: int,
) -> Transactions:
    """Turn some of a day's transactions into frauds.

    Where several scenarios meet, the higher number is kept, as published.
    """
    rng = stream(parameters.seed, Stream.FRAUDS, day)
    more = 1 + parameters.drift_level(DriftKind.FRAUD_RATE, day)
    customers = compromised(
        parameters.seed,
        Stream.COMPROMISED_CUSTOMERS,
        parameters.customers,
        more * parameters.compromised_customers_share * parameters.customers,
        parameters.compromised_customer_days,
        day,
    )
    merchants = compromised(
        parameters.seed,
        Stream.COMPROMISED_MERCHANTS,
        parameters.merchants,
        more * parameters.compromised_merchants_share * parameters.merchants,
        parameters.compromised_merchant_days,
        day,
    )
    is_abused = customers[genuine.customer] & (
        rng.random(len(genuine)) < parameters.compromised_customer_fraud_share
    )
    factor = parameters.compromised_customer_factor
    changed = replace(genuine, amount=np.where(is_abused, genuine.amount * factor, genuine.amount))
    changed = _leave_traces(
        parameters, world, changed, is_abused, Scenario.COMPROMISED_CUSTOMER, rng
    )
    is_large = is_large & ~is_abused
    changed = _leave_traces(parameters, world, changed, is_large, Scenario.LARGE_AMOUNT, rng)
    at_compromised = merchants[changed.merchant] & ~is_abused
    return _leave_traces(
        parameters, world, changed, at_compromised, Scenario.COMPROMISED_MERCHANT, rng
    )


def _leave_traces(
    parameters: CreditCardSimulation,
    world: Population,
    rows: Transactions,
    is_fraud: Bools,
    scenario: Scenario,
    rng: np.random.Generator,
) -> Transactions:
    traces = TRACES[scenario]
    chosen = np.flatnonzero(is_fraud)
    customer, merchant = rows.customer[chosen], rows.merchant[chosen]
    draw = rng.random((6, chosen.size))
    was_online = ~rows.card_present[chosen]
    online = was_online | (draw[0] < traces.goes_online)

    copied = ~online & (draw[1] < traces.elsewhere)
    anywhere = (draw[2] * parameters.merchants).astype(np.int64)
    overseas = world.overseas[(draw[2] * world.overseas.size).astype(np.int64)]
    target = np.where(draw[3] < ELSEWHERE_OVERSEAS, overseas, anywhere)
    merchant = np.where(copied, target, merchant)

    ring = fraud_device(
        int(rows.day[0]) if len(rows) else 0,
        customer % (1 + parameters.customers // CUSTOMERS_PER_RING_DEVICE),
    )
    own = np.where(was_online, rows.device[chosen], customer_device(customer, customer * 0))
    device = np.where(draw[4] < traces.ring_device, ring, own)

    near = np.where(was_online, rows.distance_km[chosen], rng.lognormal(1.0, 1.1, chosen.size))
    online_km = np.where(draw[5] < traces.remote, remote_km(chosen.size, rng), near)
    shop_km = np.where(copied, world.distance_km(customer, merchant), rows.distance_km[chosen])
    chip = rng.random(chosen.size) < traces.chip
    return replace(
        rows,
        merchant=_put(rows.merchant, chosen, merchant),
        distance_km=_put(rows.distance_km, chosen, np.where(online, online_km, shop_km)),
        card_present=_put(rows.card_present, chosen, ~online),
        used_chip=_put(rows.used_chip, chosen, ~online & chip),
        device=_put(rows.device, chosen, np.where(online, device, NO_DEVICE)),
        scenario=_put(rows.scenario, chosen, np.full(chosen.size, scenario, dtype=np.int64)),
    )


def _put(column: Column, rows: Ints, values: Column) -> Column:
    changed = column.copy()
    changed[rows] = values
    return changed


def remote_km(size: int, rng: np.random.Generator) -> Floats:
    """Distances from home of fraudsters who are not near it."""
    return np.minimum(rng.lognormal(*REMOTE_KM, size), LONGEST_KM)

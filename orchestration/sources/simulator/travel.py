"""Trips: who is away from home on a day, and where."""

from dataclasses import dataclass

import numpy as np

from orchestration.sources.simulator.parameters import CreditCardSimulation
from orchestration.sources.simulator.population import Bools, Ints, Population
from orchestration.sources.simulator.streams import Stream, stream, whole_number

LONGEST_TRIP_DAYS = 7


@dataclass(frozen=True)
class Trips:
    """Where each customer is on one day, one element a customer.

    `host` is the customer whose neighbourhood a traveller on the grid visits, or oneself;
    `abroad` says that the traveller is overseas, near the merchant `overseas_merchant`.
    """

    host: Ints
    abroad: Bools
    overseas_merchant: Ints


def trips(parameters: CreditCardSimulation, world: Population, day: int) -> Trips:
    """Trips under way on a day (ordinal); they depend on that day and the six before only."""
    host = np.arange(parameters.customers, dtype=np.int64)
    abroad = np.zeros(parameters.customers, dtype=np.bool_)
    merchant = np.zeros(parameters.customers, dtype=np.int64)
    for age_days in reversed(range(LONGEST_TRIP_DAYS)):
        rng = stream(parameters.seed, Stream.TRIPS, day - age_days)
        leaving = whole_number(parameters.trips_share * parameters.customers, rng.random())
        traveller, visited = rng.integers(0, parameters.customers, (2, leaving))
        lasts = rng.integers(1, LONGEST_TRIP_DAYS + 1, leaving) > age_days
        is_abroad = rng.random(leaving) < parameters.trips_abroad_share
        near = world.overseas[rng.integers(0, world.overseas.size, leaving)]
        host[traveller[lasts]] = visited[lasts]
        abroad[traveller[lasts]] = is_abroad[lasts]
        merchant[traveller[lasts]] = near[lasts]
    return Trips(host, abroad, merchant)

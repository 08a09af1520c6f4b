"""Where simulated payments are made: at the shop, or as far from home as they say."""

from datetime import date

import numpy as np
import pytest

from fraud.domain.places import distance_m, place_ids
from orchestration.sources.simulator.credit_card import (
    CreditCardSimulation,
    Simulated,
    simulate,
)
from orchestration.sources.simulator.places import homes
from orchestration.sources.simulator.population import population

WEEK = CreditCardSimulation(start=date(2026, 3, 2), days=7, seed=1)


@pytest.fixture(scope="module")
def week() -> Simulated:
    """Seven days of the published world: about 67,000 transactions."""
    return simulate(WEEK)


def test_places_lie_as_far_from_home_as_the_distance_says(week: Simulated) -> None:
    table = week.transactions
    customer = table["user_id"].str.removeprefix("USER_").to_numpy(np.int64)
    north, east = homes(WEEK, population(WEEK), customer)
    here = place_ids(table["latitude"].to_numpy(), table["longitude"].to_numpy())
    far_km = distance_m(here, place_ids(north, east)) / 1000
    said_km = table["distance_from_home_km"].to_numpy()
    overseas = table["card_present"].to_numpy() & ~table["country"].isin(["US", "CA"]).to_numpy()
    # The grid is flat, the earth is not: a hundredth. Overseas, homes lie anywhere on the grid.
    assert (np.abs(far_km - said_km)[~overseas] <= 0.01 + 0.011 * said_km[~overseas]).all()
    assert (np.abs(far_km - said_km)[overseas] <= 75).all()


def test_a_shop_stays_where_it_is(week: Simulated) -> None:
    shops = week.transactions[week.transactions["card_present"]].groupby("merchant_id")
    assert (shops[["latitude", "longitude"]].nunique() == 1).all(axis=None)

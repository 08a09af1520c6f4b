"""Transactions from the simulators: the source of a fresh installation."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import TypedDict

import pandas as pd

from fraud.settings import Settings
from orchestration.sources.batch import Batch, Source
from orchestration.sources.simulator import credit_card, world
from orchestration.sources.simulator.account_opening import OpeningSimulation, OpeningWorld
from orchestration.sources.simulator.account_takeover import (
    TakeoverSimulation,
    TakeoverWorld,
)
from orchestration.sources.simulator.ach import AchSimulation, AchWorld
from orchestration.sources.simulator.credit_card import CreditCardSimulation
from orchestration.sources.simulator.world import Simulated, World

PIECE_DAYS = 30
"""Days that are simulated at a time."""


class Sizes(TypedDict):
    """What the settings say about any world."""

    start: dt.date
    days: int
    seed: int
    customers: int


Simulate = Callable[[dt.date, dt.date], Iterator[Simulated]]


class SimulatedSource:
    """The days of a simulated world; the same world whichever range is asked for.

    Args:
        simulate: makes what is seen and reported from one day to another, a few days at a time.
        start: the first day there is.
        days: how many there are if no range is asked for.
    """

    size: int | None = None

    def __init__(self, simulate: Simulate, start: dt.date, days: int) -> None:
        self._simulate = simulate
        self._first = start
        self._last = start + dt.timedelta(days=days - 1)

    @property
    def name(self) -> str:
        return "simulator"

    def batches(self, first: dt.date | None = None, last: dt.date | None = None) -> Iterator[Batch]:
        transactions_before = labels_before = 0
        for simulated in self._simulate(first or self._first, last or self._last):
            transactions = simulated.transactions.rename(columns={"event_time": "timestamp"})
            transactions.index = _numbered(transactions, transactions_before)
            labels = simulated.labels
            labels.index = _numbered(labels, labels_before)
            transactions_before += len(transactions)
            labels_before += len(labels)
            yield Batch(transactions, labels)


def _numbered(rows: pd.DataFrame, before: int) -> pd.RangeIndex:
    return pd.RangeIndex(before + 1, before + 1 + len(rows))


def simulated_card_payments(settings: Settings, start: dt.date) -> Source:
    """Card payments: two a day for each customer."""
    merchants = settings.simulator_merchants
    return card_payments(CreditCardSimulation(**_sizes(settings, start), merchants=merchants))


def card_payments(parameters: CreditCardSimulation) -> Source:
    """The card payments of a world."""

    def simulate(first: dt.date, last: dt.date) -> Iterator[Simulated]:
        for begin, until in world.pieces(first, last, PIECE_DAYS):
            yield credit_card.simulate_days(parameters, begin, until)

    return SimulatedSource(simulate, parameters.start, parameters.days)


def simulated_transfers(settings: Settings, start: dt.date) -> Source:
    """ACH entries: about seven a day for every ten customers."""
    return _source(AchWorld(AchSimulation(**_sizes(settings, start))))


def simulated_applications(settings: Settings, start: dt.date) -> Source:
    """Account openings: about three a day for every twenty customers."""
    return _source(OpeningWorld(OpeningSimulation(**_sizes(settings, start))))


def simulated_logins(settings: Settings, start: dt.date) -> Source:
    """Logins and changes: about one a day for each customer."""
    return _source(TakeoverWorld(TakeoverSimulation(**_sizes(settings, start))))


def _sizes(settings: Settings, start: dt.date) -> Sizes:
    return {
        "start": start,
        "days": settings.history_days,
        "seed": settings.simulator_seed,
        "customers": settings.simulator_customers,
    }


def _source(simulated: World) -> Source:
    return SimulatedSource(
        lambda first, last: world.simulate_pieces(simulated, first, last, PIECE_DAYS),
        simulated.parameters.start,
        simulated.parameters.days,
    )


SIMULATORS: dict[str, Callable[[Settings, dt.date], Source]] = {
    "account_opening": simulated_applications,
    "account_takeover": simulated_logins,
    "ach": simulated_transfers,
    "credit_card": simulated_card_payments,
}
"""How to simulate each fraud type, by name, from the first day of its history on."""

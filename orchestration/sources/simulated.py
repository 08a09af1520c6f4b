"""Transactions from the simulator: the source of a fresh installation."""

import datetime as dt
from collections.abc import Callable, Iterator

import pandas as pd

from fraud.settings import Settings
from orchestration.sources.batch import Batch, Source
from orchestration.sources.simulator.credit_card import CreditCardSimulation, simulate_days

PIECE_DAYS = 30
"""Days that are simulated at a time."""


class SimulatedSource:
    """The days of a simulated world; the same world whichever range is asked for."""

    size: int | None = None

    def __init__(self, parameters: CreditCardSimulation) -> None:
        self.parameters = parameters

    @property
    def name(self) -> str:
        return "simulator"

    def batches(self, first: dt.date | None = None, last: dt.date | None = None) -> Iterator[Batch]:
        first = first or self.parameters.start
        last = last or self.parameters.start + dt.timedelta(days=self.parameters.days - 1)
        transactions_before = labels_before = 0
        while first <= last:
            until = min(first + dt.timedelta(days=PIECE_DAYS - 1), last)
            simulated = simulate_days(self.parameters, first, until)
            transactions = simulated.transactions.rename(columns={"event_time": "timestamp"})
            transactions.index = _numbered(transactions, transactions_before)
            labels = simulated.labels
            labels.index = _numbered(labels, labels_before)
            transactions_before += len(transactions)
            labels_before += len(labels)
            yield Batch(transactions, labels)
            first = until + dt.timedelta(days=1)


def _numbered(rows: pd.DataFrame, before: int) -> pd.RangeIndex:
    return pd.RangeIndex(before + 1, before + 1 + len(rows))


def simulated_card_payments(settings: Settings, start: dt.date) -> Source:
    """The card payments of the world that the settings describe."""
    return SimulatedSource(
        CreditCardSimulation(
            start=start,
            days=settings.history_days,
            seed=settings.simulator_seed,
            customers=settings.simulator_customers,
            merchants=settings.simulator_merchants,
        )
    )


SIMULATORS: dict[str, Callable[[Settings, dt.date], Source]] = {
    "credit_card": simulated_card_payments
}
"""How to simulate each fraud type, by name, from the first day of its history on."""

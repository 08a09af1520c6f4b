"""Card transactions, their labels and the truth about them, for any range of days.

After the parameters published in Le Borgne, Siblini, Lebichot, Bontempi, *Reproducible Machine
Learning for Credit Card Fraud Detection - Practical Handbook*, 2022; `CreditCardSimulation` says
which numbers are theirs and what differs.
"""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from fraud.domain.errors import SettingsError
from orchestration.sources.simulator.card_testing import card_testing
from orchestration.sources.simulator.day import (
    DAY_US,
    UNIX_EPOCH_DAY,
    Transactions,
    concatenate,
    no_numbers,
)
from orchestration.sources.simulator.drift import Drift, DriftKind
from orchestration.sources.simulator.fraud_scenarios import with_frauds
from orchestration.sources.simulator.labels import reports
from orchestration.sources.simulator.parameters import CreditCardSimulation, Scenario
from orchestration.sources.simulator.population import Ints, Population, population
from orchestration.sources.simulator.streams import Stream, stream
from orchestration.sources.simulator.tables import (
    labels_table,
    transaction_ids,
    transactions_table,
    truth_table,
)
from orchestration.sources.simulator.transactions import genuine_day
from orchestration.sources.simulator.world import Simulated

__all__ = [
    "CreditCardSimulation",
    "Drift",
    "DriftKind",
    "Scenario",
    "Simulated",
    "simulate",
    "simulate_days",
]

PROMPT_S = (0.05, 1.0)
"""Bounds of the lag, in seconds, of a transaction that is not late."""
SHORTEST_LATENESS_S = 5.0


def simulate(parameters: CreditCardSimulation) -> Simulated:
    """The whole history: `days` days from `start`."""
    return simulate_days(
        parameters, parameters.start, parameters.start + timedelta(days=parameters.days - 1)
    )


def simulate_days(parameters: CreditCardSimulation, first: date, last: date) -> Simulated:
    """What is seen and reported from one day to another, both included.

    Each day has its own random streams, so a row is the same whichever range it is asked in, and
    the single days of a range put together are the range. Days after `start + days` exist as well;
    a range before `start` is empty.

    Args:
        parameters: The world.
        first: First day (UTC).
        last: Last day (UTC).

    Returns:
        The transactions observed, with their truth, and the labels reported in the range.

    Raises:
        SettingsError: The range ends before it begins.
    """
    if last < first:
        raise SettingsError(
            f"The range {first}..{last} ends before it begins.", remedy="Swap the two days."
        )
    world = population(parameters)
    begin_us, end_us = _midnight_us(first.toordinal()), _midnight_us(last.toordinal() + 1)
    # Lateness reaches into the next day, and a report waits for report_max_days after that.
    earliest = first.toordinal() - 1 - parameters.report_max_days
    earliest = max(earliest, parameters.start.toordinal())
    seen, reported = [_nothing()], [_nothing()]
    reported_us, source = [no_numbers(0)], [no_numbers(0)]
    for day in range(earliest, last.toordinal() + 1):
        rows = _day(parameters, world, day)
        seen.append(rows.take((rows.observed_us >= begin_us) & (rows.observed_us < end_us)))
        report = reports(parameters, rows, day)
        within = (report.reported_us >= begin_us) & (report.reported_us < end_us)
        reported.append(rows.take(report.row[within]))
        reported_us.append(report.reported_us[within])
        source.append(report.source[within])

    transactions, about = concatenate(seen), concatenate(reported)
    transactions = transactions.take(_order(transactions.observed_us, transactions))
    when, by = np.concatenate(reported_us), np.concatenate(source)
    order = _order(when, about)
    ids = transaction_ids(parameters, transactions)
    return Simulated(
        transactions=transactions_table(parameters, world, transactions, ids),
        labels=labels_table(transaction_ids(parameters, about.take(order)), when[order], by[order]),
        truth=truth_table(transactions, ids),
    )


def _order(time_us: Ints, rows: Transactions) -> Ints:
    return np.lexsort((rows.number, rows.day, time_us))


def _midnight_us(day: int) -> int:
    return (day - UNIX_EPOCH_DAY) * DAY_US


def _day(parameters: CreditCardSimulation, world: Population, day: int) -> Transactions:
    genuine, is_large = genuine_day(parameters, world, day)
    rows = with_frauds(parameters, world, genuine, is_large, day)
    tests = card_testing(parameters, world, len(rows), day)
    if tests is not None:
        rows = concatenate([rows, tests])
    rows = rows.take(np.argsort(rows.time_us, kind="stable"))
    inflation = 1 + parameters.drift_level(DriftKind.AMOUNT_INFLATION, day)
    cents = np.maximum(np.round(rows.amount * inflation * 100), 1)
    time_us = rows.time_us + _midnight_us(day)
    return replace(
        rows,
        amount=cents / 100,
        time_us=time_us,
        observed_us=time_us + _lag_us(parameters, len(rows), day),
        number=np.arange(len(rows), dtype=np.int64),
    )


def _lag_us(parameters: CreditCardSimulation, size: int, day: int) -> Ints:
    rng = stream(parameters.seed, Stream.ARRIVALS, day)
    is_late = rng.random(size) < parameters.late_share
    late_s = np.exp(rng.uniform(np.log(SHORTEST_LATENESS_S), np.log(parameters.late_max_s), size))
    lag_s = np.where(is_late, late_s, rng.uniform(*PROMPT_S, size))
    return (lag_s * 1e6).astype(np.int64)


def _nothing() -> Transactions:
    codes = no_numbers(0)
    numbers, flags = np.zeros(0, dtype=np.float64), np.zeros(0, dtype=np.bool_)
    return Transactions(
        time_us=codes,
        amount=numbers,
        customer=codes,
        merchant=codes,
        distance_km=numbers,
        card_present=flags,
        used_chip=flags,
        device=codes,
        scenario=codes,
        observed_us=codes,
        day=codes,
        number=codes,
    )

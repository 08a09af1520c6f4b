"""Labels: what is reported about the transactions of one day, and when."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from orchestration.sources.simulator.day import DAY_US, Transactions
from orchestration.sources.simulator.parameters import CreditCardSimulation, Scenario
from orchestration.sources.simulator.population import Ints
from orchestration.sources.simulator.streams import Stream, stream


class Source(IntEnum):
    """Who says so; the lower-case name is the label's `source`."""

    CHARGEBACK = 0
    CUSTOMER_REPORT = 1
    ANALYST = 2


SOONEST_DAYS = 1 / 12
"""Nobody reports within two hours."""
ANALYST_DAYS = (0.0, 0.7)
"""Mean and deviation of the log of an analyst's delay in days: half are done within a day."""
SUSPICIOUS_KM = 100.0


@dataclass(frozen=True)
class Reports:
    """Parallel columns: row of the transaction, UTC microseconds since 1970, source."""

    row: Ints
    reported_us: Ints
    source: Ints


def reports(parameters: CreditCardSimulation, transactions: Transactions, day: int) -> Reports:
    """All labels that the transactions of a day will ever get.

    A fraud is reported by chargeback or by the customer after a log-normal delay counted from
    when it was seen; a small share never is. An analyst clears some genuine transactions, more
    often large ones and online ones far from home. No label is wrong.

    Args:
        parameters: Shares and delays.
        transactions: Stamped transactions whose event is on the day.
        day: Day as a proleptic ordinal.

    Returns:
        One report for each labelled transaction.
    """
    rng = stream(parameters.seed, Stream.LABELS, day)
    size = len(transactions)
    is_fraud = transactions.scenario != Scenario.GENUINE
    is_suspicious = (transactions.amount > parameters.large_amount) | (
        ~transactions.card_present & (transactions.distance_km > SUSPICIOUS_KM)
    )
    cleared = np.where(is_suspicious, parameters.analyst_suspicious_share, parameters.analyst_share)
    share = np.where(is_fraud, 1 - parameters.unreported_share, cleared)
    is_reported = rng.random(size) < share
    by_bank = rng.random(size) < parameters.chargeback_share
    spread = rng.standard_normal(size)

    log_mean = np.where(is_fraud, np.log(parameters.report_median_days), ANALYST_DAYS[0])
    log_deviation = np.where(is_fraud, parameters.report_sigma, ANALYST_DAYS[1])
    delay_days = np.exp(log_mean + log_deviation * spread)
    delay_days = np.clip(delay_days, SOONEST_DAYS, parameters.report_max_days)
    source = np.where(by_bank, Source.CHARGEBACK, Source.CUSTOMER_REPORT)
    row = np.flatnonzero(is_reported)
    return Reports(
        row=row,
        reported_us=transactions.observed_us[row] + (delay_days[row] * DAY_US).astype(np.int64),
        source=np.where(is_fraud, source, Source.ANALYST)[row],
    )

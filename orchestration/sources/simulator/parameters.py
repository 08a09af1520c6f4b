"""The parameters of the simulated world, and where each number comes from."""

from dataclasses import dataclass
from datetime import date
from enum import IntEnum

from fraud.domain.errors import SettingsError
from orchestration.sources.simulator.drift import Drift, DriftKind


class Scenario(IntEnum):
    """Why a transaction is fraudulent; 1 to 3 carry the Handbook's numbers."""

    GENUINE = 0
    LARGE_AMOUNT = 1
    COMPROMISED_MERCHANT = 2
    COMPROMISED_CUSTOMER = 3
    CARD_TESTING = 4


@dataclass(frozen=True)
class CreditCardSimulation:
    """A world of card holders, merchants and fraudsters.

    The first two groups of attributes are published: Le Borgne, Siblini, Lebichot, Bontempi,
    *Reproducible Machine Learning for Credit Card Fraud Detection - Practical Handbook*, 2022,
    chapter "Transaction data simulator". The last group is ours.

    Four things differ from the publication, on purpose. (1) The numbers of merchants and customers
    compromised a day are written as shares of the population (2 of 10,000 and 3 of 5,000), so that
    a small world has the same fraud rate. (2) Compromises are drawn for the days before `start`
    too, so that the fraud rate is steady from the first day instead of rising over 28. (3) Amounts
    over 220 are not all fraud: a share of genuine purchases is unusually large, and the rule
    of scenario 1 looks at the amount before that. (4) A fraud also leaves traces in the channel,
    device, chip, place and merchant, each of which genuine customers leave as well.

    Attributes:
        start: First day (UTC) of the history. No event is earlier; nothing else depends on it.
        days: Length in days of what `simulate` returns.
        seed: The same seed and day give the same rows.
        customers: Number of card holders.
        merchants: Number of merchants (the publication's terminals).
        grid_km: Side of the square on which customers and merchants live, uniformly.
        radius_km: A customer shops at merchants within this distance of home.
        mean_amount: Bounds of the uniform law of a customer's mean amount; the standard deviation
            is half the mean, and a negative draw is redrawn uniformly over (0, 2 * mean).
        mean_daily_transactions: Bounds of the uniform law of a customer's Poisson rate.
        noon_spread_s: Standard deviation of the time of day around noon; draws outside the day
            are dropped.
        large_amount: Scenario 1: an amount above this is fraud.
        compromised_merchants_share: Scenario 2: share of merchants newly compromised each day.
        compromised_merchant_days: Scenario 2: for so many days all their transactions are fraud.
        compromised_customers_share: Scenario 3: share of customers newly compromised each day.
        compromised_customer_days: Scenario 3: duration in days.
        compromised_customer_fraud_share: Scenario 3: share of their transactions that is fraud.
        compromised_customer_factor: Scenario 3: those amounts are multiplied by this.
        unusual_share: Share of genuine purchases that is unusually large (2.5 to 6 times).
        overseas_merchants_share: Share of merchants that is overseas instead of on the grid.
        overseas_online_share: Share of genuine online purchases made at an overseas merchant.
        border_km: The grid north of this line is Canada, the rest is the United States.
        trips_share: Share of customers who leave each day for a trip of 1 to 7 days.
        trips_abroad_share: Share of trips that go overseas.
        late_share: Share of transactions seen late, by 5 s to `late_max_s` (log-uniform).
        late_max_s: Longest lateness in seconds; less than a day.
        unreported_share: Share of frauds that nobody ever reports.
        report_median_days: Median of the log-normal delay from a fraud to its report.
        report_sigma: Shape of that delay; with a median of 3 days, 0.55 puts about 90 % of
            reports 1 to 7 days after the transaction.
        report_max_days: A longer delay is cut to this.
        chargeback_share: Share of reports that are chargebacks; the rest are customer reports.
        analyst_share: Share of ordinary genuine transactions that an analyst clears.
        analyst_suspicious_share: The same share among genuine ones that look suspicious.
        id_prefix: First part of each transaction id; change it to mix two worlds in one store.
        drift: A change of the world, if any.
    """

    start: date
    days: int
    seed: int = 0
    customers: int = 5_000
    merchants: int = 10_000
    grid_km: float = 100.0
    radius_km: float = 5.0
    mean_amount: tuple[float, float] = (5.0, 100.0)
    mean_daily_transactions: tuple[float, float] = (0.0, 4.0)
    noon_spread_s: float = 20_000.0

    large_amount: float = 220.0
    compromised_merchants_share: float = 2 / 10_000
    compromised_merchant_days: int = 28
    compromised_customers_share: float = 3 / 5_000
    compromised_customer_days: int = 14
    compromised_customer_fraud_share: float = 1 / 3
    compromised_customer_factor: float = 5.0

    unusual_share: float = 0.004
    overseas_merchants_share: float = 0.03
    overseas_online_share: float = 0.05
    border_km: float = 92.0
    trips_share: float = 0.003
    trips_abroad_share: float = 0.4
    late_share: float = 0.02
    late_max_s: float = 12 * 3_600.0
    unreported_share: float = 0.03
    report_median_days: float = 3.0
    report_sigma: float = 0.55
    report_max_days: int = 30
    chargeback_share: float = 0.7
    analyst_share: float = 0.002
    analyst_suspicious_share: float = 0.05
    id_prefix: str = "TXN"
    drift: Drift | None = None

    def __post_init__(self) -> None:
        """Refuse a world that cannot be simulated.

        Raises:
            SettingsError: A count is too small, or a share or the lateness is out of bounds.
        """
        for name, least in _LEAST.items():
            _demand(name, getattr(self, name), getattr(self, name) >= least, f"{least} or more")
        for name in (field for field in self.__dataclass_fields__ if field.endswith("_share")):
            _demand(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "a share, 0 to 1")
        _demand("late_max_s", self.late_max_s, 5 <= self.late_max_s <= 86_000, "5 to 86000")
        has_room = 0 < len(self.id_prefix) <= 30
        _demand("id_prefix", self.id_prefix, has_room, "1 to 30 characters")

    def drift_level(self, kind: DriftKind, day: int) -> float:
        """Strength with which one kind of drift acts on a day (ordinal); 0 if it does not."""
        if self.drift is None or self.drift.kind is not kind:
            return 0.0
        return self.drift.level(day)


_LEAST = {"seed": 0, "days": 1, "customers": 1, "merchants": 2, "report_max_days": 1}


def _demand(name: str, value: object, is_met: bool, wanted: str) -> None:
    if not is_met:
        raise SettingsError(
            f"The simulation's {name} is {value!r}.", remedy=f"Give {wanted}.", field=name
        )

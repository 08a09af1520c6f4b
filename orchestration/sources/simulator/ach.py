"""ACH entries of a bank's customers, their returns, and three ways in which they are fraud.

Genuine life: consumers pay and are paid, mostly by the same few counterparties; billers, one
customer in 25, debit many accounts, most of them new to them; businesses work on weekdays.
Some entries are unusually large, a tenth is same-day, and one debit in 60 comes back for want
of funds or for a wrong account number: such returns are reports of *genuine* entries.

Fraud, about 0.8 % of entries (`Scenario`):

1. *Unauthorised debits.* For eight days a dishonest originator adds debits on accounts whose
   holders never agreed. They look like a biller's, a little larger. They come back as R10, R07,
   R11, R05 or, on corporate codes, R29: half within six days, some after weeks.
2. *Drained accounts.* Somebody who got into a customer's account pushes parts of the balance
   to mules for two days, half of it same-day, most of it from a device of their own. Customers
   or analysts report it, half within two days.
3. *Redirected payments.* A payment to a usual payee goes, at a usual amount, to an account that
   a forged invoice or a changed salary form named. The true payee misses it a week later.

One fraud in twenty is never reported. All shares and delays are our own choice: each scenario
leaves traces in several columns, and genuine customers leave each of these traces too.

Drift: `AMOUNT_INFLATION`, `FRAUD_RATE`, `SAME_DAY`, `MULE_RING`.
"""

from dataclasses import dataclass, field, replace
from datetime import date
from enum import IntEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from orchestration.sources.simulator.drift import DriftKind
from orchestration.sources.simulator.fraud_scenarios import compromised
from orchestration.sources.simulator.population import Bools, Floats, Ints
from orchestration.sources.simulator.streams import Stream, stream
from orchestration.sources.simulator.world import (
    Day,
    Reports,
    Simulation,
    log_normal_days,
    names,
    sources,
    texts_where,
)

SEC_SHARES = {"WEB": 0.50, "PPD": 0.32, "TEL": 0.12, "IAT": 0.06}
SEC_SHARES_BUSINESS = {"CCD": 0.55, "PPD": 0.22, "CTX": 0.13, "WEB": 0.10}
UNAUTHORISED_CODES = {"R10": 0.5, "R07": 0.2, "R11": 0.2, "R05": 0.1}
FAILURE_CODES = {"R01": 0.55, "R09": 0.1, "R03": 0.1, "R02": 0.1, "R04": 0.05, "R08": 0.1}
PAYEES = 6
LARGEST = 250_000.0
NOBODY = -1


class Scenario(IntEnum):
    """Why an entry is fraud."""

    GENUINE = 0
    UNAUTHORISED_DEBIT = 1
    DRAINED_ACCOUNT = 2
    REDIRECTED_PAYMENT = 3
    MULE_RING = 4


@dataclass(frozen=True)
class AchSimulation(Simulation):
    """A bank whose customers send ACH entries; see the module for the laws.

    Attributes:
        dishonest_share: Share of customers who turn dishonest each day, for eight days.
        drained_share: Share of customers whose account is taken over each day, for two days.
        redirected_share: Share of credits to usual payees that are redirected.
        failed_share: Share of genuine debits that come back.
    """

    dishonest_share: float = 1e-4
    drained_share: float = 5e-4
    redirected_share: float = 0.003
    failed_share: float = 1 / 60

    @classmethod
    def drifts(cls) -> tuple[DriftKind, ...]:
        return (
            DriftKind.AMOUNT_INFLATION,
            DriftKind.FRAUD_RATE,
            DriftKind.SAME_DAY,
            DriftKind.MULE_RING,
        )


@dataclass(frozen=True)
class Entries:
    """Entries of a day while they are made: codes and numbers, no texts yet.

    Accounts below the number of customers are theirs, one each; the others are elsewhere.
    """

    second: Floats
    user: Ints
    counterparty: Ints
    is_credit: Bools
    amount: Floats
    balance: Floats
    same_day: Bools
    sec: npt.NDArray[np.object_]
    device: Ints
    scenario: Ints

    def __len__(self) -> int:
        """Number of entries."""
        return len(self.user)


@dataclass(frozen=True)
class AchWorld:
    """The customers of one bank, and what they do on any day."""

    parameters: AchSimulation
    id_prefix: str = field(default="ACH")
    arrivals: Stream = field(default=Stream.ACH_ARRIVALS)

    @cached_property
    def _people(self) -> "_People":
        rng = stream(self.parameters.seed, Stream.ACH_POPULATION)
        count = self.parameters.customers
        kind = rng.random(count)
        is_biller, is_business = kind < 0.04, kind < 0.15
        rate = np.where(is_biller, 4.0, np.where(is_business, 1.5, 0.45))
        mean = np.where(is_business, 900.0, 180.0) * rng.lognormal(0, 0.7, count)
        ours = rng.integers(0, count, (count, PAYEES))
        popular = (rng.random((count, PAYEES)) ** 3 * 4 * count).astype(np.int64) + count
        return _People(
            is_biller=is_biller,
            is_business=is_business,
            rate=rate * rng.uniform(0.3, 1.7, count),
            mean=mean,
            balance=mean * rng.lognormal(2.4, 0.8, count),
            payees=np.where(rng.random((count, PAYEES)) < 0.25, ours, popular),
        )

    def day(self, ordinal: int) -> Day:
        """Everything that is originated on a day, with what becomes known of it."""
        genuine = self._redirected(self._genuine(ordinal), ordinal)
        parts = [genuine, self._unauthorised(ordinal), self._drained(ordinal)]
        parts.append(self._mule_ring(len(genuine), ordinal))
        entries = _stacked(parts)
        inflation = 1 + self.parameters.drift_level(DriftKind.AMOUNT_INFLATION, ordinal)
        cents = np.maximum(np.rint(np.minimum(entries.amount, LARGEST) * inflation * 100), 1)
        entries = replace(entries, amount=cents / 100)
        reports, code = self._reports(entries, ordinal)
        return Day(
            entries.second, self._fields(entries), entries.scenario, reports, {"return_code": code}
        )

    def _genuine(self, ordinal: int) -> Entries:
        people, rng = self._people, stream(self.parameters.seed, Stream.ACH_ENTRIES, ordinal)
        count = self.parameters.customers
        is_weekend = date.fromordinal(ordinal).weekday() >= 5
        rate = people.rate * np.where(people.is_business & is_weekend, 0.1, 1.0)
        user = np.repeat(np.arange(count, dtype=np.int64), rng.poisson(rate))
        size = len(user)
        is_biller, is_business = people.is_biller[user], people.is_business[user]
        is_credit = rng.random(size) < np.where(is_biller, 0.1, 0.6)
        is_regular = rng.random(size) < np.where(is_biller, 0.35, 0.82)
        usual = people.payees[user, (rng.random(size) ** 2 * PAYEES).astype(np.int64)]
        other = rng.integers(count, 5 * count, size)
        amount = people.mean[user] * rng.lognormal(-0.3, 0.8, size)
        balance = people.balance[user] * rng.lognormal(0, 0.35, size)
        is_large = rng.random(size) < 0.03
        amount = np.where(is_large, balance * rng.uniform(0.25, 0.95, size), amount)
        # Who pushes money mostly has it.
        is_covered = is_credit & (rng.random(size) < 0.99)
        balance = np.where(is_covered, np.maximum(balance, amount * 1.02), balance)
        same_day = rng.random(size) < np.where(is_large, 0.3, 0.1)
        moved = self.parameters.drift_level(DriftKind.SAME_DAY, ordinal)
        return Entries(
            second=_second(rng, is_business),
            user=user,
            counterparty=np.where(is_regular, usual, other),
            is_credit=is_credit,
            amount=amount,
            balance=balance,
            same_day=same_day | (rng.random(size) < moved),
            sec=_sec(rng, is_business),
            device=_own_device(rng, user, 0.05, ordinal),
            scenario=np.zeros(size, np.int64),
        )

    def _redirected(self, entries: Entries, ordinal: int) -> Entries:
        rng = stream(self.parameters.seed, Stream.ACH_FRAUDS, ordinal)
        size, more = len(entries), self._more(ordinal)
        is_usual = (self._people.payees[entries.user] == entries.counterparty[:, None]).any(axis=1)
        chosen = rng.random(size) < self.parameters.redirected_share * more
        hit = entries.is_credit & is_usual & chosen
        mule, other = self._mules(rng, size, ordinal), self._elsewhere(rng, size)
        target = np.where(rng.random(size) < 0.35, mule, other)
        amount = entries.amount * np.where(hit, rng.uniform(0.9, 1.7, size), 1.0)
        return replace(
            entries,
            counterparty=np.where(hit, target, entries.counterparty),
            amount=amount,
            balance=np.where(hit, np.maximum(entries.balance, amount * 1.02), entries.balance),
            scenario=np.where(hit, Scenario.REDIRECTED_PAYMENT, entries.scenario),
        )

    def _unauthorised(self, ordinal: int) -> Entries:
        people, count = self._people, self.parameters.customers
        daily = self.parameters.dishonest_share * count * self._more(ordinal)
        state = compromised(self.parameters.seed, Stream.ACH_DISHONEST, count, daily, 8, ordinal)
        rng = stream(self.parameters.seed, Stream.ACH_DISHONEST, ordinal + (1 << 24))
        user = np.repeat(np.flatnonzero(state), rng.poisson(3.0, int(state.sum())))
        size = len(user)
        return Entries(
            second=_second(rng, people.is_business[user]),
            user=user,
            counterparty=self._elsewhere(rng, size),
            is_credit=np.zeros(size, bool),
            amount=people.mean[user] * rng.lognormal(0.1, 0.7, size),
            balance=people.balance[user] * rng.lognormal(0, 0.35, size),
            same_day=rng.random(size) < 0.2,
            sec=_sec(rng, rng.random(size) < 0.15),
            device=_own_device(rng, user, 0.15, ordinal),
            scenario=np.full(size, Scenario.UNAUTHORISED_DEBIT, np.int64),
        )

    def _drained(self, ordinal: int) -> Entries:
        people, count = self._people, self.parameters.customers
        daily = self.parameters.drained_share * count * self._more(ordinal)
        state = compromised(self.parameters.seed, Stream.ACH_DRAINED, count, daily, 2, ordinal)
        rng = stream(self.parameters.seed, Stream.ACH_DRAINED, ordinal + (1 << 24))
        user = np.repeat(np.flatnonzero(state), 1 + rng.poisson(0.7, int(state.sum())))
        size = len(user)
        balance = people.balance[user] * rng.lognormal(0, 0.35, size)
        device = _own_device(rng, user, 0.25, ordinal)
        ring = _ring_device(ordinal, user)
        return Entries(
            second=rng.uniform(0, 86_400, size),
            user=user,
            counterparty=np.where(
                rng.random(size) < 0.6,
                self._mules(rng, size, ordinal),
                self._elsewhere(rng, size),
            ),
            is_credit=np.ones(size, bool),
            amount=balance * rng.uniform(0.08, 0.9, size),
            balance=balance,
            same_day=rng.random(size) < 0.5,
            sec=np.where(rng.random(size) < 0.8, "WEB", _sec(rng, people.is_business[user])),
            device=np.where(rng.random(size) < 0.4, ring, device),
            scenario=np.full(size, Scenario.DRAINED_ACCOUNT, np.int64),
        )

    def _mule_ring(self, usual: int, ordinal: int) -> Entries:
        people, count = self._people, self.parameters.customers
        rng = stream(self.parameters.seed, Stream.ACH_FRAUDS, ordinal + (1 << 24))
        level = self.parameters.drift_level(DriftKind.MULE_RING, ordinal)
        size = int(rng.poisson(0.005 * level * usual))
        user = rng.integers(0, count, size)
        return Entries(
            second=rng.uniform(0, 86_400, size),
            user=user,
            counterparty=7 * count + 3 * ordinal + rng.integers(0, 3, size),
            is_credit=np.ones(size, bool),
            amount=rng.uniform(20, 120, size),
            balance=people.balance[user],
            same_day=rng.random(size) < 0.3,
            sec=np.full(size, "WEB", dtype=object),
            device=_own_device(rng, user, 0.5, ordinal),
            scenario=np.full(size, Scenario.MULE_RING, np.int64),
        )

    def _more(self, ordinal: int) -> float:
        return 1 + self.parameters.drift_level(DriftKind.FRAUD_RATE, ordinal)

    def _elsewhere(self, rng: np.random.Generator, size: int) -> Ints:
        """Accounts at other banks, of people who are usually nobody's payee here."""
        count = self.parameters.customers
        return rng.integers(count, 5 * count, size)

    def _mules(self, rng: np.random.Generator, size: int, ordinal: int) -> Ints:
        """Accounts of the mules of a fortnight: a third of them customers of this bank."""
        count = self.parameters.customers
        member = rng.integers(0, 2 + count // 400, size)
        elsewhere = 5 * count + (ordinal // 14 * 977 + member * 31) % (2 * count)
        ours = (ordinal // 14 * 7919 + member * 104_729) % count
        return np.where(member % 3 == 0, ours, elsewhere)

    def _reports(self, entries: Entries, ordinal: int) -> tuple[Reports, npt.NDArray[np.object_]]:
        rng, size = stream(self.parameters.seed, Stream.ACH_LABELS, ordinal), len(entries)
        scenario = entries.scenario
        is_fraud = scenario != Scenario.GENUINE
        is_told = rng.random(size) >= self.parameters.unreported_share
        is_return = is_fraud & (scenario == Scenario.UNAUTHORISED_DEBIT)
        is_corporate = np.isin(entries.sec, ("CCD", "CTX"))
        code = np.where(
            is_return,
            np.where(is_corporate, "R29", _choose(rng, UNAUTHORISED_CODES, size)),
            _choose(rng, FAILURE_CODES, size),
        ).astype(object)

        fails = rng.random(size) < self.parameters.failed_share
        failed = ~is_fraud & ~entries.is_credit & fails
        looks_odd = entries.is_credit & (entries.amount > 0.6 * entries.balance)
        cleared = rng.random(size) < np.where(looks_odd, 0.04, 0.002)
        cleared &= ~is_fraud & ~failed
        by_analyst = is_fraud & ~is_return & (rng.random(size) < 0.3)

        median = np.where(scenario == Scenario.REDIRECTED_PAYMENT, 7.0, 2.0)
        delay = np.where(is_return, 6.0, median) * log_normal_days(rng, 1.0, 0.75, size)
        delay = np.where(by_analyst | cleared, log_normal_days(rng, 1.0, 0.7, size), delay)
        delay = np.where(failed, rng.uniform(1.0, 3.0, size), delay)
        known = (is_fraud & is_told) | failed | cleared
        reports = Reports(
            delay_days=np.where(known, delay, np.nan),
            is_fraud=is_fraud,
            source=sources(
                ("return", is_return | failed),
                ("analyst", by_analyst | cleared),
                ("customer_report", is_fraud),
            ),
        )
        came_back = (is_return & is_told) | failed
        return reports, texts_where(came_back, code)

    def _fields(self, entries: Entries) -> dict[str, npt.NDArray[np.generic]]:
        people, count = self._people, self.parameters.customers
        sender = np.where(entries.is_credit, entries.user, entries.counterparty)
        receiver = np.where(entries.is_credit, entries.counterparty, entries.user)
        theirs = np.where(
            entries.counterparty < count, people.balance[entries.counterparty % count], np.nan
        )
        cents = np.rint(np.vstack([entries.balance, theirs]) * 100) / 100
        has_device = np.isin(entries.sec, ("WEB",))
        return {
            "amount": entries.amount,
            "user_id": names("USER", entries.user),
            "sender_id": names("ACC", sender, 8),
            "receiver_id": names("ACC", receiver, 8),
            "sec_code": entries.sec,
            "direction": np.where(entries.is_credit, "credit", "debit").astype(object),
            "same_day": entries.same_day,
            "sender_balance": np.where(entries.is_credit, cents[0], cents[1]),
            "receiver_balance": np.where(entries.is_credit, cents[1], cents[0]),
            "device_id": texts_where(has_device, names("DEV", entries.device, 12)),
        }


@dataclass(frozen=True)
class _People:
    """What does not change about the customers, one element each."""

    is_biller: Bools
    is_business: Bools
    rate: Floats
    mean: Floats
    balance: Floats
    payees: Ints


def _stacked(parts: list[Entries]) -> Entries:
    columns = Entries.__dataclass_fields__
    return Entries(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in columns})


def _second(rng: np.random.Generator, is_business: Bools) -> Floats:
    size = len(is_business)
    hour = np.where(is_business, rng.normal(13, 2.5, size), rng.normal(15.5, 5, size))
    return hour % 24 * 3_600


def _sec(rng: np.random.Generator, is_business: Bools) -> npt.NDArray[np.object_]:
    size = len(is_business)
    private, corporate = _choose(rng, SEC_SHARES, size), _choose(rng, SEC_SHARES_BUSINESS, size)
    return np.where(is_business, corporate, private)


def _choose(
    rng: np.random.Generator, shares: dict[str, float], size: int
) -> npt.NDArray[np.object_]:
    edges = np.cumsum(list(shares.values()))[:-1]
    return np.array(list(shares), dtype=object)[np.searchsorted(edges, rng.random(size), "right")]


def _own_device(rng: np.random.Generator, user: Ints, new_share: float, ordinal: int) -> Ints:
    own = user * 4 + (rng.random(len(user)) ** 2 * 3).astype(np.int64)
    fresh = (1 << 40) + (ordinal << 20) + np.arange(len(user), dtype=np.int64)
    return np.where(rng.random(len(user)) < new_share, fresh, own)


def _ring_device(ordinal: int, user: Ints) -> Ints:
    return (1 << 41) + (ordinal // 7 << 20) + user % 3

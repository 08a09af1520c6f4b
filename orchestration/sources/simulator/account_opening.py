"""Applications for accounts, and three ways in which nobody honest stands behind them.

Genuine life: three in four applicants are new, the others come back for a second product.
People of a household share an address, a network address and sometimes a device; a quarter
comes through carriers' addresses that hundreds share; now and then dozens apply within two hours
from one campus or company. Some use a VPN, a throw-away
mail domain or a form that fills itself in.

Fraud, about 3 % of applications (`Scenario`):

1. *Bot bursts.* Within two hours a script opens 8 to 30 accounts, most of them from one hosting
   network, some on the same few devices, under fresh addresses at common or throw-away domains.
   Analysts find most of them within days.
2. *Synthetic identities.* For 40 days a ring invents people, one at a time: each has an identity
   number nobody owns, but the ring's few addresses, phones and devices. They fill forms in as
   people do. Their first payments come back weeks later.
3. *Stolen identities.* Somebody applies as a person who exists, and may be a customer, with an
   address, phone, mail and device of their own. The person complains two weeks later.

One fraud in ten is never found. All shares and delays are our own choice: each scenario leaves
traces in several columns, and genuine applicants leave each of these traces too.

Drift: `FRAUD_RATE`, `DISPOSABLE_EMAIL`, `BOT_FARM`.
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum

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
    networks,
    sources,
)

APPLICATIONS_PER_CUSTOMER = 0.15
"""Genuine applications a day, for each customer there is."""

COMMON_DOMAINS, DISPOSABLE_DOMAINS, RELAY_DOMAIN = 6, 12, 18
"""Domains below 6 are common, those below 18 throw-away, 18 relays mail for privacy."""

RING_DAYS = 40
CHANNEL_SHARES = (0.5, 0.42, 0.05, 0.03)
CHANNELS = np.array(["web", "mobile", "branch", "phone"], dtype=object)
COUNTRIES = np.array(["US", "CA", "GB", "DE", "MX", "NG", "VN", "RO"], dtype=object)
TIME_ZONES = np.array(
    ["America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"], dtype=object
)


class Scenario(IntEnum):
    """Why an application is fraud."""

    GENUINE = 0
    BOT_BURST = 1
    SYNTHETIC_IDENTITY = 2
    STOLEN_IDENTITY = 3
    BOT_FARM = 4


@dataclass(frozen=True)
class OpeningSimulation(Simulation):
    """A bank that people apply to; see the module for the laws.

    Attributes:
        bursts_share: Bot bursts a day, for each genuine application.
        ring_share: Share of a hundredth of the customers' number that is a ring, new each day.
        stolen_share: Applications under a stolen identity, for each genuine one.
    """

    unreported_share: float = 0.1
    report_max_days: int = 90
    bursts_share: float = 6e-4
    ring_share: float = 0.005
    stolen_share: float = 0.008

    @classmethod
    def drifts(cls) -> tuple[DriftKind, ...]:
        return (DriftKind.FRAUD_RATE, DriftKind.DISPOSABLE_EMAIL, DriftKind.BOT_FARM)


@dataclass(frozen=True)
class Applications:
    """Applications of a day while they are made: codes and numbers, no texts yet."""

    second: Floats
    mailbox: Ints
    domain: Ints
    network: Ints
    host: Ints
    device: Ints
    phone: Ints
    identity: Ints
    address: Ints
    channel: Ints
    country: Ints
    zone: Ints
    is_proxy: Bools
    email_age: Floats
    age: Floats
    duration: Floats
    scenario: Ints

    def __len__(self) -> int:
        """Number of applications."""
        return len(self.mailbox)


@dataclass(frozen=True)
class OpeningWorld:
    """The people who may apply, and what they do on any day."""

    parameters: OpeningSimulation
    id_prefix: str = field(default="APP")
    arrivals: Stream = field(default=Stream.OPENING_ARRIVALS)

    def day(self, ordinal: int) -> Day:
        """Everybody who applies on a day, with what becomes known of them."""
        parts = [
            self._genuine(ordinal),
            self._bursts(ordinal),
            self._rings(ordinal),
            self._stolen(ordinal),
            self._farm(ordinal),
        ]
        columns = Applications.__dataclass_fields__
        rows = Applications(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
        )
        return Day(rows.second, _fields(rows), rows.scenario, self._reports(rows, ordinal), {})

    @property
    def _usual(self) -> float:
        return APPLICATIONS_PER_CUSTOMER * self.parameters.customers

    def _more(self, ordinal: int) -> float:
        return 1 + self.parameters.drift_level(DriftKind.FRAUD_RATE, ordinal)

    def _genuine(self, ordinal: int) -> Applications:
        rng = stream(self.parameters.seed, Stream.OPENING_APPLICANTS, ordinal)
        rows = self._people(rng, int(rng.poisson(self._usual)), ordinal, 0)
        rows = self._campaigns(rng, rows)
        to_relay = rng.random(len(rows)) < self.parameters.drift_level(
            DriftKind.DISPOSABLE_EMAIL, ordinal
        )
        return replace(rows, domain=np.where(to_relay, RELAY_DOMAIN, rows.domain))

    def _campaigns(self, rng: np.random.Generator, rows: Applications) -> Applications:
        """Days on a campus or in a company: many apply within hours from one network."""
        visits = int(rng.poisson(8e-4 * self._usual))
        size = len(rows)
        visit = np.where(rng.random(size) < 0.06 * visits, rng.integers(0, visits + 1, size), 0)
        joins = visit > 0
        begin = rng.uniform(8, 18, visits + 1)
        site = (5 << 21) + rng.integers(0, 40, visits + 1)
        kiosk = joins & (rng.random(size) < 0.35)
        return replace(
            rows,
            second=np.where(joins, (begin[visit] + rng.uniform(0, 2.5, size)) * 3_600, rows.second),
            network=np.where(joins, site[visit], rows.network),
            host=np.where(joins, rng.integers(0, 6, size), rows.host),
            device=np.where(kiosk, (1 << 49) + site[visit] * 4, rows.device),
            email_age=np.where(kiosk, rows.email_age * 0.2, rows.email_age),
        )

    def _people(
        self, rng: np.random.Generator, size: int, ordinal: int, block: int
    ) -> Applications:
        """Applicants as they come; fraudsters are made from them by changing what they change."""
        count = self.parameters.customers
        fresh = count + (((ordinal % 50_000) * 8 + block) << 16) + np.arange(size, dtype=np.int64)
        person = np.where(rng.random(size) < 0.75, fresh, rng.integers(0, count, size))
        # A third of the new ones lives with somebody who is a customer.
        household = np.where(rng.random(size) < 0.35, rng.integers(0, count // 3 + 1, size), person)
        household = np.where(person < count, person // 3, household)
        shares_device = rng.random(size) < 0.1
        shared = rng.random(size) < 0.25
        carrier = (1 << 22) + rng.integers(0, 60, size)
        domain = (rng.random(size) ** 2 * COMMON_DOMAINS).astype(np.int64)
        kind = rng.random(size)
        domain = np.where(kind < 0.10, RELAY_DOMAIN + 1 + person, domain)
        throw_away = COMMON_DOMAINS + rng.integers(0, DISPOSABLE_DOMAINS, size)
        domain = np.where(kind > 0.975, throw_away, domain)
        duration = rng.lognormal(5.5, 0.5, size)
        age_days = rng.lognormal(6.6, 1.2, size)
        # Who comes back has moved, or has another phone or mailbox by now.
        moved = np.where((person < count)[:, None], rng.random((size, 4)), 1.0).T
        return Applications(
            second=rng.normal(14.5, 4.5, size) % 24 * 3_600,
            mailbox=np.where(moved[0] < 0.3, fresh, person),
            domain=domain,
            network=np.where(shared, carrier, household),
            host=np.where(shared, rng.integers(0, 20, size), household % 251),
            device=np.where(
                moved[1] < 0.5, fresh, np.where(shares_device, household * 2, person * 2 + 1)
            ),
            phone=np.where(moved[2] < 0.25, fresh, person),
            identity=person,
            address=np.where(moved[3] < 0.3, fresh * 2 + 1, household * 2),
            channel=rng.choice(4, size, p=CHANNEL_SHARES),
            country=np.where(rng.random(size) < 0.06, rng.integers(1, 8, size), 0),
            zone=(rng.random(size) ** 2 * 4).astype(np.int64),
            is_proxy=rng.random(size) < 0.07,
            email_age=np.where(rng.random(size) < 0.1, rng.uniform(0, 20, size), age_days),
            age=18 + rng.gamma(3.0, 8.0, size),
            duration=np.where(rng.random(size) < 0.15, duration * 0.3, duration),
            scenario=np.zeros(size, np.int64),
        )

    def _bursts(self, ordinal: int) -> Applications:
        rng = stream(self.parameters.seed, Stream.OPENING_BURSTS, ordinal)
        bursts = int(rng.poisson(self.parameters.bursts_share * self._usual * self._more(ordinal)))
        burst = np.repeat(np.arange(bursts, dtype=np.int64), rng.integers(8, 31, bursts))
        size = len(burst)
        rows, number = self._people(rng, size, ordinal, 1), ordinal * 64 + burst
        begin, kind = rng.uniform(0, 22, bursts), rng.random(bursts)
        own, hides = rng.random(size), rng.random(size) < 0.35
        fresh = self._fresh(ordinal, 1, size)
        throw_away = COMMON_DOMAINS + number % DISPOSABLE_DOMAINS
        return replace(
            rows,
            second=(begin[burst] + rng.uniform(0, 2, size)) * 3_600,
            mailbox=fresh,
            domain=np.where(kind[burst] < 0.4, throw_away, rows.domain),
            network=np.where(hides, rows.network, (1 << 23) + number % (1 << 20)),
            host=np.where(hides, rows.host, rng.integers(0, 12, size)),
            device=np.where(own < 0.4, (1 << 50) + number * 4 + rng.integers(0, 3, size), fresh),
            phone=fresh,
            identity=fresh,
            address=fresh * 2,
            channel=rng.integers(0, 2, size),
            is_proxy=rng.random(size) < 0.45,
            email_age=np.where(rng.random(size) < 0.5, rng.uniform(0, 15, size), rows.email_age),
            duration=rows.duration * rng.uniform(0.2, 0.9, size),
            scenario=np.full(size, Scenario.BOT_BURST, np.int64),
        )

    def _rings(self, ordinal: int) -> Applications:
        # There are a hundredth as many possible rings as customers, and ten at least.
        possible = max(10, self.parameters.customers // 100)
        daily = self.parameters.ring_share * possible * self._more(ordinal)
        seed = self.parameters.seed
        state = compromised(seed, Stream.OPENING_RINGS, possible, daily, RING_DAYS, ordinal)
        rng = stream(seed, Stream.OPENING_RINGS, ordinal + (1 << 24))
        rate = 0.012 * self._usual / (self.parameters.ring_share * RING_DAYS * possible)
        ring = np.repeat(np.flatnonzero(state), rng.poisson(rate, int(state.sum())))
        size = len(ring)
        rows, fresh = self._people(rng, size, ordinal, 2), self._fresh(ordinal, 2, size)
        base = (1 << 52) + (ordinal // 60 * possible + ring) * 16
        at_ring, on_device = rng.random(size) < 0.75, rng.random(size) < 0.5
        member = rng.integers(0, 12, size)
        from_ring = rng.random(size) < 0.4
        return replace(
            rows,
            mailbox=fresh,
            network=np.where(from_ring, (3 << 22) + base % (1 << 20), rows.network),
            host=np.where(from_ring, member % 3, rows.host),
            device=np.where(on_device, base + member % 4, fresh),
            phone=np.where(rng.random(size) < 0.6, base + member % 5, fresh),
            # One in six has been invented before and tries again.
            identity=np.where(rng.random(size) < 0.17, base + member, fresh),
            address=np.where(at_ring, base + member % 2, fresh * 2),
            email_age=rows.email_age * 0.4,
            age=20 + rng.gamma(3.0, 5.0, size),
            scenario=np.full(size, Scenario.SYNTHETIC_IDENTITY, np.int64),
        )

    def _stolen(self, ordinal: int) -> Applications:
        rng = stream(self.parameters.seed, Stream.OPENING_STOLEN, ordinal)
        share = self.parameters.stolen_share * self._more(ordinal)
        size = int(rng.poisson(share * self._usual))
        rows, fresh = self._people(rng, size, ordinal, 3), self._fresh(ordinal, 3, size)
        customer = rng.integers(0, self.parameters.customers, size)
        victim = np.where(rng.random(size) < 0.4, customer, fresh)
        thief = (1 << 54) + (ordinal // 10) * 8 + rng.integers(0, 5, size)
        return replace(
            rows,
            mailbox=fresh,
            device=np.where(rng.random(size) < 0.35, thief, fresh),
            phone=np.where(rng.random(size) < 0.25, thief, fresh),
            identity=victim,
            address=np.where(rng.random(size) < 0.4, rows.address, fresh * 2),
            country=np.where(rng.random(size) < 0.22, rng.integers(1, 8, size), rows.country),
            is_proxy=rng.random(size) < 0.25,
            email_age=np.where(rng.random(size) < 0.5, rng.uniform(0, 30, size), rows.email_age),
            scenario=np.full(size, Scenario.STOLEN_IDENTITY, np.int64),
        )

    def _farm(self, ordinal: int) -> Applications:
        rng = stream(self.parameters.seed, Stream.OPENING_FARM, ordinal)
        level = self.parameters.drift_level(DriftKind.BOT_FARM, ordinal)
        size = int(rng.poisson(0.02 * level * self._usual))
        rows, fresh = self._people(rng, size, ordinal, 4), self._fresh(ordinal, 4, size)
        return replace(
            rows,
            second=(2 + rng.uniform(0, 3, size)) * 3_600,
            mailbox=fresh,
            network=fresh,
            device=fresh,
            phone=fresh,
            identity=fresh,
            address=fresh * 2,
            duration=rng.normal(95, 6, size).clip(10),
            scenario=np.full(size, Scenario.BOT_FARM, np.int64),
        )

    def _fresh(self, ordinal: int, block: int, size: int) -> Ints:
        """Codes nobody else has; those of `_people` for the same block."""
        first = self.parameters.customers + (((ordinal % 50_000) * 8 + block) << 16)
        return first + np.arange(size, dtype=np.int64)

    def _reports(self, rows: Applications, ordinal: int) -> Reports:
        rng, size = stream(self.parameters.seed, Stream.OPENING_LABELS, ordinal), len(rows)
        is_fraud = rows.scenario != Scenario.GENUINE
        is_told = rng.random(size) >= self.parameters.unreported_share
        is_synthetic = rows.scenario == Scenario.SYNTHETIC_IDENTITY
        is_stolen = rows.scenario == Scenario.STOLEN_IDENTITY
        by_analyst = rng.random(size) < np.select([is_stolen, is_synthetic], [0.2, 0.4], 1.0)
        median = np.select([is_synthetic, is_stolen], [18.0, 14.0], 2.0)
        looks_odd = rows.is_proxy | (rows.email_age < 3) | (rows.duration < 45)
        cleared = ~is_fraud & (rng.random(size) < np.where(looks_odd, 0.08, 0.01))
        delay = np.where(is_fraud, median, 1.5) * log_normal_days(rng, 1.0, 0.55, size)
        return Reports(
            delay_days=np.where((is_fraud & is_told) | cleared, delay, np.nan),
            is_fraud=is_fraud,
            source=sources(
                ("analyst", cleared | (is_fraud & by_analyst)),
                ("return", is_synthetic),
                ("customer_report", is_stolen),
            ),
        )


def _fields(rows: Applications) -> dict[str, npt.NDArray[np.generic]]:
    domain = _domains(rows.domain)
    network = networks(rows.network)
    hosts = np.array([f".{number}" for number in range(256)], dtype=object)
    return {
        "email": names("p", rows.mailbox) + "@" + domain,
        "ip_address": network + hosts[rows.host % 256],
        "email_domain": domain,
        "ip_network": network,
        "device_id": names("DEV", rows.device),
        "phone_id": names("PH", rows.phone),
        "identity_id": names("ID", rows.identity),
        "address_id": names("ADR", rows.address),
        "channel": CHANNELS[rows.channel],
        "ip_country": COUNTRIES[rows.country],
        "ip_is_proxy": rows.is_proxy,
        "country_mismatch": rows.country != 0,
        "email_age_days": np.round(rows.email_age.clip(0, 12_000), 1),
        "age_years": np.floor(rows.age.clip(18, 95)),
        "seconds_to_complete": np.round(rows.duration, 1),
        "time_zone": TIME_ZONES[rows.zone],
    }


def _domains(codes: Ints) -> npt.NDArray[np.object_]:
    distinct, inverse = np.unique(codes, return_inverse=True)
    kinds = (
        (COMMON_DOMAINS, "mail{}.example"),
        (COMMON_DOMAINS + DISPOSABLE_DOMAINS, "throwaway{}.example"),
        (RELAY_DOMAIN + 1, "relay{}.example"),
    )
    found = [
        next((form for end, form in kinds if code < end), "own{}.example").format(code)
        for code in distinct.tolist()
    ]
    return np.array(found, dtype=object)[inverse]

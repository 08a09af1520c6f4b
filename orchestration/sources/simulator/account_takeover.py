"""Logins and sensitive changes of a bank's users, and three ways to take an account over.

Genuine life: people log in from home, at work beside dozens of colleagues, and through
carriers; networks at home change every three weeks. One session in nine begins with wrong
passwords; on some days an office's sign-on is broken and half of its attempts fail. Few sessions
change something. One in six comes from a device never seen, since browsers forget, and one in
ten from a browser that looks like many others. One person in fifty is on a trip; one login in 25
goes through a VPN that ends somewhere else.

Fraud, about 1.2 % of events (`Scenario`):

1. *Credential stuffing.* Within two hours a script tries 30 to 120 users with leaked passwords,
   from one hosting network or, in half of the attacks, through the networks of other users'
   homes. One attempt in twenty succeeds, and half of those change something. Analysts find
   most of it in a day or two.
2. *Phished credentials.* A stranger logs in with the right password, from a device and a network
   of their own, often far away and often through a proxy nearby, and changes what guards the
   account. The user reports it days later.
3. *Hijacked devices.* Malware on the user's own device uses the user's own network to log in
   and to add a payee, more often at night. The user reports it almost a week later.

One fraud in twenty is never reported. All shares and delays are our own choice: each scenario
leaves traces in several columns, and genuine users leave each of these traces too.

Drift: `FRAUD_RATE`, `MOBILITY`, `SIM_SWAP`.
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from orchestration.sources.simulator.drift import DriftKind
from orchestration.sources.simulator.logins import (
    ABROAD,
    ACTIONS,
    AT_HOME,
    COUNTRIES,
    LAST_SECOND,
    LOGIN,
    PAYEE_ADDED,
    PHONE_CHANGE,
    ZONES,
    Attempts,
    Users,
    changes,
    fresh_devices,
    generic,
    home,
    stacked,
    users,
)
from orchestration.sources.simulator.population import Floats, Ints
from orchestration.sources.simulator.streams import Stream, stream
from orchestration.sources.simulator.world import (
    Day,
    Reports,
    Simulation,
    log_normal_days,
    names,
    networks,
    sources,
    texts_where,
)

TRIP_DAYS = 4


class Scenario(IntEnum):
    """Why an event is fraud."""

    GENUINE = 0
    CREDENTIAL_STUFFING = 1
    PHISHED_CREDENTIALS = 2
    HIJACKED_DEVICE = 3
    SIM_SWAP = 4


@dataclass(frozen=True)
class TakeoverSimulation(Simulation):
    """A bank whose users log in; see the module for the laws.

    Attributes:
        attacks_share: Stuffing attacks a day, for each user.
        phished_share: Share of users whose credentials are used by a stranger each day.
        hijacked_share: Share of users whose device is used by malware each day.
    """

    attacks_share: float = 1.2e-4
    phished_share: float = 0.001
    hijacked_share: float = 0.0006

    @classmethod
    def drifts(cls) -> tuple[DriftKind, ...]:
        return (DriftKind.FRAUD_RATE, DriftKind.MOBILITY, DriftKind.SIM_SWAP)


@dataclass(frozen=True)
class TakeoverWorld:
    """The users of one bank, and who uses their accounts on any day."""

    parameters: TakeoverSimulation
    id_prefix: str = field(default="ACC")
    arrivals: Stream = field(default=Stream.TAKEOVER_ARRIVALS)

    @cached_property
    def _users(self) -> Users:
        return users(self.parameters.seed, self.parameters.customers)

    def day(self, ordinal: int) -> Day:
        """Every attempt of a day, with what becomes known of it."""
        parts = [
            self._genuine(ordinal),
            self._stuffing(ordinal),
            self._phished(ordinal),
            self._hijacked(ordinal),
            self._sim_swaps(ordinal),
        ]
        rows = stacked(parts)
        return Day(
            rows.second,
            self._fields(rows, ordinal),
            rows.scenario,
            self._reports(rows, ordinal),
            {},
        )

    def _more(self, ordinal: int) -> float:
        return 1 + self.parameters.drift_level(DriftKind.FRAUD_RATE, ordinal)

    def _sessions(self, rng: np.random.Generator, user: Ints, ordinal: int) -> Attempts:
        """Logins as these users make them; fraudsters' are made by changing what they change."""
        people, size, seed = self._users, len(user), self.parameters.seed
        trips = stream(seed, Stream.TAKEOVER_TRIPS, ordinal // TRIP_DAYS)
        is_away = (trips.random(self.parameters.customers) < 0.02)[user]
        away = trips.integers(0, len(ABROAD), self.parameters.customers)[user]
        where = rng.random(size)
        mobility = self.parameters.drift_level(DriftKind.MOBILITY, ordinal)
        through_vpn = rng.random(size) < 0.04 + 0.5 * mobility
        exits = rng.integers(0, len(ABROAD), size)
        at_office = ~is_away & (where < 0.2)
        on_carrier = ~is_away & (where > 0.75)
        is_foreign = through_vpn & (rng.random(size) < 0.5)
        place = np.where(is_away, away, np.where(is_foreign, exits, AT_HOME))
        network = np.where(at_office, (1 << 21) + people.office[user], home(user, ordinal))
        network = np.where(
            on_carrier, (1 << 22) + (rng.random(size) ** 2 * 40_000).astype(np.int64), network
        )
        network = np.where(is_away, (3 << 21) + rng.integers(0, 4_000, size), network)
        network = np.where(through_vpn, (1 << 23) + exits * 8 + rng.integers(0, 8, size), network)
        north, east = self._near(rng, user, np.where(on_carrier, 0.8, 0.03))
        own = user * 4 + (rng.random(size) ** 3 * 3).astype(np.int64)
        fresh = fresh_devices(ordinal, 0, size)
        browser = rng.random(size)
        hour = rng.normal(14.5, 4.5, size) + np.where(people.is_nightly[user], 10, 0)
        return Attempts(
            second=hour % 24 * 3_600,
            user=user,
            action=np.full(size, LOGIN, np.int64),
            succeeded=np.ones(size, bool),
            network=network,
            host=rng.integers(1, 250, size),
            device=np.select([browser < 0.10, browser < 0.27], [generic(rng, size), fresh], own),
            place=place,
            north=np.where(place == AT_HOME, north, ABROAD[place % 10, 0]),
            east=np.where(place == AT_HOME, east, ABROAD[place % 10, 1]),
            is_proxy=through_vpn | (rng.random(size) < 0.01),
            mfa=people.has_mfa[user] & (rng.random(size) < 0.5),
            scenario=np.zeros(size, np.int64),
        )

    def _near(self, rng: np.random.Generator, user: Ints, degrees: Floats) -> tuple[Floats, Floats]:
        people, size = self._users, len(user)
        return (
            people.north[user] + rng.normal(0, 1, size) * degrees,
            people.east[user] + rng.normal(0, 1, size) * degrees,
        )

    def _genuine(self, ordinal: int) -> Attempts:
        rng = stream(self.parameters.seed, Stream.TAKEOVER_LOGINS, ordinal)
        count = self.parameters.customers
        user = np.repeat(np.arange(count, dtype=np.int64), rng.poisson(self._users.rate))
        logins = self._sessions(rng, user, ordinal)
        size = len(logins)
        at_office = logins.network >> 21 == 1
        is_broken = rng.random(count) < 0.05
        fails = rng.random(size) < np.where(
            at_office & is_broken[self._users.office[user]], 0.5, 0.11
        )
        before = np.repeat(np.arange(size), np.where(fails, rng.integers(1, 5, size), 0))
        failed = logins.take(before)
        failed = replace(
            failed,
            second=failed.second - rng.uniform(4, 300, len(before)),
            succeeded=np.zeros(len(before), bool),
            mfa=np.zeros(len(before), bool),
        )
        ends = ~fails | (rng.random(size) < 0.85)
        goes_on = ends & (rng.random(size) < np.where(fails, 0.08, 0.03))
        return stacked([logins.take(ends), failed, changes(rng, logins.take(goes_on))])

    def _stuffing(self, ordinal: int) -> Attempts:
        rng = stream(self.parameters.seed, Stream.TAKEOVER_STUFFING, ordinal)
        count = self.parameters.customers
        attacks = int(rng.poisson(self.parameters.attacks_share * count * self._more(ordinal)))
        attack = np.repeat(np.arange(attacks, dtype=np.int64), rng.integers(30, 121, attacks))
        size = len(attack)
        rows = self._sessions(rng, rng.integers(0, count, size), ordinal)
        begin, spreads = rng.uniform(0, 22, attacks), rng.random(attacks) < 0.5
        place = rng.integers(0, len(ABROAD), attacks)[attack]
        hosting = (5 << 21) + (ordinal * 16 + attack) % (1 << 20)
        disguise = rng.random(size)
        shown = np.where(spreads[attack], AT_HOME, place)
        rows = replace(
            rows,
            second=(begin[attack] + rng.uniform(0, 2, size)) * 3_600,
            succeeded=rng.random(size) < 0.05,
            network=np.where(spreads[attack], home(rng.integers(0, count, size), ordinal), hosting),
            host=rng.integers(1, 40, size),
            device=np.select(
                [disguise < 0.25, disguise < 0.65],
                [(1 << 44) + (ordinal * 16 + attack) * 4, generic(rng, size)],
                fresh_devices(ordinal, 1, size),
            ),
            place=shown,
            north=np.where(shown == AT_HOME, rows.north, ABROAD[place, 0]),
            east=np.where(shown == AT_HOME, rows.east, ABROAD[place, 1]),
            is_proxy=rng.random(size) < np.where(spreads[attack], 0.2, 0.6),
            mfa=np.zeros(size, bool),
            scenario=np.full(size, Scenario.CREDENTIAL_STUFFING, np.int64),
        )
        inside = rows.take(rows.succeeded & (rng.random(size) < 0.5))
        return stacked([rows, changes(rng, inside)])

    def _phished(self, ordinal: int) -> Attempts:
        rng = stream(self.parameters.seed, Stream.TAKEOVER_PHISHED, ordinal)
        user = self._victims(rng, self.parameters.phished_share * self._more(ordinal))
        size = len(user)
        rows = self._sessions(rng, user, ordinal)
        is_far, is_clever = rng.random(size) < 0.4, rng.random(size) < 0.15
        place = np.where(is_far, rng.integers(0, len(ABROAD), size), AT_HOME)
        north, east = self._near(rng, user, rng.choice([0.3, 2.0, 9.0], size))
        gang = (1 << 45) + ordinal // 7 * 64 + rng.integers(0, 12, size)
        disguise = rng.random(size)
        stranger = np.select(
            [disguise < 0.25, disguise < 0.5],
            [gang, generic(rng, size)],
            fresh_devices(ordinal, 2, size),
        )
        rows = replace(
            rows,
            second=rng.uniform(0, LAST_SECOND - 7_200, size),
            network=np.where(is_clever, rows.network, (7 << 21) + rng.integers(0, 1 << 20, size)),
            device=np.where(is_clever, rows.device, stranger),
            place=place,
            north=np.where(is_far, ABROAD[place % 10, 0], north),
            east=np.where(is_far, ABROAD[place % 10, 1], east),
            is_proxy=rng.random(size) < 0.3,
            mfa=rows.mfa & (rng.random(size) < 0.3),
            scenario=np.full(size, Scenario.PHISHED_CREDENTIALS, np.int64),
        )
        repeats = np.repeat(np.arange(size), rng.integers(0, 3, size))
        return stacked([rows, changes(rng, rows.take(repeats))])

    def _hijacked(self, ordinal: int) -> Attempts:
        rng = stream(self.parameters.seed, Stream.TAKEOVER_HIJACKED, ordinal)
        user = self._victims(rng, self.parameters.hijacked_share * self._more(ordinal))
        size = len(user)
        rows = self._sessions(rng, user, ordinal)
        night = rng.random(size) < 0.5
        # Three in the morning of a time zone in the middle of the country is nine in UTC.
        rows = replace(
            rows,
            second=np.where(night, rng.uniform(7, 11, size) * 3_600, rows.second),
            scenario=np.full(size, Scenario.HIJACKED_DEVICE, np.int64),
        )
        after = rows.take(rng.random(size) < 0.8)
        added = replace(
            after,
            second=after.second + rng.uniform(10, 150, len(after)),
            action=np.full(len(after), PAYEE_ADDED, np.int64),
        )
        return stacked([rows, added])

    def _sim_swaps(self, ordinal: int) -> Attempts:
        rng = stream(self.parameters.seed, Stream.TAKEOVER_SWAPS, ordinal)
        user = self._victims(rng, 0.01 * self.parameters.drift_level(DriftKind.SIM_SWAP, ordinal))
        size = len(user)
        swap = self._sessions(rng, user, ordinal)
        swap = replace(
            swap,
            action=np.full(size, PHONE_CHANGE, np.int64),
            device=fresh_devices(ordinal, 3, size),
            mfa=np.ones(size, bool),
            scenario=np.full(size, Scenario.SIM_SWAP, np.int64),
        )
        login = replace(
            swap,
            second=swap.second + rng.uniform(600, 5_000, size),
            action=np.full(size, LOGIN, np.int64),
        )
        return stacked([swap, login])

    def _victims(self, rng: np.random.Generator, share: float) -> Ints:
        count = self.parameters.customers
        return rng.integers(0, count, int(rng.poisson(share * count)))

    def _reports(self, rows: Attempts, ordinal: int) -> Reports:
        rng, size = stream(self.parameters.seed, Stream.TAKEOVER_LABELS, ordinal), len(rows)
        is_fraud = rows.scenario != Scenario.GENUINE
        is_told = rng.random(size) >= self.parameters.unreported_share
        is_stuffing = rows.scenario == Scenario.CREDENTIAL_STUFFING
        by_analyst = is_fraud & (rng.random(size) < np.where(is_stuffing, 0.9, 0.2))
        median = np.select([by_analyst, rows.scenario == Scenario.HIJACKED_DEVICE], [1.5, 5.0], 3.0)
        looks_odd = rows.is_proxy | (rows.place != AT_HOME)
        cleared = ~is_fraud & (rng.random(size) < np.where(looks_odd, 0.03, 0.001))
        delay = np.where(is_fraud, median, 1.0) * log_normal_days(rng, 1.0, 0.7, size)
        return Reports(
            delay_days=np.where((is_fraud & is_told) | cleared, delay, np.nan),
            is_fraud=is_fraud,
            source=sources(("analyst", cleared | by_analyst), ("customer_report", is_fraud)),
        )

    def _fields(self, rows: Attempts, ordinal: int) -> dict[str, npt.NDArray[np.generic]]:
        network = networks(rows.network)
        hosts = np.array([f".{number}" for number in range(256)], dtype=object)
        # No transaction_id yet; any name of the attempt alone will do.
        attempt = _texts(f"F{ordinal}_", len(rows))
        return {
            "user_id": names("USER", rows.user),
            "action": ACTIONS[rows.action],
            "succeeded": rows.succeeded,
            "failure_id": texts_where(~rows.succeeded, attempt),
            "ip_address": network + hosts[rows.host],
            "ip_network": network,
            "ip_is_proxy": rows.is_proxy,
            "device_id": names("DEV", rows.device),
            "mfa_passed": rows.mfa,
            "country": COUNTRIES[rows.place],
            "latitude": np.round(rows.north.clip(-89, 89), 3),
            "longitude": np.round((rows.east + 540) % 360 - 180, 3),
            "time_zone": ZONES[self._users.zone[rows.user]],
        }


def _texts(head: str, size: int) -> npt.NDArray[np.object_]:
    return np.array([f"{head}{number}" for number in range(size)], dtype=object)

"""Logins of a simulated bank: who the users are, and what an attempt is made of."""

from dataclasses import dataclass, replace

import numpy as np

from orchestration.sources.simulator.population import Bools, Floats, Ints
from orchestration.sources.simulator.streams import Stream, stream

ACTIONS = np.array(
    [
        *("login", "password_change", "password_reset", "email_change", "phone_change"),
        *("address_change", "mfa_change", "payee_added"),
    ],
    dtype=object,
)
LOGIN, PHONE_CHANGE, PAYEE_ADDED = 0, 4, 7
ABROAD = np.array(
    [  # degrees north and east of places that trips, VPNs and attackers use
        *([51.5, -0.1], [52.5, 13.4], [48.9, 2.3], [19.4, -99.1], [-23.5, -46.6]),
        *([6.5, 3.4], [44.4, 26.1], [21.0, 105.8], [35.7, 139.7], [1.3, 103.8]),
    ]
)
COUNTRIES = np.array(
    ["GB", "DE", "FR", "MX", "BR", "NG", "RO", "VN", "JP", "SG", "US"], dtype=object
)
AT_HOME = 10
ZONES = np.array(
    ["America/Los_Angeles", "America/Denver", "America/Chicago", "America/New_York"], dtype=object
)
LAST_SECOND = 86_399.0


@dataclass(frozen=True)
class Attempts:
    """Attempts of a day while they are made: codes and numbers, no texts yet."""

    second: Floats
    user: Ints
    action: Ints
    succeeded: Bools
    network: Ints
    host: Ints
    device: Ints
    place: Ints
    north: Floats
    east: Floats
    is_proxy: Bools
    mfa: Bools
    scenario: Ints

    def __len__(self) -> int:
        """Number of attempts."""
        return len(self.user)

    def take(self, rows: Ints | Bools) -> "Attempts":
        """The chosen rows, in the order given."""
        columns = self.__dataclass_fields__
        return Attempts(**{name: getattr(self, name)[rows] for name in columns})


@dataclass(frozen=True)
class Users:
    """What does not change about the users, one element each."""

    rate: Floats
    north: Floats
    east: Floats
    zone: Ints
    office: Ints
    has_mfa: Bools
    is_nightly: Bools


def users(seed: int, count: int) -> Users:
    """Draw the users of a seed."""
    rng = stream(seed, Stream.TAKEOVER_USERS)
    east = rng.uniform(-122, -75, count)
    return Users(
        rate=rng.gamma(1.5, 0.6, count),
        north=rng.uniform(30, 47, count),
        east=east,
        zone=np.digitize(east, [-114, -102, -87]),
        office=rng.integers(0, 1 + count // 60, count),
        has_mfa=rng.random(count) < 0.6,
        is_nightly=rng.random(count) < 0.08,
    )


def changes(rng: np.random.Generator, logins: Attempts) -> Attempts:
    """What is changed minutes after each of these logins."""
    size = len(logins)
    return replace(
        logins,
        second=logins.second + rng.uniform(30, 1_800, size),
        action=rng.integers(1, len(ACTIONS), size),
        succeeded=np.ones(size, bool),
    )


def stacked(parts: list[Attempts]) -> Attempts:
    """All attempts of all parts, each within the day."""
    columns = Attempts.__dataclass_fields__
    joined = {n: np.concatenate([getattr(part, n) for part in parts]) for n in columns}
    return Attempts(**joined | {"second": joined["second"].clip(0, LAST_SECOND)})


def home(user: Ints, ordinal: int) -> Ints:
    """The network of a user's home, which the provider changes every three weeks."""
    return (user * 40_503 + (ordinal + user % 21) // 21 * 7_919) % (1 << 21)


def generic(rng: np.random.Generator, size: int) -> Ints:
    """Fingerprints that browsers made for privacy share, and scripts imitate."""
    return (1 << 43) + rng.integers(0, 40, size)


def fresh_devices(ordinal: int, block: int, size: int) -> Ints:
    """Codes of devices nobody else has."""
    return (1 << 46) + ((ordinal * 4 + block) << 20) + np.arange(size, dtype=np.int64)

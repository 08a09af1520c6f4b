"""Independent random streams, one for each purpose and day."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What random numbers are for; a new purpose takes a new number and disturbs no other."""

    POPULATION = 0
    PURCHASES = 1
    CHANNELS = 2
    TRIPS = 3
    COMPROMISED_MERCHANTS = 4
    COMPROMISED_CUSTOMERS = 5
    FRAUDS = 6
    CARD_TESTING = 7
    ARRIVALS = 8
    LABELS = 9
    ACH_POPULATION = 20
    ACH_ENTRIES = 21
    ACH_DISHONEST = 22
    ACH_DRAINED = 23
    ACH_FRAUDS = 24
    ACH_LABELS = 25
    ACH_ARRIVALS = 26
    OPENING_APPLICANTS = 40
    OPENING_BURSTS = 41
    OPENING_RINGS = 42
    OPENING_STOLEN = 43
    OPENING_FARM = 44
    OPENING_LABELS = 45
    OPENING_ARRIVALS = 46
    TAKEOVER_USERS = 60
    TAKEOVER_LOGINS = 61
    TAKEOVER_TRIPS = 62
    TAKEOVER_STUFFING = 63
    TAKEOVER_PHISHED = 64
    TAKEOVER_HIJACKED = 65
    TAKEOVER_SWAPS = 66
    TAKEOVER_LABELS = 67
    TAKEOVER_ARRIVALS = 68


def stream(seed: int, purpose: Stream, day: int = 0) -> np.random.Generator:
    """Generator for one purpose on one day (ordinal), the same whichever day is asked first."""
    return np.random.default_rng(np.random.SeedSequence([seed, purpose, day]))


def whole_number(expected: float, uniform: float) -> int:
    """Whole number whose mean over a uniform draw in [0, 1) is `expected`; exact if it is whole."""
    return int(np.floor(expected + uniform + 1e-9))

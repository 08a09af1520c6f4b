"""The stated ways in which a simulated world can change."""

import math
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from fraud.domain.errors import SettingsError


class DriftKind(StrEnum):
    """What changes, and what a strength of `s` means."""

    AMOUNT_INFLATION = "amount_inflation"
    """Every amount, genuine or not, is multiplied by `1 + s`."""

    CARD_NOT_PRESENT = "card_not_present"
    """A share `s` (at most 1) of the purchases that would have been made in a shop move online."""

    CARD_TESTING = "card_testing"
    """A fraud scenario nobody has seen appears: bursts of small card-not-present amounts at one
    merchant, from one unknown device, over many cards. Adds `0.5 % * s` of the usual volume."""

    CATEGORY_MIX = "category_mix"
    """A share `s` (at most 1) of purchases moves to electronics, travel and digital goods."""

    FRAUD_RATE = "fraud_rate"
    """`1 + s` times as many parties are compromised or dishonest, from the first day on."""

    SAME_DAY = "same_day"
    """A share `s` (at most 1) of transfers that would have settled the next day go same-day."""

    MULE_RING = "mule_ring"
    """A fraud scenario nobody has seen appears: small credits from many customers' accounts to
    the same few mules. Adds `0.5 % * s` of the usual volume."""

    DISPOSABLE_EMAIL = "disposable_email"
    """A share `s` (at most 1) of genuine applicants gives an address at a privacy relay."""

    BOT_FARM = "bot_farm"
    """A fraud scenario nobody has seen appears: applications by night, each from an address, a
    network and a device of its own. Adds `2 % * s` of the usual volume."""

    MOBILITY = "mobility"
    """Half of a share `s` (at most 1) of genuine logins moves behind VPNs that end elsewhere."""

    SIM_SWAP = "sim_swap"
    """A fraud scenario nobody has seen appears: a user's phone number is changed, second factor
    and all, and a new device logs in within the hour. Strikes `1 % * s` of the users a day."""


_SHARES = (
    DriftKind.CARD_NOT_PRESENT,
    DriftKind.CATEGORY_MIX,
    DriftKind.SAME_DAY,
    DriftKind.DISPOSABLE_EMAIL,
    DriftKind.MOBILITY,
)


@dataclass(frozen=True)
class Drift:
    """One change of the world; every day before `start` is what it would have been without it.

    Attributes:
        kind: What changes.
        start: First day (UTC) on which it acts.
        strength: How much, in the unit that the kind states; 0 changes nothing.
        ramp_days: Days over which the strength grows evenly to its full size; 0 is a step.
    """

    kind: DriftKind
    start: date
    strength: float
    ramp_days: int = 0

    def __post_init__(self) -> None:
        """Refuse a drift that means nothing.

        Raises:
            SettingsError: A strength is negative or not a number, a share above 1, a ramp negative.
        """
        object.__setattr__(self, "kind", DriftKind(self.kind))
        if not math.isfinite(self.strength) or self.strength < 0:
            raise SettingsError(
                f"The drift's strength is {self.strength}.",
                remedy="Give a number of 0 or more.",
                field="strength",
            )
        if self.kind in _SHARES and self.strength > 1:
            raise SettingsError(
                f"The drift {self.kind} moves a share, and {self.strength} is above 1.",
                remedy="Give a strength of 0 to 1.",
                field="strength",
            )
        if self.ramp_days < 0:
            raise SettingsError(
                f"The drift's ramp is {self.ramp_days} days.",
                remedy="Give 0 or more.",
                field="ramp_days",
            )

    def level(self, day: int) -> float:
        """Strength that acts on a day, given as a proleptic ordinal (`date.toordinal()`)."""
        age_days = day - self.start.toordinal()
        if age_days < 0:
            return 0.0
        return self.strength * min(1.0, (age_days + 1) / (self.ramp_days + 1))

"""The transactions of one day while they are made: numbers and codes, no strings yet."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from orchestration.sources.simulator.population import Bools, Floats, Ints

DAY_S = 86_400
DAY_US = DAY_S * 1_000_000
UNIX_EPOCH_DAY = 719_163
"""1970-01-01 as a proleptic ordinal."""

NO_DEVICE = -1
_CUSTOMER_DEVICE, _NEW_DEVICE, _FRAUD_DEVICE, _ATTACK_DEVICE = (kind << 44 for kind in range(1, 5))


@dataclass(frozen=True)
class Transactions:
    """Parallel columns, one element a transaction.

    `time_us` counts from the start of the event's day until the rows are stamped, then from 1970,
    in UTC microseconds. `customer`, `merchant` and `device` are codes; `day` is an ordinal and
    `number` the place of the transaction among the events of its day.
    """

    time_us: Ints
    amount: Floats
    customer: Ints
    merchant: Ints
    distance_km: Floats
    card_present: Bools
    used_chip: Bools
    device: Ints
    scenario: Ints
    observed_us: Ints
    day: Ints
    number: Ints

    def __len__(self) -> int:
        """Number of transactions."""
        return len(self.time_us)

    def take(self, rows: Ints | Bools) -> "Transactions":
        """The chosen rows, in the order given."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def concatenate(parts: Sequence[Transactions]) -> Transactions:
    """All rows of all parts, in order; there must be at least one part."""
    return Transactions(
        **{
            f.name: np.concatenate([getattr(part, f.name) for part in parts])
            for f in fields(Transactions)
        }
    )


def no_numbers(size: int) -> npt.NDArray[np.int64]:
    """Column of zeros for what is not known yet."""
    return np.zeros(size, dtype=np.int64)


def customer_device(customer: Ints, which: Ints) -> Ints:
    """Code of a customer's own device, `which` in 0..3."""
    return _CUSTOMER_DEVICE + customer * 4 + which


def new_device(day: int, row: Ints) -> Ints:
    """Code of a device never seen before nor again."""
    return _NEW_DEVICE + (day << 24) + row


def fraud_device(day: int, member: Ints) -> Ints:
    """Code of a device of the fraud ring that is active in the week of a day."""
    return _FRAUD_DEVICE + ((day // 7) << 24) + member


def attack_device(day: int, attack: Ints) -> Ints:
    """Code of the device behind one card-testing attack."""
    return _ATTACK_DEVICE + (day << 24) + attack

"""From codes to the tables that the rest of the platform reads."""

from datetime import date
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from orchestration.sources.simulator.day import NO_DEVICE, Transactions
from orchestration.sources.simulator.labels import Source
from orchestration.sources.simulator.parameters import CreditCardSimulation, Scenario
from orchestration.sources.simulator.places import payments
from orchestration.sources.simulator.population import CATEGORIES, COUNTRIES, Ints, Population

Strings = npt.NDArray[np.object_]

_MIX_1, _MIX_2, _DEVICE_MASK = 0x9E3779B97F4B, 0xC2B2AE3D27D5, (1 << 48) - 1


def transaction_ids(parameters: CreditCardSimulation, rows: Transactions) -> Strings:
    """Ids such as `TXN_20260401_000042`: the event's day and its place on that day."""
    edges = np.flatnonzero(np.diff(rows.day, prepend=-1, append=-1))
    ids: list[str] = []
    for first, end in pairwise(edges.tolist()):
        head = f"{parameters.id_prefix}_{date.fromordinal(int(rows.day[first])):%Y%m%d}_"
        ids += [f"{head}{number:06d}" for number in rows.number[first:end].tolist()]
    return _objects(ids)


def transactions_table(
    parameters: CreditCardSimulation, world: Population, rows: Transactions, ids: Strings
) -> pd.DataFrame:
    """The transactions as the outside world sees them, in the order given."""
    country = world.merchant_country[rows.merchant]
    north, east = payments(parameters, world, rows)
    return pd.DataFrame(
        {
            "transaction_id": ids,
            "event_time": utc(rows.time_us),
            "observed_at": utc(rows.observed_us),
            "amount": rows.amount,
            "user_id": _names("USER", parameters.customers)[rows.customer],
            "merchant_id": _names("MERCH", parameters.merchants)[rows.merchant],
            "merchant_category": _objects(CATEGORIES)[world.merchant_category[rows.merchant]],
            "distance_from_home_km": np.round(rows.distance_km, 2),
            "foreign_transaction": country != world.customer_country[rows.customer],
            "card_present": rows.card_present,
            "used_chip": rows.used_chip,
            "device_id": _devices(rows.device),
            "country": _objects(COUNTRIES)[country],
            "latitude": north,
            "longitude": east,
        }
    )


def truth_table(rows: Transactions, ids: Strings) -> pd.DataFrame:
    """What is really so, row by row like the transactions."""
    return pd.DataFrame(
        {
            "transaction_id": ids,
            "is_fraud": rows.scenario != Scenario.GENUINE,
            "scenario": rows.scenario.astype(np.int8),
        }
    )


def labels_table(ids: Strings, reported_us: Ints, source: Ints) -> pd.DataFrame:
    """The reports, one a row, about the transactions with these ids."""
    return pd.DataFrame(
        {
            "transaction_id": ids,
            "is_fraud": source != Source.ANALYST,
            "reported_at": utc(reported_us),
            "source": _objects([name.name.lower() for name in Source])[source],
        }
    )


def utc(microseconds: Ints) -> "pd.Series[pd.Timestamp]":
    """Column of datetime64[us, UTC] from microseconds since 1970."""
    return pd.Series(microseconds.astype("datetime64[us]")).dt.tz_localize("UTC")


def _names(kind: str, count: int) -> Strings:
    return _objects([f"{kind}_{number:06d}" for number in range(count)])


def _objects(strings: "list[str] | tuple[str, ...] | dict[str, tuple[float, float]]") -> Strings:
    return np.array(list(strings), dtype=object)


def _devices(code: Ints) -> Strings:
    # A bijection of 48 bits, so that a name says nothing about whose device it is.
    mixed = (code.astype(np.uint64) * np.uint64(_MIX_1)) & np.uint64(_DEVICE_MASK)
    mixed ^= mixed >> np.uint64(23)
    mixed = (mixed * np.uint64(_MIX_2)) & np.uint64(_DEVICE_MASK)
    names = np.full(len(code), None, dtype=object)
    has_device = code != NO_DEVICE
    names[has_device] = [f"DEV_{number:012X}" for number in mixed[has_device].tolist()]
    return names

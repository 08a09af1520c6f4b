"""What every simulated world has in common: days that can be asked for in any range.

A world draws one day at a time from random streams of that day's own, so a row is the same
whichever range it is asked in. This module stamps the rows, delays what is seen late, and
cuts out what was observed and what was reported within a range.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from fraud.domain.errors import SettingsError
from fraud.domain.label import LabelSource
from orchestration.sources.simulator.day import DAY_US, UNIX_EPOCH_DAY
from orchestration.sources.simulator.drift import Drift, DriftKind
from orchestration.sources.simulator.population import Bools, Floats, Ints
from orchestration.sources.simulator.streams import Stream, stream
from orchestration.sources.simulator.tables import utc

Column = npt.NDArray[Any]

GENUINE = 0
"""The scenario of what is no fraud, in every world."""

PROMPT_S = (0.05, 1.0)
"""Bounds of the lag, in seconds, of an event that is not late."""
SHORTEST_LATENESS_S = 5.0
LONGEST_LATENESS_S = 12 * 3_600.0

_FIELD = "field "


@dataclass(frozen=True)
class Simulated:
    """A range of days of a simulated history.

    Attributes:
        transactions: `transaction_id, event_time, observed_at`, `amount` where money moves, and
            the fraud type's own fields; sorted by `observed_at`, whose date is in the range.
        labels: `transaction_id, is_fraud, reported_at, source`; sorted by `reported_at`, whose
            date is in the range, so some are about transactions before it.
        truth: `transaction_id, is_fraud, scenario` and whatever else the world knows, for each
            row of `transactions`.
    """

    transactions: pd.DataFrame
    labels: pd.DataFrame
    truth: pd.DataFrame


@dataclass(frozen=True)
class Reports:
    """What will be reported about the n rows of a day.

    Attributes:
        delay_days: from observation to report; NaN where nobody ever says anything.
        is_fraud: what is said.
        source: who says it.
    """

    delay_days: Floats
    is_fraud: Bools
    source: npt.NDArray[np.object_]


@dataclass(frozen=True)
class Day:
    """The n rows of one day, in any order.

    Attributes:
        second: time of day, in seconds.
        fields: columns under the names the fraud type gives them.
        scenario: `GENUINE`, or the number of a fraud scenario.
        reports: what becomes known of them.
        known: further columns of the truth.
    """

    second: Floats
    fields: Mapping[str, Column]
    scenario: Ints
    reports: Reports
    known: Mapping[str, Column]


@dataclass(frozen=True)
class Simulation:
    """The parameters that every world has.

    Attributes:
        start: First day (UTC) of the history. No event is earlier; nothing else depends on it.
        days: Length in days of what `simulate` returns.
        seed: The same seed and day give the same rows.
        customers: Number of people who live in it.
        late_share: Share of events seen late, by 5 s to 12 h (log-uniform).
        unreported_share: Share of frauds that nobody ever reports.
        report_max_days: A longer delay of a report is cut to this.
        drift: A change of the world, if any.
    """

    start: date
    days: int
    seed: int = 0
    customers: int = 5_000
    late_share: float = 0.02
    unreported_share: float = 0.05
    report_max_days: int = 60
    drift: Drift | None = None

    def __post_init__(self) -> None:
        """Refuse a world that cannot be simulated.

        Raises:
            SettingsError: A count is too small, a share is none, or it knows no such drift.
        """
        least = {"seed": 0, "days": 1, "customers": 10, "report_max_days": 1}
        for name, number in least.items():
            if getattr(self, name) < number:
                raise _refused(name, getattr(self, name), f"{number} or more")
        for name in (each for each in self.__dataclass_fields__ if each.endswith("_share")):
            if not 0 <= getattr(self, name) <= 1:
                raise _refused(name, getattr(self, name), "a share, 0 to 1")
        if self.drift is not None and self.drift.kind not in self.drifts():
            known = ", ".join(self.drifts())
            raise _refused("drift", self.drift.kind.value, f"one of {known}")

    @classmethod
    def drifts(cls) -> tuple[DriftKind, ...]:
        """The kinds of drift that this world can undergo."""
        return ()

    def drift_level(self, kind: DriftKind, day: int) -> float:
        """Strength with which one kind of drift acts on a day (ordinal); 0 if it does not."""
        if self.drift is None or self.drift.kind is not kind:
            return 0.0
        return self.drift.level(day)


class World(Protocol):
    """A world that can be simulated day by day."""

    @property
    def parameters(self) -> Simulation:
        """What it was made from."""

    @property
    def id_prefix(self) -> str:
        """First part of its transaction ids."""

    @property
    def arrivals(self) -> Stream:
        """The random stream of how late events are seen."""

    def day(self, ordinal: int) -> Day:
        """Everything that happens on a day (proleptic ordinal)."""


def simulate(world: World) -> Simulated:
    """The whole history: `days` days from `start`."""
    start, days = world.parameters.start, world.parameters.days
    return simulate_days(world, start, start + timedelta(days=days - 1))


def simulate_days(world: World, first: date, last: date) -> Simulated:
    """What is seen and reported from one day to another (UTC), both included.

    Days after `start + days` exist as well; a range before `start` is empty.

    Raises:
        SettingsError: The range ends before it begins.
    """
    if last < first:
        raise SettingsError(
            f"The range {first}..{last} ends before it begins.", remedy="Swap the two days."
        )
    [whole] = simulate_pieces(world, first, last, (last - first).days + 1)
    return whole


def simulate_pieces(world: World, first: date, last: date, piece_days: int) -> Iterator[Simulated]:
    """`simulate_days` of some days after another; no day is simulated twice for it.

    What a day leaves to be seen or reported later waits for its piece.
    """
    # Lateness reaches into the next day, and a report waits for report_max_days after that.
    earliest = first.toordinal() - 1 - world.parameters.report_max_days
    ordinal = max(earliest, world.parameters.start.toordinal())
    waiting: list[pd.DataFrame] = []
    for begin, until in pieces(first, last, piece_days):
        begin_us, end_us = _midnight_us(begin.toordinal()), _midnight_us(until.toordinal() + 1)
        days = range(ordinal, until.toordinal() + 1)
        waiting += [_not_over(_stamped(world, day), begin_us) for day in days]
        rows = pd.concat(waiting or [_nothing(world)])
        yield _tables(
            world,
            rows[_within(rows["observed_us"], begin_us, end_us)],
            rows[_within(rows["reported_us"], begin_us, end_us)],
        )
        waiting, ordinal = [_not_over(rows, end_us)], max(ordinal, days.stop)


def pieces(first: date, last: date, days: int) -> Iterator[tuple[date, date]]:
    """A range of days in pieces, as first and last day of each."""
    while first <= last:
        until = min(first + timedelta(days=days - 1), last)
        yield first, until
        first = until + timedelta(days=1)


def _nothing(world: World) -> pd.DataFrame:
    return _stamped(world, world.parameters.start.toordinal()).iloc[:0]


def _not_over(rows: pd.DataFrame, moment_us: int) -> pd.DataFrame:
    """Rows of which something is still to come at a moment."""
    return rows[(rows["observed_us"] >= moment_us) | (rows["reported_us"] >= moment_us)]


def _within(moment_us: "pd.Series[Any]", begin_us: int, end_us: int) -> "pd.Series[bool]":
    return (moment_us >= begin_us) & (moment_us < end_us)


def _midnight_us(ordinal: int) -> int:
    return (ordinal - UNIX_EPOCH_DAY) * DAY_US


def _stamped(world: World, ordinal: int) -> pd.DataFrame:
    """The rows of a day in the order of their times, with ids, moments and reports."""
    day = world.day(ordinal)
    order = np.argsort(day.second, kind="stable")
    size = len(order)
    time_us = (day.second[order] * 1e6).astype(np.int64) + _midnight_us(ordinal)
    observed_us = time_us + _lag_us(world, size, ordinal)
    delay = np.clip(day.reports.delay_days[order], 1 / 24, world.parameters.report_max_days)
    is_told = ~np.isnan(delay)
    reported_us = observed_us + (np.where(is_told, delay, 0.0) * DAY_US).astype(np.int64)
    head = f"{world.id_prefix}_{date.fromordinal(ordinal):%Y%m%d}_"
    return pd.DataFrame(
        {
            "transaction_id": np.array([f"{head}{n:06d}" for n in range(size)], dtype=object),
            "time_us": time_us,
            "observed_us": observed_us,
            "reported_us": np.where(is_told, reported_us, -1),
            "says_fraud": day.reports.is_fraud[order],
            "source": day.reports.source[order],
            "scenario": day.scenario[order].astype(np.int8),
            **{name: values[order] for name, values in day.known.items()},
            **{f"{_FIELD}{name}": values[order] for name, values in day.fields.items()},
        }
    )


def _lag_us(world: World, size: int, ordinal: int) -> Ints:
    rng = stream(world.parameters.seed, world.arrivals, ordinal)
    is_late = rng.random(size) < world.parameters.late_share
    late_s = np.exp(rng.uniform(np.log(SHORTEST_LATENESS_S), np.log(LONGEST_LATENESS_S), size))
    lag_s = np.where(is_late, late_s, rng.uniform(*PROMPT_S, size))
    return (lag_s * 1e6).astype(np.int64)


def _tables(world: World, seen: pd.DataFrame, told: pd.DataFrame) -> Simulated:
    seen = seen.sort_values(["observed_us", "transaction_id"], ignore_index=True)
    told = told.sort_values(["reported_us", "transaction_id"], ignore_index=True)
    own = [str(name) for name in seen if str(name).startswith(_FIELD)]
    fields = {name.removeprefix(_FIELD): seen[name] for name in own}
    about = {"transaction_id": seen["transaction_id"]}
    known = seen.loc[:, "scenario":].drop(columns=own)
    return Simulated(
        transactions=pd.DataFrame(
            about
            | {
                "event_time": utc(seen["time_us"].to_numpy()),
                "observed_at": utc(seen["observed_us"].to_numpy()),
            }
            | fields
        ),
        labels=pd.DataFrame(
            {
                "transaction_id": told["transaction_id"],
                "is_fraud": told["says_fraud"],
                "reported_at": utc(told["reported_us"].to_numpy()),
                "source": told["source"],
            }
        ),
        truth=pd.DataFrame(about | {"is_fraud": seen["scenario"] != GENUINE} | dict(known.items())),
    )


def log_normal_days(rng: np.random.Generator, median: float, sigma: float, size: int) -> Floats:
    """Delays in days, log-normal."""
    return median * rng.lognormal(0.0, sigma, size)


def sources(*parts: tuple[LabelSource, Bools]) -> npt.NDArray[np.object_]:
    """Who reports each row: the first whose mask holds; None where none does."""
    found = np.full(len(parts[0][1]), None, dtype=object)
    for name, mask in reversed(parts):
        found[mask] = name
    return found


def texts_where(mask: Bools, texts: Column) -> npt.NDArray[np.object_]:
    """The texts, and None where the mask does not hold."""
    found = np.full(len(mask), None, dtype=object)
    found[mask] = texts[mask]
    return found


def names(kind: str, codes: Ints, width: int = 6) -> npt.NDArray[np.object_]:
    """Names such as `USER_000042` of codes; codes may repeat, and few differ."""
    distinct, inverse = np.unique(codes, return_inverse=True)
    found = [f"{kind}_{_digits(code, width)}" for code in distinct.tolist()]
    return np.array(found, dtype=object)[inverse]


def _digits(code: int, width: int) -> str:
    """Long numbers in two parts: one of them might be taken for that of a card."""
    high, low = divmod(code, 10**9)
    return f"{high}X{low:09d}" if high >= 1000 else f"{code:0{width}d}"


def networks(codes: Ints) -> npt.NDArray[np.object_]:
    """The first three parts of the IPv4 addresses of networks, numbered below 2^24."""
    distinct, inverse = np.unique(codes, return_inverse=True)
    # An odd factor shuffles 24 bits one to one, so that neighbours are not next to each other.
    mixed = (distinct * 0x9E3779) % (1 << 24)
    found = [f"{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in mixed.tolist()]
    return np.array(found, dtype=object)[inverse]


def _refused(name: str, value: object, wanted: str) -> SettingsError:
    return SettingsError(
        f"The simulation's {name} is {value!r}.", remedy=f"Give {wanted}.", field=name
    )

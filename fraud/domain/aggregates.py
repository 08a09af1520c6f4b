"""The integers features are made of.

An aggregate is one int64 per event, computed from what its entity had shown before. The
offline frame and the online state are two executions of the definitions in this module
(`feature_store/CONTRACT.md` spells them out); floating point starts only afterwards, in
`features.py`, in code that both share.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fraud.domain.windows import Window

NONE = np.iinfo(np.int64).min
"""The int64 that stands for "there is no such value"."""

OUTCOME_MEMORY = 64
"""An entity's matured outcomes are looked for among its last 64 events."""

DISTINCT_MEMORY = 64
"""Values an entity remembers for distinct counts: the cap of every distinct count."""

TileColumn = Literal["count", "amount", "log", "log_sq"]


@dataclass(frozen=True, order=True)
class TileSum:
    """Sum over a window of 1, minor units, quantised log amount, or its square."""

    entity: str
    window: Window
    column: TileColumn


@dataclass(frozen=True, order=True)
class LabelSum:
    """Fraud labels of the entity's events, in a window over `reported_at`."""

    entity: str
    window: Window


@dataclass(frozen=True, order=True)
class DistinctSum:
    """Distinct values of a field whose last sighting lies in the window, capped."""

    entity: str
    field: str
    window: Window


@dataclass(frozen=True, order=True)
class Lifetime:
    """Number of events of the entity ever observed."""

    entity: str


@dataclass(frozen=True, order=True)
class LastTime:
    """Event time (us) of the entity's last observed event, or NONE."""

    entity: str


@dataclass(frozen=True, order=True)
class FirstTime:
    """Event time (us) of the entity's first observed event, or NONE."""

    entity: str


@dataclass(frozen=True, order=True)
class LastValue:
    """A field of the entity's last observed event that had one: as int64, or NONE.

    A text becomes its 64-bit hash.
    """

    entity: str
    field: str


@dataclass(frozen=True, order=True)
class LastPlace:
    """Where the entity's last observed event that says so happened, packed, or NONE."""

    entity: str


@dataclass(frozen=True, order=True)
class LastPlaceTime:
    """Event time (us) of that event, or NONE."""

    entity: str


@dataclass(frozen=True, order=True)
class MaturedSum:
    """Over the entity's last `k` matured events: how many there are, or how many were fraud."""

    entity: str
    k: int
    column: Literal["count", "fraud"]


OutcomePart = Literal["fraud_run", "genuine", "unmatured"]
OUTCOME_PARTS: tuple[OutcomePart, ...] = ("fraud_run", "genuine", "unmatured")
OutcomeFigure = Literal["count", "log", "largest", "time"]
OUTCOME_FIGURES: tuple[OutcomeFigure, ...] = ("count", "log", "largest", "time")


@dataclass(frozen=True, order=True)
class OutcomesOf:
    """A figure of some of the entity's last events, see OUTCOME_MEMORY.

    Attributes:
        entity: whose events.
        part: `unmatured`: those whose outcome is not mature. Of the mature ones `genuine`: not
            known to be fraud; `fraud_run`: known to be fraud and observed after all of these.
        figure: how many, the sum or the largest of their quantised log amounts (0 if there are
            none), or an event time (NONE if there are none): of the first of the run, else of
            the last observed.
    """

    entity: str
    part: OutcomePart
    figure: OutcomeFigure


@dataclass(frozen=True, order=True)
class FraudTime:
    """Event time (us) of the entity's latest or earliest event known to be fraud, or NONE."""

    entity: str
    which: Literal["latest", "earliest"]


Aggregate = (
    TileSum
    | LabelSum
    | DistinctSum
    | Lifetime
    | LastTime
    | FirstTime
    | LastValue
    | LastPlace
    | LastPlaceTime
    | MaturedSum
    | OutcomesOf
    | FraudTime
)

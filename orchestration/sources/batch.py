"""What every source yields: pieces of raw rows, under the names of the platform."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd


@dataclass(frozen=True)
class BrokenRow:
    """A row that could not even be split into cells."""

    row_number: int
    text: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """A piece of a source, not yet checked.

    Attributes:
        transactions: columns named like the fraud type's fields, and `observed_at` where it is
            known; the index numbers the rows of the source, from 1.
        labels: `transaction_id, is_fraud, reported_at, source`, numbered likewise.
        broken: rows that never became cells.
    """

    transactions: pd.DataFrame
    labels: pd.DataFrame
    broken: list[BrokenRow] = field(default_factory=list)


class Source(Protocol):
    """Where transactions and labels come from."""

    @property
    def name(self) -> str:
        """What the source is called in reports and in the quarantine."""

    @property
    def size(self) -> int | None:
        """Number of rows, where it is known beforehand."""

    def batches(self, first: dt.date | None = None, last: dt.date | None = None) -> Iterator[Batch]:
        """The rows, in the source's order.

        A range of days (UTC, both included) allows a source to leave out what was neither
        observed nor reported in it; it may still yield more.
        """

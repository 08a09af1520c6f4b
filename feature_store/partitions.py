"""How a history is cut so that no part of a build needs more memory than it was given.

A feature row draws on several entities, and each entity's history must stay together. So a
history is cut twice:

- by **partition**: all events whose entity key falls into the same share of a hash. Within a
  partition every entity that has the hashed fields among its own is complete, which is why
  credit card events need three cuttings and not four: users and user x device both stay
  together by `user_id`.
- by **range**: consecutive events in observation order. A range becomes one file of the frame.

Memory model. A process needs `BASE_BYTES` for the interpreter and its libraries, plus rows
times `partition_row_bytes` or `range_row_bytes`, whichever step it is at. Partitions and
ranges are made as small as that asks for. Keys are first counted by `BUCKETS` shares of the
hash and the shares then packed into partitions, so that sizes are known and not hoped for:
one key that is too busy for the budget is refused before any work is done.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_store.schema import arrow_schema
from fraud.domain.errors import ContractError, SettingsError
from fraud.domain.features import Ints
from fraud.domain.fraud_type import FraudType

MB = 1_000_000

BASE_BYTES = 700 * MB
"""What a process takes beside its rows: 400 MB for libraries, compiled loops and the buffers
of files, and 300 MB for compiling, where no earlier process left the loops."""

MIN_WORKING_BYTES = 100 * MB
"""The least that a build is allowed for rows."""

BUCKETS = 2**16
"""Shares of the hash that keys are counted by."""

_COLUMN_BYTES = 40
"""A value of an event on its way from the file to integer codes, with all its copies."""

_AGGREGATE_BYTES, _VALUE_BYTES = 8, 4

_LABEL_BYTES = 120

PartitionNumbers = NDArray[np.int32]


@dataclass(frozen=True)
class Partitioning:
    """The features that are computed from partitions by the same fields.

    Attributes:
        fields: text fields whose values decide where an event goes.
        places: of the features, in the fraud type's order.
    """

    fields: tuple[str, ...]
    places: tuple[int, ...]


@dataclass(frozen=True)
class Slice:
    """Consecutive events of one day of the log: rows `begin` to `end`, not included."""

    day: str
    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin


def partitionings(fraud_type: FraudType) -> tuple[Partitioning, ...]:
    """The fewest ways to partition events so that every feature finds its entities complete.

    Features that need no entity are in none of them.

    Raises:
        ContractError: a feature needs entities that have no field in common.
    """
    fields = {entity.name: frozenset(entity.fields) for entity in fraud_type.entities}
    shared: dict[int, frozenset[str]] = {}
    for place, feature in enumerate(fraud_type.features):
        entities = sorted({aggregate.entity for aggregate in feature.aggregates()})
        if not entities:
            continue
        shared[place] = frozenset.intersection(*(fields[name] for name in entities))
        if not shared[place]:
            raise ContractError(
                f"{fraud_type.name}: feature {feature.name} needs {' and '.join(entities)}, which "
                "have no field in common, so no partition holds both histories.",
                remedy="Build this fraud type in memory, or make the feature of one entity.",
            )
    chosen: dict[frozenset[str], list[int]] = {}
    for wanted in sorted(set(shared.values()), key=lambda each: (len(each), sorted(each))):
        if not any(few <= wanted for few in chosen):
            chosen[wanted] = []
    for place, wanted in shared.items():
        chosen[next(few for few in chosen if few <= wanted)].append(place)
    return tuple(Partitioning(tuple(sorted(few)), tuple(places)) for few, places in chosen.items())


def restricted(fraud_type: FraudType, places: Sequence[int]) -> FraudType:
    """The fraud type with only some of its features, and the entities these need.

    The subject's entity, which every fraud type has, stays as well; nothing is asked of it.
    """
    features = tuple(fraud_type.features[place] for place in places)
    needed = {aggregate.entity for feature in features for aggregate in feature.aggregates()}
    return dataclasses.replace(
        fraud_type,
        entities=tuple(
            entity
            for entity in fraud_type.entities
            if entity.name in needed or entity.fields == (fraud_type.subject,)
        ),
        features=features,
        rules=(),
    )


def entityless(fraud_type: FraudType) -> tuple[int, ...]:
    """Places of the features that look at nothing but their own event."""
    return tuple(
        place for place, feature in enumerate(fraud_type.features) if not feature.aggregates()
    )


def buckets(events: pd.DataFrame, fields: Sequence[str]) -> Ints:
    """Each event's share of the hash of its fields, 0 to `BUCKETS` - 1, shape (n,).

    The hash is the same in every process. Events that lack a field belong to no entity
    here; they go anywhere, by their observation number.
    """
    keys = events[list(fields)].astype(object)
    hashes = pd.util.hash_pandas_object(keys, index=False).to_numpy(np.uint64)
    absent = keys.isna().to_numpy().any(axis=1)
    seq = np.ascontiguousarray(events["seq"].to_numpy(np.int64)[absent])
    hashes[absent] = pd.util.hash_array(seq)
    return (hashes % BUCKETS).astype(np.int64)


def pack(counts: Ints, limit: int) -> PartitionNumbers:
    """Which partition each bucket goes to: consecutive ones, at most `limit` rows together.

    Args:
        counts: rows per bucket, shape (BUCKETS,); none above `limit`.
        limit: rows per partition.
    """
    numbers = np.empty(len(counts), np.int32)
    number, filled = 0, 0
    for bucket, count in enumerate(counts.tolist()):
        if filled and filled + count > limit:
            number, filled = number + 1, 0
        numbers[bucket] = number
        filled += count
    return numbers


def cut(days: Sequence[tuple[str, int]], limit: int) -> tuple[tuple[Slice, ...], ...]:
    """Ranges of at most `limit` consecutive events, nearly equal in size.

    Args:
        days: each day of the log and its number of events, in order.
        limit: rows per range.
    """
    total = sum(rows for _, rows in days)
    size = -(-total // max(1, -(-total // limit)))
    ranges: list[tuple[Slice, ...]] = []
    current: list[Slice] = []
    room = size
    for day, rows in days:
        begin = 0
        while begin < rows:
            end = min(rows, begin + room)
            current.append(Slice(day, begin, end))
            room -= end - begin
            begin = end
            if room == 0:
                ranges.append(tuple(current))
                current, room = [], size
    return (*ranges, tuple(current)) if current else tuple(ranges)


def partition_row_bytes(fraud_type: FraudType, partitioning: Partitioning) -> int:
    """Bytes a row costs while a partition's features are computed.

    The columns of the event, the aggregates of all the partitioning's entities, and the
    features twice: finished, and on their way to the file.
    """
    part = restricted(fraud_type, partitioning.places)
    columns = len(arrow_schema(fraud_type, "events").names)
    values = len(part.aggregates) * _AGGREGATE_BYTES + 2 * len(part.features) * _VALUE_BYTES
    return columns * _COLUMN_BYTES + values + _LABEL_BYTES


def range_row_bytes(fraud_type: FraudType) -> int:
    """Bytes a row costs while a range of the frame is put together."""
    columns = len(arrow_schema(fraud_type, "events").names)
    return columns * _COLUMN_BYTES + 2 * len(fraud_type.features) * _VALUE_BYTES


def row_limit(budget_bytes: int, row_bytes: int) -> int:
    """Rows that a process with this budget may hold at a time.

    Raises:
        SettingsError: nothing is left for rows.
    """
    if budget_bytes < BASE_BYTES + MIN_WORKING_BYTES:
        raise SettingsError(
            f"A memory budget of {budget_bytes / MB:,.0f} MB is too small: the libraries alone "
            f"take up to {BASE_BYTES / MB:,.0f} MB.",
            remedy=f"Give at least {(BASE_BYTES + MIN_WORKING_BYTES) // MB}MB.",
        )
    return (budget_bytes - BASE_BYTES) // row_bytes


def check_busiest(
    counts: Ints, partitioning: Partitioning, row_bytes: int, budget_bytes: int
) -> None:
    """Refuse a history whose busiest bucket does not fit the budget.

    Raises:
        SettingsError: with the least budget that would do.
    """
    needed = BASE_BYTES + int(counts.max(initial=0)) * row_bytes
    if needed > budget_bytes:
        raise SettingsError(
            f"One value of {' x '.join(partitioning.fields)} has up to {counts.max():,} events, "
            f"and a history cannot be split: it needs {needed / MB:,.0f} MB, the budget is "
            f"{budget_bytes / MB:,.0f} MB.",
            remedy=f"Give at least {-(-needed // MB)}MB.",
        )

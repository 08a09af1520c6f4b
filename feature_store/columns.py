"""A history as integer columns: what the offline kernels and the replay both start from."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_store import grouping
from feature_store.grouping import Rows
from feature_store.inputs import (
    LOG,
    PLACE,
    TIME,
    VALUE_ID,
    ColumnInputs,
    Taken,
)
from feature_store.label_kernels import NO_LABEL
from fraud.domain.aggregates import NONE, Aggregate, DistinctSum, LastValue
from fraud.domain.errors import ContractError
from fraud.domain.event import text_ids
from fraud.domain.features import Codes, Floats, Ints, Texts, quantised_log
from fraud.domain.fraud_type import Entity, FraudType
from fraud.domain.places import LATITUDE, LONGITUDE, place_ids

_PIECES = 4
"""Of the transaction ids, looked up side by side."""


class History:
    """Events and fraud labels as integer columns, in observation order.

    Columns of the events are those of the frame itself where their type allows it, so that a
    history costs little memory beside the frame it was made from.

    Args:
        fraud_type: whose events.
        events: canonical events sorted by seq (see `feature_store.lake`).
        labels: canonical labels; only fraud labels act.
        each: how independent columns are worked through; give the map of a thread pool.

    Attributes:
        size: number of events, n.
        seq: observation numbers, shape (n,).
        time_us: event times, microseconds UTC, shape (n,).
        amount_minor: amounts in minor units, shape (n,).
        texts: the fields that entities and aggregates go by.
        label: of each event the number of the fraud label that acts on it, or NO_LABEL; (n,).
        labels_known: how many of the acting labels were observed before each event, shape (n,).
        label_row: row of the event of each acting label, by observation.
        label_seq: observation number of each acting label, ascending.
        label_us: when each acting label was reported.

    Raises:
        ContractError: the events are not in observation order.
    """

    def __init__(
        self,
        fraud_type: FraudType,
        events: pd.DataFrame,
        labels: pd.DataFrame,
        each: Callable[..., Iterable[Any]] = map,
    ) -> None:
        self._events = events
        self.size = len(events)
        self.seq = events["seq"].to_numpy(np.int64)
        if (self.seq[1:] <= self.seq[:-1]).any():
            raise ContractError(
                "Events are not in observation order, or a seq occurs twice.",
                remedy="Sort by seq; the lake gives them so.",
            )
        self.time_us = as_us(events["event_time"])
        self.amount_minor = events["amount_minor"].to_numpy(np.int64)
        fields = _text_fields(fraud_type)
        fraud = labels[labels["is_fraud"].to_numpy(bool)]
        fraud = fraud.sort_values("seq", kind="stable").reset_index(drop=True)
        texts = each(_texts, [events[field] for field in fields])
        rows = _rows_of(events["transaction_id"], fraud["transaction_id"], each)
        self.texts: dict[str, Texts] = dict(zip(fields, texts, strict=True))
        self._others = Taken[str, pa.ChunkedArray](
            lambda field: pa.chunked_array(pa.array(events[field], pa.string()))
        )
        self._with_nulls = {f: bool((text.codes < 0).any()) for f, text in self.texts.items()}
        self._value_ids: dict[str, Ints] = {}
        # No function of its own in here: a cycle would keep the events until the collector runs.
        self._void: dict[str, bool] = {}
        self._join_labels(rows, fraud)
        pa.default_memory_pool().release_unused()  # what encoding texts took

    def _join_labels(self, rows: Ints, fraud: pd.DataFrame) -> None:
        """Each event's first fraud label that was observed after it; others do not act."""
        seq, reported = fraud["seq"].to_numpy(np.int64), as_us(fraud["reported_at"])
        acts = rows >= 0
        acts[acts] = seq[acts] > self.seq[rows[acts]]
        rows, seq, reported = rows[acts], seq[acts], reported[acts]
        _, first = np.unique(rows, return_index=True)
        first.sort()
        self.label_row, self.label_seq, self.label_us = rows[first], seq[first], reported[first]
        numbers = np.arange(len(first) + 1, dtype=np.int32)
        self.label = np.full(self.size, NO_LABEL, np.int32)
        self.label[self.label_row] = numbers[:-1]
        seen = np.searchsorted(self.seq, self.label_seq, side="right")
        self.labels_known = np.repeat(numbers, np.diff(seen, prepend=0, append=self.size))

    def own(self, name: str, rows: Rows | slice = slice(None)) -> Ints:
        """A column that features are finished from, by its name in `inputs`."""
        kind, _, field = name.partition(" ")
        if kind == LOG:
            return quantised_log(self.amount_minor[rows])
        if kind == PLACE:
            return place_ids(self._number(LATITUDE, rows), self._number(LONGITUDE, rows))
        if kind == VALUE_ID:
            taken: Ints = self._ids(field)[self.texts[field].codes[rows]]
            return taken
        return (self.time_us if kind == TIME else self.amount_minor)[rows]

    def is_void(self, name: str) -> bool:
        """Whether a field, or PLACE, is null in all events."""
        if name not in self._void:
            self._void[name] = self._has_none(name)
        return self._void[name]

    def _has_none(self, name: str) -> bool:
        if name in self.texts:
            return not self.texts[name].values
        return bool(self._events[LATITUDE if name == PLACE else name].isna().all())

    def _ids(self, field: str) -> Ints:
        """`text_id` of the distinct values of a field, and NONE for null."""
        if field not in self._value_ids:
            self._value_ids[field] = np.append(text_ids(self.texts[field].values), NONE)
        return self._value_ids[field]

    def inputs(
        self, rows: Rows | slice, own: Mapping[str, Ints], aggregates: dict[Aggregate, Ints]
    ) -> ColumnInputs:
        """What features of these rows are finished from; columns are taken when asked for.

        Args:
            rows: which.
            own: columns of theirs that are at hand.
            aggregates: what was computed for them.
        """
        columns = Taken[str, Ints](lambda name: self.own(name, rows))
        columns.update(own)
        return ColumnInputs(
            columns,
            Taken(lambda field: self._number(field, rows)),
            Taken(lambda field: self._text(field, rows)),
            Taken(lambda wanted: self._places_among(rows, *wanted)),
            aggregates,
        )

    def _number(self, field: str, rows: Rows | slice) -> Floats:
        """A number or flag as float64, NaN where null."""
        column = self._events[field]
        if column.dtype == np.float64:
            taken: Floats = column.to_numpy()[rows]
            return taken
        found: Floats = column.array[rows].to_numpy(np.float64, na_value=np.nan)
        return found

    def _text(self, field: str, rows: Rows | slice) -> Texts:
        if field in self.texts:
            texts = self.texts[field]
            return texts._replace(codes=texts.codes[rows])
        if isinstance(rows, slice):
            return _encoded(self._others[field][rows.start : rows.stop])
        return _texts(self._events[field].iloc[rows])

    def _places_among(self, rows: Rows | slice, field: str, values: tuple[str, ...]) -> Codes:
        """The place of a text field among these values, -1 where it is none of them."""
        column = self._others[field]
        some = column[rows.start : rows.stop] if isinstance(rows, slice) else column.take(rows)
        places = pc.index_in(some, pa.array(values, pa.string())).fill_null(-1)
        found: Codes = places.to_numpy().astype(np.int32, copy=False)
        return found

    def grouped(self, entity: Entity) -> tuple[Rows, Ints]:
        """Rows by entity, then by observation, and where each entity starts.

        Rows whose entity is null are left out; every entity has a row.
        """
        first, *others = (self.texts[field] for field in entity.fields)
        if not others:
            return grouping.group_rows(first.codes, len(first.values))
        *middle, last = others
        order, _ = grouping.group_rows(last.codes, len(last.values))
        for text in (*reversed(middle), first):
            order, starts = grouping.regroup_rows(order, text.codes, len(text.values))
        for text in others:
            starts = grouping.split_groups(order, starts, text.codes)
        return order, starts

    def absent(self, entity: Entity, rows: slice) -> Ints:
        """Those of the rows whose entity is null."""
        if not any(self._with_nulls[field] for field in entity.fields):
            return np.empty(0, np.int64)
        codes = [self.texts[field].codes[rows] for field in entity.fields]
        absent: Ints = rows.start + np.flatnonzero(np.minimum.reduce(codes) < 0)
        return absent


def as_us(column: pd.Series) -> Ints:
    """A time column as microseconds UTC."""
    return column.to_numpy("datetime64[us]").view(np.int64)


def _text_fields(fraud_type: FraudType) -> list[str]:
    """The fields that entities and aggregates go by."""
    used = (a for a in fraud_type.aggregates if isinstance(a, DistinctSum | LastValue))
    of_entities = (field for entity in fraud_type.entities for field in entity.fields)
    return list(dict.fromkeys([*of_entities, *(each.field for each in used)]))


def _texts(column: pd.Series) -> Texts:
    return _encoded(pa.chunked_array(pa.array(column, pa.string())))


def _encoded(column: pa.ChunkedArray) -> Texts:
    if column.null_count == len(column):
        return Texts(np.full(len(column), -1, np.int32), [])
    encoded = column.combine_chunks().dictionary_encode()
    indices = encoded.indices if column.null_count == 0 else encoded.indices.fill_null(-1)
    codes = indices.to_numpy(zero_copy_only=False)
    return Texts(codes.astype(np.int32, copy=False), encoded.dictionary.to_pylist())


def _rows_of(
    transaction_ids: pd.Series, wanted: pd.Series, each: Callable[..., Iterable[Any]]
) -> Ints:
    """The row of each wanted transaction, -1 where there is none."""
    some = pa.array(wanted.unique(), pa.string())
    ids = pa.chunked_array(pa.array(transaction_ids, pa.string()))
    size = len(ids) // _PIECES + 1
    begins = range(0, len(ids), size)
    pieces = each(partial(_found, some), [ids.slice(begin, size) for begin in begins])
    rows = np.full(len(some), -1, np.int64)
    for begin, (found, places) in zip(begins, pieces, strict=True):
        rows[places] = begin + found
    codes = pc.index_in(pa.array(wanted, pa.string()), some).to_numpy(zero_copy_only=False)
    of_each: Ints = rows[codes.astype(np.int64)]
    return of_each


def _found(some: pa.StringArray, transaction_ids: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """Places of the ids that are among some, and which of these they are."""
    places = pc.index_in(transaction_ids, some).fill_null(-1).to_numpy(zero_copy_only=False)
    found = np.flatnonzero(places >= 0)
    return found, places[found]

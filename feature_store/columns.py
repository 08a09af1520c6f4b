"""A history as integer columns: what the offline kernels and the replay both start from."""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_store import grouping
from feature_store.inputs import (
    AMOUNT,
    CODE,
    FRAUD_KNOWN,
    LOG,
    PLACE,
    SEQ,
    TIME,
    ColumnInputs,
    Taken,
)
from fraud.domain.aggregates import NONE, Aggregate
from fraud.domain.errors import ContractError
from fraud.domain.event import field_kinds, text_ids
from fraud.domain.features import Floats, Ints, Texts, quantised_log
from fraud.domain.fraud_type import Entity, FraudType
from fraud.domain.places import LATITUDE, LONGITUDE, place_ids

NEVER = np.iinfo(np.int64).max


class History:
    """Events and fraud labels as integer columns, in observation order.

    Args:
        fraud_type: whose events.
        events: canonical events sorted by seq (see `feature_store.lake`).
        labels: canonical labels; only fraud labels act.
        each: how independent columns are worked through; give the map of a thread pool.

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
        self.size = len(events)
        self.seq = events["seq"].to_numpy(np.int64)
        if self.size and (np.diff(self.seq) <= 0).any():
            raise ContractError(
                "Events are not in observation order, or a seq occurs twice.",
                remedy="Sort by seq; the lake gives them so.",
            )
        self.time_us = as_us(events["event_time"])
        self.amount_minor = events["amount_minor"].to_numpy(np.int64)
        kinds = field_kinds(fraud_type.transaction)
        fields = [field for field, kind in kinds.items() if kind == "text"]
        fraud = labels[labels["is_fraud"].to_numpy(bool)]
        fraud = fraud.sort_values("seq", kind="stable").reset_index(drop=True)
        rows = each(_rows_of, [events["transaction_id"]], [fraud["transaction_id"]])
        texts = each(_texts, [events[field] for field in fields])
        self.texts = dict(zip(fields, texts, strict=True))
        self.numbers: dict[str, Floats] = {
            f: np.asarray(events[f].astype("float64"), np.float64)
            for f, kind in kinds.items()
            if kind != "text"
        }
        self.amount_log = quantised_log(self.amount_minor)
        self._value_ids: dict[str, Ints] = {}
        self._join_labels(next(iter(rows)), fraud)

    def _join_labels(self, rows: Ints, fraud: pd.DataFrame) -> None:
        """Each event's first fraud label that was observed after it; others do not act."""
        seq, reported = fraud["seq"].to_numpy(np.int64), as_us(fraud["reported_at"])
        acts = rows >= 0
        acts[acts] = seq[acts] > self.seq[rows[acts]]
        rows, seq, reported = rows[acts], seq[acts], reported[acts]
        _, first = np.unique(rows, return_index=True)
        first.sort()
        self.label_row, self.label_seq, self.label_us = rows[first], seq[first], reported[first]
        self.fraud_known_seq = np.full(self.size, NEVER, np.int64)
        self.fraud_known_seq[self.label_row] = self.label_seq

    def own(self, name: str) -> Ints:
        """An integer column of the events themselves, by one of the names below."""
        plain = {
            TIME: self.time_us,
            AMOUNT: self.amount_minor,
            LOG: self.amount_log,
            SEQ: self.seq,
            FRAUD_KNOWN: self.fraud_known_seq,
        }
        if name in plain:
            return plain[name]
        if name == PLACE:
            return self.place_ids
        kind, _, field = name.partition(" ")
        return self.texts[field].codes if kind == CODE else self.value_ids(field)

    def value_ids(self, field: str) -> Ints:
        """A text field as the int64 that `LastValue` keeps, NONE where null."""
        if field not in self._value_ids:
            texts = self.texts[field]
            ids = np.append(text_ids(texts.values), NONE)
            self._value_ids[field] = ids[texts.codes]
        return self._value_ids[field]

    @cached_property
    def place_ids(self) -> Ints:
        """Where each event happened, as the int64 that `LastPlace` keeps."""
        return place_ids(self.numbers[LATITUDE], self.numbers[LONGITUDE])

    def inputs(self, rows: Ints | slice, aggregates: dict[Aggregate, Ints]) -> ColumnInputs:
        """What features of these rows are finished from; columns are taken when asked for."""
        return ColumnInputs(
            self.time_us[rows],
            self.amount_minor[rows],
            self.amount_log[rows],
            Taken(lambda field: self.numbers[field][rows]),
            Taken(lambda field: self.texts[field]._replace(codes=self.texts[field].codes[rows])),
            Taken(lambda field: self.value_ids(field)[rows]),
            aggregates,
        )

    def grouped(self, entity: Entity) -> tuple[Ints, Ints]:
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

    def absent(self, entity: Entity) -> Ints:
        """Rows whose entity is null."""
        return np.flatnonzero(
            np.logical_or.reduce([self.texts[field].codes < 0 for field in entity.fields])
        )


def as_us(column: pd.Series) -> Ints:
    """A time column as microseconds UTC."""
    return column.to_numpy("datetime64[us]").astype(np.int64)


def _texts(column: pd.Series) -> Texts:
    encoded = pa.chunked_array(pa.array(column, pa.string())).combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return Texts(codes.astype(np.int64), encoded.dictionary.to_pylist())


def _rows_of(transaction_ids: pd.Series, wanted: pd.Series) -> Ints:
    """The row of each wanted transaction, -1 where there is none."""
    some = pa.array(wanted.unique(), pa.string())
    places = pc.index_in(pa.Array.from_pandas(transaction_ids, type=pa.string()), some)
    places = places.fill_null(-1).to_numpy(zero_copy_only=False)
    rows = np.full(len(some) + 1, -1, np.int64)
    found = np.flatnonzero(places >= 0)
    rows[places[found]] = found
    codes = pc.index_in(pa.array(wanted, pa.string()), some).to_numpy(zero_copy_only=False)
    of_each: Ints = rows[codes.astype(np.int64)]
    return of_each

"""A history as integer columns: what the offline kernels and the replay both start from."""

import numpy as np
import pandas as pd

from fraud.domain.aggregates import NONE, TileColumn
from fraud.domain.errors import ContractError
from fraud.domain.event import field_kinds, text_id
from fraud.domain.features import Floats, Ints, Texts, quantised_log
from fraud.domain.fraud_type import Entity, FraudType

NEVER = np.iinfo(np.int64).max


class History:
    """Events and fraud labels as integer columns, in observation order.

    Args:
        fraud_type: whose events.
        events: canonical events sorted by seq (see `feature_store.lake`).
        labels: canonical labels; only fraud labels act.

    Raises:
        ContractError: the events are not in observation order.
    """

    def __init__(self, fraud_type: FraudType, events: pd.DataFrame, labels: pd.DataFrame) -> None:
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
        self.texts = {f: _texts(events[f]) for f, kind in kinds.items() if kind == "text"}
        self.numbers: dict[str, Floats] = {
            f: np.asarray(events[f].astype("float64"), np.float64)
            for f, kind in kinds.items()
            if kind != "text"
        }
        self._join_labels(events["transaction_id"], labels)

    def _join_labels(self, transaction_ids: pd.Series, labels: pd.DataFrame) -> None:
        """Each event's first fraud label that was observed after it; others do not act."""
        fraud = labels[labels["is_fraud"].to_numpy(bool)]
        rows = pd.Index(transaction_ids).get_indexer(pd.Index(fraud["transaction_id"]))
        seq = fraud["seq"].to_numpy(np.int64)
        acts = (rows >= 0) & (seq > self.seq[rows] if self.size else False)
        rows, seq, reported = rows[acts], seq[acts], as_us(fraud["reported_at"])[acts]
        by_seq = np.argsort(seq, kind="stable")
        rows, seq, reported = rows[by_seq], seq[by_seq], reported[by_seq]
        _, first = np.unique(rows, return_index=True)
        first.sort()
        self.label_row, self.label_seq, self.label_us = rows[first], seq[first], reported[first]
        self.fraud_known_seq = np.full(self.size, NEVER, np.int64)
        self.fraud_known_seq[self.label_row] = self.label_seq

    def summed(self, column: TileColumn) -> Ints:
        """What a tile column adds up, per event."""
        if column == "count":
            return np.ones(self.size, np.int64)
        if column == "amount":
            return self.amount_minor
        log = quantised_log(self.amount_minor)
        return log if column == "log" else log * log

    def value_ids(self, field: str) -> Ints:
        texts = self.texts[field]
        ids = np.array([*(text_id(value) for value in texts.values), NONE], np.int64)
        return ids[texts.codes]

    def entity_codes(self, entity: Entity) -> Ints:
        """A number per entity occurring, -1 where one of its fields is null."""
        first, *others = (self.texts[field] for field in entity.fields)
        if not others:
            return first.codes
        combined, absent = first.codes, first.codes < 0
        for other in others:
            combined = combined * len(other.values) + other.codes
            absent = absent | (other.codes < 0)
        combined = pd.factorize(combined)[0].astype(np.int64)
        combined[absent] = -1
        return combined


def as_us(column: pd.Series) -> Ints:
    """A time column as microseconds UTC."""
    return column.to_numpy("datetime64[us]").astype(np.int64)


def _texts(column: pd.Series) -> Texts:
    codes, values = pd.factorize(column)
    return Texts(codes.astype(np.int64), [str(value) for value in values])


def entity_groups(codes: Ints, count: int) -> tuple[Ints, Ints]:
    """Rows by entity (null entities left out), and where each of `count` entities starts."""
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(count + 1)).astype(np.int64)
    return order, starts

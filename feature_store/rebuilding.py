"""Features that decisions were made with, computed again from the log.

The log goes on growing, also in its past: a day that is ingested tomorrow holds events which
nobody could see today. So a decision's features are computed from what its states held: the part
of the lake that they were last rebuilt from, and what the ledger itself took in.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from psycopg2.extensions import cursor as Cursor

from feature_store.lake import WRITTEN_AT, Lake
from feature_store.offline import feature_matrix
from feature_store.tail_frames import related_events, related_labels
from fraud.domain.event import LATEST, from_us, to_us
from fraud.domain.fraud_type import FraudType
from fraud.ledger.materialisations import Materialisation, materialisations_of
from fraud.ledger.recorded import RecordedDecision

_FOREVER = 2**63 - 1

LABEL_KEY = ["transaction_id", "source", "reported_at"]


@dataclass(frozen=True)
class _Log:
    """Lake and ledger side by side, each row of the ledger with its id there."""

    lake_events: pd.DataFrame
    lake_labels: pd.DataFrame
    events: pd.DataFrame
    event_ids: NDArray[np.int64]
    labels: pd.DataFrame
    label_ids: NDArray[np.int64]


def rebuilt_features(
    fraud_type: FraudType, lake: Lake, cursor: Cursor, decisions: Sequence[RecordedDecision]
) -> dict[str, list[bytes]]:
    """Feature values by transaction_id, little-endian float64 in the order of the fraud type.

    There is one set of values, or several where states were being rebuilt at that moment: those
    from before and those from after.

    Args:
        fraud_type: of all the decisions.
        lake: the log beside the ledger.
        cursor: of a transaction that sees the ledger at one moment.
        decisions: whose features.
    """
    log = _read(fraud_type, lake, cursor, decisions)
    rebuilds = materialisations_of(cursor, fraud_type.name)
    wanted: dict[Materialisation | None, list[str]] = {}
    for each in decisions:
        for seen in _seen_by(each.number, rebuilds):
            wanted.setdefault(seen, []).append(each.event.transaction_id)
    values: dict[str, list[bytes]] = {}
    for seen, names in wanted.items():
        events, labels = _visible(log, seen)
        rows = events["transaction_id"].isin(names).to_numpy(bool)
        # What came later cannot be seen: the history may end with the last event asked for.
        end = int(np.flatnonzero(rows).max(initial=-1)) + 1
        matrix = feature_matrix(fraud_type, events.iloc[:end], labels)[rows[:end]]
        for name, row in zip(events["transaction_id"][rows], matrix, strict=True):
            values.setdefault(name, []).append(row.astype("<f8").tobytes())
    return values


def _read(
    fraud_type: FraudType, lake: Lake, cursor: Cursor, decisions: Sequence[RecordedDecision]
) -> _Log:
    """The histories of all entities of some events."""
    last_seq = max(each.seq for each in decisions)
    fields = dict.fromkeys(field for entity in fraud_type.entities for field in entity.fields)
    values = {
        field: sorted({str(value) for each in decisions if (value := each.event.fields.get(field))})
        for field in fields
    }
    return _histories(fraud_type, lake, cursor, values, last_seq)


def present_history(
    fraud_type: FraudType, lake: Lake, cursor: Cursor, values: Mapping[str, Sequence[str]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events and labels that the present states of some entities were made from.

    Args:
        fraud_type: whose entities.
        lake: the log beside the ledger.
        cursor: of a transaction that holds the states.
        values: of the fields that identify the entities.
    """
    log = _histories(fraud_type, lake, cursor, values, _FOREVER)
    rebuilds = materialisations_of(cursor, fraud_type.name)
    done = [each for each in rebuilds if each.done_event_id is not None]
    return _visible(log, done[-1] if done else None)


def _histories(
    fraud_type: FraudType,
    lake: Lake,
    cursor: Cursor,
    values: Mapping[str, Sequence[str]],
    last_seq: int,
) -> _Log:
    """All events up to a number that have one of these values, and their labels."""
    events, event_ids = related_events(cursor, fraud_type, values, last_seq)
    arrays = {field: pa.array(each, pa.string()) for field, each in values.items()}
    last_day = from_us(min(last_seq, to_us(LATEST))).date()
    lake_events = lake.related(fraud_type, "events", arrays, last_day)
    ids = pd.concat([events["transaction_id"], lake_events["transaction_id"]]).unique()
    labels, label_ids = related_labels(cursor, fraud_type, ids.tolist(), last_seq)
    about = {"transaction_id": pa.array(ids, pa.string())}
    return _Log(
        lake_events,
        lake.related(fraud_type, "labels", about, last_day),
        events,
        np.array(event_ids, np.int64),
        labels,
        np.array(label_ids, np.int64),
    )


def _seen_by(number: int, rebuilds: Sequence[Materialisation]) -> list[Materialisation | None]:
    """The rebuild of states that a decision came after, and those it came in the midst of."""
    begun = [each for each in rebuilds if each.last_event_id < number]
    seen: list[Materialisation | None] = [None]
    for each in begun:
        if each.done_event_id is not None and each.done_event_id < number:
            seen = []
        seen.append(each)
    return seen


def _visible(log: _Log, seen: Materialisation | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events in observation order, and labels, that states held after a rebuild."""
    if seen is None:
        return log.events, log.labels
    lake_events = _there_by(
        seen.started_at, log.lake_events, seen.first_event_seq, seen.last_event_seq
    )
    lake_labels = _there_by(
        seen.started_at, log.lake_labels, seen.first_label_seq, seen.last_label_seq
    )
    events = log.events[
        (log.events["seq"].to_numpy() > seen.ledger_events_after)
        | (log.event_ids > seen.last_event_id)
    ]
    # A label about an event that only the lake knows waits for the next rebuild (clause 29).
    is_known = log.labels["transaction_id"].isin(log.events["transaction_id"]).to_numpy(bool)
    is_later = log.label_ids > seen.last_label_id
    is_told = log.labels["seq"].to_numpy() > seen.ledger_labels_after
    labels = log.labels[np.where(is_later, is_known, is_told)]
    # As the rebuild did: an event of both is the lake's, a label of both has the ledger's number.
    events = _joined(lake_events, events).drop_duplicates("transaction_id")
    return (
        events.sort_values("seq", kind="stable", ignore_index=True),
        _joined(labels, lake_labels).drop_duplicates(LABEL_KEY),
    )


def _there_by(moment: dt.datetime, rows: pd.DataFrame, first: int, last: int) -> pd.DataFrame:
    """Rows of a span of the lake that were written before a moment."""
    is_there = rows[WRITTEN_AT].isna() | (rows[WRITTEN_AT] <= moment)
    return rows[is_there & rows["seq"].between(first, last)].drop(columns=WRITTEN_AT)


def _joined(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    parts = [part for part in (first, second) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else first

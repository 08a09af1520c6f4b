"""A person taken out of the log and the states, so that both still say the same.

Names are exchanged one for one, so every count, sum and distinct count of everybody else is what
it was; the states of all entities the person touched are rebuilt from the changed log in the
transaction that changes the ledger, as a rebuild of everything would leave them.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from psycopg2.extensions import cursor as Cursor

from feature_store.batch import type_layout
from feature_store.columns import History
from feature_store.lake import Lake
from feature_store.rebuilding import present_history
from feature_store.replay import Replay
from feature_store.state_table import StoredState, load_states, save_states
from fraud.domain.event import entity_key, field_kinds
from fraud.domain.fraud_type import FraudType
from fraud.domain.places import LATITUDE, LONGITUDE
from fraud.domain.windows import DAY_US

Names = Mapping[str, Mapping[str, str]]
"""New names by field and old name."""


@dataclass(frozen=True)
class StatesErased:
    """How many states were removed, and how many rebuilt without the person."""

    removed: int
    rebuilt: int


def events_of_person(
    lake: Lake, fraud_type: FraudType, values: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Events of the log that have one of these values in its field."""
    wanted = {field: pa.array(list(each), pa.string()) for field, each in values.items()}
    return lake.related(fraud_type, "events", wanted, dt.date.max)


def values_of_others(
    lake: Lake, fraud_type: FraudType, field: str, values: Sequence[str], except_ids: Sequence[str]
) -> set[str]:
    """Which of these values occur in events of somebody else."""
    wanted = {field: pa.array(list(values), pa.string())}
    found = lake.related(fraud_type, "events", wanted, dt.date.max)
    return set(found[field][~found["transaction_id"].isin(list(except_ids))])


def renamed(
    fraud_type: FraudType, frame: pd.DataFrame, ids: Sequence[str], names: Names
) -> pd.DataFrame:
    """The frame with new names in the person's rows, which have no position any more."""
    is_theirs = frame["transaction_id"].isin(list(ids)).to_numpy(bool)
    changed = frame.copy()
    for field, new in names.items():
        if field in frame.columns:
            values = [None if pd.isna(each) else each for each in frame[field]]
            pairs = zip(values, is_theirs, strict=True)
            texts = [new.get(str(value), value) if mine else value for value, mine in pairs]
            changed[field] = pd.Series(texts, frame.index, dtype=frame[field].dtype)
    for field in (LATITUDE, LONGITUDE):
        if field in field_kinds(fraud_type.transaction) and field in frame.columns:
            changed.loc[is_theirs, field] = np.nan
    return changed


def rename_in_lake(
    lake: Lake, fraud_type: FraudType, events: pd.DataFrame, names: Names
) -> list[dt.date]:
    """Write the days of the person's events again with new names; returns them."""
    ids = events["transaction_id"].tolist()
    numbers = sorted(set((events["seq"] // DAY_US).tolist()))
    days = [dt.date(1970, 1, 1) + dt.timedelta(days=int(number)) for number in numbers]
    for day in days:
        lake.rewrite(fraud_type, day, lambda frame: renamed(fraud_type, frame, ids, names))
    return days


def keys_of(fraud_type: FraudType, frame: pd.DataFrame) -> set[str]:
    """Keys of the states of all entities that some events have."""
    keys = set()
    for entity in fraud_type.entities:
        rows = frame[list(entity.fields)].dropna().drop_duplicates()
        for values in rows.itertuples(index=False):
            keys.add(f"{fraud_type.name} {entity_key(entity.name, tuple(map(str, values)))}")
    return keys


def lock(cursor: Cursor, fraud_type: FraudType, keys: set[str]) -> Mapping[str, StoredState]:
    """Hold states, and keep labels out, until the transaction ends."""
    name = (fraud_type.name,)
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('labels'), hashtext(%s))", name)
    return load_states(cursor, keys)


def rebuild_states(
    cursor: Cursor,
    lake: Lake,
    fraud_type: FraudType,
    before: pd.DataFrame,
    after: pd.DataFrame,
    loaded: Mapping[str, StoredState],
) -> StatesErased:
    """Replace the states the person was in by what the changed log says of them.

    Args:
        cursor: of the transaction that changed the ledger and holds the states.
        lake: the changed log.
        fraud_type: whose states.
        before: the person's events under their old names.
        after: the same ones under their new names.
        loaded: the states that are held.
    """
    layout = type_layout(fraud_type.name)
    fields = dict.fromkeys(field for entity in fraud_type.entities for field in entity.fields)
    values = {field: after[field].dropna().astype(str).unique().tolist() for field in fields}
    events, labels = present_history(fraud_type, lake, cursor, values)
    history = History(fraud_type, events, labels)
    replay = Replay(layout, history, events["transaction_id"].tolist())
    wanted = keys_of(fraud_type, after)
    rebuilt = {
        each.key: StoredState(each.state, each.last_seq)
        for name in layout.plans
        for each in replay.entities(name)
        if each.key in wanted
    }
    gone = sorted(keys_of(fraud_type, before) - rebuilt.keys())
    cursor.execute("DELETE FROM entity_state WHERE key = ANY(%s) RETURNING 1", (gone,))
    removed = len(cursor.fetchall())
    save_states(cursor, rebuilt, loaded)
    return StatesErased(removed, len(rebuilt))

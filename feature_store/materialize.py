"""Online state from the log: what a service needs before it may score its first event.

States are rebuilt by replaying the log and written in chunks while the service keeps
scoring. A chunk's rows are locked first; where the service has moved a state on meanwhile,
its newer events are replayed on top before the row is replaced, so nothing is set back. A
run can be killed and repeated: every chunk is a transaction of its own, and a repetition
ends in the same bytes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import pandas as pd
from psycopg2.extensions import cursor as Cursor

from feature_store.batch import TypeLayout, tile_amounts, type_layout
from feature_store.columns import History
from feature_store.online import EntityState
from feature_store.replay import Replay, Replayed
from feature_store.state_table import StateRace, StoredState, load_states, save_states
from feature_store.tail import TailEvent, events_frame, tail_events, tail_labels
from fraud.domain.event import text_id
from fraud.domain.features import quantised_log_of
from fraud.domain.fraud_type import FraudType
from fraud.ledger.pool import ConnectionPool

CHUNK = 2_000


@dataclass(frozen=True)
class MaterializeReport:
    """What a run did.

    Attributes:
        events: events replayed, those of the ledger included.
        labels: fraud labels that acted.
        entities: states written.
        state_bytes: their size in bytes.
    """

    events: int
    labels: int
    entities: int
    state_bytes: int


def materialize(
    fraud_type: FraudType,
    events: pd.DataFrame,
    labels: pd.DataFrame,
    pool: ConnectionPool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> MaterializeReport:
    """Replace all online states of a fraud type by what its log says.

    Args:
        fraud_type: whose states.
        events: canonical events of the lake, sorted by seq; what the ledger observed after
            the last of them is added from there.
        labels: canonical labels of the lake.
        pool: connections to the ledger.
        progress: called with the number of entity kinds done and their total.

    Raises:
        ContractError: the events are not in observation order.
        LedgerUnavailable: PostgreSQL does not answer; run again to finish.
    """
    layout = type_layout(fraud_type.name)
    with pool.transaction() as cursor:
        tail = tail_events(cursor, fraud_type, _last_seq(events))
        newer_labels = tail_labels(cursor, fraud_type, _last_seq(labels))
    logged = set(events["transaction_id"]) if tail else set()
    tail = [each for each in tail if each.event.transaction_id not in logged]
    if tail:
        events = pd.concat([events, events_frame(fraud_type, tail)], ignore_index=True)
    if len(newer_labels):
        labels = pd.concat([labels, newer_labels], ignore_index=True)
    history = History(fraud_type, events, labels)
    replay = Replay(layout, history, events["transaction_id"].tolist())
    read_until = int(history.seq[-1]) if history.size else 0
    written, size = 0, 0
    for done, name in enumerate(layout.entities):
        progress(done, len(layout.entities))
        for chunk in _chunks(replay.entities(name)):
            size += _write(pool, layout, name, chunk, read_until)
            written += len(chunk)
    progress(len(layout.entities), len(layout.entities))
    return MaterializeReport(history.size, len(history.label_seq), written, size)


def _last_seq(frame: pd.DataFrame) -> int:
    return int(frame["seq"].max()) if len(frame) else 0


def _chunks(replayed: Iterator[Replayed]) -> Iterator[list[Replayed]]:
    while chunk := list(islice(replayed, CHUNK)):
        yield chunk


def _write(
    pool: ConnectionPool, layout: TypeLayout, name: str, chunk: list[Replayed], read_until: int
) -> int:
    """Write a chunk's states; returns their size in bytes."""
    while True:
        try:
            with pool.transaction() as cursor:
                loaded = load_states(cursor, (each.key for each in chunk))
                stored = _caught_up(cursor, layout, name, chunk, loaded, read_until)
                save_states(cursor, stored, loaded)
            return sum(len(each.state) for each in stored.values())
        except StateRace:
            continue


def _caught_up(
    cursor: Cursor,
    layout: TypeLayout,
    name: str,
    chunk: list[Replayed],
    loaded: Mapping[str, StoredState],
    read_until: int,
) -> dict[str, StoredState]:
    """The chunk's states, with what the service added after the log was read."""
    moved = any(each.key in loaded and loaded[each.key].last_seq > each.last_seq for each in chunk)
    newer: dict[str, list[TailEvent]] = {}
    for late in tail_events(cursor, layout.fraud_type, read_until) if moved else []:
        key = layout.keys(late.event).get(name)
        if key is not None:
            newer.setdefault(key, []).append(late)
    stored = {}
    for key, state, seq in chunk:
        added = newer.get(key)
        if added:
            # a lost race repeats the chunk, so the replayed state itself stays as it was
            moved_on = EntityState(layout.entities[name], state.encode())
            for late in added:
                _add(layout, moved_on, late)
            stored[key] = StoredState(moved_on.encode(), added[-1].seq)
        else:
            stored[key] = StoredState(state.encode(), seq)
    return stored


def _add(layout: TypeLayout, state: EntityState, late: TailEvent) -> None:
    event = late.event
    state.add_event(
        event.event_time_us,
        text_id(event.transaction_id),
        tile_amounts(event.amount_minor, quantised_log_of(event.amount_minor)),
        layout.ids(event),
    )

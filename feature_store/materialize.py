"""Online state from the log: what a service needs before it may score its first event.

States are rebuilt by replaying the log and written in chunks while the service keeps
scoring. A chunk's rows are locked first; where the service has moved a state on meanwhile,
its newer events and labels are replayed on top before the row is replaced, so nothing is set
back. A run can be killed and repeated: every chunk is a transaction of its own, and a repetition
ends in the same bytes.
"""

import datetime as dt
import gc
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import pandas as pd
from psycopg2.errors import UniqueViolation
from psycopg2.extensions import cursor as Cursor

from feature_store.batch import TypeLayout, label_columns, type_layout
from feature_store.columns import History
from feature_store.replay import Replay, Replayed
from feature_store.state_table import StoredState, load_states, save_states
from feature_store.tail import Cut, TailEvent, TailLabel, cut, entity_additions, tail_events
from feature_store.tail_frames import events_frame, tail_labels
from fraud.domain.fraud_type import FraudType
from fraud.domain.windows import DAY_US
from fraud.ledger.materialisations import (
    Materialisation,
    begin_materialisation,
    end_materialisation,
    materialisations_of,
)
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.settling import settle

CHUNK = 2_000
"""Entities per transaction."""

ENTITY_STATE = "entity_state"
"""The table of states."""

CHUNKS_WAITING = 2
"""Chunks that may wait for the server while the next one is replayed."""


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

    The first time, the server settles afterwards (`settling`), since serving begins then.

    Args:
        fraud_type: whose states.
        events: canonical events of the lake, sorted by seq; what the ledger observed from
            the day of the last of them on is added from there, and so are labels.
        labels: canonical labels of the lake.
        pool: connections to the ledger.
        progress: called with the number of entity kinds done and their total.

    Raises:
        ContractError: the events are not in observation order.
        LedgerUnavailable: PostgreSQL does not answer; run again to finish.
    """
    layout = type_layout(fraud_type.name)
    with pool.transaction() as cursor:
        read_until = cut(cursor, fraud_type)
    with pool.transaction() as cursor:
        earlier = materialisations_of(cursor, fraud_type.name)
        number = begin_materialisation(cursor, fraud_type.name, _begun(events, labels, read_until))
        tail = tail_events(cursor, fraud_type, _whole_days(events), read_until)
        newer_labels = tail_labels(cursor, fraud_type, _whole_days(labels), read_until)
    history, transaction_ids = _history(fraud_type, events, labels, tail, newer_labels)
    replay = Replay(layout, history, transaction_ids)
    written, size = 0, 0
    with _no_collecting(), ThreadPoolExecutor(1) as writer:
        for done, name in enumerate(layout.plans):
            progress(done, len(layout.plans))
            pending: deque[Future[int]] = deque()
            for chunk in _chunks(replay.entities(name)):
                pending.append(writer.submit(_write, pool, layout, name, chunk, read_until))
                written += len(chunk)
                if len(pending) > CHUNKS_WAITING:
                    size += pending.popleft().result()
            size += sum(each.result() for each in pending)
    with pool.transaction() as cursor:
        end_materialisation(cursor, number, cut(cursor, fraud_type).last_event_id)
    if all(each.done_event_id is None for each in earlier):
        settle(pool.url, ENTITY_STATE)
    progress(len(layout.plans), len(layout.plans))
    return MaterializeReport(history.size, len(history.label_seq), written, size)


@contextmanager
def _no_collecting() -> Iterator[None]:
    """Keep the cycle collector from walking the ids of a whole log again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _begun(events: pd.DataFrame, labels: pd.DataFrame, read_until: Cut) -> Materialisation:
    """What the states are about to be rebuilt from."""
    first_event, last_event = _span(events)
    first_label, last_label = _span(labels)
    return Materialisation(
        first_event_seq=first_event,
        last_event_seq=last_event,
        first_label_seq=first_label,
        last_label_seq=last_label,
        ledger_events_after=_whole_days(events),
        ledger_labels_after=_whole_days(labels),
        last_event_id=read_until.last_event_id,
        last_label_id=read_until.last_label_id,
        started_at=dt.datetime.now(dt.UTC),  # the clock that the lake is written by
    )


def _span(frame: pd.DataFrame) -> tuple[int, int]:
    """The first and the last observation number of a log."""
    return (int(frame["seq"].min()), int(frame["seq"].max())) if len(frame) else (0, 0)


def _whole_days(frame: pd.DataFrame) -> int:
    """The last observation number before the last day of a log, which may be incomplete."""
    return int(frame["seq"].max()) // DAY_US * DAY_US - 1 if len(frame) else 0


def _history(
    fraud_type: FraudType,
    events: pd.DataFrame,
    labels: pd.DataFrame,
    tail: list[TailEvent],
    newer_labels: pd.DataFrame,
) -> tuple[History, list[str]]:
    """The lake's log with what only the ledger knows, and the transaction_ids of its events."""
    logged = set(events["transaction_id"]) if tail else set()
    tail = [each for each in tail if each.event.transaction_id not in logged]
    if tail:
        both = pd.concat([events, events_frame(fraud_type, tail)], ignore_index=True)
        events = both.sort_values("seq", kind="stable", ignore_index=True)
    if len(newer_labels):
        # Of a label that both have, the ledger's number is the one it acted under.
        both = pd.concat([newer_labels, labels], ignore_index=True)
        labels = both.drop_duplicates(["transaction_id", "source", "reported_at"])
    return History(fraud_type, events, labels), events["transaction_id"].tolist()


def _chunks(replayed: Iterator[Replayed]) -> Iterator[list[Replayed]]:
    while chunk := list(islice(replayed, CHUNK)):
        yield chunk


def _write(
    pool: ConnectionPool, layout: TypeLayout, name: str, chunk: list[Replayed], read_until: Cut
) -> int:
    """Write a chunk's states; returns their size in bytes."""
    while True:
        try:
            with pool.transaction() as cursor:
                loaded = load_states(cursor, (each.key for each in chunk))
                stored = _caught_up(cursor, layout, name, chunk, loaded, read_until)
                save_states(cursor, stored, loaded)
            return sum(len(each.state) for each in stored.values())
        except UniqueViolation:
            continue


def _caught_up(
    cursor: Cursor,
    layout: TypeLayout,
    name: str,
    chunk: list[Replayed],
    loaded: Mapping[str, StoredState],
    read_until: Cut,
) -> dict[str, StoredState]:
    """The chunk's states, with what the service added after the log was read."""
    plan = layout.plans[name]
    moved = [e.key for e in chunk if e.key in loaded and loaded[e.key].last_seq > e.last_seq]
    added: dict[str, list[TailEvent | TailLabel]] = {}
    if moved:
        additions = entity_additions(cursor, layout.fraud_type, plan.entity, moved, read_until)
        for each in additions:
            if plan.uses_labels or isinstance(each, TailEvent):
                added.setdefault(layout.keys(each.event)[name], []).append(each)
    stored = {each.key: StoredState(each.state, each.last_seq) for each in chunk}
    for key, later in added.items():
        state = _moved_on(layout, name, stored[key].state, later)
        stored[key] = StoredState(state, max(stored[key].last_seq, later[-1].seq))
    return stored


def _moved_on(
    layout: TypeLayout, name: str, state: bytes, later: list[TailEvent | TailLabel]
) -> bytes:
    """A state after what came later, in observation order."""
    events = [each for each in later if isinstance(each, TailEvent)]
    labels = [each for each in later if isinstance(each, TailLabel)]
    columns = label_columns((each.seq, each.reported_us, each.event) for each in labels)
    about = [each.event for each in events]
    observed = layout.events(about, [each.seq for each in events], layout.table(about))
    return layout.moved_on(name, state, observed, columns)

"""States as a whole history leaves them: the online execution itself, run over all of it."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from feature_store.batch import TypeLayout
from feature_store.columns import History
from feature_store.grouping import group_numbers, group_rows, parts
from feature_store.inputs import LOG, PLACE, VALUE_ID
from feature_store.online import NO_LABELS
from feature_store.state_machine import EventColumns, LabelColumns, Shown
from fraud.domain.event import text_ids
from fraud.domain.features import Ints
from fraud.domain.fraud_type import Entity

CHUNK_EVENTS = 65_536
"""Events whose entities are replayed at a time."""


class Replayed(NamedTuple):
    """An entity's state after its whole history."""

    key: str
    state: bytes
    last_seq: int


class Replay:
    """Replays the histories of all entities of a fraud type.

    Args:
        layout: of the fraud type.
        history: its events and fraud labels.
        transaction_ids: of the events, in order.
    """

    def __init__(self, layout: TypeLayout, history: History, transaction_ids: list[str]) -> None:
        self._layout = layout
        self._history = history
        values = np.empty((len(layout.values), history.size), np.int64)
        for place, name in enumerate(layout.values):
            values[place] = history.own(name if name == PLACE else f"{VALUE_ID} {name}")
        event_ids = text_ids(transaction_ids)
        amounts = history.amount_minor, history.own(LOG)
        self._events = EventColumns(
            *_plain(history.seq, history.time_us, event_ids, *amounts, values)
        )
        about = history.label_row
        known = history.label_seq, history.label_us, history.time_us[about], event_ids[about]
        self._labels = LabelColumns(*_plain(*known))

    def entities(self, name: str) -> Iterator[Replayed]:
        """The states of every entity of this name, one after another."""
        plan, history = self._layout.plans[name], self._history
        order, starts = history.grouped(plan.entity)
        last_seq = history.seq[order[starts[1:] - 1]]
        labels, label_group = NO_LABELS, np.empty(0, np.int64)
        if plan.uses_labels:
            labels = self._labels
            label_group = group_numbers(order, starts, history.size)[history.label_row]
            known = label_group >= 0
            np.maximum.at(last_seq, label_group[known], history.label_seq[known])
        label_order, label_starts = group_rows(label_group, len(starts) - 1)
        for begin, end in parts(starts, CHUNK_EVENTS):
            shown = Shown(
                self._events,
                order[starts[begin] : starts[end]].astype(np.int64),
                starts[begin : end + 1] - starts[begin],
                labels,
                label_order[label_starts[begin] : label_starts[end]],
                label_starts[begin : end + 1] - label_starts[begin],
            )
            for place, state in enumerate(self._layout.replayed(name, shown), start=begin):
                key = self._key(plan.entity, int(order[starts[place]]))
                yield Replayed(key, state, int(last_seq[place]))

    def _key(self, entity: Entity, row: int) -> str:
        texts = [self._history.texts[field] for field in entity.fields]
        values = [text.values[text.codes[row]] for text in texts]
        return " ".join((self._layout.fraud_type.name, entity.name, *values))


def _plain(*columns: Ints) -> list[Ints]:
    """Columns as the compiled loops were compiled for: contiguous, writeable."""
    return [np.require(column, np.int64, ["C", "W"]) for column in columns]

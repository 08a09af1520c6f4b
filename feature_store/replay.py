"""States by replaying a history, entity by entity."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from feature_store.batch import TypeLayout, tile_amounts
from feature_store.columns import History
from feature_store.kernels import group_rows
from feature_store.online import EntityState
from fraud.domain.event import text_id
from fraud.domain.features import Ints
from fraud.domain.fraud_type import Entity


class Replayed(NamedTuple):
    """An entity's state after its whole history."""

    key: str
    state: EntityState
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
        self._event_ids = [text_id(each) for each in transaction_ids]
        self._time_us = history.time_us.tolist()
        self._seq = history.seq.tolist()
        self._amount = history.amount_minor.tolist()
        self._log = history.amount_log.tolist()
        self._values = {f: history.value_ids(f).tolist() for f in layout.identified}

    def entities(self, name: str) -> Iterator[Replayed]:
        """The states of every entity of this name, one after another."""
        layout = self._layout.entities[name]
        codes = self._history.entity_codes(layout.plan.entity)
        count = int(codes.max(initial=-1)) + 1
        order, starts = group_rows(codes, count)
        labels, label_starts = group_rows(codes[self._history.label_row], count)
        if not layout.plan.uses_labels:
            labels, label_starts = labels[:0], np.zeros_like(label_starts)
        for group in range(count):
            rows = order[starts[group] : starts[group + 1]]
            about = labels[label_starts[group] : label_starts[group + 1]]
            if len(rows):
                state, last_seq = self._one(EntityState(layout), rows, about)
                yield Replayed(self._key(layout.plan.entity, int(rows[0])), state, last_seq)

    def _one(self, state: EntityState, rows: Ints, labels: Ints) -> tuple[EntityState, int]:
        history = self._history
        pending = [
            (int(history.label_seq[n]), int(history.label_us[n]), int(history.label_row[n]))
            for n in labels[::-1]
        ]
        last_seq = 0
        for row in rows.tolist():
            while pending and pending[-1][0] < self._seq[row]:
                self._add_label(state, pending.pop())
            state.add_event(
                self._time_us[row],
                self._event_ids[row],
                tile_amounts(self._amount[row], self._log[row]),
                {field: values[row] for field, values in self._values.items()},
            )
            last_seq = self._seq[row]
        while pending:
            last_seq = max(last_seq, pending[-1][0])
            self._add_label(state, pending.pop())
        return state, last_seq

    def _add_label(self, state: EntityState, label: tuple[int, int, int]) -> None:
        _, reported_us, row = label
        state.add_fraud_label(reported_us, self._time_us[row], self._event_ids[row])

    def _key(self, entity: Entity, row: int) -> str:
        texts = [self._history.texts[field] for field in entity.fields]
        values = [text.values[text.codes[row]] for text in texts]
        return " ".join((self._layout.fraud_type.name, entity.name, *values))

"""The one way a verdict reaches the online features: every transport hands labels to `Labeller`.

A label acts on the states of its transaction's entities in the transaction that stores it, under
one observation number. So an event that is scored meanwhile sees the label exactly if the label's
number is the smaller one, which is what the offline frame goes by.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from psycopg2.extensions import cursor as Cursor

from bentos.scoring.scorer import ATTEMPTS, RACES
from feature_store.batch import label_columns, type_layout
from feature_store.state_table import StoredState, load_states, save_states
from feature_store.tail import TailEvent, known_events
from fraud.domain.errors import DuplicateConflict, FraudError, InvalidField, LedgerUnavailable
from fraud.domain.label import Label
from fraud.ledger.audit import AuditEntry, append
from fraud.ledger.labels import (
    StoredLabel,
    keep_unknown,
    next_label_seq,
    stored_labels,
    upsert_labels,
)
from fraud.ledger.pool import ConnectionPool


@dataclass(frozen=True, slots=True)
class LabelReceipt:
    """What became of a label.

    Attributes:
        label: as it was told.
        seq: its observation number.
        is_repeated: it was stored before.
        has_acted: it is the first fraud label of a transaction the ledger knows, and changed
            the states of that transaction's entities now.
    """

    label: Label
    seq: int
    is_repeated: bool = False
    has_acted: bool = False


class Labeller:
    """Stores verified labels and lets them act, one transaction per call.

    A label about a transaction that the ledger does not know is stored and changes no state. If
    that transaction arrives later, the label never acts (clause 29 of the feature contract); if
    only the lake has it, the label acts from the next materialisation on.

    Use one instance from one thread at a time.

    Args:
        pool: connections to the ledger.
        clock_us: the time now, microseconds UTC.
        chain: audit chain that this writer has claimed.
    """

    def __init__(self, pool: ConnectionPool, clock_us: Callable[[], int], chain: str) -> None:
        self._pool = pool
        self._clock_us = clock_us
        self._chain = chain

    def observe(
        self, fraud_type: str, labels: Sequence[Label], actor: str, origin: str
    ) -> list[LabelReceipt | FraudError]:
        """Take in labels of one fraud type; each receipt is durable before this returns.

        Answers stand in the order of the labels. A label that was stored before changes nothing;
        with another verdict it is a `DuplicateConflict`, and one about a transaction of another
        fraud type an `InvalidField`. The others are not affected by that.

        Args:
            fraud_type: of the transactions.
            labels: verified verdicts in the order they were observed, a few thousand at most.
            actor: who tells them.
            origin: from where, e.g. a client address.

        Raises:
            LedgerUnavailable: nothing was stored.
        """
        for _ in range(ATTEMPTS):
            now_us = self._clock_us()
            try:
                with self._pool.transaction() as cursor:
                    answers = _Delivery(cursor, fraud_type, labels).run(now_us)
                    entries = _audit_entries(labels, answers, actor, origin)
                    append(cursor, self._chain, entries, now_us)
                return answers
            except (_Overtaken, *RACES):
                continue
        raise LedgerUnavailable(
            f"{ATTEMPTS} attempts to store the labels lost against other writers.",
            remedy="Send the same labels again.",
        )


class _Overtaken(Exception):
    """A transaction that was unknown became known meanwhile: roll back and repeat."""


class _Delivery:
    """One labelling transaction."""

    def __init__(self, cursor: Cursor, fraud_type: str, labels: Sequence[Label]) -> None:
        self._cursor = cursor
        self._layout = type_layout(fraud_type)
        self._labels = labels

    def run(self, now_us: int) -> list[LabelReceipt | FraudError]:
        name = self._layout.fraud_type.name
        # From here on no other writer of labels can come in between.
        seq = next_label_seq(self._cursor, name, now_us)
        ids = list({label.transaction_id for label in self._labels})
        known = known_events(self._cursor, self._layout.fraud_type, ids)
        stored = stored_labels(self._cursor, ids)
        answers, news = self._sorted_out(known, stored)
        acting = _first_frauds([self._labels[place] for place in news], known, stored)
        keys = {each.transaction_id: self._keys(known[each.transaction_id]) for each in acting}
        loaded = load_states(self._cursor, (key for each in keys.values() for key in each))
        self._wait_for_unknown(news, known)
        before = [
            *(state.last_seq for state in loaded.values()),
            *(event.seq for event in known.values()),
        ]
        seq = max([seq - 1, *before]) + 1
        numbers = {place: seq + nth for nth, place in enumerate(news)}
        self._act({self._labels[p]: n for p, n in numbers.items()}, acting, keys, known, loaded)
        upsert_labels(self._cursor, name, [self._labels[place] for place in news], seq)
        receipts = {
            _key(self._labels[place]): LabelReceipt(
                self._labels[place], number, has_acted=self._labels[place] in acting
            )
            for place, number in numbers.items()
        }
        return [
            receipts[_key(self._labels[place])]
            if place in numbers
            else answer or _again(receipts[_key(self._labels[place])])
            for place, answer in enumerate(answers)
        ]

    def _sorted_out(
        self, known: Mapping[str, TailEvent], stored: Iterable[StoredLabel]
    ) -> tuple[list[LabelReceipt | FraudError | None], list[int]]:
        """Answers that are certain by now, and the places of the labels that are news."""
        earlier = {_key(each.label): LabelReceipt(each.label, each.seq) for each in stored}
        told: dict[tuple[str, str, int], Label] = {}
        answers: list[LabelReceipt | FraudError | None] = []
        news = []
        for place, label in enumerate(self._labels):
            answers.append(None)
            before = earlier.get(_key(label))
            first = before.label if before else told.setdefault(_key(label), label)
            about = known.get(label.transaction_id)
            if about is not None and about.event.fraud_type != self._layout.fraud_type.name:
                answers[place] = self._foreign(label, about.event.fraud_type)
            elif first.is_fraud != label.is_fraud:
                answers[place] = _conflict(label)
            elif before is not None:
                answers[place] = _again(before)
            elif first is label:
                news.append(place)
        return answers, news

    def _foreign(self, label: Label, fraud_type: str) -> InvalidField:
        return InvalidField(
            [
                (
                    "fraud_type",
                    f"transaction {label.transaction_id!r} is of type {fraud_type}, "
                    f"not {self._layout.fraud_type.name}",
                    "Send the label with the fraud type of its transaction.",
                )
            ]
        )

    def _keys(self, about: TailEvent) -> dict[str, str]:
        """State key to entity name, for the entities a label changes."""
        return {
            key: name
            for name, key in self._layout.keys(about.event).items()
            if self._layout.plans[name].uses_labels
        }

    def _wait_for_unknown(self, news: Iterable[int], known: Mapping[str, TailEvent]) -> None:
        unknown = {self._labels[place].transaction_id for place in news} - set(known)
        if not unknown:
            return
        keep_unknown(self._cursor)
        if known_events(self._cursor, self._layout.fraud_type, list(unknown)):
            raise _Overtaken

    def _act(
        self,
        numbers: Mapping[Label, int],
        acting: Iterable[Label],
        keys: Mapping[str, Mapping[str, str]],
        known: Mapping[str, TailEvent],
        loaded: Mapping[str, StoredState],
    ) -> None:
        shown: dict[str, dict[str, list[Label]]] = {}
        for label in acting:
            for key, name in keys[label.transaction_id].items():
                shown.setdefault(name, {}).setdefault(key, []).append(label)
        changed: dict[str, StoredState] = {}
        for name, by_key in shown.items():
            before = [loaded[key].state if key in loaded else None for key in by_key]
            rows = [(place, label) for place, each in enumerate(by_key.values()) for label in each]
            columns = label_columns(
                (numbers[label], label.reported_at_us, known[label.transaction_id].event)
                for _, label in rows
            )
            groups = np.array([place for place, _ in rows], np.int64)
            after = self._layout.after_labels(name, before, columns, groups)
            for (key, each), state in zip(by_key.items(), after, strict=True):
                changed[key] = StoredState(state, max(numbers[label] for label in each))
        save_states(self._cursor, changed, loaded)


def _first_frauds(
    news: Iterable[Label], known: Mapping[str, TailEvent], stored: Iterable[StoredLabel]
) -> dict[Label, None]:
    """Which labels are the first to say fraud of a known transaction since it was observed."""
    done = {
        each.label.transaction_id
        for each in stored
        if each.label.is_fraud
        and each.label.transaction_id in known
        and each.seq > known[each.label.transaction_id].seq
    }
    acting: dict[Label, None] = {}
    for label in news:
        name = label.transaction_id
        if label.is_fraud and name in known and name not in done:
            done.add(name)
            acting[label] = None
    return acting


def _key(label: Label) -> tuple[str, str, int]:
    return label.transaction_id, label.source, label.reported_at_us


def _again(receipt: LabelReceipt) -> LabelReceipt:
    return LabelReceipt(receipt.label, receipt.seq, is_repeated=True)


def _conflict(label: Label) -> DuplicateConflict:
    return DuplicateConflict(
        f"The {label.source} label of {label.transaction_id!r} reported at that time was stored "
        f"with the other verdict.",
        remedy="Send a changed verdict with its own reported_at.",
        field="is_fraud",
    )


def _audit_entries(
    labels: Sequence[Label],
    answers: Sequence[LabelReceipt | FraudError],
    actor: str,
    origin: str,
) -> list[AuditEntry]:
    entries = []
    for label, answer in zip(labels, answers, strict=True):
        detail: dict[str, object] = {"is_fraud": label.is_fraud, "source": label.source}
        if isinstance(answer, LabelReceipt):
            detail |= {"seq": answer.seq, "acted": answer.has_acted}
            if answer.is_repeated:
                detail["repeated"] = True
        else:
            detail["refused"] = type(answer).__name__
        entries.append(
            AuditEntry(
                actor=actor,
                action="label",
                outcome="success" if isinstance(answer, LabelReceipt) else "failure",
                origin=origin,
                object_type="transaction",
                object_id=label.transaction_id,
                detail=detail,
            )
        )
    return entries

"""What the ledger kept of a stream, against what can be computed from its log."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.parity_scorers import Answers
from feature_store.batch import type_layout
from feature_store.columns import History
from feature_store.offline import feature_matrix
from feature_store.replay import Replay
from feature_store.tail import tail_events
from feature_store.tail_frames import events_frame, tail_labels
from fraud.domain.features import Floats
from fraud.ledger.pool import ConnectionPool
from fraud.types.credit_card import CREDIT_CARD

SHOWN = 10
"""Differences named one by one."""

_VALUES = """
SELECT d.feature_values FROM decisions d JOIN transactions t USING (transaction_id)
WHERE t.fraud_type = %s ORDER BY t.seq
"""


@dataclass(frozen=True)
class Log:
    """The ledger's own log of a stream, and what it stored beside it.

    Attributes:
        events: canonical, in observation order.
        labels: canonical fraud labels with their numbers.
        values: features as they were served, float64, shape (events, features).
        states: encoded entity states by key.
        all_labels: number of labels, also of those that say genuine.
    """

    events: pd.DataFrame
    labels: pd.DataFrame
    values: Floats
    states: dict[str, bytes]
    all_labels: int


@dataclass(frozen=True)
class Differences:
    """What is not as it should be; `named` tells the first few."""

    count: int
    named: list[str]


def read_log(pool: ConnectionPool) -> Log:
    """Everything the ledger has of the stream."""
    with pool.transaction() as cursor:
        events = events_frame(CREDIT_CARD, tail_events(cursor, CREDIT_CARD, 0))
        labels = tail_labels(cursor, CREDIT_CARD, 0)
        cursor.execute(_VALUES, (CREDIT_CARD.name,))
        stored = b"".join(bytes(values) for (values,) in cursor)
        cursor.execute("SELECT key, state FROM entity_state")
        states = {key: bytes(state) for key, state in cursor}
        cursor.execute("SELECT count(*) FROM labels")
        [(all_labels,)] = cursor.fetchall()
    values = np.frombuffer(stored, "<f8").reshape(-1, len(CREDIT_CARD.features))
    return Log(events, labels, values, states, all_labels)


def feature_differences(log: Log) -> Differences:
    """Served feature values that are not, bit for bit, those of the offline frame."""
    rebuilt = feature_matrix(CREDIT_CARD, log.events, log.labels).astype(np.float64)
    different = np.argwhere(rebuilt.view(np.int64) != log.values.view(np.int64))
    ids = log.events["transaction_id"]
    return Differences(
        len(different),
        [
            f"{CREDIT_CARD.feature_names[column]} of {ids[row]}: served "
            f"{log.values[row, column]!r}, rebuilt {rebuilt[row, column]!r}"
            for row, column in different[:SHOWN].tolist()
        ],
    )


def state_differences(log: Log) -> Differences:
    """Entity states that are not, byte for byte, those of a replay of the log."""
    layout = type_layout(CREDIT_CARD.name)
    history = History(CREDIT_CARD, log.events, log.labels)
    replay = Replay(layout, history, log.events["transaction_id"].tolist())
    replayed = {each.key: each.state for name in layout.plans for each in replay.entities(name)}
    keys = sorted(log.states.keys() | replayed.keys())
    different = [key for key in keys if log.states.get(key) != replayed.get(key)]
    return Differences(len(different), [f"state of {key}" for key in different[:SHOWN]])


def answer_differences(answers: Answers) -> Differences:
    """Transactions that got two answers to one body, or decisions on two bodies."""
    digests, decisions = defaultdict(set), defaultdict(set)
    first: defaultdict[str, int] = defaultdict(int)
    for name, digest, decision_id, is_replayed in answers.decided:
        digests[name].add(digest)
        decisions[name].add(decision_id)
        first[name] += not is_replayed
    wrong = {
        name
        for name in digests
        if not len(digests[name]) == len(decisions[name]) == first[name] == 1
    }
    wrong |= {name for name, digest in answers.refused if digest in digests[name]}
    return Differences(len(wrong), [f"answers about {name}" for name in sorted(wrong)[:SHOWN]])

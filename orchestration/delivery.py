"""Labels about transactions that the platform decided: they act on its states when they come.

Such a label belongs in the event log under the number it acted with, which is that of its
delivery and not of its report. So the ledger takes it in first, and the log gets it from there.
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bentos.scoring.labeller import Labeller, LabelReceipt
from fraud.domain.event import to_us
from fraud.domain.fraud_type import FraudType
from fraud.domain.label import Label
from fraud.ledger.audit import claim_chain
from fraud.ledger.engine import connect
from fraud.ledger.pool import ConnectionPool
from orchestration.served import served_labels
from orchestration.sources.coercion import Mask
from orchestration.sources.reasons import Problem

ACTOR = "pipeline"
LABELS_AT_A_TIME = 1_000

_KNOWN = """
SELECT transaction_id FROM transactions
WHERE fraud_type = %(fraud_type)s AND transaction_id = ANY(%(ids)s::varchar[])
UNION SELECT transaction_id FROM labels
WHERE fraud_type = %(fraud_type)s AND transaction_id = ANY(%(ids)s::varchar[])
"""


@dataclass
class Delivery:
    """What became of labels, by their places.

    Attributes:
        is_kept: the ledger has them, bool [n].
        is_news: it has them only now, bool [n].
        problems: why it refused others.
    """

    is_kept: Mask
    is_news: Mask
    problems: dict[int, Problem] = field(default_factory=dict)


class LedgerLabels:
    """The labels of a fraud type that the ledger keeps; see `open_ledger_labels`."""

    def __init__(self, pool: ConnectionPool, fraud_type: FraudType, labeller: Labeller) -> None:
        self._pool = pool
        self._fraud_type = fraud_type
        self._labeller = labeller

    def deliver(self, labels: pd.DataFrame, origin: str) -> Delivery:
        """Take in the labels about transactions that were decided or labelled here before.

        The others are left alone.

        Args:
            labels: verified `transaction_id, is_fraud, reported_at, source`, shape (n,).
            origin: where they come from, for the audit log.
        """
        places = np.flatnonzero(self._are_known(labels["transaction_id"]))
        delivery = Delivery(np.zeros(len(labels), bool), np.zeros(len(labels), bool))
        for begin in range(0, len(places), LABELS_AT_A_TIME):
            part = places[begin : begin + LABELS_AT_A_TIME]
            told = _labels(labels.iloc[part])
            answers = self._labeller.observe(self._fraud_type.name, told, ACTOR, origin)
            for place, answer in zip(part.tolist(), answers, strict=True):
                if isinstance(answer, LabelReceipt):
                    delivery.is_kept[place] = True
                    delivery.is_news[place] = not answer.is_repeated
                else:
                    delivery.problems[place] = Problem(answer.field or "is_fraud", str(answer))
        return delivery

    def served(self, first: dt.date, last: dt.date) -> pd.DataFrame:
        """Canonical labels that were observed from one day to another, with their numbers."""
        return served_labels(self._pool, self._fraud_type, first, last)

    def _are_known(self, transaction_ids: pd.Series) -> Mask:
        with self._pool.transaction() as cursor:
            ids = transaction_ids.unique().tolist()
            name = self._fraud_type.name
            cursor.execute(_KNOWN, {"fraud_type": name, "ids": ids})
            known = {name for (name,) in cursor.fetchall()}
        return transaction_ids.isin(known).to_numpy(bool)


@contextmanager
def open_ledger_labels(pool: ConnectionPool, fraud_type: FraudType) -> Iterator[LedgerLabels]:
    """The ledger's labels, and the right to add to them under an audit chain of their own."""
    session = connect(pool.url)
    try:
        chain = claim_chain(session, ACTOR)
        yield LedgerLabels(pool, fraud_type, Labeller(pool, _now_us, chain))
    finally:
        session.close()


def _now_us() -> int:
    return to_us(dt.datetime.now(dt.UTC))


def _labels(rows: pd.DataFrame) -> list[Label]:
    return [
        Label(name, bool(is_fraud), to_us(reported.to_pydatetime()), source)
        for name, is_fraud, reported, source in zip(
            rows["transaction_id"],
            rows["is_fraud"],
            rows["reported_at"],
            rows["source"],
            strict=True,
        )
    ]

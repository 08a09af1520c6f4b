"""Decisions that were served, with features, and labels that matured since."""

import datetime as dt

import numpy as np

from fraud.domain.decision import new_decision_ids
from fraud.domain.event import to_us
from fraud.domain.label import Label
from fraud.domain.rules import RiskLevel
from fraud.ledger.decisions import insert_decisions
from fraud.ledger.labels import upsert_labels
from fraud.ledger.pool import ConnectionPool
from fraud.types.credit_card import CREDIT_CARD
from tests.fraud.ledger.builders import a_decision, a_record, an_event

NIGHT, COUNT = (CREDIT_CARD.feature_names.index(name) for name in ("amount", "user_count_1h"))


def serve(
    pool: ConnectionPool,
    now: dt.datetime,
    count: int,
    *,
    age: dt.timedelta,
    version: str = "model-1",
    shift: float = 0.0,
    seed: int = 1,
) -> None:
    """Put decisions of the day that is `age` old into the ledger, labels and all.

    A fifth of the events have 12 or more payments in the last hour and amounts above 500; of
    these every second is fraud. The model sees half of them.

    Args:
        pool: of the ledger.
        now: the present moment.
        count: how many.
        age: of the decisions.
        version: of the model that made them.
        shift: added to every amount.
        seed: of all that is random.
    """
    rng = np.random.default_rng(seed)
    features = np.abs(rng.normal(1, 1, (count, len(CREDIT_CARD.features))))
    hot = rng.random(count) < 0.2
    features[:, NIGHT] = np.where(hot, 600.0, 50.0) + 10 * rng.random(count) + shift
    features[:, COUNT] = np.where(hot, 14.0, 2.0)
    is_fraud = hot & (rng.random(count) < 0.5)
    is_seen = is_fraud & (rng.random(count) < 0.5)
    records, labels = [], []
    for place in range(count):
        at_us = to_us(now - age) + place * 1000
        event = an_event(
            transaction_id=f"{version}-{seed}-{place}",
            event_time_us=at_us,
            amount_minor=int(100 * features[place, NIGHT]),
        )
        decision = a_decision(
            event,
            decision_id=new_decision_ids(at_us, 1)[0],
            fraud_probability=0.9 if is_seen[place] else 0.01,
            risk_level=RiskLevel.HIGH if is_seen[place] else RiskLevel.LOW,
            model_version=version,
            scored_at_us=at_us,
        )
        record = a_record(event, decision)
        records.append(
            record._replace(
                seq=at_us,
                observed_at_us=at_us,
                feature_values=features[place].astype("<f8").tobytes(),
                schema_hash=CREDIT_CARD.schema_hash,
            )
        )
        if is_fraud[place]:
            labels.append(Label(event.transaction_id, True, at_us + 3 * 86_400_000_000, "bank"))
    with pool.transaction() as cursor:
        for begin in range(0, count, 1000):
            insert_decisions(cursor, records[begin : begin + 1000])
        upsert_labels(cursor, CREDIT_CARD.name, labels, to_us(now))

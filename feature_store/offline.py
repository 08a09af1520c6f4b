"""The offline execution of the feature contract: whole histories, vectorised.

Each entity is one counting sort and a few compiled passes over contiguous columns
(`kernels.py`). Its features are finished while they are still sorted by entity, block by
block so that temporaries stay in the cache, and scattered to their rows once.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from feature_store import kernels
from feature_store.columns import History
from feature_store.inputs import finish
from feature_store.passes import EntityPass
from feature_store.plan import entity_plans
from fraud.domain.aggregates import NONE, Aggregate
from fraud.domain.features import Feature, Floats, Ints
from fraud.domain.fraud_type import FraudType

BLOCK = 16_384
"""Rows finished at a time."""

_THREADS = 2


def feature_matrix(fraud_type: FraudType, events: pd.DataFrame, labels: pd.DataFrame) -> Floats:
    """All features of all events, shape (n, features), float64, rows as in `events`.

    Args:
        fraud_type: whose features.
        events: canonical events in observation order (see `feature_store.lake`).
        labels: canonical labels; only fraud labels act.

    Raises:
        ContractError: the events are not in observation order.
    """
    history = History(fraud_type, events, labels)
    out = np.empty((history.size, len(fraud_type.features)))
    by_entities: dict[frozenset[str], list[int]] = {}
    for place, feature in enumerate(fraud_type.features):
        needs = frozenset(aggregate.entity for aggregate in feature.aggregates())
        by_entities.setdefault(needs, []).append(place)
    rows = np.arange(history.size)
    shared: dict[Aggregate, Ints] = {}
    for plan in entity_plans(fraud_type):
        entity = EntityPass(plan, history)
        aggregates = entity.aggregates()
        own = by_entities.pop(frozenset({plan.entity.name}), [])
        for place in own:
            out[entity.absent, place] = fraud_type.features[place].default
        _finish(fraud_type.features, own, history, entity.order, aggregates, out)
        for aggregate in _wanted(fraud_type.features, by_entities):
            if aggregate in aggregates:
                shared[aggregate] = np.full(history.size, NONE, np.int64)
                shared[aggregate][entity.order] = aggregates[aggregate]
    rest = [place for places in by_entities.values() for place in places]
    _finish(fraud_type.features, rest, history, rows, shared, out)
    return out


def _wanted(
    features: Sequence[Feature], by_entities: dict[frozenset[str], list[int]]
) -> Iterator[Aggregate]:
    """What the features of several entities need; few have more than one."""
    for needs, places in by_entities.items():
        if len(needs) > 1:
            for place in places:
                yield from features[place].aggregates()


def _finish(
    features: Sequence[Feature],
    places: Sequence[int],
    history: History,
    order: Ints,
    aggregates: dict[Aggregate, Ints],
    out: Floats,
) -> None:
    """Finish the features at `places` for the rows `order`, writing `out[row, place]`."""
    chosen = np.array(places, np.int64)

    def block(begin: int) -> None:
        rows = order[begin : begin + BLOCK]
        part = {each: values[begin : begin + BLOCK] for each, values in aggregates.items()}
        inputs = history.inputs(rows, part)
        values = np.empty((len(rows), len(chosen)))
        finish([features[place] for place in places], inputs, values)
        kernels.scatter(values, rows, chosen, out)

    if places:
        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(block, range(0, len(order), BLOCK)))


def build_frame(fraud_type: FraudType, events: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """The feature frame of a history: who, when, how much, and every feature as float64.

    Columns: transaction_id, seq, event_time, observed_at, amount_minor, the entities' own
    fields, then one column per feature.
    """
    keys = dict.fromkeys(field for entity in fraud_type.entities for field in entity.fields)
    about = ["transaction_id", "seq", "event_time", "observed_at", "amount_minor", *keys]
    matrix = feature_matrix(fraud_type, events, labels)
    features = pd.DataFrame(matrix, columns=list(fraud_type.feature_names), copy=False)
    return pd.concat([events[about].reset_index(drop=True), features], axis=1)

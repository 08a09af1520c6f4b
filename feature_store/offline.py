"""The offline execution of the feature contract: whole histories, vectorised.

Each entity is one sort and a few compiled passes (`kernels.py`). Features are finished
entity by entity, so that only one entity's integers are in memory at a time.
"""

import numpy as np
import pandas as pd

from feature_store import kernels
from feature_store.columns import History, entity_groups
from feature_store.inputs import ColumnInputs
from feature_store.plan import EntityPlan, Tier, entity_plans
from fraud.domain.aggregates import (
    DISTINCT_MEMORY,
    NONE,
    Aggregate,
    DistinctSum,
    FirstTime,
    FraudTime,
    LabelSum,
    LastTime,
    LastValue,
    Lifetime,
    MaturedSum,
    TileSum,
)
from fraud.domain.features import Feature, Floats, Ints
from fraud.domain.fraud_type import FraudType


class _EntityPass:
    """Computes one entity's aggregates over the whole history."""

    def __init__(self, plan: EntityPlan, history: History) -> None:
        self.plan = plan
        self.history = history
        codes = history.entity_codes(plan.entity)
        entities = int(codes.max(initial=-1)) + 1
        self.absent = codes < 0
        self.order, self.starts = entity_groups(codes, entities)
        self.label_order, self.label_starts = entity_groups(codes[history.label_row], entities)

    def aggregates(self) -> dict[Aggregate, Ints]:
        """All aggregates of the entity's plan, NONE where the event lacks the entity."""
        found: dict[Aggregate, Ints] = {}
        for tier in self.plan.tiers:
            found |= self._tile_sums(tier)
        for tier in self.plan.label_tiers:
            found |= self._label_sums(tier)
        found |= self._distinct_sums() | self._lasts() | self._fraud_times()
        if self.plan.has_outcomes:
            found |= self._matured_sums()
        wanted = {aggregate: found[aggregate] for aggregate in self.plan.aggregates}
        if self.absent.any():
            for values in wanted.values():
                values[self.absent] = NONE
        return wanted

    def _tile_sums(self, tier: Tier) -> dict[Aggregate, Ints]:
        history, columns = self.history, tier.columns
        values = np.stack([history.summed(column) for column in columns], axis=1)
        out = np.zeros((len(tier.windows), len(columns), history.size), np.int64)
        kernels.tile_sums(
            self.order,
            self.starts,
            history.time_us,
            values,
            tier.hop_us,
            np.array([window.length_us for window in tier.windows]),
            np.array([window.delay_us for window in tier.windows]),
            out,
        )
        return {
            TileSum(self.plan.entity.name, window, column): out[w, c]
            for w, window in enumerate(tier.windows)
            for c, column in enumerate(columns)
        }

    def _label_sums(self, tier: Tier) -> dict[Aggregate, Ints]:
        history = self.history
        out = np.zeros((len(tier.windows), history.size), np.int64)
        kernels.label_sums(
            self.order,
            self.starts,
            history.time_us,
            history.seq,
            self.label_starts,
            history.label_seq[self.label_order],
            history.label_us[self.label_order],
            tier.hop_us,
            np.array([window.length_us for window in tier.windows]),
            out,
        )
        return {LabelSum(self.plan.entity.name, w): out[i] for i, w in enumerate(tier.windows)}

    def _fraud_times(self) -> dict[Aggregate, Ints]:
        if not any(isinstance(aggregate, FraudTime) for aggregate in self.plan.aggregates):
            return {}
        history = self.history
        out = np.full((2, history.size), NONE, np.int64)
        kernels.fraud_times(
            self.order,
            self.starts,
            history.seq,
            self.label_starts,
            history.label_seq[self.label_order],
            history.time_us[history.label_row[self.label_order]],
            out,
        )
        name = self.plan.entity.name
        return {FraudTime(name, "latest"): out[0], FraudTime(name, "earliest"): out[1]}

    def _matured_sums(self) -> dict[Aggregate, Ints]:
        history = self.history
        ks = sorted({a.k for a in self.plan.aggregates if isinstance(a, MaturedSum)})
        out = np.zeros((len(ks), 2, history.size), np.int64)
        kernels.matured_sums(
            self.order,
            self.starts,
            history.time_us,
            history.seq,
            history.fraud_known_seq,
            self.plan.maturity_us,
            np.array(ks),
            out,
        )
        name = self.plan.entity.name
        return {MaturedSum(name, k, "count"): out[i, 0] for i, k in enumerate(ks)} | {
            MaturedSum(name, k, "fraud"): out[i, 1] for i, k in enumerate(ks)
        }

    def _distinct_sums(self) -> dict[Aggregate, Ints]:
        found: dict[Aggregate, Ints] = {}
        for field, windows in self.plan.distinct:
            out = np.zeros((len(windows), self.history.size), np.int64)
            kernels.distinct_sums(
                self.order,
                self.starts,
                self.history.time_us,
                self.history.texts[field].codes,
                DISTINCT_MEMORY,
                np.array([window.hop_us for window in windows]),
                np.array([window.length_us for window in windows]),
                np.array([window.delay_us for window in windows]),
                out,
            )
            for place, window in enumerate(windows):
                found[DistinctSum(self.plan.entity.name, field, window)] = out[place]
        return found

    def _lasts(self) -> dict[Aggregate, Ints]:
        history, name, fields = self.history, self.plan.entity.name, self.plan.last_fields
        ids = np.empty((len(fields), history.size), np.int64)
        for place, field in enumerate(fields):
            ids[place] = history.value_ids(field)
        out = np.full((3, history.size), NONE, np.int64)
        out_values = np.full((len(fields), history.size), NONE, np.int64)
        kernels.lasts(self.order, self.starts, history.time_us, ids, out, out_values)
        found: dict[Aggregate, Ints] = {
            Lifetime(name): out[0],
            LastTime(name): out[1],
            FirstTime(name): out[2],
        }
        for place, field in enumerate(fields):
            found[LastValue(name, field)] = out_values[place]
        return found


def feature_matrix(fraud_type: FraudType, events: pd.DataFrame, labels: pd.DataFrame) -> Floats:
    """All features of all events, shape (n, features), float64, rows as in `events`.

    Args:
        fraud_type: whose features.
        events: canonical events in observation order (see `feature_store.lake`).
        labels: canonical labels in observation order; only fraud labels act.

    Raises:
        ContractError: the events are not in observation order.
    """
    history = History(fraud_type, events, labels)
    changed = {a.field for a in fraud_type.aggregates if isinstance(a, LastValue)}
    inputs = ColumnInputs(
        history.time_us,
        history.amount_minor,
        history.numbers,
        history.texts,
        {field: history.value_ids(field) for field in changed},
        {},
    )
    out = np.empty((history.size, len(fraud_type.features)))
    todo = dict(enumerate(fraud_type.features))
    _finish_ready(todo, inputs, out)
    for plan in entity_plans(fraud_type):
        needed = {a for feature in todo.values() for a in feature.aggregates()}
        kept = {a: values for a, values in inputs.aggregates.items() if a in needed}
        inputs.aggregates = kept | _EntityPass(plan, history).aggregates()
        _finish_ready(todo, inputs, out)
    return out


def _finish_ready(todo: dict[int, Feature], inputs: ColumnInputs, out: Floats) -> None:
    """Finish the features whose aggregates are all there, and take them off the list."""
    for place, feature in list(todo.items()):
        if inputs.aggregates.keys() >= set(feature.aggregates()):
            out[:, place] = feature.finish(inputs)
            del todo[place]


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

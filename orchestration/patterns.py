"""Segments where fraud rises or the model misses it, and rules that would catch them.

A shallow decision tree over the features of matured decisions finds the segments: its leaves
are conjunctions of few conditions, which are rules as they stand. Half of the decisions grow
the tree, the other half judges its leaves, so that a leaf is not praised for its own luck.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from fraud.domain.fraud_type import FraudType
from fraud.ledger.statement import Cursor

DEPTH = 3
LEAST_EVENTS = 50
"""Events of a segment in each half, at least."""

LEAST_LIFT = 3.0
"""How many times more fraud than elsewhere makes a segment worth a look."""

LEAST_FRAUDS = 5
PRUNING = 0.01
"""Impurity that a split must take away per leaf it adds (Breiman et al. 1984): less is luck."""

MOST_SEGMENTS = 5
SEED = 7

_FEATURES = """
SELECT transaction_id, feature_values FROM decisions
WHERE fraud_type = %s AND schema_hash = %s AND transaction_id = ANY(%s::varchar[])
"""


@dataclass(frozen=True)
class Segment:
    """Events that a few conditions have in common, as judged on decisions it was not found on.

    Attributes:
        expression: the conditions, in the language of rules.
        events: decisions it holds for.
        frauds: of these, those that proved fraud.
        missed: of the frauds, those that had been approved.
        missed_minor: their money, minor units.
        rate: frauds of its events.
        lift: that rate over the rate of all decisions.
        rate_before: its rate in the older half of the time.
        rate_after: its rate in the newer half.
    """

    expression: str
    events: int
    frauds: int
    missed: int
    missed_minor: int
    rate: float
    lift: float
    rate_before: float
    rate_after: float

    @property
    def is_rising(self) -> bool:
        """Whether it holds half as much fraud again as before."""
        return self.rate_after > 1.5 * self.rate_before


def with_features(cursor: Cursor, fraud_type: FraudType, judged: pd.DataFrame) -> pd.DataFrame:
    """Matured decisions with the features they were made with, where these are the running ones."""
    ids = judged["transaction_id"].tolist()
    cursor.execute(_FEATURES, (fraud_type.name, fraud_type.schema_hash, ids))
    found = cursor.fetchall()
    names = list(fraud_type.feature_names)
    matrix = np.frombuffer(b"".join(bytes(row[1]) for row in found), "<f8")
    rows = pd.DataFrame(matrix.reshape(len(found), len(names)), columns=names)
    rows["transaction_id"] = np.array([row[0] for row in found], dtype=object)
    return judged.merge(rows, on="transaction_id")


def find_segments(
    decisions: pd.DataFrame, features: Sequence[str], most: int = MOST_SEGMENTS
) -> list[Segment]:
    """Segments with much fraud that was missed, or that is rising, most missed money first.

    Args:
        decisions: `is_fraud, action, amount_minor, scored_at` and the features, one row each.
        features: those to look at.
        most: segments at most.
    """
    is_missed = decisions["is_fraud"].to_numpy(bool) & (decisions["action"] == "approve").to_numpy()
    is_fraud = decisions["is_fraud"].to_numpy(bool)
    grows = np.random.default_rng(SEED).random(len(decisions)) < 0.5
    found: dict[str, Segment] = {}
    for target in (is_missed, is_fraud):
        if target[grows].sum() < LEAST_FRAUDS:
            continue
        matrix = decisions[list(features)].to_numpy(np.float64)
        tree = DecisionTreeClassifier(
            max_depth=DEPTH,
            min_samples_leaf=LEAST_EVENTS,
            class_weight="balanced",
            ccp_alpha=PRUNING,
            random_state=SEED,
        ).fit(matrix[grows], target[grows])
        leaves = tree.apply(matrix)
        rest = decisions[~grows]
        for leaf in np.unique(leaves):
            segment = _judged(rest, leaves[~grows] == leaf, _path(tree, int(leaf), features))
            if segment is not None:
                found[segment.expression] = segment
    return sorted(found.values(), key=lambda each: -each.missed_minor)[:most]


def _judged(rest: pd.DataFrame, inside: NDArray[np.bool_], expression: str) -> Segment | None:
    rows = rest[inside]
    frauds = int(rows["is_fraud"].sum())
    if len(rows) < LEAST_EVENTS or frauds < LEAST_FRAUDS or not expression:
        return None
    missed = rows[rows["is_fraud"].astype(bool) & (rows["action"] == "approve")]
    middle = rest["scored_at"].median()
    older, newer = (rows["scored_at"] < middle), (rows["scored_at"] >= middle)
    segment = Segment(
        expression=expression,
        events=len(rows),
        frauds=frauds,
        missed=len(missed),
        missed_minor=int(missed["amount_minor"].sum()),
        rate=frauds / len(rows),
        lift=frauds / len(rows) / float(rest["is_fraud"].mean()),
        rate_before=float(rows["is_fraud"][older].mean()) if older.any() else 0.0,
        rate_after=float(rows["is_fraud"][newer].mean()) if newer.any() else 0.0,
    )
    is_worth_it = segment.lift >= LEAST_LIFT and (segment.missed > 0 or segment.is_rising)
    return segment if is_worth_it else None


def _path(tree: DecisionTreeClassifier, leaf: int, features: Sequence[str]) -> str:
    """The conditions from the root to a leaf, the last one on a feature and side counting."""
    nodes = tree.tree_
    parents = {
        int(child): (node, side)
        for node in range(nodes.node_count)
        for child, side in ((nodes.children_left[node], "<="), (nodes.children_right[node], ">"))
        if child != -1
    }
    conditions: dict[tuple[str, str], str] = {}
    at = leaf
    while at in parents:
        node, side = parents[at]
        name = features[nodes.feature[node]]
        limit = float(f"{nodes.threshold[node]:.6g}")
        conditions.setdefault((name, side), f"{name} {side} {limit!r}")
        at = node
    return " && ".join(reversed(conditions.values()))

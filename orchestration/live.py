"""What the service really decided, from the ledger: a sample of it, and how it turned out."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fraud.domain.fraud_type import FraudType
from fraud.ledger.statement import Cursor
from orchestration.training.blocked import block_quality, row_weights
from orchestration.training.metrics import ranking_metrics

SAMPLE_ROWS = 20_000
"""Decisions that are read for a drift report."""

JUDGED_ROWS = 200_000
"""Matured decisions that are read to judge the live quality."""

LIVE_DAYS = 28
QUANTILES = (0.5, 0.9)

_COUNT = """
SELECT count(*), min(scored_at), max(scored_at) FROM decisions
WHERE fraud_type = %(kind)s AND schema_hash = %(schema)s AND NOT degraded
    AND scored_at >= %(since)s AND scored_at < %(until)s
"""
_SAMPLE = """
SELECT transaction_id, feature_values FROM decisions
WHERE fraud_type = %(kind)s AND schema_hash = %(schema)s AND NOT degraded
    AND scored_at >= %(since)s AND scored_at < %(until)s
    AND hashtext(transaction_id) & 1048575 < %(share)s * 1048576
ORDER BY hashtext(transaction_id), transaction_id LIMIT %(most)s
"""
_JUDGED = """
SELECT d.transaction_id, d.model_version, d.probability, d.action, d.scored_at,
    d.propensity, t.amount_minor, coalesce(l.is_fraud, false)
FROM decisions AS d JOIN transactions AS t USING (transaction_id)
    LEFT JOIN LATERAL (
        SELECT bool_or(is_fraud) AS is_fraud FROM labels
        WHERE labels.transaction_id = d.transaction_id
    ) AS l ON true
WHERE d.fraud_type = %(kind)s AND NOT d.degraded
    AND t.event_time >= %(since)s AND t.event_time < %(until)s AND d.scored_at >= %(since)s
ORDER BY hashtext(d.transaction_id), d.transaction_id LIMIT %(most)s
"""
_DELAYS = """
SELECT percentile_cont(%(quantiles)s::float8[]) WITHIN GROUP (ORDER BY delay_s), count(*) FROM (
    SELECT extract(epoch FROM min(l.reported_at) - min(t.event_time)) AS delay_s
    FROM labels AS l JOIN transactions AS t USING (transaction_id)
    WHERE l.fraud_type = %(kind)s AND l.received_at >= %(since)s
    GROUP BY l.transaction_id
) AS delays
"""


@dataclass(frozen=True)
class Served:
    """Features of decisions that were served.

    Attributes:
        rows: one column per feature, float64.
        of: how many decisions the sample was drawn from.
        start: when the first of these was made.
        end: when the last was.
    """

    rows: pd.DataFrame
    of: int
    start: dt.datetime
    end: dt.datetime


def served_sample(
    cursor: Cursor,
    fraud_type: FraudType,
    since: dt.datetime,
    until: dt.datetime,
    most: int = SAMPLE_ROWS,
) -> Served | None:
    """A sample of the decisions made with the running features; None where there are none.

    Which ones does not depend on when it is asked: they are chosen by a hash of their id.
    """
    asked = {
        "kind": fraud_type.name,
        "schema": fraud_type.schema_hash,
        "since": since,
        "until": until,
        "most": most,
    }
    cursor.execute(_COUNT, asked)
    [(count, start, end)] = cursor.fetchall()
    if not count:
        return None
    # Somewhat more than needed is asked for, because a hash does not divide evenly.
    cursor.execute(_SAMPLE, asked | {"share": min(1.0, 1.1 * most / count)})
    found = cursor.fetchall()
    matrix = np.frombuffer(b"".join(bytes(row[1]) for row in found), "<f8")
    names = list(fraud_type.feature_names)
    rows = pd.DataFrame(matrix.reshape(len(found), len(names)).astype(np.float64), columns=names)
    return Served(rows, count, start, end)


def default_rates(rows: pd.DataFrame, fraud_type: FraudType) -> dict[str, float]:
    """Share of events at each feature's default, which stands for unknown or nothing."""
    return {
        feature.name: float((rows[feature.name] == feature.default).mean())
        for feature in fraud_type.features
    }


def judged_decisions(
    cursor: Cursor, fraud_type: FraudType, now: dt.datetime, most: int = JUDGED_ROWS
) -> pd.DataFrame:
    """Decisions of the last matured weeks and whether they were about fraud.

    An event without a fraud label counts as genuine once it is as old as its type's maturity.

    Returns:
        `transaction_id, model_version, fraud_probability, action, scored_at, propensity,
        amount_minor, is_fraud`, at most `most` of them, chosen by a hash of their id.
    """
    until = now - dt.timedelta(microseconds=fraud_type.maturity_us)
    since = until - dt.timedelta(days=LIVE_DAYS)
    asked = {"kind": fraud_type.name, "since": since, "until": until, "most": most}
    cursor.execute(_JUDGED, asked)
    names = ["transaction_id", "model_version", "fraud_probability", "action", "scored_at"]
    names += ["propensity", "amount_minor", "is_fraud"]
    return pd.DataFrame(cursor.fetchall(), columns=names).astype({"propensity": np.float64})


def live_quality(judged: pd.DataFrame) -> dict[str, float]:
    """How decisions of one model turned out; what cannot be said of them is left out.

    `accuracy`, `precision` and `recall` are of what was not approved, as in training, and take
    what nobody reported for genuine. Where some of what would be blocked was let through at
    random, `weighted_precision` and `block_precision` let it stand for the rest.
    """
    flagged = judged["action"].to_numpy(object) != "approve"
    is_fraud = judged["is_fraud"].to_numpy(bool)
    found = {"accuracy": float(np.mean(flagged == is_fraud)), "frauds": int(is_fraud.sum())}
    if flagged.any():
        found["precision"] = float(is_fraud[flagged].mean())
    if is_fraud.any():
        found["recall"] = float(flagged[is_fraud].mean())
    if is_fraud.any() and not is_fraud.all():
        scores = judged["fraud_probability"].to_numpy(np.float64)
        ranked = ranking_metrics(scores, is_fraud)
        found |= {name: ranked[name] for name in ("roc_auc", "average_precision")}
    return found | _weighted(judged)


def _weighted(judged: pd.DataFrame) -> dict[str, float]:
    """Precision by what was let through; what a rule or a list blocked stays unknown."""
    propensity, action = (
        judged["propensity"].to_numpy(np.float64),
        judged["action"].to_numpy(object),
    )
    is_fraud = judged["is_fraud"].to_numpy(bool)
    would_block = ~np.isnan(propensity)
    let_through = would_block & (propensity > 0) & (action == "approve")
    if not let_through.any():
        return {}
    blocks = block_quality(propensity[would_block], let_through[would_block], is_fraud[would_block])
    flagged = would_block | (action == "review")
    weight = row_weights(propensity, let_through)[flagged]
    return {
        "weighted_precision": float(weight @ is_fraud[flagged] / weight.sum()),
        "block_precision": blocks.precision,
        "block_precision_low": blocks.low,
        "block_precision_high": blocks.high,
        "block_covered": blocks.covered,
        "let_through": blocks.let_through,
    }


def label_delays(
    cursor: Cursor,
    fraud_type: FraudType,
    since: dt.datetime,
    quantiles: Sequence[float] = QUANTILES,
) -> dict[str, float]:
    """Quantiles of the seconds from an event to its first label; empty where none came."""
    asked = {"kind": fraud_type.name, "since": since, "quantiles": list(quantiles)}
    cursor.execute(_DELAYS, asked)
    [(values, count)] = cursor.fetchall()
    if not count:
        return {}
    return {f"{name:g}": float(value) for name, value in zip(quantiles, values, strict=True)}

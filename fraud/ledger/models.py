"""Models in the ledger: how well each did, and on which features."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fraud.domain.event import from_us
from fraud.ledger.statement import Cursor


@dataclass(frozen=True, slots=True)
class ModelPerformance:
    """How well a trained model did on the data it was tested on.

    Attributes:
        model_type: e.g. `lightgbm`.
        fraud_type: what it looks for.
        accuracy: share of right verdicts, 0 to 1.
        roc_auc: area under the ROC curve, 0 to 1.
        training_date_us: when it was trained, microseconds UTC.
        model_version: the bundle it went into, if any.
        mlflow_run_id: the run that says everything else.
        metrics: further metrics by name.
    """

    model_type: str
    fraud_type: str
    accuracy: float
    roc_auc: float
    training_date_us: int
    model_version: str | None = None
    mlflow_run_id: str | None = None
    metrics: Mapping[str, float] | None = None


def record_performance(cursor: Cursor, performances: Sequence[ModelPerformance]) -> None:
    """Add one row per model to `model_performance`."""
    for each in performances:
        cursor.execute(
            """
            INSERT INTO model_performance (
                model_type, fraud_type, accuracy, roc_auc, training_date, model_version,
                mlflow_run_id, metrics
            ) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            """,
            (
                each.model_type,
                each.fraud_type,
                each.accuracy,
                each.roc_auc,
                _naive_utc(each.training_date_us),
                each.model_version,
                each.mlflow_run_id,
                json.dumps(dict(each.metrics or {}), allow_nan=False),
            ),
        )


def record_feature_schema(
    cursor: Cursor,
    schema_hash: str,
    fraud_type: str,
    feature_names: Sequence[str],
    definition: Mapping[str, Any],
) -> None:
    """Keep what a schema hash stands for, so that stored feature values stay readable."""
    cursor.execute(
        """
        INSERT INTO feature_schemas (schema_hash, fraud_type, feature_names, definition)
        VALUES (%s, %s, %s, %s) ON CONFLICT (schema_hash) DO NOTHING
        """,
        (schema_hash, fraud_type, json.dumps(list(feature_names)), json.dumps(definition)),
    )


def feature_names(cursor: Cursor, schema_hash: str) -> list[str] | None:
    """The features a schema hash stands for, in the order of stored values."""
    cursor.execute(
        "SELECT feature_names FROM feature_schemas WHERE schema_hash = %s", (schema_hash,)
    )
    rows = cursor.fetchall()
    return list(rows[0][0]) if rows else None


def feature_definition(cursor: Cursor, schema_hash: str) -> dict[str, Any] | None:
    """What was recorded with a schema hash, see `record_feature_schema`; None if nothing was."""
    cursor.execute("SELECT definition FROM feature_schemas WHERE schema_hash = %s", (schema_hash,))
    rows = cursor.fetchall()
    return dict(rows[0][0]) if rows else None


def _naive_utc(time_us: int) -> dt.datetime:
    return from_us(time_us).replace(tzinfo=None)

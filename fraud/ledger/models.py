"""Models in the ledger: how well each did, which one served when, and on which features."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fraud.domain.event import from_us, to_us
from fraud.ledger.statement import Cursor

CHAMPION = "champion"


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


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model that was put into service.

    Attributes:
        fraud_type: whose events it scores.
        model_version: as decisions name it.
        bundle_path: where the bundle was taken from.
        bundle_digest: SHA-256 of the bundle's manifest, hexadecimal.
        promoted_by: who or what decided it.
        reason: why.
        promoted_at_us: when, microseconds UTC.
        mlflow_run_id: the run that trained it.
        stage: `champion` answers requests.
        deployment_id: number of the deployment; 0 until it is stored.
    """

    fraud_type: str
    model_version: str
    bundle_path: str
    bundle_digest: str
    promoted_by: str
    reason: str
    promoted_at_us: int
    mlflow_run_id: str | None = None
    stage: str = CHAMPION
    deployment_id: int = 0


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


def record_deployment(cursor: Cursor, deployment: Deployment) -> int:
    """Put a model into service from this transaction's commit on; return its number."""
    cursor.execute(
        """
        INSERT INTO deployments (
            fraud_type, model_version, bundle_path, bundle_digest, stage, promoted_by, reason,
            promoted_at, mlflow_run_id
        ) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (
            deployment.fraud_type,
            deployment.model_version,
            deployment.bundle_path,
            deployment.bundle_digest,
            deployment.stage,
            deployment.promoted_by,
            deployment.reason,
            from_us(deployment.promoted_at_us),
            deployment.mlflow_run_id,
        ),
    )
    number: int = cursor.fetchall()[0][0]
    return number


_COLUMNS = """
    fraud_type, model_version, bundle_path, bundle_digest, promoted_by, reason, promoted_at,
    mlflow_run_id, stage, id
"""


def current_deployment(cursor: Cursor, fraud_type: str) -> Deployment | None:
    """The champion of a fraud type: what was deployed last; None if nothing ever was."""
    cursor.execute(
        f"""
        SELECT {_COLUMNS} FROM deployments WHERE fraud_type = %s AND stage = %s
        ORDER BY id DESC LIMIT 1
        """,
        (fraud_type, CHAMPION),
    )
    rows = cursor.fetchall()
    return _deployment(rows[0]) if rows else None


def deployment_of(cursor: Cursor, fraud_type: str, model_version: str) -> Deployment | None:
    """The last deployment of a model, whether it serves or not; None if there was none."""
    cursor.execute(
        f"""
        SELECT {_COLUMNS} FROM deployments WHERE fraud_type = %s AND model_version = %s
        ORDER BY id DESC LIMIT 1
        """,
        (fraud_type, model_version),
    )
    rows = cursor.fetchall()
    return _deployment(rows[0]) if rows else None


def deployments(cursor: Cursor, fraud_type: str, *, limit: int = 100) -> list[Deployment]:
    """What was deployed for a fraud type, newest first."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM deployments WHERE fraud_type = %s ORDER BY id DESC LIMIT %s",
        (fraud_type, limit),
    )
    return [_deployment(row) for row in cursor.fetchall()]


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


def _deployment(row: Sequence[Any]) -> Deployment:
    return Deployment(
        fraud_type=row[0],
        model_version=row[1],
        bundle_path=row[2],
        bundle_digest=row[3],
        promoted_by=row[4],
        reason=row[5],
        promoted_at_us=to_us(row[6]),
        mlflow_run_id=row[7],
        stage=row[8],
        deployment_id=row[9],
    )


def _naive_utc(time_us: int) -> dt.datetime:
    return from_us(time_us).replace(tzinfo=None)

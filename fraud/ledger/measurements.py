"""What monitoring measured, and when: drift, live quality, label delay, checks of the audit log.

One row per measurement keeps the history. Prometheus is told the newest of each, and the
sensors that ask for retraining read how they went.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BigInteger, Column, Index, String, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from fraud.domain.event import from_us, to_us
from fraud.ledger.columns import Moment, metadata, row_id
from fraud.ledger.columns import fraud_type as fraud_type_column
from fraud.ledger.statement import Cursor

DRIFT, DRIFT_DISTANCE, DEFAULT_RATE = "drift", "drift_distance", "default_rate"
LIVE_QUALITY, LABEL_DELAY = "live_quality", "label_delay"
AUDIT_CHECK, CAPACITY, PATTERNS = "audit_check", "capacity", "patterns"
RETRAINING = "retraining"

PLATFORM = "platform"
"""Stands for the fraud type where a measurement concerns all of them."""

measurements = Table(
    "measurements",
    metadata,
    row_id(),
    fraud_type_column(comment="`platform` where it concerns all of them."),
    Column("name", String(50), nullable=False),
    Column("taken_at", Moment, nullable=False),
    Column("model_version", String(100)),
    Column("decisions", BigInteger, nullable=False, comment="How many it looked at."),
    Column("measured", JSONB, nullable=False, comment="Numbers by name."),
    Column("report", Text, comment="Where people find more."),
    Index("ix_measurements_fraud_type_name_taken_at", "fraud_type", "name", "taken_at"),
)

_COLUMNS = "fraud_type, name, taken_at, model_version, decisions, measured, report"


@dataclass(frozen=True)
class Measurement:
    """Numbers that were measured together.

    Attributes:
        fraud_type: whose; `PLATFORM` where it concerns all.
        name: what was measured, e.g. `drift`.
        taken_at_us: when, microseconds UTC.
        values: finite numbers by name.
        model_version: of the model they are about, if any.
        decisions: how many decisions were looked at.
        report: path or address of the whole report, if any.
    """

    fraud_type: str
    name: str
    taken_at_us: int
    values: Mapping[str, float] = field(default_factory=dict)
    model_version: str | None = None
    decisions: int = 0
    report: str | None = None


def record_measurements(cursor: Cursor, found: Sequence[Measurement]) -> None:
    """Add measurements to the history.

    Raises:
        ValueError: a value is not finite, which JSON cannot hold.
    """
    for each in found:
        cursor.execute(
            f"INSERT INTO measurements ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (
                each.fraud_type,
                each.name,
                from_us(each.taken_at_us),
                each.model_version,
                each.decisions,
                json.dumps(dict(each.values), allow_nan=False),
                each.report,
            ),
        )


def newest_measurements(
    cursor: Cursor, fraud_types: Sequence[str], names: Sequence[str]
) -> list[Measurement]:
    """What was measured last of each name for each fraud type.

    Several rows where one moment's measurement has one per model version.
    """
    cursor.execute(
        f"""
        SELECT {", ".join(f"m.{name.strip()}" for name in _COLUMNS.split(","))}
        FROM unnest(%s::text[]) AS t (fraud_type) CROSS JOIN unnest(%s::text[]) AS n (name)
            CROSS JOIN LATERAL (
                SELECT max(taken_at) AS taken_at FROM measurements
                WHERE fraud_type = t.fraud_type AND name = n.name
            ) AS last
            JOIN measurements AS m ON m.fraud_type = t.fraud_type AND m.name = n.name
                AND m.taken_at = last.taken_at
        ORDER BY m.id
        """,
        (list(fraud_types), list(names)),
    )
    return [_measurement(row) for row in cursor.fetchall()]


def measurement_history(
    cursor: Cursor, fraud_type: str, name: str, *, limit: int = 100
) -> list[Measurement]:
    """The last measurements of a name, newest first."""
    cursor.execute(
        f"""
        SELECT {_COLUMNS} FROM measurements WHERE fraud_type = %s AND name = %s
        ORDER BY taken_at DESC, id DESC LIMIT %s
        """,
        (fraud_type, name, limit),
    )
    return [_measurement(row) for row in cursor.fetchall()]


def _measurement(row: Sequence[Any]) -> Measurement:
    return Measurement(row[0], row[1], to_us(row[2]), row[5], row[3], row[4], row[6])

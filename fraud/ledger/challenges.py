"""What the ledger saw of a model: beside the champion, or since it became the champion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fraud.domain.deployment import Deployment
from fraud.domain.event import from_us, to_us
from fraud.ledger.statement import Cursor

MOST_ROWS = 50_000
"""The newest decisions are looked at, so many at most."""


@dataclass(frozen=True, slots=True)
class SeenDecision:
    """A decision as live gates see it.

    Attributes:
        role: as what its model answered.
        model_version: which model answered.
        probability: of the model that answered.
        shadow_probability: of the other one; None where it gave none.
        shadow_problem: why it gave none; None without a challenge.
        shadow_took_us: microseconds its batch took.
        is_rules_only: no model could be asked.
        is_blocked: it was blocked, so that nobody could report it.
        event_time_us: when it happened.
        is_fraud: the last label; None without one.
    """

    role: str
    model_version: str
    probability: float
    shadow_probability: float | None
    shadow_problem: str | None
    shadow_took_us: float | None
    is_rules_only: bool
    is_blocked: bool
    event_time_us: int
    is_fraud: bool | None


_SEEN = """
SELECT d.role, d.model_version, d.probability, (d.shadow->>'probability')::float8,
    d.shadow->>'problem', (d.shadow->>'took_us')::float8,
    d.degraded AND d.reasons @> '[{"code": "MODEL_UNAVAILABLE"}]', d.action = 'block',
    t.event_time, (
        SELECT l.is_fraud FROM labels l WHERE l.transaction_id = d.transaction_id
        ORDER BY l.reported_at DESC, l.id DESC LIMIT 1
    )
FROM decisions d JOIN transactions t USING (transaction_id)
"""


def beside_the_champion(cursor: Cursor, deployment: Deployment) -> list[SeenDecision]:
    """Decisions since a challenger's step that it took part in, newest first."""
    return _seen(
        cursor,
        """
        WHERE d.fraud_type = %s AND d.scored_at >= %s AND d.shadow IS NOT NULL
            AND %s IN (d.shadow->>'model_version', d.model_version)
        ORDER BY d.scored_at DESC LIMIT %s
        """,
        (
            deployment.fraud_type,
            from_us(deployment.promoted_at_us),
            deployment.model_version,
            MOST_ROWS,
        ),
    )


def since_promotion(cursor: Cursor, deployment: Deployment) -> list[SeenDecision]:
    """Decisions since a champion's step, newest first; those of canaries beside it are left out."""
    return _seen(
        cursor,
        """
        WHERE d.fraud_type = %s AND d.scored_at >= %s AND d.role = 'champion'
        ORDER BY d.scored_at DESC LIMIT %s
        """,
        (deployment.fraud_type, from_us(deployment.promoted_at_us), MOST_ROWS),
    )


def before_promotion(
    cursor: Cursor, deployment: Deployment, previous: Deployment, count: int
) -> list[SeenDecision]:
    """The last decisions of the champion before, newest first."""
    return _seen(
        cursor,
        """
        WHERE d.fraud_type = %s AND d.scored_at < %s AND d.model_version = %s
        ORDER BY d.scored_at DESC LIMIT %s
        """,
        (
            deployment.fraud_type,
            from_us(deployment.promoted_at_us),
            previous.model_version,
            count,
        ),
    )


def _seen(cursor: Cursor, condition: str, values: tuple[object, ...]) -> list[SeenDecision]:
    cursor.execute(_SEEN + condition, values)
    return [_one(row) for row in cursor.fetchall()]


def _one(row: Sequence[Any]) -> SeenDecision:
    columns: list[Any] = [*row[:8], to_us(row[8]), row[9]]
    return SeenDecision(*columns)

"""Decisions of the past, as inputs to try something on."""

from dataclasses import dataclass

from fraud.domain.event import Event, to_us
from fraud.domain.rules import RiskLevel
from fraud.ledger.statement import Cursor
from fraud.security.encryption import FieldProtection


@dataclass(frozen=True, slots=True)
class PastDecision:
    """A decision with what it was made from, and what became of it.

    Attributes:
        event: what was decided about.
        probability: the model's.
        risk_level: what was decided.
        degraded: whether no model was asked.
        scored_at_us: when, microseconds UTC.
        schema_hash: names the features.
        feature_values: little-endian float64, in the order of that schema.
        is_fraud: the last label; None without one.
    """

    event: Event
    probability: float
    risk_level: RiskLevel
    degraded: bool
    scored_at_us: int
    schema_hash: str
    feature_values: bytes
    is_fraud: bool | None


def latest_decisions(
    cursor: Cursor, fraud_type: str, count: int, protection: FieldProtection
) -> list[PastDecision]:
    """The last decisions of a fraud type, newest first, on events as they came.

    Raises:
        ProtectionError: what is sensitive of an event cannot be decrypted.
    """
    cursor.execute(
        """
        SELECT d.transaction_id, t.event_time, t.amount_minor, t.fields, d.probability,
            d.risk_level, d.degraded, d.scored_at, d.schema_hash, d.feature_values,
            (
                SELECT l.is_fraud FROM labels l WHERE l.transaction_id = d.transaction_id
                ORDER BY l.reported_at DESC, l.id DESC LIMIT 1
            ), t.sealed
        FROM decisions d JOIN transactions t USING (transaction_id)
        WHERE d.fraud_type = %s ORDER BY d.scored_at DESC, d.decision_id DESC LIMIT %s
        """,
        (fraud_type, count),
    )
    return [
        PastDecision(
            event=protection.revealed(
                Event(fraud_type, row[0], to_us(row[1]), row[2], row[3]), row[11]
            ),
            probability=row[4],
            risk_level=RiskLevel[row[5]],
            degraded=row[6],
            scored_at_us=to_us(row[7]),
            schema_hash=row[8],
            feature_values=bytes(row[9]),
            is_fraud=row[10],
        )
        for row in cursor.fetchall()
    ]

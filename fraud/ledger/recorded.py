"""Decisions exactly as they were recorded, to be recomputed and compared."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from fraud.domain.decision import Decision
from fraud.domain.errors import NotFound
from fraud.domain.event import Event, to_us
from fraud.ledger.decisions import known_transactions
from fraud.ledger.statement import Cursor


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """All that the ledger keeps of a decision.

    Attributes:
        number: place of its transaction in the growth of the ledger.
        event: what was decided about, with pseudonyms for what is sensitive.
        sealed: what is sensitive of it, encrypted.
        seq: its observation number.
        decision: what was decided.
        action: what was recommended.
        noted_probability: as the row of the transaction repeats it, four decimals.
        noted_level: likewise.
        noted_action: likewise.
        schema_hash: names the features.
        feature_values: little-endian float64, in the order of that schema.
        erasure: when its person was erased, and under which receipt; None if that never was.
        was_journalled: decided while the ledger was away, without a look at any feature.
    """

    number: int
    event: Event
    sealed: str | None
    seq: int
    decision: Decision
    action: str
    noted_probability: Decimal | None
    noted_level: str | None
    noted_action: str | None
    schema_hash: str
    feature_values: bytes
    was_journalled: bool = False
    erasure: str | None = None


def sampled_decisions(
    cursor: Cursor, count: int, seed: int, fraud_type: str | None = None
) -> list[str]:
    """Ids of decisions picked at random; the same ones for the same seed and ledger.

    Args:
        cursor: of any transaction.
        count: how many; all of them if there are fewer.
        seed: which ones.
        fraud_type: only of this one.
    """
    cursor.execute(
        """
        SELECT decision_id FROM decisions WHERE %s::text IS NULL OR fraud_type = %s
        ORDER BY md5(decision_id::text || %s), decision_id LIMIT %s
        """,
        (fraud_type, fraud_type, str(seed), count),
    )
    return [row[0] for row in cursor.fetchall()]


def recorded_decisions(cursor: Cursor, decision_ids: Sequence[str]) -> list[RecordedDecision]:
    """Decisions by id, in the order of their transactions in the ledger.

    Raises:
        NotFound: there is none of one of these ids.
    """
    wanted = {_uuid(each) for each in decision_ids}
    cursor.execute(
        """
        SELECT d.transaction_id, t.id, t.fraud_type, t.event_time, t.amount_minor, t.fields, t.seq,
            d.action, t.fraud_probability, t.risk_level, t.recommended_action, d.schema_hash,
            d.feature_values, d.degraded AND EXISTS (
                SELECT FROM audit_log a
                WHERE a.object_type = 'transaction' AND a.object_id = d.transaction_id
                    AND a.outcome = 'success' AND a.detail ->> 'reconciled' = 'true'
                    AND a.detail ->> 'decision_id' = d.decision_id::text
            ), t.sealed, e.erasure_id, e.erased_at
        FROM decisions d JOIN transactions t USING (transaction_id)
            LEFT JOIN erasures e USING (erasure_id)
        WHERE d.decision_id = ANY(%s::uuid[]) ORDER BY t.id
        """,
        (sorted(wanted),),
    )
    rows = cursor.fetchall()
    decided = known_transactions(cursor, [row[0] for row in rows]).decisions
    missing = wanted - {each.decision.decision_id for each in decided.values()}
    if missing:
        raise _unknown(min(missing))
    return [
        RecordedDecision(
            number=row[1],
            event=Event(row[2], row[0], to_us(row[3]), row[4], row[5]),
            sealed=row[14],
            seq=row[6],
            decision=decided[row[0]].decision,
            action=row[7],
            noted_probability=row[8],
            noted_level=row[9],
            noted_action=row[10],
            schema_hash=row[11],
            feature_values=bytes(row[12]),
            was_journalled=row[13],
            erasure=None if row[15] is None else f"on {row[16]:%Y-%m-%d}, receipt {row[15]}",
        )
        for row in rows
    ]


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise _unknown(text) from None


def _unknown(decision_id: str) -> NotFound:
    return NotFound(
        f"There is no decision {decision_id!r}.",
        remedy="Give the decision_id that the answer to the request named.",
    )

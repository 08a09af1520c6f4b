"""Decisions as the ledger keeps them, found by id, by time or by what was decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fraud.domain.errors import NotFound
from fraud.domain.event import Event, from_us, to_us
from fraud.ledger.statement import Cursor


@dataclass(frozen=True, slots=True)
class DecisionSummary:
    """A decision in a list; times in microseconds UTC, money in minor units."""

    decision_id: str
    transaction_id: str
    fraud_type: str
    user_id: str | None
    amount_minor: int
    probability: float
    risk_level: str
    action: str
    rules: Sequence[str]
    degraded: bool
    scored_at_us: int


@dataclass(frozen=True, slots=True)
class ArchivedDecision:
    """A decision with all it was made from.

    Attributes:
        summary: what was decided.
        observed_at_us: when we saw it.
        seq: its observation number.
        event: what was decided about, with pseudonyms for what is sensitive.
        sealed: what is sensitive of it, encrypted.
        reasons: as answered.
        shadow_rules: codes of shadow rules that held.
        schema_hash: names the features.
        feature_values: little-endian float64, in the order of that schema.
        versions: what decided, by kind.
        actor: whose request it was.
        labels: verdicts since, oldest first.
    """

    summary: DecisionSummary
    event: Event
    sealed: str | None
    observed_at_us: int
    seq: int
    reasons: Sequence[Mapping[str, Any]]
    shadow_rules: Sequence[str]
    schema_hash: str
    feature_values: bytes
    versions: Mapping[str, Any]
    actor: str
    labels: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Search:
    """What decisions are looked for; None does not narrow.

    Attributes:
        fraud_type: whose.
        from_us: made at or after.
        until_us: made before.
        risk_level: exactly.
        user_id: of this user.
        transaction_id: of this transaction.
        after: time and id of the last one seen; the next are older.
    """

    fraud_type: str
    from_us: int | None = None
    until_us: int | None = None
    risk_level: str | None = None
    user_id: str | None = None
    transaction_id: str | None = None
    after: tuple[int, str] | None = None


_SUMMARY = """
    d.decision_id, d.transaction_id, d.fraud_type, t.user_id, t.amount_minor, d.probability,
    d.risk_level, d.action, d.rules, d.degraded, d.scored_at
"""


def search_decisions(cursor: Cursor, search: Search, limit: int) -> list[DecisionSummary]:
    """Decisions, newest first."""
    conditions = ["d.fraud_type = %s"]
    values: list[object] = [search.fraud_type]
    narrowing = (
        ("d.scored_at >= %s", search.from_us and from_us(search.from_us)),
        ("d.scored_at < %s", search.until_us and from_us(search.until_us)),
        ("d.risk_level = %s", search.risk_level),
        ("t.user_id = %s", search.user_id),
        ("d.transaction_id = %s", search.transaction_id),
    )
    for condition, value in narrowing:
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if search.after is not None:
        conditions.append("(d.scored_at, d.decision_id) < (%s, %s::uuid)")
        values += [from_us(search.after[0]), search.after[1]]
    cursor.execute(
        f"""
        SELECT {_SUMMARY} FROM decisions d JOIN transactions t USING (transaction_id)
        WHERE {" AND ".join(conditions)}
        ORDER BY d.scored_at DESC, d.decision_id DESC LIMIT %s
        """,
        (*values, limit),
    )
    return [_summary(row) for row in cursor.fetchall()]


def decision_by_id(cursor: Cursor, decision_id: str) -> ArchivedDecision:
    """One decision.

    Raises:
        NotFound: there is none of this id.
    """
    return _one(cursor, "d.decision_id = %s::uuid", decision_id)


def decision_of(cursor: Cursor, transaction_id: str) -> ArchivedDecision:
    """The decision about a transaction.

    Raises:
        NotFound: none was made.
    """
    return _one(cursor, "d.transaction_id = %s", transaction_id)


def _one(cursor: Cursor, condition: str, value: str) -> ArchivedDecision:
    cursor.execute(
        f"""
        SELECT {_SUMMARY}, t.event_time, t.observed_at, t.seq, t.fields, d.reasons,
            d.shadow_rules, d.schema_hash, d.feature_values, d.model_version, d.policy_version,
            d.rules_version, d.lists_version, d.actor, t.sealed
        FROM decisions d JOIN transactions t USING (transaction_id) WHERE {condition}
        """,
        (value,),
    )
    rows = cursor.fetchall()
    if not rows:
        raise NotFound(
            f"There is no decision {value!r}.", remedy="GET /decisions searches for decisions."
        )
    row = rows[0]
    return ArchivedDecision(
        summary=_summary(row[:11]),
        event=Event(row[2], row[1], to_us(row[11]), row[4], row[14]),
        sealed=row[24],
        observed_at_us=to_us(row[12]),
        seq=row[13],
        reasons=row[15],
        shadow_rules=row[16],
        schema_hash=row[17],
        feature_values=bytes(row[18]),
        versions={"model": row[19], "policy": row[20], "rules": row[21], "lists": row[22]},
        actor=row[23],
        labels=_labels(cursor, row[1]),
    )


def _labels(cursor: Cursor, transaction_id: str) -> list[dict[str, Any]]:
    cursor.execute(
        """
        SELECT is_fraud, source, reported_at FROM labels WHERE transaction_id = %s
        ORDER BY reported_at, id
        """,
        (transaction_id,),
    )
    return [
        {"is_fraud": row[0], "source": row[1], "reported_at": row[2]} for row in cursor.fetchall()
    ]


def _summary(row: Sequence[Any]) -> DecisionSummary:
    columns: list[Any] = [*row[:10], to_us(row[10])]
    return DecisionSummary(*columns)

"""Decisions in the ledger: looked up and written in a few round trips per batch.

A batch is one statement text with one JSON parameter, taken apart by the server: what costs
time here is round trips and per-row work in Python, and both stay flat this way.
"""

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import orjson

from fraud.domain.decision import Decision, Reason, reply_json
from fraud.domain.event import Event, to_us
from fraud.domain.rules import RiskLevel
from fraud.ledger.outbox import RESULTS_TOPIC
from fraud.ledger.statement import Cursor, Statement, answer


class DecisionRecord(NamedTuple):
    """Everything the ledger keeps of one scored event.

    Attributes:
        event: what was decided about, with pseudonyms for what is sensitive.
        sealed: what is sensitive of it, encrypted; None where nothing is.
        subject: whose case it is; outbox messages about one subject keep their order.
        seq: its observation number.
        observed_at_us: when we saw it, microseconds UTC.
        body_digest: keyed hash of what was sent, to tell a repetition from a conflict.
        decision: the answer.
        feature_values: little-endian float64 in the order of the feature schema.
        schema_hash: names that feature schema.
        actor: whose request it was.
    """

    event: Event
    sealed: str | None
    subject: str
    seq: int
    observed_at_us: int
    body_digest: bytes
    decision: Decision
    feature_values: bytes
    schema_hash: str
    actor: str


@dataclass(frozen=True, slots=True)
class KnownDecision:
    """An earlier decision, and the keyed hash of the body it answered."""

    body_digest: bytes
    decision: Decision


class KnownTransactions(NamedTuple):
    """What the ledger knows of some transactions.

    Attributes:
        decisions: by transaction_id; they say what was answered then, `is_replayed` is False.
        label_numbers: the highest observation number of the labels, by transaction_id.
    """

    decisions: dict[str, KnownDecision]
    label_numbers: dict[str, int]


_KNOWN = Statement(
    "known_transactions",
    ("varchar[]",),
    """
    SELECT NULL::bigint AS seq, transaction_id, t.body_digest, d.decision_id, d.fraud_type,
        d.probability, d.risk_level, d.reasons, d.rules, d.model_version, d.policy_version,
        d.degraded, d.scored_at, d.shadow_rules, d.rules_version, d.lists_version, d.propensity,
        d.action
    FROM decisions d JOIN transactions t USING (transaction_id)
    WHERE d.transaction_id = ANY($1)
    UNION ALL
    SELECT seq, transaction_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL
    FROM labels WHERE transaction_id = ANY($1)
    """,
)
"""Decisions and labels as rows of one answer: most transactions have neither."""


def known_transactions(cursor: Cursor, transaction_ids: Sequence[str]) -> KnownTransactions:
    """The decisions and labels there are about these transactions; one round trip."""
    return ask_known_transactions(cursor, transaction_ids)()


def ask_known_transactions(
    cursor: Cursor, transaction_ids: Sequence[str]
) -> Callable[[], KnownTransactions]:
    """`known_transactions` for later: what a pipeline is given next travels along."""
    _KNOWN.execute(cursor, (list(transaction_ids),))
    rows = answer(cursor)
    return lambda: _known(rows())


def _known(rows: Sequence[tuple[Any, ...]]) -> KnownTransactions:
    known = KnownTransactions({}, {})
    for seq, transaction_id, body_digest, *decided in rows:
        if seq is not None:
            last = known.label_numbers.get(transaction_id, seq)
            known.label_numbers[transaction_id] = max(last, seq)
        else:
            decision = _decision(transaction_id, decided)
            known.decisions[transaction_id] = KnownDecision(bytes(body_digest), decision)
    return known


def _decision(transaction_id: str, row: Sequence[Any]) -> Decision:
    return Decision(
        transaction_id=transaction_id,
        decision_id=row[0],
        fraud_type=row[1],
        fraud_probability=row[2],
        risk_level=RiskLevel[row[3]],
        reasons=tuple(
            Reason(
                code=each["code"],
                text=each["text"],
                feature=each["feature"],
                value=float(each["value"]),  # JSON knows no difference between 1 and 1.0
                contribution=float(each["contribution"]),
            )
            for each in row[4]
        ),
        rules=tuple(row[5]),
        model_version=row[6],
        policy_version=row[7],
        degraded=row[8],
        scored_at_us=to_us(row[9]),
        shadow_rules=tuple(row[10]),
        rules_version=row[11],
        lists_version=row[12],
        propensity=row[13],
        is_let_through=row[13] is not None and row[14] == "approve",
    )


_INSERT = Statement(
    "insert_decisions",
    ("jsonb", "text"),
    """
    WITH batch AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset($1::jsonb) AS record (
            event_time_us bigint, amount numeric, seq bigint, observed_at_us bigint,
            amount_minor bigint, body_digest text, fields jsonb, sealed text, reply jsonb,
            feature_values text, schema_hash text, actor text, outbox_key text,
            rules_version bigint, lists_version bigint, shadow_rules jsonb, role text,
            deployment_id bigint, shadow jsonb, propensity float8
        )
    ), new_transactions AS (
        INSERT INTO transactions (
            transaction_id, timestamp, amount, user_id, merchant_id, merchant_category,
            fraud_probability, risk_level, recommended_action, fraud_type, seq, observed_at,
            amount_minor, body_digest, fields, sealed
        )
        SELECT
            reply->>'transaction_id',
            timestamp 'epoch' + event_time_us * interval '1 microsecond', amount,
            fields->>'user_id',
            fields->>'merchant_id', fields->>'merchant_category',
            (reply->>'fraud_probability')::numeric, reply->>'risk_level',
            reply->>'recommended_action', reply->>'fraud_type', seq,
            timestamptz 'epoch' + observed_at_us * interval '1 microsecond', amount_minor,
            decode(body_digest, 'base64'), fields, sealed
        FROM batch
    ), new_decisions AS (
        INSERT INTO decisions (
            decision_id, transaction_id, fraud_type, probability, risk_level, action, reasons,
            rules, model_version, policy_version, schema_hash, feature_values, degraded,
            scored_at, actor, rules_version, lists_version, shadow_rules, role, deployment_id,
            shadow, propensity
        )
        SELECT
            (reply->>'decision_id')::uuid, reply->>'transaction_id', reply->>'fraud_type',
            (reply->>'fraud_probability')::float8, reply->>'risk_level',
            reply->>'recommended_action', reply->'reasons', reply->'rules',
            reply->>'model_version', reply->>'policy_version', schema_hash,
            decode(feature_values, 'base64'), (reply->>'degraded')::boolean,
            (reply->>'scored_at')::timestamptz, actor, rules_version, lists_version, shadow_rules,
            role, deployment_id, shadow, propensity
        FROM batch
    )
    INSERT INTO outbox (topic, key, payload)
    SELECT $2, outbox_key, reply FROM batch
    """,
)

_INSERT_ALERTS = Statement(
    "insert_alerts",
    ("jsonb",),
    """
    WITH batch AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset($1::jsonb) AS record (
            case_id uuid, transaction_id text, fraud_type text, alert_type text, severity text,
            description text, money_at_risk bigint
        )
    ), new_alerts AS (
        INSERT INTO fraud_alerts (transaction_id, alert_type, severity, description, fraud_type)
        SELECT transaction_id, alert_type, severity, description, fraud_type FROM batch
    )
    INSERT INTO cases (case_id, transaction_id, fraud_type, priority)
    SELECT case_id, transaction_id, fraud_type, money_at_risk FROM batch
    """,
)
"""A statement of its own, since most batches have no alert, and every table costs its opening."""


def insert_decisions(cursor: Cursor, records: Sequence[DecisionRecord]) -> None:
    """Write transactions, decisions, alerts and cases (above LOW) and outbox messages.

    A case has the id of its decision.

    Raises:
        psycopg2.errors.UniqueViolation: a transaction_id was decided already, or an observation
            number taken; nothing is written.
        ValueError: a number is NaN or infinite.
    """
    if records:
        _check_numbers(records)
        batch = orjson.dumps([_parameters(record) for record in records])
        _INSERT.execute(cursor, (batch.decode(), RESULTS_TOPIC))
        alerts = [_alert(each) for each in records if each.decision.risk_level > RiskLevel.LOW]
        if alerts:
            _INSERT_ALERTS.execute(cursor, (orjson.dumps(alerts).decode(),))


def _check_numbers(records: Sequence[DecisionRecord]) -> None:
    """Orjson would write null for them."""
    for record in records:
        reasons = record.decision.reasons
        numbers = [record.decision.fraud_probability]
        numbers += [each for reason in reasons for each in (reason.value, reason.contribution)]
        numbers += [each for each in record.event.fields.values() if isinstance(each, float)]
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"{record.event.transaction_id} has a number that is not finite")


def _parameters(record: DecisionRecord) -> dict[str, object]:
    event, decision = record.event, record.decision
    parameters: dict[str, object] = {
        "event_time_us": event.event_time_us,
        "amount": f"{event.amount_minor // 100}.{event.amount_minor % 100:02}",
        "seq": record.seq,
        "observed_at_us": record.observed_at_us,
        "amount_minor": event.amount_minor,
        "body_digest": base64.b64encode(record.body_digest).decode(),
        "fields": dict(event.fields),
        "sealed": record.sealed,
        "reply": orjson.Fragment(reply_json(decision, orjson.dumps)),
        "feature_values": base64.b64encode(record.feature_values).decode(),
        "schema_hash": record.schema_hash,
        "actor": record.actor,
        "rules_version": decision.rules_version,
        "lists_version": decision.lists_version,
        "shadow_rules": decision.shadow_rules,
        "outbox_key": record.subject,
        "role": decision.role,
        "deployment_id": decision.deployment_id,
    }
    if decision.shadow is not None:
        parameters["shadow"] = asdict(decision.shadow)
    if decision.propensity is not None:
        parameters["propensity"] = decision.propensity
    return parameters


def _alert(record: DecisionRecord) -> dict[str, object]:
    """An alert and its case; the case has the id of the decision."""
    decision = record.decision
    return {
        "case_id": decision.decision_id,
        "transaction_id": decision.transaction_id,
        "fraud_type": decision.fraud_type,
        "alert_type": decision.rules[0] if decision.rules else "MODEL_SCORE",
        "severity": decision.risk_level.name,
        "description": _description(decision),
        "money_at_risk": round(decision.fraud_probability * record.event.amount_minor),
    }


def _description(decision: Decision) -> str:
    why = " ".join(reason.text for reason in decision.reasons) or ", ".join(decision.rules)
    what = f"{decision.recommended_action} at probability {decision.fraud_probability:.4f}"
    return f"{what}: {why}" if why else what

"""What the ledger keeps: the tables, as SQLAlchemy Core metadata.

`transactions`, `fraud_alerts` and `model_performance` have every column of the integration
guide under its name and type; their TIMESTAMP columns are in UTC. Tables are made by the
migrations, never from this metadata; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    Numeric,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB, UUID

import fraud.ledger.deployment_tables
import fraud.ledger.erasure_requests
import fraud.ledger.erasures
import fraud.ledger.materialisations
import fraud.ledger.measurements
import fraud.ledger.outbox_tables
import fraud.ledger.pass_through
import fraud.ledger.ruleset_tables  # noqa: F401 - they belong to the same metadata
from fraud.ledger.columns import (
    EMPTY_LIST,
    EMPTY_OBJECT,
    GROWING,
    NOW,
    UTC_NOW,
    Moment,
    TransactionId,
    fraud_type,
    metadata,
    row_id,
)

transactions = Table(
    "transactions",
    metadata,
    row_id(),
    Column("transaction_id", TransactionId, nullable=False, unique=True),
    Column("timestamp", DateTime, nullable=False, comment="When it happened, UTC."),
    Column("amount", Numeric(10, 2), nullable=False, comment="Major units."),
    Column("user_id", String(50)),
    Column("merchant_id", String(50)),
    Column("merchant_category", String(100)),
    Column("fraud_probability", Numeric(5, 4)),
    Column("risk_level", String(20)),
    Column("recommended_action", String(50)),
    Column("created_at", DateTime, server_default=UTC_NOW),
    fraud_type(),
    Column(
        "event_time",
        Moment,
        Computed("timestamp AT TIME ZONE 'UTC'", persisted=True),
        nullable=False,
        comment="`timestamp` as an instant.",
    ),
    Column("seq", BigInteger, nullable=False, comment="Observation number in its log."),
    Column("observed_at", Moment, nullable=False, comment="When we saw it."),
    Column("amount_minor", BigInteger, nullable=False, comment="Minor units."),
    Column("body_digest", LargeBinary, nullable=False, comment="Keyed hash of what was sent."),
    Column(
        "fields",
        JSONB,
        nullable=False,
        comment="The fraud type's own fields; pseudonyms of those that are sensitive.",
    ),
    Column(
        "sealed",
        Text,
        comment="What is sensitive of the fields, encrypted for this row: key, colon, token.",
    ),
    Column(
        "erasure_id",
        UUID(as_uuid=False),
        comment="The erasure that took the person out of this row; null for none.",
    ),
    CheckConstraint(
        "fraud_type <> 'credit_card' OR (user_id IS NOT NULL AND merchant_id IS NOT NULL)",
        name="card_has_parties",
    ),
    Index("uq_transactions_fraud_type_seq", "fraud_type", "seq", unique=True),
    Index("ix_transactions_user_id_timestamp", "user_id", "timestamp"),
    postgresql_with=GROWING,
)

decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", UUID(as_uuid=False), primary_key=True),
    Column(
        "transaction_id",
        TransactionId,
        ForeignKey("transactions.transaction_id"),
        nullable=False,
        unique=True,
    ),
    fraud_type(),
    Column("probability", Double, nullable=False),
    Column("risk_level", String(20), nullable=False),
    Column("action", String(20), nullable=False),
    Column("reasons", JSONB, nullable=False),
    Column("rules", JSONB, nullable=False),
    Column("model_version", String(100), nullable=False),
    Column("policy_version", String(100), nullable=False),
    Column("schema_hash", String(64), nullable=False),
    Column(
        "feature_values",
        LargeBinary,
        nullable=False,
        comment="Little-endian float64, in the order of the feature schema.",
    ),
    Column("degraded", Boolean, nullable=False),
    Column("scored_at", Moment, nullable=False),
    Column("actor", Text, nullable=False, comment="Whose request it was."),
    Column(
        "rules_version",
        BigInteger,
        nullable=False,
        server_default=text("'0'"),
        comment="Revision of the rules that decided.",
    ),
    Column(
        "lists_version",
        BigInteger,
        nullable=False,
        server_default=text("'0'"),
        comment="Revision of the lists that decided.",
    ),
    Column(
        "shadow_rules",
        JSONB,
        nullable=False,
        server_default=EMPTY_LIST,
        comment="Codes of shadow rules that held.",
    ),
    Column(
        "role",
        String(10),
        nullable=False,
        server_default="champion",
        comment="As what its model answered.",
    ),
    Column("deployment_id", BigInteger, comment="Under which step of that model."),
    Column(
        "shadow",
        JSONB,
        comment="What the model said that did not answer; null without a challenge.",
    ),
    Column(
        "propensity",
        Double,
        comment="Chance of a decision to block to be let through; null where it had to stay.",
    ),
    Index("ix_decisions_fraud_type_scored_at", "fraud_type", "scored_at"),
    Index(
        "ix_decisions_propensity_scored_at",
        "scored_at",
        postgresql_where=text("propensity IS NOT NULL"),
    ),
    Index("ix_decisions_degraded_scored_at", "scored_at", postgresql_where=text("degraded")),
    postgresql_with=GROWING,
)

fraud_alerts = Table(
    "fraud_alerts",
    metadata,
    row_id(),
    Column("transaction_id", TransactionId, ForeignKey("transactions.transaction_id")),
    Column("alert_type", String(50), nullable=False),
    Column("severity", String(20), nullable=False),
    Column("description", Text),
    Column("status", String(20), server_default="open"),
    Column("created_at", DateTime, server_default=UTC_NOW),
    fraud_type(),
    Index("ix_fraud_alerts_transaction_id", "transaction_id"),
    Index("ix_fraud_alerts_status_created_at", "status", "created_at"),
)

model_performance = Table(
    "model_performance",
    metadata,
    row_id(),
    Column("model_type", String(50), nullable=False),
    fraud_type(),
    Column("accuracy", Numeric(5, 4)),
    Column("roc_auc", Numeric(5, 4)),
    Column("training_date", DateTime),
    Column("created_at", DateTime, server_default=UTC_NOW),
    Column("model_version", String(100)),
    Column("mlflow_run_id", String(64)),
    Column("metrics", JSONB, nullable=False, server_default=EMPTY_OBJECT),
    Index("ix_model_performance_fraud_type_training_date", "fraud_type", "training_date"),
)

labels = Table(
    "labels",
    metadata,
    row_id(),
    Column("transaction_id", TransactionId, nullable=False),
    fraud_type(),
    Column("is_fraud", Boolean, nullable=False),
    Column("reported_at", Moment, nullable=False),
    Column("source", String(30), nullable=False),
    Column("seq", BigInteger, nullable=False, comment="Observation number in its log."),
    Column("received_at", Moment, nullable=False, comment="When we saw it."),
    Index(
        "uq_labels_transaction_id_source_reported_at",
        "transaction_id",
        "source",
        "reported_at",
        unique=True,
    ),
    Index("ix_labels_fraud_type_reported_at", "fraud_type", "reported_at"),
    Index("uq_labels_fraud_type_seq", "fraud_type", "seq", unique=True),
)

cases = Table(
    "cases",
    metadata,
    Column("case_id", UUID(as_uuid=False), primary_key=True),
    Column(
        "transaction_id",
        TransactionId,
        ForeignKey("transactions.transaction_id"),
        nullable=False,
        unique=True,
    ),
    fraud_type(),
    Column("status", String(20), nullable=False, server_default="open"),
    Column(
        "priority",
        BigInteger,
        nullable=False,
        server_default=text("'0'"),
        comment="Money at risk, minor units.",
    ),
    Column("assignee", Text),
    Column("verdict", String(20)),
    Column("notes", JSONB, nullable=False, server_default=EMPTY_LIST),
    Column("opened_at", Moment, nullable=False, server_default=NOW),
    Column("closed_at", Moment),
    Index("ix_cases_status_priority_case_id", "status", text("priority DESC"), "case_id"),
    Index("ix_cases_assignee_status", "assignee", "status"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("chain", String(100, collation="C"), primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("recorded_at", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(100), nullable=False),
    Column("outcome", String(10), nullable=False),
    Column("origin", Text, nullable=False, comment="Where the caller called from."),
    Column("object_type", String(50), nullable=False),
    Column("object_id", Text, nullable=False),
    Column("detail", JSON, nullable=False, comment="JSON, kept to the letter: it is hashed."),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    CheckConstraint("outcome IN ('success', 'failure')", name="outcome"),
    CheckConstraint("position >= 1", name="position"),
    Index("ix_audit_log_object_type_object_id", "object_type", "object_id"),
    Index("ix_audit_log_actor_recorded_at", "actor", "recorded_at"),
    Index("ix_audit_log_recorded_at", "recorded_at", postgresql_using="brin"),
    postgresql_with=GROWING,
)

audit_anchor = Table(
    "audit_anchor",
    metadata,
    Column("chain", String(100, collation="C"), primary_key=True),
    Column("position", BigInteger, nullable=False, comment="The last record's; 0 for none."),
    Column("hash", LargeBinary, nullable=False, comment="The last record's hash."),
    Column("updated_at", Moment, nullable=False),
    postgresql_with={"fillfactor": 20},
)

entity_state = Table(
    "entity_state",
    metadata,
    Column("key", Text(collation="C"), primary_key=True),
    fraud_type(),
    Column("state", LargeBinary, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    postgresql_with={
        "fillfactor": 70,
        "autovacuum_vacuum_scale_factor": 0.05,
        "toast_tuple_target": 8160,
        "autovacuum_analyze_threshold": 1_000_000,
        "autovacuum_analyze_scale_factor": 1,
    },
)
"""Every scoring transaction reads and replaces whole states, so a state stays in its row:
kept in chunks of 2 kB elsewhere, it would cost the server four updates instead of one."""

quarantine = Table(
    "quarantine",
    metadata,
    row_id(),
    fraud_type(),
    Column("source", Text, nullable=False),
    Column("row_number", BigInteger, nullable=False),
    Column("raw", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    Column("quarantined_at", Moment, nullable=False, server_default=NOW),
    Column("ingest_id", String(64), nullable=False),
    Index(
        "uq_quarantine_ingest_id_source_row_number",
        "ingest_id",
        "source",
        "row_number",
        unique=True,
    ),
    Index("ix_quarantine_fraud_type_quarantined_at", "fraud_type", "quarantined_at"),
)

feature_schemas = Table(
    "feature_schemas",
    metadata,
    Column("schema_hash", String(64), primary_key=True),
    fraud_type(),
    Column("feature_names", JSONB, nullable=False),
    Column("definition", JSONB, nullable=False),
    Column("created_at", Moment, nullable=False, server_default=NOW),
)

token_revocations = Table(
    "token_revocations",
    metadata,
    row_id(),
    Column("kind", String(10), nullable=False),
    Column("value", Text, nullable=False, comment="The jti, or the subject."),
    Column("revoked_at", Moment, nullable=False),
    Column("expires_at", Moment, comment="When the token ends by itself; null where unknown."),
    Column("revoked_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    CheckConstraint("kind IN ('token', 'subject')", name="kind"),
)

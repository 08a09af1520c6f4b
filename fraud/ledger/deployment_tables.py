"""The ledger's tables about models: who served when, and who asked for it."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Double, Index, String, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from fraud.ledger.columns import EMPTY_LIST, Moment, fraud_type, metadata, row_id

deployments = Table(
    "deployments",
    metadata,
    row_id(),
    fraud_type(),
    Column("model_version", String(100), nullable=False),
    Column("bundle_path", Text, nullable=False),
    Column("bundle_digest", String(64), nullable=False),
    Column("stage", String(20), nullable=False),
    Column("promoted_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("promoted_at", Moment, nullable=False),
    Column("mlflow_run_id", String(64)),
    Column("move", String(10), nullable=False, server_default="promote"),
    Column(
        "share",
        Double,
        nullable=False,
        server_default=text("'0'"),
        comment="Of the subjects that a canary answers for.",
    ),
    Column(
        "gates",
        JSONB,
        nullable=False,
        server_default=EMPTY_LIST,
        comment="What was measured for this step.",
    ),
    Column("approved_by", Text, comment="The second person, where one was needed."),
    CheckConstraint("stage IN ('shadow', 'canary', 'champion', 'withdrawn')", name="stage"),
    CheckConstraint("move IN ('promote', 'rollback')", name="move"),
    CheckConstraint("share BETWEEN 0 AND 1", name="share"),
    Index("ix_deployments_promoted_at", "promoted_at"),
    Index("ix_deployments_fraud_type_stage_id", "fraud_type", "stage", "id"),
)

promotion_requests = Table(
    "promotion_requests",
    metadata,
    row_id(),
    fraud_type(),
    Column("model_version", String(100), nullable=False),
    Column("bundle_digest", String(64), nullable=False),
    Column("stage", String(20), nullable=False),
    Column("share", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", Moment, nullable=False),
    Column(
        "deployment_id",
        BigInteger,
        comment="The step that was taken; null while it waits for a second person.",
    ),
)

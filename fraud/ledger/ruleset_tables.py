"""Tables of rules, lists and policies: their whole history, by revision."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from fraud.ledger.columns import Moment, fraud_type, metadata, row_id

CURRENT = text("to_revision IS NULL")


def _from() -> Column[int]:
    return Column(
        "from_revision", BigInteger, ForeignKey("ruleset_revisions.revision"), nullable=False
    )


def _until() -> Column[int]:
    return Column(
        "to_revision",
        BigInteger,
        ForeignKey("ruleset_revisions.revision"),
        comment="The first revision it no longer counts in.",
    )


ruleset_revisions = Table(
    "ruleset_revisions",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    fraud_type(),
    Column("part", String(10), nullable=False),
    Column("change", Text, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("changed_at", Moment, nullable=False),
    CheckConstraint("part IN ('rules', 'lists', 'policy')", name="part"),
    Index("ix_ruleset_revisions_fraud_type_part_revision", "fraud_type", "part", "revision"),
)

rules = Table(
    "rules",
    metadata,
    row_id(),
    fraud_type(),
    Column("code", String(50), nullable=False),
    Column("version", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("level", String(20), nullable=False),
    Column("expression", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("fraud_type", "code", "version"),
)

rule_states = Table(
    "rule_states",
    metadata,
    row_id(),
    Column("rule_id", BigInteger, ForeignKey("rules.id"), nullable=False, index=True),
    Column("state", String(10), nullable=False),
    _from(),
    _until(),
    CheckConstraint("state IN ('draft', 'shadow', 'active', 'retired')", name="state"),
    Index("uq_rule_states_current", "rule_id", unique=True, postgresql_where=CURRENT),
)

lists = Table(
    "lists",
    metadata,
    row_id(),
    fraud_type(),
    Column("name", String(50), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("field", String(50), nullable=False),
    Column("description", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    _from(),
    CheckConstraint("kind IN ('allow', 'deny', 'reference')", name="kind"),
    UniqueConstraint("fraud_type", "name"),
)

list_entries = Table(
    "list_entries",
    metadata,
    row_id(),
    Column("list_id", BigInteger, ForeignKey("lists.id"), nullable=False),
    Column("value", Text(collation="C"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("expires_at", Moment),
    Column("added_by", Text, nullable=False),
    Column("added_at", Moment, nullable=False),
    Column("removed_by", Text),
    _from(),
    _until(),
    Index("uq_list_entries_current", "list_id", "value", unique=True, postgresql_where=CURRENT),
    Index("ix_list_entries_list_id_value", "list_id", "value"),
)

policies = Table(
    "policies",
    metadata,
    row_id(),
    fraud_type(),
    Column("version", String(100), nullable=False),
    Column("thresholds", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("pass_through", JSONB, comment="How much is let through at random; null for nothing."),
    UniqueConstraint("fraud_type", "version"),
)

policy_periods = Table(
    "policy_periods",
    metadata,
    row_id(),
    Column("policy_id", BigInteger, ForeignKey("policies.id"), nullable=False, index=True),
    _from(),
    _until(),
)

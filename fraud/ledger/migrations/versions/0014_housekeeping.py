"""Vacuum and analyze what scoring writes to when much has come, not at every tenth more.

Revision ID: 0014
Revises: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_GROWING = ("transactions", "decisions", "outbox", "audit_log")


def upgrade() -> None:
    for table in _GROWING:
        op.execute(
            f"ALTER TABLE {table} SET (autovacuum_vacuum_insert_threshold = 250000, "
            "autovacuum_analyze_threshold = 250000)"
        )
    op.execute(
        "ALTER TABLE entity_state SET (autovacuum_analyze_threshold = 1000000, "
        "autovacuum_analyze_scale_factor = 1)"
    )


def downgrade() -> None:
    for table in _GROWING:
        op.execute(
            f"ALTER TABLE {table} "
            "RESET (autovacuum_vacuum_insert_threshold, autovacuum_analyze_threshold)"
        )
    op.execute(
        "ALTER TABLE entity_state "
        "RESET (autovacuum_analyze_threshold, autovacuum_analyze_scale_factor)"
    )

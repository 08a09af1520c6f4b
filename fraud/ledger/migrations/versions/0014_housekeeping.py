"""Vacuum and analyze what scoring writes to when much has come, not at every tenth more.

Revision ID: 0014
Revises: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_GROWING = {"autovacuum_vacuum_insert_threshold": 250_000, "autovacuum_analyze_threshold": 250_000}

_OPTIONS = {
    **dict.fromkeys(("transactions", "decisions", "outbox", "audit_log"), _GROWING),
    "entity_state": {
        "autovacuum_analyze_threshold": 1_000_000,
        "autovacuum_analyze_scale_factor": 1,
    },
}


def upgrade() -> None:
    for table, options in _OPTIONS.items():
        values = ", ".join(f"{name} = {value}" for name, value in options.items())
        op.execute(f"ALTER TABLE {table} SET ({values})")


def downgrade() -> None:
    for table, options in _OPTIONS.items():
        op.execute(f"ALTER TABLE {table} RESET ({', '.join(options)})")

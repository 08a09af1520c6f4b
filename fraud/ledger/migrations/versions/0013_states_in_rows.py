"""Keep entity states in their rows, not in chunks of a table beside it.

Revision ID: 0013
Revises: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rows change as they are next written: by scoring, or all of them by materialising."""
    op.execute("ALTER TABLE entity_state SET (toast_tuple_target = 8160)")


def downgrade() -> None:
    op.execute("ALTER TABLE entity_state RESET (toast_tuple_target)")

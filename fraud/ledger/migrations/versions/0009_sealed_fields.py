"""Sensitive fields: encrypted for their row, and pseudonyms of them among the others.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        """
        ALTER TABLE transactions ADD COLUMN sealed TEXT;
        COMMENT ON COLUMN transactions.sealed IS
            'What is sensitive of the fields, encrypted for this row: key, colon, token.';
        COMMENT ON COLUMN transactions.fields IS
            'The fraud type''s own fields; pseudonyms of those that are sensitive.';
        COMMENT ON COLUMN transactions.body_digest IS 'Keyed hash of what was sent.';
        """
    )


def downgrade() -> None:
    op.drop_column("transactions", "sealed")

"""Which database cluster a sink's progress belongs to.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        """
        ALTER TABLE outbox_sinks ADD COLUMN cluster BIGINT;
        COMMENT ON COLUMN outbox_sinks.cluster IS
            'System identifier of the cluster whose transactions the snapshots name.';
        """
    )


def downgrade() -> None:
    op.drop_column("outbox_sinks", "cluster")

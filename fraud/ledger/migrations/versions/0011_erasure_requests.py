"""Requests to erase a person, until somebody carries them out.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        """
        CREATE TABLE erasure_requests (
            request_id UUID NOT NULL,
            sealed TEXT,
            reason TEXT NOT NULL,
            requested_by TEXT NOT NULL,
            requested_at TIMESTAMP WITH TIME ZONE NOT NULL,
            erasure_id UUID,
            CONSTRAINT pk_erasure_requests PRIMARY KEY (request_id)
        );
        COMMENT ON COLUMN erasure_requests.sealed IS
            'Whose data, encrypted; null once it was erased.';
        COMMENT ON COLUMN erasure_requests.erasure_id IS 'What carried it out; null until then.';
        """
    )


def downgrade() -> None:
    op.drop_table("erasure_requests")

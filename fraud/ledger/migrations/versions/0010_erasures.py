"""Erasures of persons: what was asked, what was done, and which rows it left without anybody.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        """
        CREATE TABLE erasures (
            erasure_id UUID NOT NULL,
            subject_hash BYTEA NOT NULL,
            requested_by TEXT NOT NULL,
            reason TEXT NOT NULL,
            requested_at TIMESTAMP WITH TIME ZONE NOT NULL,
            salt BYTEA,
            erased_at TIMESTAMP WITH TIME ZONE,
            receipt JSONB,
            CONSTRAINT pk_erasures PRIMARY KEY (erasure_id)
        );
        CREATE INDEX ix_erasures_subject_hash ON erasures (subject_hash);
        COMMENT ON COLUMN erasures.subject_hash IS 'Keyed hash of whose data was erased.';
        COMMENT ON COLUMN erasures.salt IS
            'What tombstones are made with; null once all of them are set.';
        COMMENT ON COLUMN erasures.receipt IS 'What was found and erased, as counts.';
        ALTER TABLE transactions ADD COLUMN erasure_id UUID;
        COMMENT ON COLUMN transactions.erasure_id IS
            'The erasure that took the person out of this row; null for none.';
        """
    )


def downgrade() -> None:
    op.drop_column("transactions", "erasure_id")
    op.drop_table("erasures")

"""What the relay needs: who wrote a message, how far each sink is, and what was refused.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        """
        ALTER TABLE outbox DROP COLUMN sent_at;
        ALTER TABLE outbox ADD COLUMN xid XID8 DEFAULT pg_current_xact_id() NOT NULL;
        CREATE INDEX ix_outbox_xid ON outbox (xid);
        COMMENT ON COLUMN outbox.xid IS 'The transaction that wrote it.';

        CREATE TABLE outbox_sinks (
            sink VARCHAR(100) NOT NULL,
            delivered PG_SNAPSHOT DEFAULT '1:1:'::pg_snapshot NOT NULL,
            target PG_SNAPSHOT,
            last_id BIGINT DEFAULT '0' NOT NULL,
            failure TEXT,
            failing_since TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_outbox_sinks PRIMARY KEY (sink)
        ) WITH (fillfactor = 20);
        COMMENT ON COLUMN outbox_sinks.delivered IS 'All that it sees was delivered.';
        COMMENT ON COLUMN outbox_sinks.target IS
            'What is being delivered: all that it sees beyond that.';
        COMMENT ON COLUMN outbox_sinks.last_id IS 'How far, within the target.';
        COMMENT ON COLUMN outbox_sinks.failure IS 'Why nothing can be delivered now.';

        CREATE TABLE outbox_dead_letters (
            outbox_id BIGINT NOT NULL,
            sink VARCHAR(100) NOT NULL,
            reason TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            died_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            is_due BOOLEAN DEFAULT false NOT NULL,
            CONSTRAINT pk_outbox_dead_letters PRIMARY KEY (outbox_id, sink),
            CONSTRAINT fk_outbox_dead_letters_outbox_id FOREIGN KEY (outbox_id)
                REFERENCES outbox (id)
        );
        CREATE INDEX ix_outbox_dead_letters_due ON outbox_dead_letters (sink) WHERE is_due;
        COMMENT ON COLUMN outbox_dead_letters.is_due IS 'Somebody asked for another try.';
        """
    )


def downgrade() -> None:
    op.drop_table("outbox_dead_letters")
    op.drop_table("outbox_sinks")
    op.drop_column("outbox", "xid")
    op.get_bind().exec_driver_sql(
        """
        ALTER TABLE outbox ADD COLUMN sent_at TIMESTAMP WITH TIME ZONE;
        CREATE INDEX ix_outbox_unsent ON outbox (id) WHERE sent_at IS NULL;
        """
    )

"""Random pass-through: the policy that names it, the day's budget, and each propensity.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        """
        ALTER TABLE policies ADD COLUMN pass_through JSONB;
        COMMENT ON COLUMN policies.pass_through IS
            'How much is let through at random; null for nothing.';
        ALTER TABLE decisions ADD COLUMN propensity DOUBLE PRECISION;
        COMMENT ON COLUMN decisions.propensity IS
            'Chance of a decision to block to be let through; null where it had to stay.';
        CREATE INDEX ix_decisions_propensity_scored_at ON decisions (scored_at)
            WHERE propensity IS NOT NULL;
        CREATE TABLE pass_through_spent (
            fraud_type VARCHAR(50) NOT NULL,
            day DATE NOT NULL,
            events BIGINT NOT NULL,
            amount_minor BIGINT NOT NULL,
            CONSTRAINT pk_pass_through_spent PRIMARY KEY (fraud_type, day)
        );
        COMMENT ON COLUMN pass_through_spent.day IS 'UTC.';
        """
    )


def downgrade() -> None:
    op.drop_table("pass_through_spent")
    op.drop_column("decisions", "propensity")
    op.drop_column("policies", "pass_through")

"""Keep no index of merchants: nobody searches by them, and every decision paid for it.

Revision ID: 0015
Revises: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_INDEX = "ix_transactions_merchant_id_timestamp"


def upgrade() -> None:
    op.execute(f"DROP INDEX {_INDEX}")


def downgrade() -> None:
    op.execute(f"CREATE INDEX {_INDEX} ON transactions (merchant_id, timestamp)")

"""Rules, lists and policies with their whole history; cases by money at risk.

Revision ID: 0002
Revises: 0001
"""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    script = Path(__file__).with_suffix(".sql").read_text()
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    before = Path(__file__).with_name("0002_rulesets_down.sql").read_text()
    op.get_bind().exec_driver_sql(before.replace("%", "%%"))

"""The first schema of the ledger, as the SQL file beside this one.

Revision ID: 0001
Revises: none
"""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    script = Path(__file__).with_suffix(".sql").read_text()
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))  # the driver reads % as a parameter


def downgrade() -> None:
    op.get_bind().exec_driver_sql(
        """
        DROP TABLE audit_anchor, audit_log, cases, decisions, deployments, entity_state,
            feature_schemas, fraud_alerts, labels, lists, model_performance, outbox, policies,
            quarantine, rules, transactions;
        DROP FUNCTION refuse_audit_change();
        """
    )

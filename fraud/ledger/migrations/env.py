"""Run by Alembic inside `fraud.ledger.schema.migrate`, which hands its connection over."""

from alembic import context

import fraud.ledger.tables  # noqa: F401 - it fills the metadata
from fraud.ledger.columns import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()

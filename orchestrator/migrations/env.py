"""Alembic's entry: migrations run on the connection that the orchestrator already has."""

from alembic import context

from orchestrator.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()

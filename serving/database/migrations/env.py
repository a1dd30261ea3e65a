"""Alembic runs this; the connection is in a transaction that ``migrate`` began and will end."""

from alembic import context

from serving.database.tables import metadata

connection = context.config.attributes["connection"]
# SQLite changes a table by copying it.
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()

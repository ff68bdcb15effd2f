"""Runs the migrations on the connection that `store.engine.upgrade` hands over, inside its transaction."""

from alembic import context

from nftloyalty.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # SQLite can't alter most of a table in place; Alembic then makes it anew.
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()

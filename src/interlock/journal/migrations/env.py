"""Alembic's entry point: migrations run on the connection that `schema.upgrade` hands over."""

from alembic import context

from interlock.journal import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    include_name=lambda name, kind, _parents: kind != "table" or name in tables.metadata.tables,
)
with context.begin_transaction():
    context.run_migrations()

"""The schema's version: upgraded on open, refused when newer.

Migrations live in `migrations/versions`, only ever expand before they contract, and run in one transaction
while no other process migrates. Alembic is imported only when there is something to do.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from interlock.model.errors import HomeUnusable

CURRENT = "0003"


def upgrade(connection: Connection) -> None:
    """Bring the database to `CURRENT`, inside a transaction that no other migration can enter.

    Raises:
        HomeUnusable: the database was written by a newer Interlock.
    """
    found = version(connection)
    if found == CURRENT:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise HomeUnusable(
            f"The journal's schema is version {found}; this Interlock knows {CURRENT}.",
            fix="Start it with the Interlock that wrote it, or a newer one.",
        )
    config.attributes["connection"] = connection
    command.upgrade(config, CURRENT)


def version(connection: Connection) -> str | None:
    """The schema version that the database records, or None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()

"""Where a home's journal stands: in the file ``journal.db`` of its folder, or in a PostgreSQL database.

1. Whoever names a database decides; then the environment variable ``INTERLOCK_DATABASE``; then what the home
   remembers, in its file ``database``: where, never a password. Otherwise it is the file.
2. A home keeps the kind it was begun with. A database named for a home that has a file is refused: two
   journals of one home would each let the same action run.
3. A database belongs to one home's keys; another home's are refused when the journal opens. Several hosts
   that share a database are copies of one home: the same keystore and ``home.json``, each its own folder.
"""

from __future__ import annotations

import os
from pathlib import Path

from interlock.home.files import write_whole
from interlock.journal import Database
from interlock.model.errors import HomeUnusable

VARIABLE = "INTERLOCK_DATABASE"
_FILE = "journal.db"
_RECORD = "database"


def begun(path: Path) -> bool:
    """Whether a folder is a home whose journal was begun, as far as the folder tells."""
    return (path / _FILE).exists() or (path / _RECORD).exists()


def open_database(path: Path, named: str | None = None) -> Database:
    """The database of a home.

    Args:
        named: a PostgreSQL URL, or None for what rule 1 says.

    Raises:
        HomeUnusable: it cannot be reached or used, or the home has a database of the other kind.
    """
    url = named or os.environ.get(VARIABLE) or _remembered(path)
    if url is None:
        from interlock.journal.sqlite import SqliteDatabase

        return SqliteDatabase(path / _FILE)
    if (path / _FILE).exists():
        source = "A PostgreSQL database was named" if named else f"{VARIABLE} names a PostgreSQL database"
        raise HomeUnusable(
            f"{source}, and this home keeps its journal in {path / _FILE}.",
            fix="Name another home, or leave the database out.",
        )
    try:
        from interlock.journal.postgres import PostgresDatabase, remembered
    except ModuleNotFoundError as error:
        raise HomeUnusable(
            f"A PostgreSQL database needs {error.name}, which is not installed.",
            fix="Install it with: pip install 'interlock[postgres]'",
        ) from None

    database = PostgresDatabase(url)
    record = remembered(url)
    if _remembered(path) != record:
        write_whole(path / _RECORD, record.encode())
    return database


def _remembered(path: Path) -> str | None:
    try:
        return (path / _RECORD).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None

"""Databases for the tests of the `sql` connector: orders in a file or on a server, and roles."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict, make_conninfo

import postgres

READER, OWNER, WRITER = "interlock_test_reader", "interlock_test_owner", "interlock_test_writer"
TABLE = (
    "CREATE TABLE orders (id TEXT PRIMARY KEY, amount NUMERIC(10, 2), state TEXT, "
    "parent TEXT REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED)"
)
ROWS = "INSERT INTO orders (id, amount, state) VALUES ('A-1', 12.50, 'open'), ('A-2', 99.00, 'open')"


class Target:
    """A database with orders in it, and the URLs under which it is reached."""

    def __init__(self, kind: str, reader: str, writer: str, admin: str) -> None:
        self.kind = kind
        self.reader = reader
        self.writer = writer
        self.admin = admin

    def look(self, statement: str) -> list[Any]:
        if self.kind == "postgres":
            return postgres.run(self.admin, statement)
        with sqlite3.connect(self.admin, timeout=10) as connection:
            found = connection.execute(statement).fetchall()
        connection.close()
        return found

    def states(self) -> list[str]:
        return [state for (state,) in self.look("SELECT state FROM orders ORDER BY id")]


def on_postgres(server: postgres.Postgres) -> Target:
    admin = make_conninfo("", **{**conninfo_to_dict(server.url), "dbname": "interlock_target"})
    server.run("DROP DATABASE IF EXISTS interlock_target WITH (FORCE)")
    for role in (READER, WRITER, OWNER):
        server.run(f"DROP ROLE IF EXISTS {role}")
        server.run(f"CREATE ROLE {role} LOGIN PASSWORD 'hunter2'")
    server.run("CREATE DATABASE interlock_target TEMPLATE template0")
    postgres.run(admin, TABLE)
    postgres.run(admin, ROWS)
    postgres.run(admin, f"GRANT SELECT ON orders TO {READER}")
    postgres.run(admin, f"GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO {WRITER}")
    host = quote(str(conninfo_to_dict(server.url)["host"]), safe="")

    def url(role: str) -> str:
        return f"postgresql://{role}:hunter2@/interlock_target?host={host}"

    return Target("postgres", url(READER), url(WRITER), admin)


def on_sqlite(folder: Path) -> Target:
    file = folder / "orders.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(TABLE)
        connection.execute(ROWS)
    connection.close()
    return Target("sqlite", f"sqlite:///{file}", f"sqlite:///{file}", str(file))

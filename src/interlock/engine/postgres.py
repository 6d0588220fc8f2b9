"""The engine's connections to the journal's PostgreSQL database.

They are a pool of their own: the journal's connection owns the head row, and the engine's short transactions
never wait for it. A server that loses what it acknowledged was refused when the journal was opened; the
session pins `synchronous_commit` all the same, since a default may change later.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine

POOL = 5
OVERFLOW = 15
IDLE_SEC = 60
_SESSION = """
    SELECT set_config('idle_in_transaction_session_timeout', %s, false),
           set_config('synchronous_commit',
                      replace(current_setting('synchronous_commit'), 'off', 'on'), false)
"""


def open_engine(url: str) -> Engine:
    """An engine on a database; `url` as `PostgresDatabase` takes it."""
    import psycopg

    def connect() -> Any:
        connection = psycopg.connect(
            url,
            connect_timeout=10,
            keepalives_idle=15,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
            application_name="interlock-engine",
            client_encoding="utf8",
            autocommit=True,
        )
        try:
            connection.execute(_SESSION, [f"{IDLE_SEC}s"])
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        return connection

    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_size=POOL,
        max_overflow=OVERFLOW,
        pool_pre_ping=True,
        use_native_hstore=False,
    )

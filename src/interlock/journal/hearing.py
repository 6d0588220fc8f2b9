"""Hearing of other processes' commits: LISTEN and NOTIFY.

1. Triggers of the database tell (`migrations/versions/0003_execution.py`): in the transaction that made the
   ledger or the outbox grow, without a round trip of its own. What is rolled back is not told.
2. What is heard is a hint: whoever hears looks into the journal, and believes nothing else. A notification
   that is lost, or that somebody forged, costs a moment or a look.
3. A connection that breaks is made anew, however long that takes; then everybody looks once, since anything
   may have happened. Until then `alive` is False, and whoever relies on it looks from time to time.

Source: PostgreSQL documentation, "NOTIFY", "LISTEN".
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import psycopg

CHANNEL = "interlock"
AGAIN_SEC = 2.0
TURN_SEC = 1.0
"""How long `close` may wait for the thread."""
_log = logging.getLogger(__name__)


class Hearing(Protocol):
    """What tells of other processes' commits, until it is closed."""

    @property
    def alive(self) -> bool:
        """Whether it would tell of a commit made now."""
        ...

    def close(self) -> None: ...


class Listening:
    """A thread with a connection of its own that listens.

    Args:
        connect: a new connection in autocommit mode; raises `psycopg.Error`.
        own: the process of the server that this process writes through: its own commits are no news.
        heard: called in the thread, also when the connection was made anew; it must be quick.
    """

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection[tuple[object, ...]]],
        own: Callable[[], int],
        namespace: str,
        heard: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._own = own
        self._namespace = namespace
        self._heard = heard
        self._over = threading.Event()
        self._alive = False
        self._thread = threading.Thread(target=self._run, name="hearing", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._alive

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        import psycopg

        told = False
        while not self._over.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._alive, told = True, False
                    self._heard()
                    self._listen(connection)
            except psycopg.Error as error:
                if not told:
                    _log.warning("other processes' commits are looked for, not heard: %s", _first(error))
                told = True
            finally:
                self._alive = False
            if not self._over.is_set():
                self._over.wait(AGAIN_SEC)

    def _listen(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        while not self._over.is_set():
            for notice in connection.notifies(timeout=TURN_SEC, stop_after=1):
                if notice.payload == self._namespace and notice.pid != self._own():
                    self._heard()


def _first(error: BaseException) -> str:
    return str(error).partition("\n")[0]

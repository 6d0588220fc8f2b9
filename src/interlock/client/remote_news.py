"""Being told by a server: what became of an agent's actions, over HTTP (`interlock.client.watching`).

1. One thread waits at the server for news, in requests that are answered when there is any, or after a while.
   However many actions wait, it is one request.
2. Who follows an agent in the place of processes that are gone keeps its position at the server, and its
   lease there by moving it (`interlock.gate.followed`).
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Any

from interlock.client.watching import RENEW_SEC, Callback, Own, Teller
from interlock.gate.telling import Event
from interlock.model.actions import ActionState
from interlock.model.errors import InterlockError

if TYPE_CHECKING:
    from interlock.client.server import Server

WAIT_SEC = 5
ASK_SEC = 5.0


class RemoteWatcher(Own):
    """Tells of the actions of one gate that is connected to a server."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def _now(self) -> int:
        return int(self._server.get("/v1/news")["next"])

    def _round(self) -> None:
        while not self._stop.is_set():
            self._flush()
            told = self._server.get("/v1/news", patience=ASK_SEC, after=self._next, wait=WAIT_SEC)
            self._next = int(told["next"])
            self._heard(map(event_from, told["items"]))

    def close(self, seconds: float | None = None) -> bool:
        """As always, but a request that waits at the server is not waited for: it tells nobody any more."""
        super().close(0.0 if seconds is None else seconds)
        return True


class RemoteFollower(Teller):
    """Tells of all of one agent's actions, in the place of processes that are gone."""

    def __init__(self, server: Server, callbacks: list[Callback]) -> None:
        super().__init__()
        self._server = server
        self._callbacks = callbacks
        self._holder = secrets.token_hex(8)

    def begin(self) -> None:
        """Have the agent's actions followed from now on, if that was not begun."""
        taken = self._place()
        if taken["yours"]:
            self._place(position=taken["position"], leave=True)

    def catch_up(self) -> None:
        self._round()
        self._leave()

    def close(self, seconds: float | None = None) -> bool:
        ended = super().close(seconds)
        if ended:
            self._leave()
        return ended

    def _round(self) -> None:
        taken = self._place()
        if not taken["yours"]:
            return
        position, since = int(taken["position"]), taken["since"]
        while not self._stop.is_set():
            told = self._server.get("/v1/news", patience=ASK_SEC, after=position)
            for event in map(event_from, told["items"]):
                if self._stop.is_set():
                    return
                if since is None or event.at >= since:
                    self._tell(event)
                if not self._place(position=event.number + 1)["yours"]:
                    return
            moved, position = int(told["next"]) != position, int(told["next"])
            if not self._place(position=position)["yours"] or not moved:
                return

    def _tell(self, event: Event) -> None:
        """As for all; however long the callbacks take, no other process tells the same meanwhile."""
        told = threading.Event()
        beat = threading.Thread(target=self._keep, args=(event.number, told), name="telling", daemon=True)
        beat.start()
        try:
            super()._tell(event)
        finally:
            told.set()
            beat.join()

    def _keep(self, position: int, told: threading.Event) -> None:
        while not told.wait(RENEW_SEC):
            try:
                self._place(position=position)
            except InterlockError:
                continue  # the next event's place says whether it is still ours

    def _leave(self) -> None:
        taken = self._place()
        if taken["yours"]:
            self._place(position=taken["position"], leave=True)

    def _place(self, **said: Any) -> dict[str, Any]:
        body = {"holder": self._holder, **said}
        return self._server.post("/v1/news/place", body, patience=ASK_SEC).body


def event_from(told: dict[str, Any]) -> Event:
    """An event as the server tells it."""
    return Event(told["number"], ActionState(told["state"]), told["action"], told["revision"], told["at"])

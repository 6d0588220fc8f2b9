"""A session, as the code that runs an agent holds it: what the user said, what tools gave back, and which
calls belong to it.

1. Whoever holds a gate in its own process, or the key of an adapter, opens and records; an agent's key does
   not.
2. Calls of guarded functions, and proposals, belong to the session inside of `with session.calls()`, also in
   threads and tasks that were started there. Leaving it ends nothing: `end` does.
3. What is too long for a record is cut, and marked as cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from interlock.model.canonical import canonical, plain
from interlock.model.errors import InvalidInput
from interlock.model.sessions import MAX_CONTENT

if TYPE_CHECKING:
    from interlock.client.backend import Backend

FITS = MAX_CONTENT - 8_192
"""What is left of a record for its content, in bytes; its names take the rest."""
_CURRENT: ContextVar[Session | None] = ContextVar("interlock_session", default=None)


class Session:
    """One agent's run for one principal.

    Attributes:
        id: what proposals name. principal: on whose behalf it runs.
    """

    def __init__(self, backend: Backend, id: str, principal: str | None) -> None:
        self.id = id
        self.principal = principal
        self.backend = backend

    @contextmanager
    def calls(self) -> Iterator[Session]:
        """Inside, calls through this session's gate belong to it."""
        token = _CURRENT.set(self)
        try:
            yield self
        finally:
            _CURRENT.reset(token)

    def turn(self, text: str, *, pasted: bool = False, ref: str | None = None) -> int:
        """Record what the user said; its number.

        Args:
            pasted: these are not the user's own words.
            ref: names it, such as the message's id: recorded again, it is the same record.

        Raises:
            Conflict: the session has ended, or is full. IdempotencyConflict: `ref` names something else.
        """
        kept, cut = _cut(text)
        return self._record("turns", {"text": kept, "pasted": pasted, "cut": cut, "ref": ref})

    def result(
        self,
        tool: str,
        content: Any,
        *,
        topic: str | None = None,
        action_id: str | None = None,
        call_id: str | None = None,
        source: str | None = None,
        failed: bool = False,
        ref: str | None = None,
    ) -> int:
        """Record what a tool gave back; its number.

        Args:
            content: JSON values; anything else is recorded as its text.
            topic: what the tool is mapped to.
            action_id: the action by which it ran. call_id: the framework's id of the call.
            source: where it came from: a server, an address, a file.
            failed: it is an error.
            ref: as for `turn`.

        Raises:
            As `turn`. NotFound: this agent has no such action.
        """
        kept, cut = _fitting(content)
        said = {
            "tool": tool,
            "content": kept,
            "topic": topic,
            "action": action_id,
            "call_id": call_id,
            "source": source,
            "failed": failed,
            "cut": cut,
            "ref": ref,
        }
        return self._record("results", said)

    def end(self) -> None:
        """End it: nothing more is recorded or proposed in it. What waits for a person goes on."""
        self.backend.end_session(self.id)

    def _record(self, what: str, body: dict[str, Any]) -> int:
        number: int = self.backend.record(self.id, what, body)["number"]
        return number


def current(backend: Backend) -> Session | None:
    """The session inside of which this is called, if it is one of that gate."""
    session = _CURRENT.get()
    return session if session is not None and session.backend is backend else None


def _fitting(content: Any) -> tuple[Any, bool]:
    """The content as JSON values that fit into a record, and whether something was cut."""
    try:
        value = plain(content)
        text = value if isinstance(value, str) else None
        if text is None:
            raw = canonical(value)
            if len(raw) <= FITS:
                return value, False
            text = raw.decode()
    except InvalidInput:
        text = str(content)
    return _cut(text)


def _cut(text: str) -> tuple[str, bool]:
    """The beginning of a text, as much as fits as JSON, and whether that is not all of it."""
    beginning = text[:FITS].encode(errors="replace").decode()  # half a character is none
    if len(canonical(beginning)) <= FITS:
        return beginning, len(beginning) < len(text)
    text, least, most = beginning, 0, len(beginning)
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if len(canonical(text[:middle])) <= FITS else (least, middle - 1)
    return text[:least], True

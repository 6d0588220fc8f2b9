"""The call under way: what a guarded function may ask about the action that it carries out.

1. It is known while the function runs: in its own thread or task, in what that awaits, and in the child
   process that runs it. A thread that the function starts does not know it.
2. The key is the one that every dispatched executor sends: the same for each attempt at this revision of the
   action, whoever makes it, and for no other. A function whose catalogue entry says `idempotent` hands it to
   the service that it calls; that is what makes a repeated call harmless.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """One execution of an action.

    Attributes:
        action: the action's id. revision: which one of it.
        key: the idempotency key for the system downstream: 64 hexadecimal digits.
    """

    action: str
    revision: int
    key: str


_CALL: ContextVar[Call | None] = ContextVar("interlock_call", default=None)


def current_call() -> Call | None:
    """The call that is under way here; None outside of a guarded function that the gate runs."""
    found = _CALL.get()
    if found is not None:
        return found
    carried = getattr(sys.modules.get("__main__"), "INTERLOCK_CALL", None)  # see `interlock.dispatch.inside`
    return None if carried is None else Call(*carried)


@contextmanager
def calling(call: Call) -> Iterator[None]:
    """Make it the current one."""
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)

"""The program that a child process runs: one function, once, for the process that started it.

1. It is started by `interlock.dispatch.child` and by nobody else, as a file: it imports nothing of
   Interlock, so that a process is ready as soon as the function's own module is.
2. First the function's module is imported and the function looked up; the parent is told, and the function
   is called only when it answers. What fails before that has run nothing.
3. What it returns or raises goes back over the private pipe, once.
4. When the parent is gone, or the function's time has long passed and the parent has not seen to it (it is
   stopped, or hangs), the process ends itself and everything it started.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

INTERLOCK_LOADING = False
"""True while the function's module is imported; guarded calls are refused meanwhile (`client.registry`)."""

INTERLOCK_CALL: tuple[str, int, str] | None = None
"""Action, revision and key of the call, for `interlock.current_call`."""

MAX_HANDED_OVER = 64 << 20
"""Bytes of a result or an exception, pickled; a larger one stays here."""
PATIENCE_SEC = 5.0


def main(wire: Connection) -> None:
    global INTERLOCK_LOADING, INTERLOCK_CALL
    path, module, qualname, wraps = wire.recv()
    sys.path[:] = path
    INTERLOCK_LOADING = True
    try:
        function: Any = importlib.import_module(module)
        for name in qualname.split("."):
            function = getattr(function, name)
        for _ in range(wraps):
            function = function.__wrapped__
    except BaseException as error:  # noqa: BLE001 (whatever a module does when it is imported)
        wire.send(("lost", f"{type(error).__name__}: {error}"[:500]))
        return
    INTERLOCK_LOADING = False
    wire.send(("ready",))
    limit, args, INTERLOCK_CALL = wire.recv()
    threading.Thread(target=_watch, args=(wire, limit), daemon=True).start()
    wire.send(_call(function, args))


def _call(function: Any, args: dict[str, Any]) -> tuple[Any, ...]:
    try:
        result = function(**args)
        if inspect.iscoroutinefunction(function):
            import asyncio

            result = asyncio.run(result)
    except BaseException as error:  # noqa: BLE001 (it is the parent's to raise)
        errors = sys.modules.get("interlock.model.errors")
        no_effect = errors is not None and isinstance(error, errors.NoEffect)
        return "raised", type(error).__name__, str(error)[:2000], no_effect, _pickled(error)
    later = inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result)
    return "returned", type(result).__name__, later, None if later else _pickled(result)


def _pickled(value: Any) -> bytes | None:
    """None where the value cannot cross, or not back."""
    try:
        found = pickle.dumps(value)
        pickle.loads(found)  # noqa: S301 (what was written in the line above)
    except Exception:  # noqa: BLE001 (an object's own code decides what pickling it raises)
        return None
    return found if len(found) <= MAX_HANDED_OVER else None


def _watch(wire: Connection, limit: float) -> None:
    """Rule 4. The parent says nothing more: what can be read is its end."""
    wire.poll(limit + PATIENCE_SEC)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    # Never closed by hand: its end tells the parent that this process is gone, exit handlers and all.
    private = Connection(int(sys.argv[1]))
    main(private)

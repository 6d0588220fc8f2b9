"""Child processes: a guarded function under `max_runtime_sec` runs in a process that can be ended.

1. A function runs there only if a fresh process finds the very same one by its module and name. A lambda, a
   function inside a function, a bound method, and anything of the script or prompt that was started are not
   to be found so, or only by running the script again: they are refused, and nothing is claimed.
2. The process is a new interpreter in a session of its own, with this environment, folder, import path and
   standard output. It is not forked: a copy of one thread out of many would inherit locks that nobody gives
   back. It imports the module as it stands on the disk at that moment.
3. Arguments, result and exception cross pickled, over a socket pair that only the two ends hold.
4. Importing may take `START_SEC`, and is no part of the function's time; until it is over nothing has run.
   Then the clock of `max_runtime_sec` starts. At its end everything in the process group gets SIGTERM, and
   SIGKILL after `GRACE_SEC`. A kill switch does the same.
5. Whatever comes after that is not listened to: how far a function came that was ended, nobody knows.
6. A process that has answered gets `GRACE_SEC` to leave; then what is left of its group is killed. What made
   itself a session of its own is out of reach.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Literal, TypeAlias

from interlock.dispatch.stopping import Stopping
from interlock.model.calls import Call
from interlock.model.errors import ConstraintUnenforceable
from interlock.model.text import visible

START_SEC = 60.0
GRACE_SEC = 1.0
_PROGRAM = Path(__file__).with_name("inside.py")
_MAINS = frozenset({"__main__", "__mp_main__"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fresh process finds a function.

    Attributes:
        wraps: how many decorators stand around it there, the gate's own among them.
    """

    module: str
    qualname: str
    wraps: int

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Place:
        """Rule 1. Raises `ConstraintUnenforceable`."""
        module = getattr(function, "__module__", None)
        qualname = getattr(function, "__qualname__", None)
        if not isinstance(module, str) or not isinstance(qualname, str):
            raise _refused("it has no name in a module")
        if module in _MAINS:
            raise _refused("it is part of the script or prompt that was started")
        if "<" in qualname:
            raise _refused("it is a lambda, or a function inside a function")
        if not sys.executable:
            raise _refused("this process does not know its own interpreter")
        found: Any = sys.modules.get(module)
        for name in qualname.split("."):
            found = getattr(found, name, None)
        wraps = 0
        while found is not None and found is not function:
            found, wraps = getattr(found, "__wrapped__", None), wraps + 1
        if found is None:
            raise _refused(f"{module}.{qualname} is something else")
        return cls(module, qualname, wraps)


def _refused(why: str) -> ConstraintUnenforceable:
    return ConstraintUnenforceable(
        f"Under max_runtime_sec a function runs in a process of its own, and this one cannot: {why}.",
        fix="Define it at the top level of a module that is imported, and guard it there.",
    )


@dataclass(frozen=True, slots=True)
class NotBegun:
    """The function was never called. `withheld`: because the gate says that it may not be any more."""

    reason: str
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Returned:
    """It returned. `value` is None where what it returned stays in its process (`kept`)."""

    value: Any
    kind: str
    kept: bool
    later: bool


@dataclass(frozen=True, slots=True)
class Raised:
    """It raised. `error` is what to raise here: the same exception, or one that names it."""

    error: BaseException
    kind: str
    no_effect: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """It was ended, or ended without a word, somewhere on its way. `why`: over its time, stopped by a kill
    switch, or by itself."""

    why: Literal["time", "stopped", "itself"]
    reason: str


Ending: TypeAlias = NotBegun | Returned | Raised | Ended


def run(
    place: Place,
    args: Mapping[str, Any],
    limit: float,
    stopping: Stopping,
    withheld: Callable[[], str | None],
    call: Call | None = None,
) -> Ending:
    """Call the function in a child process and wait: for it to start, and then at most `limit` seconds.

    Args:
        withheld: why it may not be called any more; asked when the child is ready, which can take a while.
        call: what the function may ask about (`interlock.current_call`).

    An exception here (Ctrl-C) ends the child as well.
    """
    wake, waker = Pipe(duplex=False)
    with wake, waker, stopping.heard(lambda _: waker.send_bytes(b"stop")):
        if (stopped := stopping.why()) is not None:
            return NotBegun(stopped)
        try:
            child = _Child(wake)
        except OSError as error:
            return NotBegun(f"no process could be started ({error.strerror})")
        with child:
            said = child.begin(place)
            if (not_begun := stopping.why() or said) is not None:
                return NotBegun(not_begun)
            if (reason := withheld()) is not None:
                return NotBegun(reason, withheld=True)
            return child.follow(args, limit, stopping, call)


class _Child:
    """One process and our end of its pipe. Leaving the block leaves nothing of it behind.

    Args:
        wake: becomes readable when it is to stop.
    """

    def __init__(self, wake: Connection) -> None:
        self._wake = wake
        self._wire, theirs = Pipe(duplex=True)
        try:
            with theirs:
                # -P: the program's own folder is no place to import from.
                self._process = subprocess.Popen(  # noqa: S603 (this interpreter, and our own program)
                    [sys.executable, "-P", str(_PROGRAM), str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        except OSError:
            self._wire.close()
            raise

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._await_end()
        # Not waited for before: the number of a group whose leader was waited for may be a stranger's.
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._wire.close()

    def begin(self, place: Place) -> str | None:
        """Have it import the function; why it did not, or None."""
        try:
            self._wire.send((list(sys.path), place.module, place.qualname, place.wraps))
            said = self._hear(START_SEC)
        except (EOFError, OSError):
            return "its process ended while it was starting"
        if said is None:
            return f"it was not ready within {START_SEC:g} s"
        if said[0] == "ready":
            return None
        return f"importing it there ended with {visible(str(said[1]).rstrip('.'), 500)}"

    def follow(self, args: Mapping[str, Any], limit: float, stopping: Stopping, call: Call | None) -> Ending:
        """Have it called, and hear what became of it."""
        try:
            self._wire.send((limit, dict(args), None if call is None else astuple(call)))
            said = self._hear(limit)
        except (EOFError, OSError):
            self._signal(signal.SIGKILL)  # does not change how a process ended that has
            return Ended("itself", f"its process ended {_how(self._process.wait())} and said nothing")
        if said is not None:
            return _answered(said)
        self._signal(signal.SIGTERM)
        if stopping.why() is not None:
            return Ended("stopped", f"{stopping.why()}, and it was ended")
        return Ended("time", f"it was ended after {limit:g} s")

    def _hear(self, limit: float) -> tuple[Any, ...] | None:
        """What it says; None where its time is over or it is to stop. Raises `EOFError`, `OSError`."""
        ready = wait([self._wire, self._wake], limit)
        if self._wake in ready or self._wire not in ready:
            return None
        said: tuple[Any, ...] = self._wire.recv()
        return said

    def _await_end(self) -> None:
        """Give it `GRACE_SEC` to leave. The end of its pipe is the end of it."""
        until = time.monotonic() + GRACE_SEC
        with contextlib.suppress(EOFError, OSError):
            while self._wire.poll(max(0.0, until - time.monotonic())):
                self._wire.recv_bytes()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _how(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"with code {code}"


def _answered(said: tuple[Any, ...]) -> Ending:
    if said[0] == "returned":
        _, kind, later, pickled = said
        value, kept = _unpickled(pickled)
        return Returned(value, kind, kept, later)
    _, kind, text, no_effect, pickled = said
    error, kept = _unpickled(pickled)
    if kept or not isinstance(error, BaseException):
        error = RuntimeError(f"{kind}: {text}")
    return Raised(error, kind, text if no_effect else None)


def _unpickled(pickled: bytes | None) -> tuple[Any, bool]:
    """The value, and whether it stayed in its process."""
    if pickled is None:
        return None, True
    try:
        return pickle.loads(pickled), False  # noqa: S301 (from our own child)
    except Exception:  # noqa: BLE001 (an object's own code decides what reading it raises)
        return None, True

"""The Python face: a gate in five lines.

1. `Gate` is what an engineer meets: `Gate.open` embeds the gate in this process, `Gate.connect` asks a server
   ("positions" in the README says what each protects against). Its methods do not depend on where the gate
   is. `AsyncGate` is the same, awaited.
2. `@gate.guard("topic")` binds a function to a topic; that binding is trusted code, the call is not.
3. A call that may not run raises: `Held` while a person decides, `Denied` when it will not run. Their text
   says what is awaited, from whom, until when, and where to decide. The agent never decides anything.
4. A name is loaded when it is first used: a hook that is started for each call needs the exceptions alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.client.asynchronous import AsyncGate
    from interlock.client.gate import Gate
    from interlock.client.held import Denied, Ended, Held

_HOME = {"AsyncGate": "asynchronous", "Denied": "held", "Ended": "held", "Gate": "gate", "Held": "held"}

__all__ = ["AsyncGate", "Denied", "Ended", "Gate", "Held"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"interlock.client.{_HOME[name]}"), name)
    raise AttributeError(f"module 'interlock.client' has no attribute {name!r}")

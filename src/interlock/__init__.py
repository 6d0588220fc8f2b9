"""Interlock: the escalation layer for AI agents.

Public names are loaded when they are first used: importing the package imports nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.client import AsyncGate, Denied, Ended, Gate, Held
    from interlock.gate.telling import Event
    from interlock.model.calls import Call, current_call
    from interlock.model.errors import InterlockError, NoEffect

_HOME = {
    "AsyncGate": "interlock.client",
    "Call": "interlock.model.calls",
    "Denied": "interlock.client",
    "Ended": "interlock.client",
    "Event": "interlock.gate.telling",
    "Gate": "interlock.client",
    "Held": "interlock.client",
    "InterlockError": "interlock.model.errors",
    "NoEffect": "interlock.model.errors",
    "current_call": "interlock.model.calls",
}

__all__ = [
    "AsyncGate",
    "Call",
    "Denied",
    "Ended",
    "Event",
    "Gate",
    "Held",
    "InterlockError",
    "NoEffect",
    "current_call",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'interlock' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

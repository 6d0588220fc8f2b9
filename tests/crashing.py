"""A process that is killed at its n-th durable write, as far as one test process can play that."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest


class Killed(BaseException):
    """The process ended here: nothing catches this."""


def killed_at(number: int, work: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Do something and be killed at the write of that number, from 0; false where it was done before."""
    fsync, count = os.fsync, 0

    def counted(handle: int) -> None:
        nonlocal count
        count += 1
        if count > number:
            raise Killed
        fsync(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", counted)
        try:
            work()
        except Killed:
            return True
    return False

"""Functions for the tests that a child process runs. Each writes what it does into a book."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from interlock import NoEffect, current_call


def note(book: str, word: str) -> None:
    with Path(book).open("a") as file:
        file.write(f"{word} {os.getpid()}\n")


def noted(book: Path) -> list[str]:
    return [line.split()[0] for line in book.read_text().splitlines()] if book.exists() else []


def pids(book: Path) -> list[int]:
    return [int(line.split()[1]) for line in book.read_text().splitlines()] if book.exists() else []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def all_gone(book: Path) -> bool:
    """Whether every process that wrote into the book ends within moments."""
    until = time.monotonic() + 30
    while any(map(alive, pids(book))) and time.monotonic() < until:
        time.sleep(0.02)
    return not any(map(alive, pids(book)))


def pay(book: str, amount_usd: Decimal) -> dict[str, Any]:
    note(book, "paid")
    return {"pid": os.getpid(), "type": type(amount_usd).__name__, "amount": amount_usd}


def waits(book: str, amount_usd: Decimal | None = None) -> None:
    note(book, "began")
    time.sleep(60)


def overstays(book: str) -> None:
    note(book, "began")
    with subprocess.Popen(["/bin/sh", "-c", f"trap '' TERM; echo child $$ >> {book}; exec sleep 60"]):
        time.sleep(60)
    note(book, "ended")


def does_not_listen(book: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(book, "began")
    time.sleep(60)
    note(book, "ended")


def second_time_quick(book: str) -> str:
    note(book, "began")
    if noted(Path(book)).count("began") == 1:
        time.sleep(60)
    return "done"


def finds_nothing(book: str) -> None:
    note(book, "looked")
    raise NoEffect("there is no such order")


class Stubborn(Exception):
    """Does not survive pickling."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def breaks(book: str) -> None:
    note(book, "began")
    raise KeyError("order")


def breaks_stubbornly(book: str) -> None:
    note(book, "began")
    raise Stubborn("this", "that")


def dies(book: str) -> None:
    note(book, "began")
    os._exit(3)


def returns_a_lock(book: str) -> Any:
    note(book, "began")
    return threading.Lock()


def returns_a_generator(book: str) -> Any:
    return (Path(book).write_text(word) for word in ("later",))


async def pays_later(book: str) -> int:
    await asyncio.sleep(0)
    note(book, "paid")
    return os.getpid()


async def overstays_later(book: str) -> None:
    note(book, "began")
    await asyncio.sleep(60)
    note(book, "ended")


def tells_its_call(book: str) -> dict[str, Any]:
    call = current_call()
    assert call is not None
    note(book, call.key)
    return {"action": call.action, "revision": call.revision, "key": call.key}

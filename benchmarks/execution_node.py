"""A process of `execution` that is killed, or that races: run as a script, one role each.

    engine PLACE FOLDER HOLD_SEC   delivers segments, each held for so long; says when each began and ended
    claimer HOME                   claims the actions named on its standard input; says how often it won

`PLACE` is a PostgreSQL connection string, or a file. Times are of the monotonic clock that processes share.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from interlock.engine import Delivery, Engine, Retry, Segment
from interlock.engine.on_dbos import DbosBackend
from interlock.home import Home
from interlock.journal import Journal, Vault
from interlock.model.actions import ExecutorKind
from interlock.model.errors import InterlockError

KIND = "dispatch"
ENOUGH = 100
"""After so many refusals a claimer stops."""
KEYS = Vault(bytes(32), bytes(32))


def opened(place: str) -> Journal:
    if "=" not in place:
        return Journal.open_sqlite(Path(place), KEYS)
    from interlock.journal.postgres import PostgresDatabase

    return Journal(PostgresDatabase(place), KEYS)


def say(**said: object) -> None:
    print(json.dumps(said), flush=True)


async def engine(place: str, folder: str, hold_sec: float) -> None:
    journal = opened(place)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)

    async def handler(delivery: Delivery) -> None:
        say(began=delivery.id, at=time.monotonic())
        await asyncio.sleep(hold_sec)
        await asyncio.to_thread(journal.commit, delivery.fence)
        say(ended=delivery.id, at=time.monotonic())

    running = Engine(journal, DbosBackend(journal, journal.database.url), folder=Path(folder))
    running.handle(Segment(KIND, handler, Retry(first_sec=0.1)))
    await asyncio.to_thread(running.launch, loop)
    say(up=True)
    await stop.wait()
    await asyncio.to_thread(running.drain, 0.2)
    journal.close()


def claimer(folder: str) -> None:
    home = Home.open(Path(folder))
    say(up=True)
    won, last, refused = 0, 0.0, 0
    for action in json.loads(sys.stdin.readline()):
        try:
            home.gate.claim(action, ExecutorKind.CALLER)
        except InterlockError:
            refused += 1
            if refused == ENOUGH:
                break
            continue
        won, last = won + 1, time.monotonic()
        if won == 1:
            say(won=True)
    say(won=won, last=last, refused=refused)
    home.close()


if __name__ == "__main__":
    if sys.argv[1] == "engine":
        asyncio.run(engine(sys.argv[2], sys.argv[3], float(sys.argv[4])))
    else:
        claimer(sys.argv[2])

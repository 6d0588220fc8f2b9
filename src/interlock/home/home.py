"""Opening a home: folder, keystore, journal, gate, views, people and publisher, wired once."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interlock.dispatch import CALLER_ENFORCES, ENFORCES, Connectors, Credentials, Prober
from interlock.dispatch.lease import OwnLeases
from interlock.gate import (
    PERMITTED_ENFORCES,
    AcceptedTools,
    Eraser,
    Gatekeeper,
    KillSwitches,
    Permits,
    Sessions,
    Views,
)
from interlock.gate.telling import Telling
from interlock.home.connections import Connections
from interlock.home.database import open_database
from interlock.home.erased import ErasedKeys
from interlock.home.keystore import Keystore
from interlock.home.ledger_time import ahead
from interlock.home.permit_keys import PermitKeyFiles
from interlock.home.publisher import Publisher
from interlock.home.recovery import Recovery
from interlock.home.webhooks import WebhookFiles
from interlock.home.witnesses import Witnesses
from interlock.home.wrapping import subjects
from interlock.identity import Keyring, Roster
from interlock.journal import Clock, Journal
from interlock.model.actions import ExecutorKind
from interlock.model.errors import HomeUnusable, RecoveryRequired
from interlock.model.ids import new_id
from interlock.policy import Policy

NAME = ".interlock"
OPENING_SEC = 30.0
_log = logging.getLogger(__name__)


class Home:
    """An open installation.

    Attributes:
        path: the folder. gate, permits, kill_switches, tools, sessions, views, keyring, roster, eraser,
            publisher, recovery, witnesses, leases: the rooms, wired. permit_keys: what signs permits.
    """

    def __init__(self, path: Path, keystore: Keystore, journal: Journal) -> None:
        self.path = path
        self.journal = journal
        self.connections = Connections(path)
        self.prober = Prober(self.connectors(), lambda: journal.clock.now())
        self.gate = Gatekeeper(
            journal,
            holder=f"{socket.gethostname()}:{os.getpid()}:{new_id('prc')[4:16]}",
            enforces={
                **ENFORCES,
                ExecutorKind.CALLER: CALLER_ENFORCES,
                ExecutorKind.PERMITTED: PERMITTED_ENFORCES,
            },
            reads=self.prober.read_here,
        )
        self.views = Views(journal, self.gate.title, console=self.server_url(), home=str(path))
        self.keyring = Keyring(journal)
        self.roster = Roster(journal)
        self.permit_keys = PermitKeyFiles(path / "keystore", journal.clock)
        self.permits = Permits(self.gate, self.permit_keys, keystore.origin)
        self.kill_switches = KillSwitches(self.gate)
        self.tools = AcceptedTools(journal)
        self.sessions = Sessions(journal)
        self.leases = OwnLeases(self.gate)
        self.webhooks = WebhookFiles(path)
        journal.appended.append(Telling(self.webhooks.all))
        erased = ErasedKeys(path / "ledger" / "erased")
        self.eraser = Eraser(journal, erased.add, erased.all)
        self.publisher = Publisher(journal, keystore, path / "ledger")
        self.recovery = Recovery(journal, self.publisher, path / "ledger")
        self.recovery.afterwards.append(self.eraser.again)
        self.recovery.afterwards.append(lambda: self.kill_switches.again(self.publisher.first))
        self.witnesses = Witnesses(
            path / "ledger", self.publisher.publish, self.publisher.leaves, self.recovery.contradicted
        )

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        policy: Policy | None = None,
        activate: bool = False,
        by: str = "home",
        clock: Clock | None = None,
        database: str | None = None,
        recovering: bool = False,
    ) -> Home:
        """Open a home, making it where there is none.

        Args:
            database: URL of the PostgreSQL database that holds the journal; None as `database.py` says.
            policy: the policy to run with; None takes the one in force.
            activate: put `policy` in force where another one is; an entry.
            by: who, for the record.
            recovering: open the home also where its ledger has to be recovered; `recovery.required` then says
                so, everything can be read, nothing is written, and `policy` is not put in force.

        Raises:
            HomeUnusable: the folder, keystore or database cannot be used. RecoveryRequired: the database
                does not continue what was signed. PolicyNotActive: another policy is in force.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise HomeUnusable(f"{path} cannot be used as a home: {error.strerror}.") from error
        if path.stat().st_mode & 0o022:
            raise HomeUnusable(f"{path} can be written by others.", fix=f"Run: chmod 700 {path}")
        with _opening(path):
            store = open_database(path, database)
            try:
                begun = store.exists()
                if not begun and (path / "ledger" / "signed.json").exists():
                    raise RecoveryRequired(
                        f"The journal in {store.name} is missing, but its ledger was signed.",
                        fix="Restore the database.",
                    )
                keystore = Keystore.open(path, fresh=not begun)
                keys = subjects(keystore.vault, ErasedKeys(path / "ledger" / "erased"))
            except BaseException:
                store.close()
                raise
            journal = Journal(store, keystore.vault, clock=clock, subjects=keys, ahead=ahead(path / "ledger"))
        home = cls(path, keystore, journal)
        try:
            required = home.recovery.compare()
            if required is not None and not recovering:
                raise required
            if required is None:
                home.kill_switches.begin(home.publisher.first)
                home.eraser.again()
            if policy is not None and required is None:
                reason = "opened with activate" if activate else "opened"
                home.gate.activate(policy, by=by, reason=reason, replacing=activate)
        except BaseException:
            journal.close()
            home.publisher.close()
            raise
        return home

    def close(self) -> None:
        """Sign what was written and release the home; a second call does nothing."""
        if self.journal.closed:
            return
        self.leases.close()
        self._clean_up()
        try:
            if self.recovery.required is None:
                self.publisher.publish()
        except RecoveryRequired as error:
            self.recovery.begin(error)
            raise
        finally:
            self.journal.close()
            self.publisher.close()

    def connectors(self) -> Connectors:
        """What this process carries out actions with; for one event loop."""
        credentials = Credentials(self.connections)
        return Connectors(credentials, self.connections.server, credentials.refused)

    def _clean_up(self) -> None:
        try:
            self.eraser.scrub()
        except HomeUnusable as error:
            _log.error("an erased key stays in the database's files for now: %s", error)

    # --- where the server of this home is -----------------------------------------------------------------

    def server_url(self) -> str | None:
        """The console's URL, if a server announced itself in this home."""
        return announced(self.path)

    def announce(self, url: str) -> None:
        """Tell other processes of this home where the console is."""
        (self.path / "server.json").write_text(json.dumps({"url": url, "pid": os.getpid()}))
        self.views.console = url

    def retire(self) -> None:
        """Take the announcement back, if it is this process's own."""
        file = self.path / "server.json"
        try:
            if json.loads(file.read_text(encoding="utf-8")).get("pid") == os.getpid():
                file.unlink()
        except (FileNotFoundError, ValueError):
            return


def announced(path: Path) -> str | None:
    """The URL that a server wrote into a home, without opening it."""
    try:
        url = json.loads((path / "server.json").read_text(encoding="utf-8"))["url"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return url if isinstance(url, str) else None


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    """One process at a time makes or opens a home. Raises `HomeUnusable` where another one does not end."""
    handle = os.open(path / "opening", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + OPENING_SEC
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise HomeUnusable(
                        f"Another process has been opening {path} for {OPENING_SEC:g} s.",
                        fix="It may be stopped, or waiting for its database: let it go on, or end it.",
                    ) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(handle)

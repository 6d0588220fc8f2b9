"""``serve --dev``: the policy's files are watched, and what they say is put in force when it changes.

1. Only what loads is activated, and each activation is an entry, as any other. What does not load is said,
   with its findings, and the policy in force stays.
2. A file counts once nobody wrote to it between two looks, so that one that is just being written is not
   taken for a shorter policy.
3. Whatever ends the watching unasked, it is said that nothing is watched any more.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.cli import installation, report
from interlock.cli.report import Line
from interlock.model.errors import InterlockError, PolicyError

if TYPE_CHECKING:
    from interlock.home import Home
    from interlock.policy import Policy

POLL_SEC = 0.5
BY = "serve"
REASON = "serve --dev: file changed"


class Watch:
    """Watches one policy for one home, from `start` to `stop`, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._done = self._seen = self._print()

    def start(self, home: Home) -> threading.Thread:
        """The thread that watches, running."""
        self._thread = threading.Thread(target=self._run, args=(home,), name="policy-watch", daemon=True)
        self._thread.start()
        return self._thread

    def stop(self) -> None:
        """End it; returns once nothing is being activated any more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, home: Home) -> None:
        try:
            self._watch(home)
        finally:
            if not (self._stop.is_set() or home.journal.closed):
                words = f"{self._path} is no longer watched: restart to see its changes in force."
                report.say([(words, "bold red")], to=sys.stderr)

    def _watch(self, home: Home) -> None:
        while not self._stop.wait(POLL_SEC):
            found, self._seen = self._seen, self._print()
            if self._seen == self._done or self._seen != found:
                continue
            self._done = self._seen
            try:
                with installation.readable(home.path):
                    self._activate(home)
            except InterlockError as error:
                if home.journal.closed:
                    return
                report.say(_refused(error), to=sys.stderr)

    def _activate(self, home: Home) -> None:
        from interlock.home import read_policy

        policy = read_policy(self._path)
        done = home.gate.activate(policy, by=BY, reason=REASON)
        if done.changed:
            report.say(
                [
                    *warnings(policy),
                    (f"Policy {policy.name} ({policy.snapshot[:15]}…) is in force now.", "bold green"),
                ],
                to=sys.stderr,
            )

    def _print(self) -> bytes | None:
        """What tells one state of the files from another; None where they cannot be read."""
        from interlock.home import read_sources

        whole = hashlib.sha256()
        try:
            for name, text in sorted(read_sources(self._path).items()):
                written = Path(name).stat().st_mtime_ns
                for part in (os.fsencode(name), text.encode(), written.to_bytes(12, "big", signed=True)):
                    whole.update(len(part).to_bytes(8) + part)
        except (PolicyError, OSError):
            return None
        return whole.digest()


def warnings(policy: Policy) -> list[Line]:
    """What whoever runs this policy should know, the loudest first."""
    lines: list[Line] = []
    if policy.mode == "observe":
        lines.append(
            (
                "OBSERVE MODE: nothing is held and nothing is denied. What would have been is recorded; this "
                "policy is outside every promise.",
                "bold white on red",
            )
        )
    return [*lines, *((f"Warning: {warning}", "yellow") for warning in policy.warnings)]


def _refused(error: InterlockError) -> list[Line]:
    return [
        ("The changed policy is not in force; the one before it still is.", "bold red"),
        *error.detail.splitlines(),
    ]

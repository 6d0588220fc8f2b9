"""A real server for tests: `interlock serve` in a process of its own, with its own home.

1. The process is started, asked to end and, where it does not, killed by its id; nothing else is touched.
2. Its standard output and error go to ``server.log`` in the home, so that a test can look for what must not
   stand there, and a failure says why.
3. Keys and people are made through the home, as `interlock keys` does on the server's machine.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx

from interlock.home import Home, read_policy
from interlock.identity import KeyKind

PERSON = "Ana"
AGENT = "support-agent"
START_SEC = 30.0
STOP_SEC = 12.0


class Access(NamedTuple):
    """Where a running server is, and what opens it. `link_token` signs `PERSON` in, once."""

    url: str
    agent_key: str
    person_key: str
    link_token: str


class ServerProcess:
    """One `interlock serve`. As a context manager it is started, and stopped at the end."""

    def __init__(
        self, home: Path, policy: Path | None = None, *, port: int = 0, options: Sequence[str] = ()
    ) -> None:
        self.home = home
        self.log = home / "server.log"
        self._command = [sys.executable, "-m", "interlock.cli", "serve", "--home", str(home)]
        self._command += ["--port", str(port)]
        if policy is not None:
            self._command += ["--policy", str(policy)]
        self._command += options
        # Under another public name it is still reached on this machine's own.
        self._here = f"http://localhost:{port}" if "--public-url" in options else None
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it accepts requests."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        give_up = time.monotonic() + START_SEC
        try:
            while not self._answers():
                if self.process.poll() is not None or time.monotonic() > give_up:
                    raise AssertionError(f"the server did not start: {self.log.read_text()[-2000:]}")
                time.sleep(0.02)
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        """Whether this very process announced itself in its home, and answers there."""
        assert self.process is not None
        try:
            announced = json.loads((self.home / "server.json").read_text(encoding="utf-8"))
            if announced["pid"] != self.process.pid:
                return False
            self.url = announced["url"] if self._here is None else self._here
            return httpx.get(f"{self.url}/healthz", trust_env=False, verify=False).is_success
        except (FileNotFoundError, ValueError, httpx.TransportError):
            return False

    def ready(self) -> None:
        """Wait until it carries out work: `/readyz`."""
        give_up = time.monotonic() + START_SEC
        while not httpx.get(f"{self.url}/readyz", trust_env=False, verify=False).is_success:
            assert time.monotonic() < give_up, f"it did not get ready: {self.log.read_text()[-2000:]}"
            time.sleep(0.05)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(STOP_SEC)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"the server did not end on SIGTERM: {self.log.read_text()[-2000:]}"
            ) from None

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def opened(home: Path, policy: Path | None = None) -> Iterator[Home]:
    """The home, open in this process beside the server's."""
    loaded = None if policy is None else read_policy(policy)
    inside = Home.open(home, policy=loaded, by="tests")
    try:
        yield inside
    finally:
        inside.close()


@contextlib.contextmanager
def running_server(
    home: Path, policy: Path, *, topics: tuple[str, ...] = ("*",), port: int = 0
) -> Iterator[Access]:
    """A server on a new home with one person, an agent's key for `topics`, and a link into the console."""
    with opened(home, policy) as inside:
        person = inside.roster.first(PERSON, by="tests")
        _, agent_key = inside.keyring.add(KeyKind.AGENT, AGENT, topics=topics, by="tests")
        _, person_key = inside.keyring.add(KeyKind.PERSON, PERSON, person=person, by="tests")
        link_token = inside.roster.issue_link(person)
    with ServerProcess(home, policy, port=port) as server:
        yield Access(server.url, agent_key, person_key, link_token)

"""The stage: the demo's folder, its processes, and what they need to know of each other.

1. The folder is the demo's own: made by it, marked by it, locked while it runs. A marked folder is removed
   and made anew; any other folder with something in it is refused and left as it is.
2. The shop's password is written into the home's credentials. The policy is the packaged one with the shop's
   port, and for a rehearsal with a shorter deadline for deletions.
3. Processes are started in sessions of their own, so that a Ctrl-C reaches this process alone, and ended by
   their ids, whatever happens, in the reverse order.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

import httpx

from interlock.demo.errors import DemoFailed, NotOurFolder, PortTaken
from interlock.home import Home, read_policy
from interlock.identity import KeyKind

HOST = "127.0.0.1"
MARKER = "interlock-demo"
START_SEC = 60.0
STOP_SEC = 10.0
PERSON = "owner"
AGENT = "support-agent"
_POLICY_PORT = f"http://{HOST}:8421/"
_DELETION = "lane: {window: 2m, on_timeout: deny}"
_SHORT_DELETION = "lane: {window: 3s, on_timeout: deny}"


@contextlib.contextmanager
def own_folder(path: Path) -> Iterator[Path]:
    """The demo's folder, empty but for its marker, locked for as long as the block lasts.

    Raises:
        NotOurFolder: it holds something else, or another demo is using it.
    """
    marker = path / MARKER
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise NotOurFolder(f"{path} is not a folder.")
    if path.exists() and any(path.iterdir()) and not (marker.is_file() and not marker.is_symlink()):
        raise NotOurFolder(f"{path} holds files that no demo made.")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with marker.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotOurFolder(
                f"Another demo is running in {path}.", fix="End it first, or name another folder with --home."
            ) from None
        for entry in path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != marker:
                entry.unlink()
        path.chmod(0o700)
        yield path


def check_port(port: int) -> None:
    """Raises `PortTaken`, with a free port to use instead, where something listens already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTaken(
                f"Port {port} cannot be used: {error.strerror}.",
                fix=f"Run: interlock demo --port {free_port()}",
            ) from None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Child:
    """One process of the demonstration, which writes its log into the demo's folder."""

    def __init__(self, command: list[str], log: Path, *, talks: bool = False) -> None:
        self._command = command
        self._log = log
        pipe = subprocess.PIPE if talks else subprocess.DEVNULL
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 (our own modules, run by our own interpreter)
                command,
                stdin=pipe,
                stdout=pipe if talks else output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL: it can neither finish nor tidy up."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end, and make it end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SEC)
            except subprocess.TimeoutExpired:
                self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def ended(self) -> str | None:
        """Why it is gone, with the end of its log; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        last = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        return f"it ended with {code}. " + " ".join(last)


class Shop:
    """The shop's process, and the owner's view of its books."""

    def __init__(self, folder: Path, credential: Path) -> None:
        command = [sys.executable, "-m", "interlock.demo.shop"]
        command += ["--books", str(folder / "shop.db"), "--credential", str(credential)]
        self._child = Child(command, folder / "shop.log", talks=True)
        try:
            self.url = f"http://{HOST}:{self._port(self._child.process.stdout)}"
        except BaseException:
            self._child.stop()
            raise
        self._http = httpx.Client(
            base_url=self.url,
            headers={"authorization": credential.read_text(encoding="utf-8")},
            trust_env=False,
        )

    def _port(self, output: IO[bytes] | None) -> int:
        line = output.readline() if output is not None else b""
        if not line.strip().isdigit():
            raise DemoFailed(f"The shop did not start: {self._child.ended() or 'it said nothing.'}")
        return int(line)

    def books(self) -> dict[str, Any]:
        """Everything it did, and how often it answered from memory."""
        return dict(self._http.get("/books").raise_for_status().json())

    def withhold(self, request: str | None) -> None:
        """Withhold the answer to the next such request (``POST /refunds``); None lets it go."""
        self._http.post("/control", json={"withhold": request}).raise_for_status()

    def withheld(self) -> int:
        """How many answers it is withholding."""
        return int(self._http.get("/control").raise_for_status().json()["waiting"])

    def close(self) -> None:
        self._http.close()
        self._child.stop()


class Server:
    """`interlock serve` in a process of its own."""

    def __init__(self, home: Path, policy: Path, port: int) -> None:
        self.url = f"http://{HOST}:{port}"
        self.console = f"http://localhost:{port}"
        self._command = [sys.executable, "-m", "interlock.cli", "serve", "--home", str(home)]
        self._command += ["--policy", str(policy), "--port", str(port)]
        self._log = home / "server.log"
        self._child: Child | None = None
        self.kills = 0

    def start(self) -> None:
        """Start it, and wait until it is ready. Raises `DemoFailed`."""
        self._child = Child(self._command, self._log)
        self.wait()

    def wait(self) -> None:
        child = self._child
        until(self._ready, "the server is ready", START_SEC, lambda: child.ended() if child else None)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=5.0).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """kill -9."""
        if self._child is not None:
            self._child.kill()
            self.kills += 1

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None


def until(
    condition: Callable[[], object],
    what: str,
    seconds: float,
    broken: Callable[[], str | None] = lambda: None,
) -> None:
    """Wait until a condition holds. Raises `DemoFailed` after `seconds`, or when `broken` says why not."""
    end = time.monotonic() + seconds
    while not condition():
        why = broken()
        if why is not None:
            raise DemoFailed(f"Waiting until {what}: {why}")
        if time.monotonic() > end:
            raise DemoFailed(f"After {seconds:.0f} seconds it was still not so that {what}.")
        time.sleep(0.05)


class Stage:
    """Everything that runs, set up and torn down with the ``with`` statement.

    Args:
        rehearsal: nobody watches: deletions wait for seconds only, and a `person` key is made.

    Attributes:
        link_token: signs the person into the console, once.
    """

    agent_key: str
    person_key: str
    link_token: str

    def __init__(self, folder: Path, port: int, *, rehearsal: bool) -> None:
        self.folder = folder
        self.policy = folder / "policy.yaml"
        self.server = Server(folder, self.policy, port)
        self.shop: Shop
        self._rehearsal = rehearsal
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> Stage:
        with contextlib.ExitStack() as exits:
            self.shop = Shop(self.folder, self._credential())
            exits.callback(self.shop.close)
            self.policy.write_text(self._policy_text(), encoding="utf-8")
            self._enrol()
            exits.callback(self.server.stop)
            self.server.start()
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def _credential(self) -> Path:
        folder = self.folder / "credentials"
        folder.mkdir(mode=0o700)
        file = folder / "shop"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
            handle.write(f"Bearer {secrets.token_urlsafe(32)}")
        return file

    def _policy_text(self) -> str:
        text = files("interlock.demo").joinpath("policy.yaml").read_text(encoding="utf-8")
        text = _replaced(text, _POLICY_PORT, f"{self.shop.url}/")
        return _replaced(text, _DELETION, _SHORT_DELETION) if self._rehearsal else text

    def _enrol(self) -> None:
        """One person, and keys for whoever calls."""
        home = Home.open(self.folder, policy=read_policy(self.policy), by="demo")
        try:
            person = home.roster.first(PERSON, by="demo")
            _, self.agent_key = home.keyring.add(KeyKind.AGENT, AGENT, topics=["support.**"], by="demo")
            if self._rehearsal:
                _, self.person_key = home.keyring.add(KeyKind.PERSON, PERSON, person=person, by="demo")
            else:
                self.link_token = home.roster.issue_link(person)
        finally:
            home.close()


def _replaced(text: str, old: str, new: str) -> str:
    if old not in text:
        raise DemoFailed(f"The demo's policy does not hold {old!r} any more.")
    return text.replace(old, new)

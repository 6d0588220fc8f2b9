"""A real witness for tests: `interlock ledger witness` in a process of its own, with its own folder.

The process is started, asked to end and, where it does not, killed by its id; nothing else is touched.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

START_SEC = 30.0
STOP_SEC = 12.0


class WitnessProcess:
    """One witness. As a context manager it is started, and stopped at the end.

    Attributes:
        url, vkey: known once it runs; the port stays the same when it is started again.
    """

    def __init__(self, folder: Path, name: str, *logs: str) -> None:
        self.folder = folder
        self.name = name
        self.logs = logs
        self.url = ""
        self.vkey = ""
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> WitnessProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [sys.executable, "-m", "interlock.cli", "ledger", "witness", "--json"]
        command += ["--home", str(self.folder), "--name", self.name, "--port", str(self.port)]
        for vkey in self.logs:
            command += ["--log", vkey]
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        ready = self.folder.with_suffix(".out")
        with ready.open("wb") as output, self.folder.with_suffix(".err").open("ab") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
            )
        give_up = time.monotonic() + START_SEC
        while True:
            try:
                told = json.loads(ready.read_bytes())
                break
            except ValueError:
                if self.process.poll() is not None or time.monotonic() > give_up:
                    self.kill()
                    raise AssertionError(f"the witness did not start: {self.stderr()}") from None
                time.sleep(0.02)
        self.url, self.vkey = told["url"], told["vkey"]
        self.port = int(self.url.rsplit(":", 1)[1])

    def stderr(self) -> str:
        """What it wrote to standard error, in all its lives."""
        return self.folder.with_suffix(".err").read_text()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_SEC)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def policy(vkey: str, *witnesses: WitnessProcess, needed: str = "all") -> bytes:
    """A trust policy of one log and these witnesses."""
    lines = [f"log {vkey}"]
    lines += [f"witness {each.name} {each.vkey} {each.url}" for each in witnesses]
    lines += [f"group them {needed} {' '.join(each.name for each in witnesses)}", "quorum them", ""]
    return "\n".join(lines).encode()

"""The page for whoever operates the ledger is run from its first line to its last, as a reader would run it.

1. The page has one directory, empty at first. A block below a line that ends in "`name`:" is the file of that
   name. ``console`` blocks are a terminal, read as in `test_docs_policy`: ``$`` begins a command, below it
   stands what it prints on both streams, ``…`` stands for anything, ``$ echo $?`` asks for an exit code. Of a
   command below which nothing stands, only the exit code counts.
2. Commands are run by a shell. ``interlock`` is the real command line; ``sqlite3`` knows ``.backup`` and no
   more. Ports are free ones, and the page says 8420 and 8421.
3. ``interlock serve`` and ``interlock ledger witness`` run on. ``^C`` ends whatever of them began last.
4. What a server does within a second is waited for: a command that only reads is repeated until it prints
   what stands there.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_command import COMMAND, environment, run
from test_docs_policy import ROOT, Block, Command, blocks, commands_of, says, slug

PAGE = "docs/ledger-operations.md"
PATIENCE_SEC = 30
READS = re.compile(r"interlock ledger (status|tail|verify|recover --key-file|recover$)|cat ")
PLAIN = re.compile(r"interlock (?!ledger recover)[^|>$]+")
"""What needs neither a shell nor, for what it logs, a process of its own."""
PORTS = {"serve": "8420", "ledger": "8421"}
BACKUP = """\
import sqlite3, sys
source, target = sqlite3.connect(sys.argv[1]), sqlite3.connect(sys.argv[2].removeprefix(".backup "))
source.backup(target)
"""


class Running:
    """A server of the page."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self.said = PORTS[arguments[0]]
        self.port = ""
        self.process = subprocess.Popen(
            (*COMMAND, *arguments, "--port", "0"),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            text=True,
        )
        self.printed = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line

    def expect(self, lines: list[str]) -> str | None:
        """Wait until it printed these lines; what it printed instead if it does not."""
        until = time.monotonic() + PATIENCE_SEC
        while True:
            if not self.port and (found := re.search(r"http://[\w.]+:(\d+)", self.printed)):
                self.port = found[1]
            shown = self.printed.replace(f":{self.port}", f":{self.said}") if self.port else self.printed
            if says(lines, shown):
                return None
            if time.monotonic() > until or self.process.poll() is not None:
                return shown
            time.sleep(0.02)

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE_SEC)


class Shell:
    """The page's directory, and what runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "page"
        self.folder.mkdir()
        self.running: list[Running] = []
        self._bin = folder / "bin"
        self._bin.mkdir()
        python = f'exec "{sys.executable}"'
        for name, line in {
            "interlock": f'{python} -m {COMMAND[-1]} "$@"',
            "python": f'{python} "$@"',
            "sqlite3": f'{python} "{self._bin}/backup.py" "$@"',
        }.items():
            (self._bin / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
            (self._bin / name).chmod(0o700)
        (self._bin / "backup.py").write_text(BACKUP, encoding="utf-8")

    def ports(self) -> Iterator[tuple[str, str]]:
        for server in self.running:
            yield server.said, server.port

    def run(self, command: Command) -> tuple[int, str]:
        text = command.text
        for said, port in self.ports():
            text = text.replace(f":{said}", f":{port}")
        if PLAIN.fullmatch(text):
            code, printed = self._here(shlex.split(text)[1:])
        else:
            code, printed = self._in_a_shell(text)
        for said, port in self.ports():
            printed = printed.replace(f":{port}", f":{said}")
        return code, printed

    def _here(self, arguments: list[str]) -> tuple[int, str]:
        done = run(self.folder, *arguments)
        return done.code, done.err + done.out

    def _in_a_shell(self, text: str) -> tuple[int, str]:
        done = subprocess.run(
            ("/bin/sh", "-c", text),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(PATH=f"{self._bin}{os.pathsep}{os.environ['PATH']}"),
            timeout=2 * PATIENCE_SEC,
            check=False,
        )
        return done.returncode, done.stdout.decode()

    def expect(self, command: Command) -> str | None:
        """Run a command; what it printed, if that is not what stands below it."""
        until = time.monotonic() + PATIENCE_SEC
        while True:
            code, printed = self.run(command)
            if code == command.code and (not command.printed or says(command.printed, printed)):
                return None
            if not READS.match(command.text) or time.monotonic() > until:
                return f"{printed}and ended with {code}"

    def close(self) -> None:
        for server in self.running:
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    opened = Shell(tmp_path)
    yield opened
    opened.close()


def test_the_page_does_what_it_says(shell: Shell) -> None:
    found = blocks(PAGE)
    assert any(block.language == "console" for block in found)
    for block in found:
        if block.name is not None:
            (shell.folder / block.name).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            use(shell, block)
        else:
            assert block.language in ("text", "json"), f"{block}: nobody runs {block.language}"


def use(shell: Shell, block: Block) -> None:
    first, *later = block.text.split("^C\n")
    for piece in (first, *later):
        if piece is not first:
            shell.running.pop().end()
        for command in commands_of(piece):
            started = re.fullmatch(r"interlock ((?:serve|ledger witness)(?: --.*)?)", command.text)
            if started is None:
                wrong = shell.expect(command)
            else:
                shell.running.append(Running(shell.folder, shlex.split(started[1])))
                wrong = shell.running[-1].expect(command.printed)
            assert wrong is None, f"{block}: `{command.text}` printed\n{wrong}"


def test_every_command_that_keeps_the_ledger_is_typed() -> None:
    typed = "\n".join(block.text for block in blocks(PAGE) if block.language == "console")
    for name in (
        "export", "verify", "show", "tail", "rotate-key", "prune", "prove", "verify-proof", "schema", "erase",
        "subjects", "status", "recover", "witness", "clock",
    ):  # fmt: skip
        assert f"$ interlock ledger {name}" in typed, name


@pytest.mark.parametrize("page", [PAGE, "docs/ledger.md", "docs/postgresql.md", "docs/architecture.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", text)):
        if target.startswith("http"):
            continue
        file = (ROOT / page).parent / target if target else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor and file.suffix == ".md":
            there = file.read_text(encoding="utf-8")
            headings = {slug(heading) for heading in re.findall(r"^#+ (.+)$", there, re.MULTILINE)}
            assert anchor in headings | set(re.findall(r'<a id="([^"]+)">', there)), f"{page}: {anchor}"

"""The pages about policies are run from their first line to their last, as a reader would run them.

1. A page has one directory, which is empty but for the repository's `policies`. What stands in its fenced
   blocks happens there, in the order of the page.
2. A block below a line that ends in "`name`:" is the file of that name, and is written.
3. A ``console`` block is a terminal. ``$`` begins a command: ``interlock`` is the real command line,
   ``python`` this interpreter, `PROGRAMS` are themselves, and ``|`` and ``>`` mean what they mean in a shell.
   Below it stands what it prints, on both streams. A line ``…`` stands for any lines, ``…`` within a line for
   any characters.
4. A command ends with 0, unless ``$ echo $?`` comes next and says otherwise.
5. ``interlock serve``, and ``shadow`` without an end, run on in a process of their own. A console block that
   does not begin with a command is what that process prints next; ``^C`` in it ends the process. The server
   takes a free port, and the page says 8420.
6. A ``yaml`` block without a name is a part of a policy. It loads: as a whole policy where it says
   ``interlock: 1``, else as a further file beside the page's last policy.yaml. What `check` warns of is
   quoted on the page, unless it is that something is accepted, not yet enforced.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer
from cli_command import COMMAND, environment

from interlock.authoring.interview import QUESTIONS
from interlock.cli import main
from interlock.cli.app import app
from interlock.model.actions import Signals
from interlock.policy import builtin, closures, expressions, fields, parse, patterns
from interlock.policy.document import Document
from interlock.policy.schema import json_schema

ROOT = Path(__file__).parents[2]
PAGES = ("docs/policy.md", "docs/policy-language.md", "docs/policy-tools.md")
PROGRAMS = frozenset({"cat", "cp", "mkdir", "mv", "sed"})
NOT_YET = "accepted, not yet"
PATIENCE_SEC = 30


# --- reading a page ---------------------------------------------------------------------------------------

FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`(?P<name>[\w./-]+)`:\n\n?\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block: what it is, where it stands, and the file it is, if it is one."""

    page: str
    line: int
    language: str
    text: str
    name: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    text = read(page)
    found = []
    for fence in FENCE.finditer(text):
        above = text[: fence.start()]
        named = NAMED.search(above)
        line = above.count("\n") + 1
        found.append(Block(page, line, fence["language"], fence["text"], named and named["name"]))
    return found


@dataclass
class Command:
    """One command of a terminal and what it should print."""

    text: str
    printed: list[str] = field(default_factory=list)
    code: int = 0


def commands_of(text: str) -> list[Command]:
    """The commands of a console block, each with its exit code where the block asks for it."""
    found: list[Command] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:]))
        else:
            found[-1].printed.append(line)
    kept: list[Command] = []
    for command in found:
        if command.text == "echo $?":
            kept[-1].code = int("".join(command.printed))
        else:
            kept.append(command)
    return kept


def says(expected: Iterable[str], printed: str) -> bool:
    """Whether a text is what a block says, `…` standing for anything."""
    pattern = ""
    for line in expected:
        if line.strip() == "…":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += r"[^\n]*".join(re.escape(part) for part in line.rstrip().split("…")) + r"[ ]*\n"
    return re.fullmatch(pattern, printed) is not None


# --- a terminal -------------------------------------------------------------------------------------------


class Running:
    """A command that runs on, in its own process."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        if arguments[0] == "serve" and "--port" not in arguments:
            arguments = [*arguments, "--port", "0"]
        self._process = subprocess.Popen(
            (*COMMAND, *arguments),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            text=True,
        )
        self._printed = ""
        self._shown = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port: str | None = None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._printed += line

    def _new(self) -> str:
        if self.port is None and (found := re.search(r"http://localhost:(\d+)", self._printed)):
            self.port = found[1]
        return self._printed[self._shown :].replace(f":{self.port}", ":8420")

    def expect(self, lines: list[str]) -> str | None:
        """Wait until it prints these lines; what it printed instead if it does not."""
        until = time.monotonic() + PATIENCE_SEC
        while not says(lines, self._new()):
            if time.monotonic() > until or (self._process.poll() is not None and not self._reader.is_alive()):
                return self._new()
            time.sleep(0.02)
        self._shown = len(self._printed)
        return None

    def end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE_SEC)
        self._reader.join(PATIENCE_SEC)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Terminal:
    """One directory, the commands that are run in it, and what runs on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: Running | None = None

    def run(self, command: Command) -> tuple[int, str]:
        """The exit code of a command line, and everything it printed."""
        words = shlex.shlex(command.text, posix=True, punctuation_chars="|>")
        words.whitespace_split = True
        stages, target = [[]], None  # type: list[list[str]], str | None
        for word in words:
            if word == "|":
                stages.append([])
            elif word == ">":
                target = words.get_token()
                break
            else:
                stages[-1].append(word)
        data, noise, code = b"", b"", 0
        for stage in stages:
            code, data, err = self._stage(stage, data, apart=target is not None)
            noise += err
        if target is not None:
            (self.folder / target).write_bytes(data)
            data = b""
        text = (noise + data).decode()
        if self.running is not None and self.running.port is not None:
            text = text.replace(f":{self.running.port}", ":8420")
        return code, text

    def _stage(self, words: list[str], given: bytes, *, apart: bool) -> tuple[int, bytes, bytes]:
        program, arguments = words[0], words[1:]
        if program == "echo":
            return 0, (" ".join(arguments) + "\n").encode(), b""
        if program == "interlock" and not runs_foreign_code(arguments):
            return self._interlock(arguments, given, apart=apart)
        start = {"interlock": COMMAND, "python": (sys.executable,)}.get(program, (program,))
        assert program in PROGRAMS | {"interlock", "python"}, program
        done = subprocess.run(
            (*start, *arguments),
            cwd=self.folder,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if apart else subprocess.STDOUT,
            env=environment(),
            timeout=2 * PATIENCE_SEC,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr or b""

    def _interlock(self, arguments: list[str], given: bytes, *, apart: bool) -> tuple[int, bytes, bytes]:
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        err = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) if apart else out
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.dict(os.environ, environment(), clear=True),
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(given))),
        ):
            code = main(arguments)
        return code, _bytes(out), _bytes(err) if apart else b""

    def start(self, arguments: list[str]) -> Running:
        if self.running is not None:
            self.running.kill()
        self.running = Running(self.folder, arguments)
        return self.running

    def close(self) -> None:
        if self.running is not None:
            self.running.kill()


def _bytes(stream: io.TextIOWrapper) -> bytes:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue()


def runs_foreign_code(arguments: list[str]) -> bool:
    """Whether a command imports the page's own modules, which must not stay in this process."""
    return arguments[:3] == ["policy", "import", "python"] or "--from" in arguments


def runs_on(arguments: list[str]) -> bool:
    return arguments[:1] == ["serve"] or (arguments[:2] == ["policy", "shadow"] and "--for" not in arguments)


def test_an_ellipsis_stands_for_lines_or_characters_and_nothing_else_is_forgiven() -> None:
    assert says(["a", "…", "c"], "a\nb\nb\nc\n")
    assert says(["a", "…", "c"], "a\nc\n")
    assert says(["a … c"], "a b c\n")
    assert not says(["a … c"], "a b\nb c\n")
    assert not says(["a"], "a\nb\n")
    assert not says(["a", "b"], "a\n")
    assert not says(["a.c"], "abc\n")


# --- the pages --------------------------------------------------------------------------------------------


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    opened = Terminal(tmp_path)
    yield opened
    opened.close()


@pytest.mark.parametrize("page", PAGES)
def test_the_page_does_what_it_says(page: str, terminal: Terminal) -> None:
    for block in blocks(page):
        if block.name is not None:
            (terminal.folder / block.name).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            use(terminal, block)
        elif block.language == "yaml":
            load(block, terminal.folder)
        elif block.language == "json":
            json.loads(block.text)
        else:
            assert block.language in ("text", "cel"), f"{block}: nobody runs {block.language}"


def use(terminal: Terminal, block: Block) -> None:
    """A console block: commands, or what runs on prints next."""
    if not block.text.startswith("$ "):
        assert terminal.running is not None, f"{block}: nothing runs on"
        before, interrupted, after = block.text.partition("^C\n")
        found = terminal.running.expect(before.splitlines()) if before else None
        assert found is None, f"{block}: it printed\n{found}"
        if interrupted:
            terminal.running.end()
            found = terminal.running.expect(after.splitlines())
            assert found is None, f"{block}: at its end it printed\n{found}"
        return
    for command in commands_of(block.text):
        arguments = shlex.split(command.text)
        if arguments[0] == "interlock" and runs_on(arguments[1:]):
            found = terminal.start(arguments[1:]).expect(command.printed)
            assert found is None, f"{block}: `{command.text}` printed\n{found}"
            continue
        code, printed = terminal.run(command)
        assert says(command.printed, printed), f"{block}: `{command.text}` printed\n{printed}"
        assert code == command.code, f"{block}: `{command.text}` ended with {code}"


def load(block: Block, folder: Path) -> None:
    """A part of a policy, beside the page's policy, or a whole one."""
    sources = {f"{block}": block.text}
    known: tuple[str, ...] = ()
    if not re.match(r"(interlock|version):", block.text):
        policy = (folder / "policy.yaml").read_text(encoding="utf-8")
        sources = {"policy.yaml": policy, f"{block}": f"interlock: 1\n{block.text}"}
        known = parse({"policy.yaml": policy}).warnings
    page = " ".join(read(block.page).split())
    for warning in parse(sources).warnings:
        assert NOT_YET in warning or warning in known or warning in page, f"{block}: unsaid: {warning}"


# --- nothing is left out, and tables are true -------------------------------------------------------------


def typed() -> list[str]:
    """Every command line of every page."""
    return [
        command.text
        for page in PAGES
        for block in blocks(page)
        if block.language == "console" and block.text.startswith("$ ")
        for command in commands_of(block.text)
    ]


def policy_commands() -> Iterator[str]:
    """Every command for authors, as it is typed."""

    def below(node: Any, path: str) -> Iterator[str]:
        inner = getattr(node, "commands", None)
        if inner is None:
            yield path
        for name, child in (inner or {}).items():
            yield from below(child, f"{path} {name}")

    top = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    yield from below(top["policy"], "interlock policy")
    yield "interlock init"


def test_every_command_for_authors_has_an_example_that_runs() -> None:
    lines = typed()
    for command in policy_commands():
        assert any(re.search(rf"(^|\| ){command}( |$)", line) for line in lines), command
    assert any(line.startswith("interlock serve") and "--dev" in line for line in lines)


def test_every_key_of_a_policy_is_on_the_pages() -> None:
    spans = [text for page in PAGES for text in re.findall(r"`([^`\n]+)`", read(page))]
    fenced = [block.text for page in PAGES for block in blocks(page)]
    words = set(re.findall(r"\w+", "\n".join(spans + fenced)))
    schema = json_schema()
    keys = {key for part in schema["$defs"].values() for key in part.get("properties", {})}
    assert set(Document.model_fields) <= keys
    assert keys - words == set()


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the tables under a heading, without their first lines."""
    section = re.split(rf"^#+ {re.escape(heading)}$", read(page), flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    lines = re.findall(r"^\| (.+) \|$", section, re.MULTILINE)
    cells = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)] for line in lines]
    return [row for row in cells if set(row[0]) - set("-") and row != cells[0]]


LANGUAGE = "docs/policy-language.md"


def test_every_field_a_condition_reads_is_in_the_table() -> None:
    told = {name for row in rows(LANGUAGE, "3. Conditions") for name in re.findall(r"`([\w.<>]+)`", row[0])}
    assert set(fields.FIELDS) <= told
    assert {f"{root}.<name>" for root in ("args", "facts", "result")} | {"provenance.<role>"} <= told


def test_conditions_are_true_false_and_unknown_as_the_table_says() -> None:
    told = {"true": True, "false": False, "unknown": None}
    found = rows(LANGUAGE, "True, false, unknown")
    assert {row[2] for row in found} == set(told)
    for condition, args, answer in found:
        check = closures.compile_expression(expressions.parse_expression(condition.strip("`")))
        given = fields.Inputs("a.b", json.loads(args.strip("`")), Signals(), None, None)
        assert check(given) is told[answer], condition


def test_the_bounds_are_those_of_the_language() -> None:
    told = {
        row[0].partition(" (")[0]: int(row[1].replace(",", "")) for row in rows(LANGUAGE, "Types and bounds")
    }
    assert told == {
        "characters of a condition": expressions.MAX_CONDITION,
        "nodes": expressions.MAX_NODES,
        "depth of parentheses and negations": expressions.MAX_DEPTH,
        "values of a literal list": expressions.MAX_ITEMS,
        "digits before and after the point": 18,
        "characters of a `.matches()` pattern": expressions.MAX_PATTERN,
        "steps of one search": patterns.MAX_SEARCH,
        "elements of a list that `in`, `exists` and `all` look at; beyond, unknown": closures.MAX_ELEMENTS,
    }


def test_the_trigger_matrix_is_the_one_that_is_built_in() -> None:
    told = {row[0].strip("`"): row[2:] for row in rows(LANGUAGE, "5. Triggers and handoff modes")}
    assert told == {
        str(trigger): [f"`{row.handoff}`", ", ".join(row.context), row.metric]
        for trigger, row in builtin.MATRIX.items()
    }


def test_the_questions_of_the_interview_are_the_ones_it_asks() -> None:
    asked = [row[0] for row in rows("docs/policy-tools.md", "interlock init")]
    assert asked == [question.words for question in QUESTIONS]


def test_everything_lint_looks_for_is_in_the_table() -> None:
    told = {
        name for row in rows("docs/policy-tools.md", "lint") for name in re.findall(r"`([\w-]+)`", row[0])
    }
    assert told == set(lint_ids())


def lint_ids() -> Iterator[str]:
    """The name of every piece of advice, from where it is given."""
    for file in sorted((ROOT / "src/interlock/authoring").glob("lint*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "id", getattr(node.func, "attr", None))
                if name in ("Advice", "about_rule", "about_topic"):
                    yield from names_in(node.args[0])


def names_in(argument: ast.expr) -> Iterator[str]:
    if isinstance(argument, ast.IfExp):
        yield from names_in(argument.body)
        yield from names_in(argument.orelse)
    elif isinstance(argument, ast.Constant):
        yield str(argument.value)


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for target, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", read(page))):
            if target.startswith("http"):
                continue
            file = (ROOT / page).parent / target if target else ROOT / page
            assert file.exists(), f"{page}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {slug(heading) for heading in headings}, f"{page}: {anchor}"


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")

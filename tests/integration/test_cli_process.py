"""The command as a process: what stands on which stream, exit codes, speed, and that its page is complete."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from cli_command import COMMAND, environment, spawn, with_policy

from interlock.cli.app import app

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def commands(node: Any = None, path: str = "interlock") -> Iterator[tuple[str, Any]]:
    """Every command and group with its full name."""
    node = typer.main.get_command(app) if node is None else node
    yield path, node
    for name, child in getattr(node, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


def sections() -> dict[str, str]:
    """The page's text by heading."""
    parts = re.split(r"^#+ (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def options(node: Any) -> set[str]:
    """The options a command shows."""
    shown = (p for p in node.params if p.param_type_name == "option" and not getattr(p, "hidden", False))
    return {name for p in shown for name in p.opts if name.startswith("--")}


def test_every_command_and_option_is_documented() -> None:
    page = sections()
    everywhere = page["Everywhere"] + page["The command line"]
    for path, node in commands():
        if path == "interlock":
            assert all(f"`{name}`" in everywhere or name in everywhere for name in options(node))
            continue
        assert path in page, f"{path} has no section"
        group = page.get(path.rpartition(" ")[0], "")
        for name in options(node):
            assert f"| `{name}` |" in page[path] + group + everywhere, f"{path} {name} is not documented"


def test_nothing_is_documented_that_does_not_exist() -> None:
    known = dict(commands())
    for heading, text in sections().items():
        if not heading.startswith("interlock"):
            continue
        assert heading in known
        under = {name for path, node in known.items() if path.startswith(heading) for name in options(node)}
        assert set(re.findall(r"^\| `(--[a-z-]+)` \|", text, re.MULTILINE)) <= under


def test_every_command_takes_json_and_home_and_gives_an_example() -> None:
    for path, node in commands():
        if not hasattr(node, "commands"):
            assert {"--json", "--home"} <= options(node), path
            assert node.help, path
            assert node.epilog.startswith("Example:"), path


def test_help_imports_no_room() -> None:
    """What makes it quick: 0.2 s on an idle machine, where importing typer alone takes 0.14 s."""
    loaded = subprocess.run(
        (COMMAND[0], "-c", "import sys, interlock.cli.app; print(*sorted(sys.modules))"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    rooms = {name.split(".")[1] for name in loaded if name.startswith("interlock.")}
    assert rooms == {"cli", "model"}
    assert not {"httpx", "sqlalchemy", "pydantic", "fastapi"} & set(loaded)


def test_the_version_is_the_package_s(tmp_path: Path) -> None:
    from importlib.metadata import version

    assert spawn(tmp_path, "--version").out == f"interlock {version('interlock')}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["policy"],
        ["policy", "check"],
        ["policy", "check", "a", "b"],
        ["serve", "--port", "70000"],
        ["serve", "--port", "x"],
        ["keys", "add", "--nonsense"],
    ],
)
def test_misuse_ends_with_2_and_says_where_help_is(tmp_path: Path, arguments: list[str]) -> None:
    words = spawn(tmp_path, *arguments)
    assert words.code == 2
    assert words.out == ""
    assert "--help" in words.err
    document = spawn(tmp_path, *arguments, "--json")
    assert document.code == 2
    assert document.err == ""
    assert document.json["type"] == "urn:interlock:problem:usage"


def test_every_command_works_as_the_first_thing_a_process_does(tmp_path: Path) -> None:
    with_policy(tmp_path)
    add = ("keys", "add", "--home", ".interlock", "--kind", "person", "--name", "k", "--person", "Ana")
    made = spawn(tmp_path, *add, "--json")
    assert made.code == 0
    action = '{"topic": "job.pay.refund"}'
    for arguments in (
        ("keys", "list"),
        ("keys", "link"),
        ("policy", "check", "policy.yaml", "--home", ".interlock"),
        ("policy", "explain", "policy.yaml", "--action", "-"),
        ("ledger", "export", "export"),
        ("ledger", "verify", "export", "--home", ".interlock"),
        ("keys", "revoke", made.json["key"]["id"]),
    ):
        done = spawn(tmp_path, *arguments, "--json", stdin=action)
        assert done.code == 0, (arguments, done.out, done.err)
        assert isinstance(done.json, dict)


def test_serve_without_policy_or_home_makes_nothing(tmp_path: Path) -> None:
    served = spawn(tmp_path, "serve")
    assert served.code == 2
    assert "--policy" in served.err
    assert list(tmp_path.iterdir()) == []


def test_serve_refuses_a_policy_that_does_not_load(tmp_path: Path) -> None:
    with_policy(tmp_path, "interlock: 1\nruls: []\n")
    served = spawn(tmp_path, "serve", "--json")
    assert served.code == 3
    assert served.json["findings"][0]["suggestion"] == "rules"


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    with_policy(tmp_path)
    child = subprocess.Popen(
        (*COMMAND, "policy", "check", "policy.yaml", "--json"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    assert child.stderr.read() == b""
    assert child.wait(30) in (0, 1)
    child.stderr.close()


def test_ctrl_c_ends_quietly_with_130(tmp_path: Path) -> None:
    with_policy(tmp_path)
    child = subprocess.Popen(
        (*COMMAND, "policy", "explain", "policy.yaml", "--action", "-"),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    time.sleep(1.5)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (130, b"")
    assert b"Traceback" not in err

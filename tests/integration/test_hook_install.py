"""``interlock hook install`` and ``interlock doctor``: what is written, what is kept, and what is found."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_command import COMMAND, Result, environment, run, with_policy

from interlock.adapters.bypasses import Machine, examine
from interlock.adapters.claude_code import settings

OTHERS: dict[str, Any] = {
    "model": "opus",
    "hooks": {
        "PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "./mine.sh"}]}],
        "Stop": [{"hooks": [{"type": "command", "command": "say done"}]}],
    },
}
GATED = {"hooks": settings.hooks(["--home", "/srv/gate"], ["interlock"])}


def install(folder: Path, *arguments: str, code: int = 0) -> Result:
    done = run(folder, "hook", "install", *arguments, "--json", env={"HOME": str(folder / "user")})
    assert done.code == code, (done.out, done.err)
    return done


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with_policy(tmp_path)
    file = tmp_path / ".claude" / "settings.json"
    file.parent.mkdir()
    file.write_text(json.dumps(OTHERS))
    return file


def test_the_hooks_are_written_beside_what_is_there_and_taken_out_again(tmp_path: Path, file: Path) -> None:
    file.chmod(0o640)
    assert install(tmp_path, "--project", "--policy", "policy.yaml").json["changed"] is True
    written = json.loads(file.read_text())
    assert written["model"] == "opus"
    assert written["hooks"]["Stop"] == OTHERS["hooks"]["Stop"]
    assert written["hooks"]["PreToolUse"][0] == OTHERS["hooks"]["PreToolUse"][0]
    assert set(written["hooks"]) == {"Stop", *settings.BEFORE, *settings.AFTER}
    assert settings.blocks(written)
    assert file.stat().st_mode & 0o777 == 0o640
    before = file.read_bytes()
    assert install(tmp_path, "--project").json["changed"] is False
    assert file.read_bytes() == before
    assert install(tmp_path, "--project", "--undo").json["changed"] is True
    assert json.loads(file.read_text()) == OTHERS
    assert install(tmp_path, "--project", "--undo").json["changed"] is False


def test_other_options_replace_the_hooks_and_do_not_double_them(tmp_path: Path, file: Path) -> None:
    install(tmp_path, "--project", "--policy", "policy.yaml")
    install(tmp_path, "--project", "--key-file", "adapter.key", "--url", "http://localhost:9000")
    ours = json.loads(file.read_text())["hooks"]["PreToolUse"][1:]
    assert len(ours) == 1
    command = ours[0]["hooks"][0]["command"]
    assert f"--key-file {tmp_path / 'adapter.key'} --url http://localhost:9000" in command


def test_the_command_that_is_written_blocks_whatever_the_path_of_the_agent_says(tmp_path: Path) -> None:
    with_policy(tmp_path)
    install(tmp_path, "settings.json", "--policy", "policy.yaml")
    hooks = json.loads((tmp_path / "settings.json").read_text())["hooks"]
    line, limit = (hooks["PreToolUse"][0]["hooks"][0][name] for name in ("command", "timeout"))
    assert limit > settings.LIMIT_SEC
    for broken in (line, line.replace("interlock hook", "nothing hook")):
        env = {**environment(), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(["sh", "-c", broken], input=b"{}", capture_output=True, env=env, check=False)
        assert done.returncode == 2


def test_a_name_with_a_quote_in_it_is_no_shell_text() -> None:
    line = settings.command(["--home", "/tmp/it's; touch /tmp/x"], ["interlock"])
    assert "'/tmp/it'\"'\"'s; touch /tmp/x'" in line


@pytest.mark.parametrize("text", ["{", "[]", '{"hooks": []}', '{"hooks": {"PreToolUse": [{"hooks": 1}]}}'])
def test_a_file_that_is_not_understood_is_left_as_it_is(tmp_path: Path, file: Path, text: str) -> None:
    file.write_text(text)
    install(tmp_path, "--project", "--policy", "policy.yaml", code=2)
    install(tmp_path, "--project", "--undo", code=2)
    assert file.read_text() == text


def test_without_a_home_nothing_is_installed_that_would_block_everything(tmp_path: Path, file: Path) -> None:
    before = file.read_text()
    assert "There is no home" in install(tmp_path, "--project", code=2).json["detail"]
    for arguments in ((), ("--project", "--user"), ("--project", "x.json")):
        install(tmp_path, *arguments, code=2)
    assert file.read_text() == before


def test_what_goes_around_the_hooks_is_said_when_they_are_installed(tmp_path: Path, file: Path) -> None:
    rules = {"allow": ["Bash(git *)", "WebFetch"], "defaultMode": "bypassPermissions", "deny": ["Read"]}
    file.write_text(json.dumps({"permissions": rules, "disableAllHooks": True}))
    found = install(tmp_path, "--project", "--policy", "policy.yaml").json["findings"]
    kinds = [each["kind"] for each in found]
    assert kinds == ["hooks-disabled", "asks-nobody", "allow-rule", "allow-rule", "refused-afterwards"]
    assert [each["bypass"] for each in found] == [True, True, True, True, False]


# --- doctor ------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for name in ("work/.claude", "user/.claude", "user/.cursor"):
        (tmp_path / name).mkdir(parents=True)
    return Machine(
        tmp_path / "work",
        tmp_path / "user",
        {"HOME": "/root", "ANTHROPIC_API_KEY": "x", "INTERLOCK_KEY": "ilk_agent_1"},
        ("http://localhost:8420",),
        (tmp_path / "managed.json",),
    )


def put(file: Path, document: object) -> None:
    file.write_text(document if isinstance(document, str) else json.dumps(document))


def kinds(machine: Machine, *, bypass: bool = True) -> list[str]:
    return [each.kind for each in examine(machine) if each.bypass or not bypass]


def test_a_machine_without_agents_has_no_bypass(machine: Machine) -> None:
    assert examine(machine) == []


def test_claude_code_without_a_hook_and_with_one_that_fails_open(machine: Machine) -> None:
    file = machine.work / ".claude" / "settings.json"
    put(file, {"permissions": {"allow": ["Bash"]}})
    assert kinds(machine) == ["allow-rule", "no-hook"]
    put(file, GATED)
    assert kinds(machine) == []
    assert kinds(machine, bypass=False) == ["editable-settings"]
    hook = GATED["hooks"]["PreToolUse"][0]["hooks"][0]
    for changed in (
        {"command": hook["command"].removesuffix(" || exit 2")},
        {"command": hook["command"].replace("exit 2", "exit 1")},
        {"command": f"{hook['command']}; true"},
        {"timeout": 5},
        {"async": True},
    ):
        put(file, {"hooks": {"PreToolUse": [{"matcher": "*", "hooks": [{**hook, **changed}]}]}})
        assert kinds(machine) == ["fails-open", "no-hook"], changed
    put(file, {"hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": [hook]}]}})
    assert kinds(machine) == ["some-tools-only", "no-hook"]


def test_hooks_that_another_file_disables_are_none(machine: Machine) -> None:
    put(machine.user / ".claude" / "settings.json", GATED)
    put(machine.work / ".claude" / "settings.local.json", {"disableAllHooks": True})
    assert "hooks-disabled" in kinds(machine)
    put(machine.user / ".claude.json", {"mcpServers": {"shop": {"command": "shop"}}})
    assert "ungated-server" in kinds(machine)


def test_managed_hooks_leave_nothing_to_say(machine: Machine) -> None:
    put(machine.managed[0], {**GATED, "allowManagedHooksOnly": True})
    assert examine(machine) == []


def test_servers_that_no_gateway_stands_before_are_named_and_their_secrets_are_not(machine: Machine) -> None:
    servers = {
        "shop": {"command": "npx", "args": ["shop-mcp", "--token", "s3cret"], "env": {"TOKEN": "s3cret"}},
        "desktop-commander": {"command": "npx", "args": ["-y", "desktop-commander"]},
        "off": {"command": "x", "disabled": True},
        "gated": {"command": "/usr/bin/interlock", "args": ["mcp", "--server", "gated"]},
        "gated too": {"command": "python", "args": ["-m", "interlock.cli", "mcp", "--home", "/srv"]},
        "http": {"url": "http://localhost:8420/mcp"},
        "elsewhere": {"url": "https://mcp.example.com/mcp"},
        "imitates": {"command": "node", "args": ["interlock-mcp.js"]},
    }
    put(machine.user / ".cursor" / "mcp.json", {"mcpServers": servers})
    found = examine(machine)
    assert [each.kind for each in found] == ["ungated-server"] * 4
    said = json.dumps([each.to_json() for each in found])
    assert "s3cret" not in said
    assert [name in said for name in ("shop", "desktop-commander", "elsewhere", "imitates")] == [True] * 4
    assert said.count("looks like a shell") == 1


def test_claude_code_s_own_servers_count_only_without_its_hook(machine: Machine) -> None:
    put(machine.user / ".claude.json", {"projects": {str(machine.work): {"mcpServers": {"a": {}}}}})
    put(machine.work / ".mcp.json", {"mcpServers": {"b": {"command": "b"}}})
    assert kinds(machine) == ["no-hook", "ungated-server", "ungated-server"]
    put(machine.user / ".claude" / "settings.json", GATED)
    assert kinds(machine) == []


def test_credentials_are_named_and_never_shown(machine: Machine) -> None:
    given = {
        "GITHUB_TOKEN": "ghp_1",
        "AWS_SECRET_ACCESS_KEY": "k",
        "PGPASSWORD": "p",
        "MY_KEY": "ilk_person_1",
        "TOKENIZERS_PARALLELISM": "1",
        "EMPTY_TOKEN": "",
    }
    found = examine(Machine(machine.work, machine.user, {**machine.variables, **given}, managed=()))
    assert [each.kind for each in found] == ["credential", "credential", "person-key", "credential"]
    said = json.dumps([each.to_json() for each in found])
    assert not any(f'"{secret}' in said or secret in said for secret in ("ghp_1", "ilk_person_1"))


def test_a_home_that_the_agent_could_write_to_is_worth_knowing(machine: Machine) -> None:
    put(machine.work / "home.json", {})
    found = examine(replace(machine, home=machine.work))
    assert [(each.kind, each.bypass) for each in found] == [("gate-in-reach", False)]
    assert examine(replace(machine, home=machine.user)) == []


def test_a_file_that_cannot_be_understood_is_a_finding(machine: Machine) -> None:
    put(machine.user / ".cursor" / "mcp.json", "{")
    put(machine.work / ".claude" / "settings.json", '{"hooks": 1}')
    assert kinds(machine) == ["unreadable", "unreadable"]


def test_the_command_ends_with_1_where_it_finds_a_bypass(tmp_path: Path) -> None:
    user = tmp_path / "user"
    (user / ".cursor").mkdir(parents=True)
    env = {"HOME": str(user)}
    kept = {name: text for name, text in os.environ.items() if name in ("PATH", "LANG")}
    command = [*COMMAND, "doctor", "--json"]
    clean = subprocess.run(command, cwd=tmp_path, env={**kept, **env}, capture_output=True, check=False)
    assert (clean.returncode, json.loads(clean.stdout)) == (0, {"bypassed": False, "findings": []})
    put(user / ".cursor" / "mcp.json", {"mcpServers": {"shop": {"command": "shop"}}})
    found = subprocess.run(command, cwd=tmp_path, env={**kept, **env}, capture_output=True, check=False)
    assert (found.returncode, json.loads(found.stdout)["bypassed"]) == (1, True)

"""What goes around the gate on one machine: where agents' clients are configured, and what they are given.

1. It reads files and names of environment variables, and changes nothing. No value of a variable, no key and
   no argument of a server is said; a file that cannot be read or understood is a finding of its own.
2. A `bypass` is a way for an agent to act unasked: a tool server nobody put behind the gateway, a Claude Code
   whose hook is missing or fails open, a rule that lets a tool run where the hook is out, a credential that
   the agent's own commands find in their environment. What is merely worth knowing is none.
3. It finds what it knows of. A clean report is no proof: tools that a provider hosts, code that an agent may
   run, and clients that are not on the list are out of its sight.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from interlock.adapters.claude_code import settings
from interlock.adapters.claude_code.settings import Finding
from interlock.model.errors import InvalidInput
from interlock.model.text import visible

MANAGED = (
    Path("/etc/claude-code/managed-settings.json"),
    Path("/Library/Application Support/ClaudeCode/managed-settings.json"),
)
_SERVERS = ("mcpServers", "servers")
_SECRET = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|APIKEY|CREDENTIALS?|(?:API|ACCESS|PRIVATE|SECRET)_KEY)"
    r"(?:$|_)|^(?:PGPASSWORD|MYSQL_PWD|DATABASE_URL|KUBECONFIG|SSH_AUTH_SOCK)$"
)
_OF_A_MODEL = re.compile(r"^(?:ANTHROPIC|OPENAI|GEMINI|GOOGLE_API|MISTRAL|COHERE|GROQ|CLAUDE_CODE)_")
_SHELL = re.compile(r"(?:^|[^a-z])(?:shell|terminal|bash|desktop-commander|command|ssh|exec)(?:[^a-z]|$)")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to look.

    Attributes:
        work: the folder in which the agent works. user: the user's own folder.
        variables: the environment that the agent would inherit.
        gates: the URLs of the gate's servers: an MCP server there is its gateway.
        home: the gate's, if it is on this machine.
    """

    work: Path
    user: Path
    variables: Mapping[str, str]
    gates: tuple[str, ...] = ()
    managed: tuple[Path, ...] = MANAGED
    home: Path | None = None

    @property
    def claude_files(self) -> tuple[Path, ...]:
        """Settings of Claude Code that count in the working folder, the strongest first."""
        configured = self.variables.get("CLAUDE_CONFIG_DIR")
        own = Path(configured) if configured else self.user / ".claude"
        here = self.work / ".claude"
        return (*self.managed, here / "settings.local.json", here / "settings.json", own / "settings.json")

    @property
    def clients(self) -> dict[Path, str]:
        """Files in which clients keep their MCP servers, and the clients' names."""
        user, work = self.user, self.work
        return {
            user / "Library/Application Support/Claude/claude_desktop_config.json": "Claude Desktop",
            user / ".config/Claude/claude_desktop_config.json": "Claude Desktop",
            user / ".cursor/mcp.json": "Cursor",
            work / ".cursor/mcp.json": "Cursor",
            work / ".vscode/mcp.json": "VS Code",
            user / ".config/Code/User/mcp.json": "VS Code",
            user / "Library/Application Support/Code/User/mcp.json": "VS Code",
            user / ".codeium/windsurf/mcp_config.json": "Windsurf",
            user / ".gemini/settings.json": "Gemini CLI",
            work / ".gemini/settings.json": "Gemini CLI",
        }


def examine(machine: Machine) -> list[Finding]:
    """Everything found, bypasses first."""
    found: list[Finding] = []
    gated = _claude(machine, found)
    for file, client in machine.clients.items():
        found += _client(machine, file, client)
    if not gated:
        for file, holder in _claude_servers(machine, found):
            found += _servers(machine, holder, str(file), "Claude Code")
    found += _environment(machine)
    if machine.home is not None and os.access(machine.home / "home.json", os.W_OK):
        found.append(
            Finding(
                "gate-in-reach",
                str(machine.home),
                "The gate's home belongs to the user that an agent started here would run as.",
                "Serve it as another user, or on another host, and give the agent a key.",
                bypass=False,
            )
        )
    return sorted(found, key=lambda each: not each.bypass)


def _claude(machine: Machine, found: list[Finding]) -> bool:
    """Findings about Claude Code, where it is used here; whether a hook stands before all of its tools."""
    read: dict[Path, dict[str, Any]] = {}
    for file in machine.claude_files:
        try:
            if file.is_file():
                read[file] = settings.read(file)
                settings.blocks(read[file])
        except (InvalidInput, OSError) as error:
            read.pop(file, None)
            found.append(_unread(file, error))
    used = bool(read) or (machine.user / ".claude.json").is_file() or (machine.work / ".mcp.json").is_file()
    off = any(each.get("disableAllHooks") is True for each in read.values())
    hooked = [file for file, each in read.items() if settings.blocks(each)]
    gated = bool(hooked) and not off
    for file, each in read.items():
        found += settings.findings(each, str(file), gated=gated)
    if used and not hooked:
        found.append(
            Finding(
                "no-hook",
                "Claude Code",
                "No settings file has a hook that asks the gate before every tool and blocks when it fails; "
                "the shell is one of these tools.",
                "Run: interlock hook install --user",
            )
        )
    if gated and not any(file in machine.managed for file in hooked):
        found.append(
            Finding(
                "editable-settings",
                str(hooked[0]),
                "The agent can edit these settings: its tools run as the same user.",
                "Put the hooks into managed settings, with allowManagedHooksOnly.",
                bypass=False,
            )
        )
    return gated


def _client(machine: Machine, file: Path, client: str) -> Iterator[Finding]:
    try:
        if not file.is_file():
            return
        document = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        yield _unread(file, error)
        return
    yield from _servers(machine, document, str(file), client)


def _claude_servers(machine: Machine, found: list[Finding]) -> Iterator[tuple[Path, object]]:
    """Where Claude Code keeps servers: its own file, by folder too, and the folder's."""
    for file in (machine.user / ".claude.json", machine.work / ".mcp.json"):
        try:
            if not file.is_file():
                continue
            document = json.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            found.append(_unread(file, error))
            continue
        yield file, document
        projects = document.get("projects") if isinstance(document, dict) else None
        if isinstance(projects, dict):
            yield file, projects.get(str(machine.work))


def _servers(machine: Machine, document: object, where: str, client: str) -> Iterator[Finding]:
    holder = document if isinstance(document, dict) else {}
    for member in _SERVERS:
        servers = holder.get(member)
        for name, entry in servers.items() if isinstance(servers, dict) else ():
            if not isinstance(entry, dict) or entry.get("disabled") is True or _behind(machine, entry):
                continue
            words = " ".join(map(str, [name, entry.get("command", ""), *_list(entry.get("args"))])).lower()
            shell = " It looks like a shell." if _SHELL.search(words) else ""
            yield Finding(
                "ungated-server",
                where,
                f"{client} reaches the MCP server {visible(str(name), 80)!r} around the gate.{shell}",
                f"Run: interlock mcp install {where}",
            )


def _behind(machine: Machine, entry: Mapping[str, Any]) -> bool:
    """Whether a server is the gate's own gateway."""
    words = [str(entry.get("command", "")), *map(str, _list(entry.get("args")))]
    for index, word in enumerate(words[:-1]):
        if words[index + 1] == "mcp" and (Path(word).name == "interlock" or word == "interlock.cli"):
            return True
    url = entry.get("url") or entry.get("serverUrl") or entry.get("httpUrl")
    if not isinstance(url, str):
        return False
    return any(
        _origin(url) == _origin(gate) and urlsplit(url).path.startswith("/mcp") for gate in machine.gates
    )


def _environment(machine: Machine) -> Iterator[Finding]:
    for name, value in sorted(machine.variables.items()):
        if value.startswith("ilk_person_"):
            yield Finding(
                "person-key",
                "environment",
                f"{visible(name, 80)} holds a person's key: an agent started here could decide for them.",
                "Keep it in a file for --key-file that the agent's user cannot read.",
            )
        elif (
            value
            and not _OF_A_MODEL.match(name)
            and not name.startswith("INTERLOCK_")
            and _SECRET.search(name)
        ):
            yield Finding(
                "credential",
                "environment",
                f"{visible(name, 80)} looks like a credential that an agent started here can use.",
                "Start the agent without it; let the gate hold it.",
            )


def _unread(file: Path, error: Exception) -> Finding:
    reason = error.strerror if isinstance(error, OSError) else "it is not what it should be"
    return Finding(
        "unreadable", str(file), f"{file} cannot be read: {reason}.", "Look at it by hand.", bypass=True
    )


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port
    except ValueError:
        return url, None, None


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def here(work: Path, gates: tuple[str, ...], home: Path) -> Machine:
    """This machine, as an agent would be started from this process."""
    return Machine(work.absolute(), Path.home(), dict(os.environ), gates, home=home)

"""Which servers stand behind the gateway: ``mcp.json`` and the folder ``servers`` of a home.

1. ``mcp.json`` has the form that clients share, ``{"mcpServers": {name: {command, args, env} | {url,
   headers}}}``. It holds what servers are given to authenticate: nobody else may read it.
2. A name is one segment of a topic and has no ``__``, which separates server and tool in the names that a
   client sees. Another name is made into such a segment; two servers never share one.
3. A program is looked up when the file is read, in the path of this process, and started by its absolute
   path.
4. ``${NAME}`` and ``${NAME:-default}`` stand for variables of this process, as in clients.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mcp.client.stdio import get_default_environment

from interlock.authoring.names import segment
from interlock.dispatch.mcp_stdio import StdioServer
from interlock.home.connections import Connections
from interlock.model.canonical import parse_json
from interlock.model.errors import HomeUnusable, InvalidInput
from interlock.model.text import visible

FILE = "mcp.json"
SEPARATOR = "__"
MAX_SERVERS = 100
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SECRET = re.compile(r"TOKEN|KEY|SECRET|PASS|AUTH|CREDENTIAL|BEARER|COOKIE|DSN|DATABASE_URL", re.IGNORECASE)
_SHORTEST_SECRET = 6


@dataclass(frozen=True, slots=True)
class Server:
    """One server. Either `stdio` or `url` is there.

    Attributes:
        given: its name as it was configured.
        headers: sent with every request. credentials: credentials' names by variable, or by header.
        secrets: what is struck out of whatever it answers.
    """

    name: str
    given: str
    stdio: StdioServer | None = field(default=None, repr=False)
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    credentials: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = field(default=(), repr=False)


def read_servers(home: Path, only: str | None = None) -> tuple[Server, ...]:
    """The servers of a home.

    Args:
        only: just the one that was configured under this name.

    Raises:
        HomeUnusable: a file is open to others, or does not say what it has to; or there is no such server.
    """
    file, connections = home / FILE, Connections(home)
    found: list[Server] = []
    try:
        if file.stat().st_mode & 0o077:
            raise HomeUnusable(f"{file} can be read by others.", fix=f"Run: chmod 600 {file}")
        found += servers_of(parse_json(file.read_bytes()))
    except FileNotFoundError:
        pass
    except InvalidInput as error:
        raise HomeUnusable(f"{file} cannot be used: {error}.") from error
    for path in sorted((home / "servers").glob("*.json")):
        text = connections.server(path.stem)
        if text is not None and path.stem not in {each.given for each in found}:
            stdio = StdioServer.read(path.stem, text)
            found.append(Server(_lawful(path.stem), path.stem, stdio=stdio, credentials=stdio.credentials))
    distinct(found)
    if only is not None:
        found = [each for each in found if only in (each.given, each.name)]
        if not found:
            raise HomeUnusable(
                f"There is no server {visible(only, 64)} in {home}.",
                fix="Look at: interlock mcp tools",
            )
    return tuple(found)


def servers_of(document: Any) -> list[Server]:
    """The servers of a ``mcpServers`` document. Raises `InvalidInput`."""
    servers = document.get("mcpServers") if isinstance(document, dict) else None
    if not isinstance(servers, dict):
        raise InvalidInput('expected {"mcpServers": {…}}', path="$.mcpServers")
    if len(servers) > MAX_SERVERS:
        raise InvalidInput(f"{len(servers)} servers; at most {MAX_SERVERS}", path="$.mcpServers")
    return [_server(name, entry) for name, entry in servers.items()]


def distinct(servers: Iterable[Server]) -> None:
    """Raises `InvalidInput` where two servers would have the same name."""
    seen: dict[str, str] = {}
    for server in servers:
        other = seen.setdefault(server.name, server.given)
        if other != server.given:
            raise InvalidInput(
                f"{visible(other, 64)} and {visible(server.given, 64)} both become {server.name}",
                path="$.mcpServers",
                fix="Rename one of them.",
            )


def _lawful(given: str) -> str:
    name = re.sub(r"_{2,}", "_", segment(given))[:64]
    if not name:
        raise InvalidInput("a server's name has letters or digits", path="$.mcpServers")
    return name


def _server(given: str, entry: Any) -> Server:
    path = f"$.mcpServers.{visible(given, 60)}"
    name = _lawful(given)
    if not isinstance(entry, dict):
        raise InvalidInput("a server is an object", path=path)
    if "command" in entry:
        env = _strings(entry.get("env", {}), f"{path}.env")
        args = entry.get("args", [])
        if not isinstance(args, list) or not all(isinstance(each, str) for each in args):
            raise InvalidInput("a list of texts", path=f"{path}.args")
        program = _expanded(str(entry["command"]), path)
        command = shutil.which(program)
        if command is None:
            raise InvalidInput(f"there is no program {visible(program, 200)}", path=f"{path}.command")
        stdio = StdioServer(
            command=(str(Path(command).absolute()), *(_expanded(each, path) for each in args)),
            cwd=str(Path(str(entry.get("cwd") or ".")).absolute()),
            env={**get_default_environment(), **env},
        )
        secrets = [value for key, value in env.items() if _SECRET.search(key)]
        return Server(name, given, stdio=stdio, secrets=_longest(secrets))
    url = entry.get("url")
    if not isinstance(url, str) or entry.get("type", "http") not in (
        "http",
        "streamable-http",
        "streamable_http",
    ):
        raise InvalidInput(
            "a server has a command, or the URL of a streamable HTTP endpoint",
            path=path,
            fix='As in {"command": "npx", "args": […]} or {"type": "http", "url": "https://…"}.',
        )
    url = _expanded(url, path)
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise InvalidInput("an http or https URL", path=f"{path}.url")
    headers = _strings(entry.get("headers", {}), f"{path}.headers")
    credential = entry.get("credential")
    secrets = [part for value in headers.values() for part in (value, value.partition(" ")[2])]
    return Server(
        name,
        given,
        url=url,
        headers=headers,
        credentials={"authorization": credential} if isinstance(credential, str) else {},
        secrets=_longest(secrets),
    )


def _strings(found: Any, path: str) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InvalidInput("an object of texts", path=path)
    return {key: _expanded(value, path) for key, value in found.items()}


def _expanded(text: str, path: str) -> str:
    def value(found: re.Match[str]) -> str:
        known = os.environ.get(found[1], found[2])
        if known is None:
            raise InvalidInput(f"the variable {found[1]} is not set here", path=path)
        return known

    return _VARIABLE.sub(value, text)


def _longest(secrets: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({s for s in secrets if len(s) >= _SHORTEST_SECRET}, key=len, reverse=True))

"""Putting a client's configured servers behind the gateway, and taking that back.

1. Each server of the client keeps its name, and its tools keep theirs: its entry is replaced by a gateway for
   just this server. What the entry said, credentials and all, moves to ``mcp.json`` in the home.
2. Nothing is written before everything was read and fits: the client's file is replaced whole and in one
   step, with the mode it had. Whatever else stands in it stays.
3. What was replaced is kept in the home, by the client's file; `undo` puts exactly that back, and leaves what
   somebody has changed since.
4. A server that the gateway cannot stand in front of stays as it is, and is named: it bypasses the gate.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.adapters.mcp.servers import FILE, distinct, servers_of
from interlock.model.canonical import parse_json
from interlock.model.errors import HomeUnusable, InvalidInput
from interlock.model.text import visible

RECORD = "mcp-installed.json"
KEY = "mcpServers"


@dataclass(frozen=True, slots=True)
class Changed:
    """What was done to a client's file: names of servers, and of those left alone why."""

    file: Path
    moved: tuple[str, ...]
    left: Mapping[str, str]


def client_file(client: str) -> Path:
    """Where a client keeps its servers: by its name, or the path of a file.

    Raises:
        HomeUnusable: there is no such file.
    """
    user = Path.home()
    places = {
        "claude-desktop": (
            user / "Library/Application Support/Claude/claude_desktop_config.json",
            user / ".config/Claude/claude_desktop_config.json",
        ),
        "claude-code": (Path(".mcp.json"), user / ".claude.json"),
        "cursor": (Path(".cursor/mcp.json"), user / ".cursor/mcp.json"),
    }
    looked = places.get(client, (Path(client),))
    for path in looked:
        if path.is_file():
            return path.absolute()
    raise HomeUnusable(
        f"There is no {' and no '.join(map(str, looked))}.",
        fix=f"Name the file that holds {KEY}, or one of: {', '.join(places)}.",
    )


def install(file: Path, home: Path, more: tuple[str, ...] = ()) -> Changed:
    """Put the servers of a client's file behind the gateway.

    Args:
        more: what the gateway is started with beside ``--home`` and ``--server``.

    Raises:
        InvalidInput: the file is no such file, or a server does not fit beside what is there.
    """
    document, servers = _read(file)
    kept, record = _stored(home / FILE), _stored(home / RECORD)
    mine: dict[str, Any] = kept.setdefault(KEY, {})
    moved: dict[str, Any] = {}
    left: dict[str, str] = {}
    for name, entry in servers.items():
        if _ours(entry, home):
            continue
        try:
            servers_of({KEY: {name: entry}})
        except InvalidInput as error:
            left[name] = error.detail
            continue
        if mine.get(name, entry) != entry:
            raise InvalidInput(
                f"another server is called {visible(name, 60)} in {home / FILE}",
                path=f"$.{KEY}",
                fix=f"Rename it in {file}.",
            )
        moved[name] = entry
    mine |= moved
    distinct(servers_of(kept))
    if moved:
        record.setdefault(str(file), {}).update(moved)
        _write(home / FILE, kept, 0o600)
        _write(home / RECORD, record, 0o600)
        document[KEY] = {
            name: _gateway(name, home, more) if name in moved else entry for name, entry in servers.items()
        }
        _write(file, document, file.stat().st_mode & 0o777)
    return Changed(file, tuple(moved), left)


def undo(file: Path, home: Path) -> Changed:
    """Give a client its servers back. Raises as `install`."""
    document, servers = _read(file)
    kept, record = _stored(home / FILE), _stored(home / RECORD)
    originals: dict[str, Any] = record.pop(str(file), {})
    back = {name: entry for name, entry in originals.items() if _ours(servers.get(name), home)}
    left = {name: "its entry was changed since" for name in originals if name not in back}
    if back:
        document[KEY] = {name: back.get(name, entry) for name, entry in servers.items()}
        _write(file, document, file.stat().st_mode & 0o777)
        still = {name for entries in record.values() for name in entries}
        mine = kept.get(KEY, {})
        kept[KEY] = {name: entry for name, entry in mine.items() if name not in back or name in still}
        _write(home / FILE, kept, 0o600)
        _write(home / RECORD, record, 0o600)
    return Changed(file, tuple(back), left)


def _gateway(name: str, home: Path, more: tuple[str, ...]) -> dict[str, Any]:
    args = ["-m", "interlock.cli", "mcp", "--home", str(home.absolute()), "--server", name, *more]
    return {"command": sys.executable, "args": args}


def _ours(entry: Any, home: Path) -> bool:
    args = entry.get("args") if isinstance(entry, dict) else None
    begins = ["-m", "interlock.cli", "mcp", "--home", str(home.absolute())]
    return isinstance(args, list) and args[: len(begins)] == begins


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    document = parse_json(file.read_bytes())
    servers = document.get(KEY) if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(servers, dict):
        raise InvalidInput(f"{file} holds no {KEY}", path=f"$.{KEY}")
    return document, servers


def _stored(file: Path) -> dict[str, Any]:
    try:
        found = parse_json(file.read_bytes())
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict):
        raise HomeUnusable(f"{file} is no JSON object.")
    return found


def _write(file: Path, document: Any, mode: int) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        os.fchmod(out.fileno(), mode)
        out.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)

"""A client's servers move behind the gateway, and back, and nothing else in its file changes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from interlock.adapters.mcp.install import RECORD, install, undo
from interlock.adapters.mcp.servers import read_servers
from interlock.model.errors import HomeUnusable, InvalidInput

SERVERS: dict[str, Any] = {
    "github": {"command": sys.executable, "args": ["-c", "pass"], "env": {"GITHUB_TOKEN": "ghp-secret-1"}},
    "Web Search": {
        "type": "http",
        "url": "https://search.example/mcp",
        "headers": {"Authorization": "Bearer s-1"},
    },
    "old": {"type": "sse", "url": "https://old.example/sse"},
}


@pytest.fixture
def client(tmp_path: Path) -> Path:
    file = tmp_path / "claude.json"
    file.write_text(json.dumps({"theme": "dark", "mcpServers": SERVERS}))
    file.chmod(0o640)
    (tmp_path / "home").mkdir(mode=0o700)
    return file


def test_servers_keep_their_names_and_their_credentials_leave_the_clients_file(client: Path) -> None:
    home = client.parent / "home"
    done = install(client, home)
    assert done.moved == ("github", "Web Search")
    assert "old" in done.left  # it bypasses the gate, and is named
    written = json.loads(client.read_text())
    assert (written["theme"], list(written["mcpServers"])) == ("dark", list(SERVERS))
    assert written["mcpServers"]["old"] == SERVERS["old"]
    assert written["mcpServers"]["github"]["args"][-2:] == ["--server", "github"]
    assert "secret" not in client.read_text()
    assert "Bearer" not in client.read_text()
    assert client.stat().st_mode & 0o777 == 0o640
    for name in ("mcp.json", RECORD):
        assert (home / name).stat().st_mode & 0o777 == 0o600
    found = {each.given: each for each in read_servers(home)}
    assert found["Web Search"].name == "web_search"
    assert found["github"].secrets == ("ghp-secret-1",)
    assert read_servers(home, "Web Search")[0].headers == {"Authorization": "Bearer s-1"}


def test_a_second_installation_changes_nothing_and_undo_gives_back_what_was_there(client: Path) -> None:
    home = client.parent / "home"
    before = json.loads(client.read_text())
    install(client, home)
    once = client.read_text()
    assert install(client, home).moved == ()
    assert client.read_text() == once
    assert undo(client, home).moved == ("github", "Web Search")
    assert json.loads(client.read_text()) == before
    assert read_servers(home) == ()
    assert undo(client, home).moved == ()


def test_undo_leaves_what_somebody_changed_since(client: Path) -> None:
    home = client.parent / "home"
    install(client, home)
    written = json.loads(client.read_text())
    written["mcpServers"]["github"] = {"command": "mine"}
    client.write_text(json.dumps(written))
    done = undo(client, home)
    assert (done.moved, list(done.left)) == (("Web Search",), ["github"])
    assert json.loads(client.read_text())["mcpServers"]["github"] == {"command": "mine"}


def test_another_server_of_the_same_name_is_refused_and_nothing_is_written(client: Path) -> None:
    home = client.parent / "home"
    install(client, home)
    other = client.with_name("cursor.json")
    other.write_text(json.dumps({"mcpServers": {"github": {"command": sys.executable, "args": ["other"]}}}))
    before = other.read_text(), (home / "mcp.json").read_text()
    with pytest.raises(InvalidInput, match="another server"):
        install(other, home)
    assert (other.read_text(), (home / "mcp.json").read_text()) == before


def test_a_configuration_that_others_can_read_is_refused(client: Path) -> None:
    home = client.parent / "home"
    install(client, home)
    (home / "mcp.json").chmod(0o644)
    with pytest.raises(HomeUnusable, match="can be read by others"):
        read_servers(home)


def test_two_names_that_become_one_are_refused(client: Path) -> None:
    home = client.parent / "home"
    entry = SERVERS["github"]
    (home / "mcp.json").write_text(json.dumps({"mcpServers": {"GitHub": entry, "git_hub": entry}}))
    (home / "mcp.json").chmod(0o600)
    with pytest.raises((InvalidInput, HomeUnusable), match="both become git_hub"):
        read_servers(home)


def test_variables_of_the_environment_are_put_in_and_a_missing_one_is_named(
    client: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = client.parent / "home"
    entry = {"type": "http", "url": "https://x.example/${PLACE:-mcp}", "headers": {"X-Key": "${THE_KEY}"}}
    (home / "mcp.json").write_text(json.dumps({"mcpServers": {"x": entry}}))
    (home / "mcp.json").chmod(0o600)
    monkeypatch.setenv("THE_KEY", "k-123456")
    found = read_servers(home)[0]
    assert (found.url, found.headers) == ("https://x.example/mcp", {"X-Key": "k-123456"})
    assert "k-123456" not in repr(found)
    monkeypatch.delenv("THE_KEY")
    with pytest.raises(HomeUnusable, match="THE_KEY is not set"):
        read_servers(home)

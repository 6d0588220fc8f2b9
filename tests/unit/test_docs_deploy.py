"""The units and manifests of the page about running a server are what systemd and our command line take."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from interlock.cli.app import app
from interlock.home import Home
from interlock.server.app import create_app

PAGE = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
UNITS = dict(re.findall(r"^```ini\n# /etc/systemd/system/(\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
[MANIFESTS] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Every call of our command line on the page: in units, in the manifests and in the text."""
    found = [
        shlex.split(line)[1:]
        for unit in UNITS.values()
        for line in re.findall(r"^ExecStart=(.+)$", unit, re.M)
    ]
    for document in documents("StatefulSet"):
        found += [container["args"] for container in document["spec"]["template"]["spec"]["containers"]]
    for line in re.findall(r"^    (?:sudo -u interlock )?interlock (.+?)(?:  +#.*)?$", PAGE, re.MULTILINE):
        found.append(shlex.split(line))
    for line in re.findall(r"`interlock ([^`…]+)`", PAGE):
        found.append(shlex.split(line))
    return found


def documents(kind: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(MANIFESTS) if document["kind"] == kind]


def test_every_option_on_the_page_is_one_of_the_command_it_stands_with() -> None:
    root: Any = typer.main.get_command(app)
    found = commands()
    assert sorted({words[0] for words in found} & {"serve", "worker"}) == ["serve", "worker"]
    for words in found:
        command, rest = root, list(words)
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        assert command is not root, words
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, words


def test_each_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    assert set(UNITS) == {"interlock.service", "interlock-worker.service"}
    for name, unit in UNITS.items():
        for section in ("[Unit]", "[Service]", "[Install]"):
            assert section in unit
        assert "KillSignal" not in unit, "SIGTERM is what it drains on"
        assert int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0]) >= 40
        (tmp_path / name).write_text(unit.replace("/opt/interlock/bin/interlock", sys.executable), "utf-8")
    analyzer = shutil.which("systemd-analyze")
    if analyzer is not None:
        files = [str(tmp_path / name) for name in UNITS]
        done = subprocess.run([analyzer, "verify", *files], capture_output=True, text=True)
        said = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
        assert (done.returncode, said) == (0, [])


def test_each_replica_has_a_folder_of_its_own_and_the_same_identity() -> None:
    [document] = documents("StatefulSet")
    pod = document["spec"]["template"]["spec"]
    [container] = pod["containers"]
    home = container["args"][container["args"].index("--home") + 1]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    [claim] = document["spec"]["volumeClaimTemplates"]
    assert home.startswith(mounts[claim["metadata"]["name"]] + "/")
    [identity] = pod["initContainers"]
    assert f"{home}/home.json" in identity["args"][0]
    assert f"{home}/keystore/" in identity["args"][0]
    assert pod["terminationGracePeriodSeconds"] >= 40


def test_the_identity_that_is_copied_opens_the_home(tmp_path: Path) -> None:
    """The manifest's own script, on a home that was made elsewhere."""
    made, secret, copied = tmp_path / "made", tmp_path / "identity", tmp_path / "copied"
    Home.open(made).close()
    secret.mkdir()
    for file in (made / "home.json", *(made / "keystore").iterdir()):
        shutil.copy(file, secret / file.name)
    [document] = documents("StatefulSet")
    [identity] = document["spec"]["template"]["spec"]["initContainers"]
    script = (
        identity["args"][0].replace("/var/lib/interlock/home", str(copied)).replace("/identity", str(secret))
    )
    subprocess.run(["sh", "-c", script], check=True)
    for suffix in ("", "-wal", "-shm"):
        if (made / f"journal.db{suffix}").exists():
            shutil.copy(made / f"journal.db{suffix}", copied)
    Home.open(copied).close()
    assert (copied.stat().st_mode & 0o777, (copied / "keystore").stat().st_mode & 0o077) == (0o700, 0)


def test_every_probe_asks_a_page_that_is_there_and_names_a_host_that_is_answered(tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    [document] = documents("StatefulSet")
    [container] = document["spec"]["template"]["spec"]["containers"]
    home = Home.open(tmp_path / "home")
    try:
        client = TestClient(create_app(home), base_url="http://10.0.0.7:8420")
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container[name]["httpGet"]
            headers = {header["name"]: header["value"] for header in probe["httpHeaders"]}
            known = {route.path for route in client.app.routes if hasattr(route, "path")}  # type: ignore[attr-defined]
            assert probe["path"] in known
            assert client.get("/healthz", headers=headers).status_code == 200
        assert client.get("/healthz").status_code == 421
    finally:
        home.close()


def test_no_secret_stands_in_a_command_or_a_manifest() -> None:
    assert "secretKeyRef" in MANIFESTS
    for words in commands():
        assert not any(word.startswith("postgresql://") for word in words), words


@pytest.mark.parametrize("kind", ["Service", "StatefulSet", "PodDisruptionBudget"])
def test_the_manifests_belong_together(kind: str) -> None:
    [document] = documents(kind)
    assert document["metadata"]["namespace"] == "interlock"
    labels = documents("StatefulSet")[0]["spec"]["template"]["metadata"]["labels"]
    selector = document["spec"]["selector"]
    assert selector.get("matchLabels", selector) == labels

"""What the page about HTTP shows in a shell is run in a shell, against a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.identity import KeyKind
from server_process import ServerProcess, opened

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
LIFE = PAGE.split("## The life of an action\n")[1].split("\n## ")[0]
EXPECTED = "# → "
WELL_FORMED = {
    "not-found",  # the ids on the page lead nowhere
    "permit-invalid",
    "unauthenticated",  # of a link, once
    "changed",
    "conflict",
    "forbidden",  # of a page that no console sent
}
pytestmark = pytest.mark.timeout(280)


@dataclass
class Shell:
    """A folder with the page's keys, and the variables that the page sets."""

    folder: Path
    url: str

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        names = [line.strip() for line in PAGE.splitlines() if re.match(r'    [A-Z]+="Authorization', line)]
        assert len(names) == 4
        begin = "\n".join(("set -euo pipefail", *names))
        return subprocess.run(
            ["bash", "-c", f"{begin}\n{script}"],
            cwd=self.folder,
            env={**os.environ, "INTERLOCK": self.url, "NO_PROXY": "*"},
            capture_output=True,
            text=True,
            errors="replace",  # of tiles
            check=False,
        )


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    assert shutil.which("curl"), "the page's commands need curl"
    folder = tmp_path_factory.mktemp("http")
    policy, home = folder / "policy.yaml", folder / "home"
    [text] = re.findall(r"^```yaml\n(.*?)^```", LIFE, re.MULTILINE | re.DOTALL)
    policy.write_text(text, encoding="utf-8")
    with opened(home, policy) as inside:
        for file, name in (("person", "Ana"), ("other", "Ben")):
            person = (
                inside.roster.first(name, by="tests")
                if file == "person"
                else inside.roster.add(name, by="tests")
            )
            token = inside.keyring.add(KeyKind.PERSON, name, person=person, by="tests")[1]
            (folder / f"{file}.key").write_text(token)
        for kind in (KeyKind.AGENT, KeyKind.ADAPTER, KeyKind.EXECUTOR):
            token = inside.keyring.add(kind, "support-bot", topics=["support.**"], by="tests")[1]
            (folder / f"{kind}.key").write_text(token)
    with ServerProcess(home, policy) as server:
        server.ready()
        yield Shell(folder, server.url)


def test_the_life_of_an_action_is_what_the_page_says(shell: Shell) -> None:
    """One shell runs all of it, in order; it prints each line that the page says, and no other."""
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```", LIFE, re.MULTILINE | re.DOTALL))
    expected = [line.removeprefix(EXPECTED) for line in script.splitlines() if line.startswith(EXPECTED)]
    done = shell.run(script)
    assert (done.stdout.splitlines(), done.stderr, done.returncode) == (expected, "", 0)
    assert len(expected) > 20


def test_the_life_passes_through_every_endpoint_of_an_action() -> None:
    """But for permits, which have a page of their own, and what only a host asks that starts anew."""
    documented = re.findall(
        r"^### `(?:GET|POST) (/v1/(?:actions|approvals|questions|kill)\S*)`$", PAGE, re.MULTILINE
    )
    passed = {
        path for path in documented if re.search(".+?".join(map(re.escape, re.split(r"\{\w+\}", path))), LIFE)
    }
    elsewhere = ("{action_id}/checkpoint", "{action_id}/permit", "ready")
    assert set(documented) - passed == {f"/v1/actions/{what}" for what in elsewhere}


def examples() -> list[str]:
    rest = PAGE.split("\n## Actions\n")[1]
    return re.findall(r"^    curl (?:.*\\\n)*.*$", rest, re.MULTILINE)


def test_every_example_of_an_endpoint_is_a_request_that_the_server_reads(shell: Shell) -> None:
    assert len(examples()) > 40
    for example in examples():
        if "/v1/events" in example:
            example = example.replace("curl -sN", "curl -sN --max-time 1") + " || test $? = 28"
        done = shell.run(f"PROOF=none; touch session\n{example}")
        assert done.returncode == 0, (example, done.stderr)
        if '"urn:interlock:problem:' in done.stdout:
            slug = json.loads(done.stdout)["type"].rpartition(":")[2]
            assert slug in WELL_FORMED, (example, done.stdout)
            assert (slug == "forbidden") <= ("$PROOF" in example), (example, done.stdout)
            assert (slug == "unauthenticated") <= ("/v1/sign-in" in example or "-b session" in example)

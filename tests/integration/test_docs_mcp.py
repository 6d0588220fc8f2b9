"""The program that the gateway's page begins with does what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from house import House, agent
from interlock.gate import Answer, HumanDecision
from interlock.home import Home
from server_process import ServerProcess

PAGE = Path(__file__).parents[2] / "docs" / "integrations" / "mcp.md"
pytestmark = pytest.mark.timeout(180)


def test_the_pages_program_holds_a_refund_and_pays_once_after_it_was_approved(tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (_, client), (_, shop), (_, policy), (_, servers) = blocks
    assert len(client.splitlines()) < 30
    for name, text in (
        ("agent.py", client),
        ("shop.py", shop),
        ("policy.yaml", policy),
        ("servers.json", servers),
    ):
        (tmp_path / name).write_text(text)
    home = tmp_path / ".interlock"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(*command: str) -> str:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with ServerProcess(home, tmp_path / "policy.yaml"):
        run("interlock", "mcp", "install", "--client", "servers.json", "--home", ".interlock")
        assert "interlock.cli" in (tmp_path / "servers.json").read_text()
        assert "Accepted: shop.refund" in run("interlock", "mcp", "accept", "shop", "--yes")
        first = run("python", "agent.py", "A-12", "500")
        assert first.startswith("Held: “Refund $500.00 for order A-12” waits for ops-approvers until ")
        opened = Home.open(home)
        try:
            house = House(opened)
            (action,) = house.sql("SELECT id FROM actions")[0]
            approval = house.view(action, agent("mcp"))["approval"]
            (person,) = opened.roster.all()
            answer = HumanDecision(Answer.APPROVE, approval["review_hash"])
            opened.gate.decide(approval["id"], person.caller, answer)
            assert run("python", "agent.py", "A-12", "500") == "Paid 500.0 back for A-12.\n"
            assert house.view(action, agent("mcp"))["state"] == "succeeded"
        finally:
            opened.close()

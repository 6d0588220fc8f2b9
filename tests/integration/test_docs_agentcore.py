"""The program and the file in docs/integrations/agentcore.md are run, behind a real issuer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from house import House
from interlock.identity import KeyKind
from mcp_gate import POLICY, Bank
from oauth_issuer import SECRETS, IssuerServer, gateway, issuing

PAGE = Path(__file__).parents[2] / "docs" / "integrations" / "agentcore.md"
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server() -> Iterator[IssuerServer]:
    with issuing() as found:
        yield found


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return str(found)


def test_the_program_of_the_page_gets_a_token_and_its_call_is_held(
    open_house: Callable[..., House], server: IssuerServer, tmp_path: Path
) -> None:
    bank = Bank(open_house(POLICY), tmp_path)
    bank.accept()
    key, _ = bank.home.keyring.add(KeyKind.AGENT, "agentcore", topics=("bank.**",), by="test")
    program, given = block("python"), json.loads(block("json"))
    assert len(program.splitlines()) < 30
    (tmp_path / "probe.py").write_text(program)
    here = {**given, "issuer": server.url, "clients": {"agentcore": key.id}}
    assert here.keys() == given.keys()
    with gateway(bank.home.path, here) as url:
        env = {"GATEWAY_URL": url, "TOKEN_URL": f"{server.url}/token", "CLIENT_ID": "agentcore"}
        done = subprocess.run(
            [sys.executable, "probe.py", "refund", '{"order_id": "A-12", "amount_usd": 500}'],
            cwd=tmp_path,
            env={**os.environ, **env, "CLIENT_SECRET": SECRETS["agentcore"]},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    tools, held = done.stdout.splitlines()[:2]
    assert tools.endswith(" interlock_result interlock_ask")
    assert " refund " in tools
    assert held.startswith("Held: “Refund $500.00 for order A-12” waits for ops-approvers until ")
    assert not bank.book(tool="refund")

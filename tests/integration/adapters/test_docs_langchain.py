"""The program in docs/integrations/langchain.md is run, in processes of its own, as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("langchain", reason="not installed: uv run --group frameworks pytest")

from house import House
from interlock.gate import Answer
from interlock.home import Home

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "integrations" / "langchain.md"
MODEL = """
import json, sys
sys.path[:0] = [{tests!r}, "."]
import langchain.agents.factory
from langchain_agent import Scripted, call

script = [[call(order_id="A-12", amount_usd=500)]]
langchain.agents.factory.init_chat_model = lambda name: Scripted(script=script)
"""
"""The page's model is a provider's; here the one that it names is a script."""


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return str(found)


def run(folder: Path, code: str, *args: str) -> str:
    text = MODEL.format(tests=str(ROOT / "tests")) + code
    done = subprocess.run(
        [sys.executable, "-c", text, *args], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_program_of_the_page_waits_and_goes_on_in_a_worker(tmp_path: Path) -> None:
    program = block("python")
    assert len(program.splitlines()) < 30
    (tmp_path / "refunds.py").write_text(program)
    (tmp_path / "policy.yaml").write_text(block("yaml"))
    start = 'import runpy; runpy.run_path("refunds.py", run_name="__main__")'
    said = run(tmp_path, start, "thread-1", "Pay order A-12 back, 500 dollars.")
    assert said.startswith("Held: “Refund $500.00 for order A-12” waits for finance until ")
    home = Home.open(tmp_path / ".interlock")
    house = House(home)
    ((action,),) = house.sql("SELECT id FROM actions")
    assert action in json.dumps(house.view(action))
    house.answer(action, house.person("Ann"), Answer.APPROVE)
    home.close()
    work = 'from interlock.cli import main; sys.exit(main(["worker", "refunds:gate", "--once"]))'
    assert run(tmp_path, work).count("Paid 500.0 back for A-12.") == 1
    assert "Paid" not in run(tmp_path, work)

"""The programs on the pages of OpenAI Agents and Pydantic AI are run as they stand, each in its processes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("agents", reason="not installed: uv run --group frameworks pytest")
pytest.importorskip("pydantic_ai", reason="not installed: uv run --group frameworks pytest")

from house import House
from interlock.gate import Answer
from interlock.home import Home

ROOT = Path(__file__).parents[3]
PATHS = f"import sys\nsys.path[:0] = [{str(ROOT / 'tests')!r}, '.']\n"
MODELS = {
    "openai-agents": """
from agents.models.multi_provider import MultiProvider
from openai_agent import Scripted, call
MultiProvider.get_model = lambda *_: Scripted([[call(order_id="A-12", amount_usd=500)]])
""",
    "pydantic-ai": """
from pydantic_ai import models
from pydantic_agent import call, scripted
models.infer_model = lambda *_, **__: scripted([[call(order_id="A-12", amount_usd=500)]])
""",
}
"""The page's model is a provider's; here the one that it names is a script."""


def block(page: str, language: str) -> str:
    text = (ROOT / "docs" / "integrations" / f"{page}.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)
    return str(found)


def run(page: str, folder: Path, code: str, *args: str) -> str:
    text = PATHS + MODELS[page] + code
    done = subprocess.run(
        [sys.executable, "-c", text, *args], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", MODELS)
def test_the_program_of_the_page_waits_and_goes_on_in_a_worker(tmp_path: Path, page: str) -> None:
    program = block(page, "python")
    assert len(program.splitlines()) < 30
    (tmp_path / "refunds.py").write_text(program)
    (tmp_path / "policy.yaml").write_text(block(page, "yaml"))
    start = 'import runpy; runpy.run_path("refunds.py", run_name="__main__")'
    said = run(page, tmp_path, start, "Pay order A-12 back, 500 dollars.")
    assert said.startswith("Held: “Refund $500.00 for order A-12” waits for finance until ")
    home = Home.open(tmp_path / ".interlock")
    house = House(home)
    ((action,),) = house.sql("SELECT id FROM actions")
    house.answer(action, house.person("Ann"), Answer.APPROVE)
    home.close()
    work = 'from interlock.cli import main; sys.exit(main(["worker", "refunds:gate", "--once"]))'
    assert run(page, tmp_path, work).count("Paid 500.0 back for A-12.") == 1
    assert "Paid" not in run(page, tmp_path, work)

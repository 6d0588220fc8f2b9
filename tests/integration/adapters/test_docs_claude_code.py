"""The program in docs/integrations/claude-code.md is run as it stands there, with the real Claude Code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from claude_code import ClaudeCode, program, scripted

PAGE = Path(__file__).parents[3] / "docs" / "integrations" / "claude-code.md"
CLAUDE = program()
pytestmark = pytest.mark.skipif(CLAUDE is None, reason="the Claude Agent SDK is not installed")


def test_the_program_on_the_page_runs_what_is_allowed_and_nothing_else(tmp_path: Path) -> None:
    text = PAGE.read_text()
    source = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert source is not None
    assert text.index("```python") < 80
    assert source[1].count("\n") < 30
    work = tmp_path / "work"
    work.mkdir()
    (work / "Makefile").write_text("test:\n\t@touch tested\ndeploy:\n\t@touch deployed\n")
    (work / "program.py").write_text(source[1])
    assert CLAUDE is not None
    claude = ClaudeCode(CLAUDE, work, work / "none")
    calls = [
        [("toolu_1", "Bash", {"command": "make test"})],
        [("toolu_2", "Bash", {"command": "make deploy"})],
    ]
    with scripted(*calls) as model:
        done = subprocess.run(
            [sys.executable, "program.py"],
            cwd=work,
            env=claude.environment(model),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, "finished\n"), done.stderr
    assert (work / "tested").exists()
    assert not (work / "deployed").exists()
    assert "Held: “" in model.results["toolu_2"]


def test_options_keep_the_settings_that_were_given(tmp_path: Path) -> None:
    sdk = pytest.importorskip("interlock.adapters.claude_code.sdk")
    from claude_agent_sdk import ClaudeAgentOptions

    from interlock.adapters.claude_code.settings import blocks
    from interlock.model.errors import InvalidInput

    (tmp_path / "mine.json").write_text('{"model": "opus"}')
    for given in ('{"model": "opus"}', "mine.json"):
        made = sdk.options(ClaudeAgentOptions(settings=given, cwd=tmp_path), home=tmp_path)
        found = json.loads(made.settings)
        assert found["model"] == "opus"
        assert blocks(found)
        assert made.cwd == tmp_path
    with pytest.raises(InvalidInput):
        sdk.options()
    with pytest.raises(InvalidInput):
        sdk.options(ClaudeAgentOptions(settings="{"), home=tmp_path)

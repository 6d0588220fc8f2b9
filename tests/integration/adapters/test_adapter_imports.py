"""What is imported, and what is said where an extra is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("langchain", reason="not installed: uv run --group frameworks pytest")


FRAMEWORKS = (
    "agents",
    "claude_agent_sdk",
    "google.adk",
    "httpx",
    "langchain",
    "langgraph",
    "mcp",
    "pydantic_ai",
)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("what", ["from interlock import Gate, Held", "import interlock.adapters.calls"])
def test_no_framework_is_imported_by_default(what: str) -> None:
    done = run(f"import sys\n{what}\nprint([name for name in {FRAMEWORKS!r} if name in sys.modules])")
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize(
    ("missing", "adapter"),
    [
        *((name, "langchain") for name in ("langchain", "langchain_core", "langgraph")),
        *((name, "google_adk") for name in ("google", "google.adk", "google.genai")),
        *((name, "openai_agents") for name in ("agents", "openai")),
        ("pydantic_ai", "pydantic_ai"),
    ],
)
def test_a_missing_extra_is_named_and_another_error_is_not_hidden(missing: str, adapter: str) -> None:
    extra = adapter.replace("_", "-")
    pytest.importorskip({"google_adk": "google.adk", "openai_agents": "agents"}.get(adapter, adapter))
    done = run(f"import sys\nsys.modules[{missing!r}] = None\nimport interlock.adapters.{adapter}")
    assert done.stderr.strip().splitlines()[-1].endswith(f"pip install 'interlock[{extra}]'")
    hidden = run(f"import sys\nsys.modules['decimal'] = None\nimport interlock.adapters.{adapter}")
    assert "interlock[" not in hidden.stderr

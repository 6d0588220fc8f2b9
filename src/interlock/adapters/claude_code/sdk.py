"""The Claude Agent SDK: options whose settings hold the hooks.

Settings, and no Python callbacks: a callback of the SDK is not asked again when a session is resumed without
a new message, and is gone with its process. A hook in the settings is Claude Code's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from interlock.adapters.claude_code import settings
from interlock.model.errors import InvalidInput

try:
    from claude_agent_sdk import ClaudeAgentOptions
except ImportError as error:
    raise ImportError("pip install 'interlock[claude-agent-sdk]'") from error


def options(
    given: ClaudeAgentOptions | None = None,
    *,
    home: Path | None = None,
    url: str | None = None,
    key_file: Path | None = None,
    program: Sequence[str] = (),
) -> ClaudeAgentOptions:
    """The options with hooks that put every tool of Claude Code behind the gate.

    Tools of the SDK's own MCP servers and of others are among them; nothing else in the options changes.

    Args:
        given: the options so far; their `settings` are kept.
        home: of the gate, without a server. url, key_file: a server, and a file with an adapter's key.
        program: how the `interlock` command is started; this installation's by default.

    Raises:
        InvalidInput: neither a home nor a key is given, or the settings cannot be read.
    """
    if home is None and key_file is None:
        raise InvalidInput("give a home, or a key_file", path="options")
    base = given if given is not None else ClaudeAgentOptions()
    said = [
        part
        for name, value in (("--home", home), ("--url", url), ("--key-file", key_file))
        if value is not None
        for part in (name, value if isinstance(value, str) else str(value.absolute()))
    ]
    merged = settings.installed(_settings(base), settings.hooks(said, program), "options.settings")
    return replace(base, settings=json.dumps(merged))


def _settings(base: ClaudeAgentOptions) -> dict[str, object]:
    text = (base.settings or "").strip()
    if not text:
        return {}
    if not text.startswith("{"):
        return settings.read(Path(base.cwd or "") / text)
    try:
        found: dict[str, object] = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"are not JSON ({error})", path="options.settings") from None
    return found

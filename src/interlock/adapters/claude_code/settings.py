"""Claude Code's settings: the hooks that put it behind the gate, and what in a file goes around them.

1. The commands fail closed on their own: a missing program, a crash and a time limit all end with exit code
   2, the one that blocks.
2. Everything else in a file is kept as it is. Installing twice changes nothing; taking back removes our hooks
   only. A file that is not understood is refused, never replaced.
3. A gap (`Finding`) is said as a sentence with a way out. `bypass` means that a call can run that nobody
   asked the gate about; the others are worth knowing.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.adapters.claude_code.hook import LIMIT_SEC
from interlock.model.errors import InvalidInput

TIMEOUT_SEC = 30
BEFORE = ("PreToolUse", "PermissionRequest")
AFTER = ("PostToolUse", "PostToolUseFailure")
_OURS = re.compile(r"(?:^|[\s/'\"])interlock['\"]? hook(?:\s|$)|-m interlock\.cli hook(?:\s|$)")
_CLOSED = re.compile(r"\|\|\s*exit 2\s*$")
_EVERY = ("", "*", ".*")


@dataclass(frozen=True, slots=True)
class Finding:
    """A gap, or something worth knowing. `where` is a file or a place; `kind` never changes its meaning."""

    kind: str
    where: str
    says: str
    fix: str
    bypass: bool = True

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "where": self.where,
            "bypass": self.bypass,
            "says": self.says,
            "fix": self.fix,
        }


def command(options: Sequence[str], program: Sequence[str] = ()) -> str:
    """The shell command that answers before a tool.

    Args:
        options: of ``interlock hook``. program: what is run; the `interlock` of this installation by default.
    """
    words = shlex.join([*(program or _program()), "hook", *options])
    limit = f"timeout {LIMIT_SEC} " if shutil.which("timeout") else ""
    return f"{limit}{words} || exit 2"


def hooks(options: Sequence[str] = (), program: Sequence[str] = ()) -> dict[str, Any]:
    """The member ``hooks`` of a settings file that puts every tool behind the gate."""
    before = command(options, program)
    said = dict.fromkeys(BEFORE, before) | dict.fromkeys(AFTER, before.removesuffix(" || exit 2"))
    return {
        event: [{"matcher": "*", "hooks": [{"type": "command", "command": line, "timeout": TIMEOUT_SEC}]}]
        for event, line in said.items()
    }


def installed(settings: Mapping[str, Any], ours: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The settings with our hooks, and no earlier ones of ours. Raises `InvalidInput` as `removed`."""
    cleaned = removed(settings, where)
    merged = dict(cleaned.get("hooks", {}))
    for event, entries in ours.items():
        merged[event] = [*merged.get(event, []), *entries]
    return {**cleaned, "hooks": merged}


def removed(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The settings without our hooks.

    Raises:
        InvalidInput: what stands under ``hooks`` is not what Claude Code reads.
    """
    kept: dict[str, Any] = {}
    for event, entries in _events(settings, where):
        left = []
        for entry in entries:
            others = [hook for hook in entry["hooks"] if not _ours(hook)]
            if others or not entry["hooks"]:
                left.append({**entry, "hooks": others})
        if left or not entries:
            kept[event] = left
    rest = {name: value for name, value in settings.items() if name != "hooks"}
    return {**rest, "hooks": kept} if kept else rest


def read(file: Path) -> dict[str, Any]:
    """A settings file; nothing where there is none. Raises `InvalidInput` where it is not understood."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InvalidInput(f"is not JSON ({error}); nothing was changed", path=str(file)) from None
    if not isinstance(found, dict):
        raise InvalidInput("holds no object; nothing was changed", path=str(file))
    return found


def write(file: Path, settings: Mapping[str, Any]) -> None:
    """Replace the file in one step, with the permissions that it had."""
    file.parent.mkdir(parents=True, exist_ok=True)
    target = file.resolve()
    beside = target.with_name(f"{target.name}.{os.getpid()}")
    beside.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if target.exists():
        shutil.copymode(target, beside)
    beside.replace(target)


def findings(settings: Mapping[str, Any], where: str, *, gated: bool) -> list[Finding]:
    """What in one settings file goes around the gate.

    Args:
        gated: whether a hook that blocks is installed, in this file or in another one that counts.
    """
    found = []
    if settings.get("disableAllHooks") is True:
        found.append(Finding("hooks-disabled", where, "disableAllHooks is on: no hook runs.", "Remove it."))
    permissions = settings.get("permissions")
    rules = permissions if isinstance(permissions, dict) else {}
    if rules.get("defaultMode") == "bypassPermissions":
        found.append(
            Finding(
                "asks-nobody",
                where,
                "defaultMode is bypassPermissions: wherever the hook is missing, tools run unasked.",
                "Remove it.",
                bypass=not gated,
            )
        )
    allow = rules.get("allow")
    for rule in allow if isinstance(allow, list) else []:
        found.append(
            Finding(
                "allow-rule",
                where,
                f"The rule {rule!r} lets a tool run whose hook did not answer, or was taken out.",
                "Remove the rule: what the policy allows runs without asking anyway.",
                bypass=not gated,
            )
        )
    for kind in ("deny", "ask"):
        refusing = rules.get(kind)
        if isinstance(refusing, list) and refusing:
            found.append(
                Finding(
                    "refused-afterwards",
                    where,
                    f"{len(refusing)} {kind} rules may refuse what the gate let run; that is in doubt then, "
                    "since nobody reports it.",
                    "Write such rules into the policy instead.",
                    bypass=False,
                )
            )
    found += _hook_findings(settings, where)
    return found


def blocks(settings: Mapping[str, Any]) -> bool:
    """Whether a hook of ours asks the gate before every tool, and blocks whenever it fails."""
    if settings.get("disableAllHooks") is True:
        return False
    return any(
        _ours(hook) and _closed(hook) and entry.get("matcher", "*") in _EVERY
        for event, entries in _events(settings, "settings")
        if event == "PreToolUse"
        for entry in entries
        for hook in entry["hooks"]
    )


def _hook_findings(settings: Mapping[str, Any], where: str) -> Iterator[Finding]:
    for event, entries in _events(settings, where):
        for entry in entries:
            for hook in entry["hooks"]:
                if _ours(hook) and event == "PreToolUse":
                    yield from _about(hook, entry.get("matcher", "*"), where)
                elif event in BEFORE and not _ours(hook):
                    yield Finding(
                        "another-hook",
                        where,
                        f"Another {event} hook may change what runs; the report then says in doubt.",
                        "See that it changes no arguments.",
                        bypass=False,
                    )


def _about(hook: Mapping[str, Any], matcher: object, where: str) -> Iterator[Finding]:
    if matcher not in _EVERY:
        yield Finding(
            "some-tools-only",
            where,
            f"The hook is asked about {matcher!r} only.",
            "Run: interlock hook install",
        )
    if not _closed(hook):
        yield Finding(
            "fails-open",
            where,
            "The hook fails open: its command has to end with `|| exit 2`, and its timeout to be longer than "
            f"{LIMIT_SEC} s.",
            "Run: interlock hook install",
        )


def _closed(hook: Mapping[str, Any]) -> bool:
    limit = hook.get("timeout", 600)
    return (
        _CLOSED.search(str(hook.get("command", ""))) is not None
        and isinstance(limit, int | float)
        and limit > LIMIT_SEC
        and not hook.get("async")
    )


def _ours(hook: Mapping[str, Any]) -> bool:
    return hook.get("type") == "command" and _OURS.search(str(hook.get("command", ""))) is not None


def _events(settings: Mapping[str, Any], where: str) -> list[tuple[str, list[dict[str, Any]]]]:
    found = settings.get("hooks", {})
    sound = isinstance(found, dict) and all(
        isinstance(entries, list)
        and all(
            isinstance(entry, dict)
            and isinstance(entry.get("hooks"), list)
            and all(isinstance(hook, dict) for hook in entry["hooks"])
            for entry in entries
        )
        for entries in found.values()
    )
    if not sound:
        raise InvalidInput("`hooks` is not what Claude Code reads; nothing was changed", path=where)
    return list(found.items())


def _program() -> list[str]:
    """How this installation's command is started, whatever the PATH of the agent says."""
    beside = Path(sys.executable).parent / "interlock"
    return [str(beside)] if beside.is_file() else [sys.executable, "-m", "interlock.cli"]

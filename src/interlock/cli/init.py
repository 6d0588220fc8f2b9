"""``interlock init``: five questions about each tool, and a policy with its tests."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import drafted, report
from interlock.cli.options import AsJson
from interlock.cli.report import Line, Misuse
from interlock.model.errors import InvalidInput

if TYPE_CHECKING:
    from interlock.authoring.draft import DraftAction
    from interlock.authoring.interview import Answers

TRIES = 3
_YES, _NO = frozenset({"y", "yes"}), frozenset({"n", "no"})


def register(app: typer.Typer) -> None:
    app.command("init", epilog="Example: interlock init --tools tools.json -o policy")(init)


def init(
    tools: Annotated[
        str | None,
        typer.Option(
            "--tools",
            metavar="FILE",
            help="A JSON list of names, or an MCP tool list; - reads standard input.",
        ),
    ] = None,
    from_module: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODULE[:NAME]",
            help="Python functions; this imports the module and runs its code.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where policy.yaml and its tests go.")
    ] = Path(),
    answers: Annotated[
        str | None,
        typer.Option(
            "--answers", metavar="FILE", help="The answers as JSON, by topic; nothing is asked then."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Take the suggested answers; nothing is asked.")] = False,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="The policy's name; the directory's by default."),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="NAME",
            help="What topics begin with where a tool list names no server; the file's name by default.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help="Named in the commands it suggests at the end."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask five questions about each tool, and write a policy with tests that pass.

    The questions: can it not be taken back, is it routine, is the agent new, are there too many to review,
    could the result hold sensitive data. An empty answer takes the suggestion; ? gives examples. Nothing is
    written before the last answer.
    """
    from interlock.authoring.interview import draft_from_answers, read_answers, suggested
    from interlock.authoring.names import segment

    if sum(source == "-" for source in (tools, answers)) > 1 or (tools and from_module):
        raise Misuse("One source of tools, and one file from standard input.")
    called = segment(name or output.resolve().name)[:100] or "agent"
    given = None if answers is None else drafted.read_text(answers)
    actions = _actions(tools, from_module, given, called, server or "", asks=not (yes or answers))
    if given is not None:
        said = read_answers(given, actions)
    elif yes:
        said = {action.topic: suggested(action) for action in actions}
    else:
        said = _interview(actions)
    draft = draft_from_answers(called, actions, said)
    text, tests, policy = drafted.checked(draft)
    file, cases = output / "policy.yaml", output / "policy.test.yaml"
    output.mkdir(parents=True, exist_ok=True)
    drafted.make_files({file: text, cases: tests}, force=force)
    document: dict[str, Any] = {
        "policy": str(file),
        "tests": str(cases),
        "snapshot": policy.snapshot,
        "topics": [action.topic for action in draft.actions],
        "tiers": {action.topic: action.tier for action in draft.actions},
        "warnings": list(policy.warnings),
        "passed": len(draft.cases),
    }
    where = f" --home {home}" if home else ""
    lines: list[Line] = [(f"warning: {warning}", "yellow") for warning in policy.warnings]
    lines += [
        f"wrote {file}: {len(draft.actions)} actions, {len(draft.rules)} rules",
        f"wrote {cases}: {len(draft.cases)} tests, all pass",
        ("Next: look for `review me` in it, then", "dim"),
        (f"  interlock policy test {file}", "dim"),
        (f"  interlock serve --policy {file}{where}", "dim"),
    ]
    report.answer(document, lines, as_json=as_json)


def _actions(
    tools: str | None, from_module: str | None, given: str | None, called: str, server: str, *, asks: bool
) -> tuple[DraftAction, ...]:
    """The tools, drafted: from a file, from functions, from the answers' keys, or asked for."""
    from interlock.authoring.interview import tools_from_answers, tools_from_names, tools_from_text
    from interlock.authoring.names import topic

    if tools is not None:
        stem = Path(tools).stem
        fits = tools != "-" and topic(stem, "tool") is not None
        server = server or (stem if fits else "")
        drafts, left_out = tools_from_text(drafted.read_text(tools), agent=called, server=server)
        report.warn(*left_out)
        return drafts
    if from_module is not None:
        from interlock.authoring.import_python import describe, draft_from_functions, functions_of
        from interlock.cli.policy.drafts import load

        functions = [describe(label, function) for label, function in functions_of(load(from_module))]
        draft = draft_from_functions(from_module.partition(":")[0], functions)
        if not draft.actions:
            raise InvalidInput(f"none of it can be catalogued: {draft.remarks[0]}", path=from_module)
        report.warn(*draft.remarks)
        return draft.actions
    if given is not None:
        return tools_from_answers(given, agent=called)
    if not asks:
        raise Misuse("Which tools?", fix="Say --tools FILE or --from MODULE.")
    _say("Which tools does the agent have? One a line, such as support.refunds.create; an empty line ends.")
    listed: list[str] = []
    while line := _line("> "):
        listed.append(line)
    return tools_from_names(listed, agent=called)


# --- asking -----------------------------------------------------------------------------------------------


def _interview(actions: Sequence[DraftAction]) -> dict[str, Answers]:
    from interlock.authoring.interview import QUESTIONS, Answers, suggested

    said = {}
    for number, action in enumerate(actions, 1):
        guess = suggested(action)
        _say("", f"{action.topic} ({number} of {len(actions)}), by its name tier {action.tier}")
        found: dict[str, bool] = {}
        for question in QUESTIONS:
            if question.key == "routine" and found["irreversible"]:
                continue  # a person decides each time, however routine it is
            found[question.key] = _ask(question.words, question.example, getattr(guess, question.key))
        said[action.topic] = Answers(**found)
    return said


def _ask(words: str, example: str, suggestion: bool) -> bool:
    for _ in range(TRIES):
        line = _line(f"  {words} [{'Y/n' if suggestion else 'y/N'}] ").lower()
        if not line:
            return suggestion
        if line in _YES | _NO:
            return line in _YES
        _say(f"    for example: {example}" if line == "?" else "    answer y or n; ? gives examples")
    raise InvalidInput(
        "no answer after three tries; nothing was written", path="answer", fix="Answer y or n."
    )


def _say(*lines: str) -> None:
    report.say(lines, to=sys.stderr)


def _line(prompt: str) -> str:
    """One line of standard input. The question goes to standard error: output may be JSON."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline(10_000)
    if not line:
        raise InvalidInput("the answers ended before the questions; nothing was written", path="answer")
    return line.strip()

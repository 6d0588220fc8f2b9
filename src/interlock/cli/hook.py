"""``interlock hook``: Claude Code's hooks, and the settings that name them.

The hook itself is started for each tool call. `interlock.cli.main` hands it to the adapter before anything
else of the command line is imported; here stands what its help says.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from interlock.cli import report
from interlock.cli.options import HOME, AsJson
from interlock.cli.report import Line, Misuse

app = typer.Typer(
    name="hook",
    help="Answer Claude Code's hooks: every tool call goes through the gate.",
    epilog="Example: interlock hook install --project --home .interlock",
    invoke_without_command=True,
)

HomeOfGate = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="The gate's home; ./.interlock by default."),
]
Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The server; else the one that the home announces."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        help="A file with an adapter's key: the server is asked. Without it the home is opened.",
    ),
]
State = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="Where the hook remembers which call is which action."),
]
Agent = Annotated[
    str | None, typer.Option("--agent", metavar="NAME", help="The agent's name, without a server.")
]
NoDefer = Annotated[
    bool,
    typer.Option("--no-defer", help="Deny a held call also under `claude -p`, instead of ending the run."),
]


def register(root: typer.Typer) -> None:
    root.add_typer(app)


@app.callback()
def hook(
    context: typer.Context,
    home: HomeOfGate = None,
    url: Url = None,
    key_file: KeyFile = None,
    state: State = None,
    agent: Agent = None,
    no_defer: NoDefer = False,
) -> None:
    """Answer one event of Claude Code, read from standard input.

    Ends with 2, which blocks the tool, in every case that is not an answer.
    """
    if context.invoked_subcommand is not None:
        return
    from interlock.adapters.claude_code.hook import run

    run(_options(home, url, key_file, state, agent, no_defer))


@app.command("install", epilog="Example: interlock hook install --project --home .interlock")
def install(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A settings file, instead of --project or --user.")
    ] = None,
    project: Annotated[bool, typer.Option("--project", help="./.claude/settings.json")] = False,
    user: Annotated[bool, typer.Option("--user", help="~/.claude/settings.json")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take the hooks out again.")] = False,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="Make the home, with this policy in force."),
    ] = None,
    home: HomeOfGate = None,
    url: Url = None,
    key_file: KeyFile = None,
    state: State = None,
    agent: Agent = None,
    no_defer: NoDefer = False,
    as_json: AsJson = False,
) -> None:
    """Write the hooks into Claude Code's settings, and say what goes around them.

    Everything else in the file stays. Installing again replaces our hooks by these.
    """
    from interlock.adapters.claude_code import settings

    target = _target(file, project=project, user=user)
    before = settings.read(target)
    if undo:
        after = settings.removed(before, str(target))
    else:
        if key_file is None:
            home = home or Path(HOME)
            _check(home, policy)
        options = _options(home, url, key_file, state, agent, no_defer)
        after = settings.installed(before, settings.hooks(options), str(target))
    changed = after != before
    if changed:
        settings.write(target, after)
    gaps = [] if undo else settings.findings(after, str(target), gated=settings.blocks(after))
    done = "taken out of" if undo else "written to"
    lines: list[Line] = [
        (f"The hooks were {done} {target}." if changed else f"{target} stays as it was.", "bold")
    ]
    for gap in gaps:
        lines += [(gap.says, "yellow"), (f"  {gap.fix}", "dim")]
    if not undo:
        lines.append(
            "The agent can edit this file as you can. Managed settings with allowManagedHooksOnly are out of "
            "its reach. Everything else that goes around: interlock doctor"
        )
    document = {"file": str(target), "changed": changed, "findings": [gap.to_json() for gap in gaps]}
    report.answer(document, lines, as_json=as_json)


def _check(home: Path, policy: Path | None) -> None:
    """See that the home is one, before a hook blocks everything because it is none.

    Raises:
        Misuse: there is no home. PolicyNotActive, HomeUnusable: it cannot be used so.
    """
    if policy is None:
        if not (home / "home.json").is_file():
            raise Misuse(
                f"There is no home in {home}.",
                fix="Make it with --policy FILE, or name a server's key with --key-file.",
            )
        return
    from interlock.home import Home, read_policy

    Home.open(home, policy=read_policy(policy), by="hook install").close()


def _target(file: Path | None, *, project: bool, user: bool) -> Path:
    if (file is not None) + project + user != 1:
        raise Misuse("Which settings is not said.", fix="Pass --project, --user, or a FILE.")
    if file is not None:
        return file
    if project:
        return Path(".claude") / "settings.json"
    configured = os.environ.get("CLAUDE_CONFIG_DIR")
    return (Path(configured) if configured else Path.home() / ".claude") / "settings.json"


def _options(
    home: Path | None,
    url: str | None,
    key_file: Path | None,
    state: Path | None,
    agent: str | None,
    no_defer: bool,
) -> list[str]:
    """The options as a hook's command line has them, with paths that mean the same everywhere."""
    said: list[str] = []
    for name, path in (("--home", home), ("--key-file", key_file), ("--state", state)):
        if path is not None:
            said += [name, str(path.expanduser().absolute())]
    for name, text in (("--url", url), ("--agent", agent)):
        if text is not None:
            said += [name, text]
    return [*said, "--no-defer"] if no_defer else said

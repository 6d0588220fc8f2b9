"""``interlock demo`` and ``interlock serve``: the commands that run until they are stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import installation, report
from interlock.cli.options import AsJson, HomeBesidePolicy, home_beside
from interlock.cli.report import Line, Misuse
from interlock.cli.watch import Watch, warnings

if TYPE_CHECKING:
    from interlock.home import Home

FIRST_PERSON = "owner"
DEFAULT_POLICY = Path("policy.yaml")

Port = Annotated[int, typer.Option("--port", min=0, max=65_535, help="TCP port; 0 takes a free one.")]


def register(app: typer.Typer) -> None:
    app.command("demo", epilog="Example: interlock demo --once --json")(demo)
    app.command("serve", epilog="Example: interlock serve --policy policy.yaml")(serve)


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Play the person too, kill and restart the server, and report.")
    ] = False,
    port: Port = 8420,
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help="A folder for the demo; ./interlock-demo by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show an agent at work, and you as the one who decides.

    Starts a server, a small payments service and a scripted agent on this machine, says in plain words what
    happens, and prints the console's link. With --once it also plays the person and checks the books.
    """
    from interlock.demo import main

    raise typer.Exit(main(home=home, port=port, once=once, as_json=as_json))


def serve(
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy",
            metavar="FILE",
            help="A policy file, or a directory of .yaml files; ./policy.yaml by default, if it is there.",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Port = 8420,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", metavar="URL", help="How browsers reach this server, behind a proxy."),
    ] = None,
    public_ledger: Annotated[
        bool,
        typer.Option(
            "--public-ledger", help="Show the ledger's entries and policies to everybody, not only to people."
        ),
    ] = False,
    activate: Annotated[
        bool, typer.Option("--activate", help="Put this policy in force where another one is; recorded.")
    ] = False,
    dev: Annotated[
        bool,
        typer.Option(
            "--dev",
            help="Put the policy in force, and again whenever its files change. On this machine only.",
        ),
    ] = False,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            help="Keep the journal in PostgreSQL; or set INTERLOCK_DATABASE, which `ps` does not show.",
        ),
    ] = None,
    home: HomeBesidePolicy = None,
    as_json: AsJson = False,
) -> None:
    """Serve the gate, the console and the ledger.

    Runs until SIGTERM or Ctrl-C. The first start enrols one person and prints a link that signs them in
    once. Later links come from `interlock keys link`. With --json one document is printed when requests
    are accepted.
    """
    if policy is None and DEFAULT_POLICY.exists():
        policy = DEFAULT_POLICY
    from interlock.home.database import begun

    folder = home_beside(policy, home)
    if policy is None and not begun(folder):
        raise Misuse(
            "There is no policy.yaml here, and no home with a policy in force.",
            fix="Name a policy: interlock serve --policy FILE",
        )
    from interlock.server import serve as run

    watch = _watch(policy, host, public_url) if dev else None

    def ready(opened: Home, url: str) -> None:
        if opened.recovery.required is not None:
            document, lines = _stopped(opened, url)
            report.answer(document, lines, as_json=as_json)
            return
        document = _introduce(opened, url)
        lines = [*warnings(opened.gate.policy), *_words(document)]
        report.answer(document, lines, as_json=as_json)
        if watch is not None:
            report.warn(f"{policy} is watched: what it says is in force as soon as it loads (--dev).")
            watch.start(opened)

    try:
        with installation.readable(folder):
            run(
                folder,
                policy,
                host=host,
                port=port,
                public_url=public_url,
                public_ledger=public_ledger,
                activate=activate or dev,
                database=database,
                on_ready=ready,
            )
    finally:
        if watch is not None:
            watch.stop()


def _watch(policy: Path | None, host: str, public_url: str | None) -> Watch:
    """What watches the policy's files. Raises `Misuse` where that would reach beyond this machine."""
    from interlock.server.security import LOCAL

    if policy is None:
        raise Misuse("--dev watches a policy file, and none was named.", fix="Name one with --policy FILE.")
    if host not in LOCAL or public_url is not None:
        raise Misuse(
            "--dev puts in force whatever a file says, so it serves this machine only.",
            fix="Leave out --host and --public-url, or use: interlock policy activate.",
        )
    return Watch(policy)


def _introduce(home: Home, url: str) -> dict[str, Any]:
    """What to tell when requests are accepted; enrols the first person of a new home."""
    sign_in = None
    if not home.roster.all():
        person = home.roster.first(FIRST_PERSON, by="serve")
        sign_in = f"{url}/sign-in#{home.roster.issue_link(person)}"
    policy = home.gate.policy
    return {
        "url": url,
        "sign_in": sign_in,
        "home": str(home.path),
        "pid": os.getpid(),
        "policy": {
            "name": policy.name,
            "snapshot": policy.snapshot,
            "mode": policy.mode,
            "warnings": list(policy.warnings),
        },
    }


def _stopped(home: Home, url: str) -> tuple[dict[str, Any], list[Line]]:
    """What to tell where the ledger has to be recovered before anything is written."""
    why = home.recovery.required
    assert why is not None
    document = {"url": url, "home": str(home.path), "pid": os.getpid(), "recovery": why.problem()}
    lines: list[Line] = [
        (f"Interlock listens on {url}, in recovery: nothing is written and nothing runs.", "bold red"),
        why.detail,
        why.fix,
    ]
    return document, lines


def _words(document: dict[str, Any]) -> list[Line]:
    policy, sign_in = document["policy"], document["sign_in"]
    lines: list[Line] = [
        (f"Interlock listens on {document['url']}", "bold"),
        f"Policy {policy['name']} ({policy['snapshot'][:15]}…), home {document['home']}",
    ]
    if sign_in is None:
        return [*lines, "A link to sign in: interlock keys link"]
    return [
        *lines,
        f"Nobody was enrolled here, so “{FIRST_PERSON}” is now. This link signs in once, within an hour:",
        sign_in,
    ]

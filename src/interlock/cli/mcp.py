"""``interlock mcp``: the gateway in front of MCP servers, which of their tools count, and clients' files."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from interlock.cli import installation, report
from interlock.cli.options import HOME, AsJson, HomeDir, home_beside
from interlock.cli.remote import Server as Remote
from interlock.cli.remote import connect
from interlock.cli.report import Line, Misuse, quoted, value

if TYPE_CHECKING:
    from interlock.adapters.mcp.look import Look
    from interlock.adapters.mcp.tokens import Issuer
    from interlock.home import Home

DEFAULT_POLICY = Path("policy.yaml")
AGENT = "mcp"

app = typer.Typer(
    name="mcp",
    help="Put MCP servers behind the gate.",
    epilog="Example: interlock mcp install --client claude-desktop",
    invoke_without_command=True,
)

Policy = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="The policy to serve; else the one in force in the home."),
]
Only = Annotated[
    str | None,
    typer.Option("--server", metavar="NAME", help="Only this server; its tools keep their own names."),
]
Server = Annotated[str, typer.Argument(metavar="SERVER", help="The server's name.")]


@app.callback()
def run(
    context: typer.Context,
    policy: Policy = None,
    server: Only = None,
    agent: Annotated[
        str, typer.Option("--agent", metavar="NAME", help="The agent's name, over stdio.")
    ] = AGENT,
    wait: Annotated[
        float,
        typer.Option("--wait", min=0, max=45, metavar="SECONDS", help="How long a held call is waited for."),
    ] = 2.0,
    http: Annotated[
        bool, typer.Option("--http", help="Streamable HTTP at /mcp, for keys of this home.")
    ] = False,
    host: Annotated[str, typer.Option("--host", help="Address to listen on, with --http.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="TCP port, with --http.")] = 8421,
    public_host: Annotated[
        str | None,
        typer.Option(
            "--public-host", metavar="NAME", help="Another name that clients reach it by, with --http."
        ),
    ] = None,
    oauth: Annotated[
        Path | None,
        typer.Option(
            "--oauth", metavar="FILE", help="The OAuth issuer whose tokens count as well, with --http."
        ),
    ] = None,
    no_serve: Annotated[
        bool, typer.Option("--no-serve", help="Do not start `interlock serve` where none runs for this home.")
    ] = False,
    home: HomeDir = None,
) -> None:
    """Be an MCP server: offer the tools of the home's servers, and let the gate decide about each call.

    Over stdio for the client that starts it, or over HTTP. Where no server of the home runs, one is started,
    so that people can decide; it stays when this ends.
    """
    if context.invoked_subcommand is not None:
        return
    folder = home_beside(policy, home)
    if policy is None and home is None and DEFAULT_POLICY.exists():
        policy = DEFAULT_POLICY
    from interlock.adapters.mcp.run import over_http, over_stdio
    from interlock.adapters.mcp.servers import read_servers
    from interlock.home import Home, read_policy

    if oauth is not None and not http:
        raise Misuse("--oauth is for clients that come over HTTP.", fix="Add --http.")
    if policy is None:
        installation.require(folder)
    with installation.readable(folder):
        loaded = None if policy is None else read_policy(policy)
        opened = Home.open(folder, policy=loaded, by=f"mcp:{agent}")
        try:
            opened.gate.policy  # noqa: B018 (a home without a policy cannot decide anything: say so now)
            servers = read_servers(folder, server)
            if not servers:
                raise Misuse(f"There is no MCP server in {folder}.", fix="See: interlock mcp install --help")
            issuer = None if oauth is None else _issuer(opened, oauth)
            if not no_serve:
                _serve(opened)
            if not http:
                over_stdio(opened, servers, agent=agent, wait_sec=wait, several=server is None)
                return

            def ready(at: int) -> None:
                report.say([f"The gateway listens on http://{host}:{at}/mcp"], to=sys.stderr)

            over_http(
                opened,
                servers,
                host=host,
                port=port,
                public_host=public_host,
                wait_sec=wait,
                several=server is None,
                oauth=issuer,
                on_ready=ready,
            )
        finally:
            opened.close()


@app.command("tools", epilog="Example: interlock mcp tools --home .interlock")
def tools(
    server: Only = None,
    for_import: Annotated[
        bool, typer.Option("--for-import", help="Print what `interlock policy import mcp` reads.")
    ] = False,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """List the tools of the servers: the topic of each, and whether somebody accepted what is said of it."""
    with installation.opened(home or Path(HOME)) as opened:
        found = _look(opened, server)
    if for_import:
        typer.echo(json.dumps(found.lists(), indent=2))
        return
    lines: list[Line] = []
    for each in found.tools:
        style = {"accepted": "green", "new": "yellow", "changed": "bold red"}[each.standing]
        lines.append((f"{each.standing:9} {each.known.topic}  {each.known.hash[:12]}", style))
    lines += [(f"left out  {one.server}: {value(one.tool)}: {one.why}", "dim") for one in found.left]
    lines += [(f"no answer {name}: {why}", "red") for name, why in found.silent.items()]
    report.answer(found.to_json(), lines or ["The servers list no tools."], as_json=as_json)


@app.command("accept", epilog="Example: interlock mcp accept github create_issue")
def accept(
    server: Server,
    tool: Annotated[
        list[str] | None, typer.Argument(metavar="[TOOL]...", help="Tools; all of the server's by default.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not show and ask; accept what the server says now.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", help="With a key, at this server of Interlock: what the gateway saw last."
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file", metavar="FILE", help="With the key in this file; INTERLOCK_KEY by default."
        ),
    ] = None,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Accept what a server says of its tools: show it, ask, and record it.

    Until then the tools cannot be called, and again after their server has changed a word of it. It takes the
    home's files, or, with --url or --key-file, the key of a policy-admin.
    """
    if url is not None or key_file is not None:
        _accept_there(connect(url, key_file, home), server, tool or [], yes=yes, as_json=as_json)
        return
    with installation.opened(home or Path(HOME)) as opened:
        found = _look(opened, server)
        chosen = [each for each in found.tools if not tool or each.known.definition.name in tool]
        missing = sorted(set(tool or ()) - {each.known.definition.name for each in chosen})
        if missing or not chosen:
            what = ", ".join(map(value, missing)) or "a tool"
            raise Misuse(f"{server} does not offer {what}.", fix="Look at: interlock mcp tools")
        news = [each for each in chosen if each.standing != "accepted"]
        if news and not yes:
            shown = [
                (
                    each.standing,
                    each.known.topic,
                    each.known.definition.model_dump(mode="json", by_alias=True, exclude_none=True),
                )
                for each in news
            ]
            _confirm(shown, len(found.tools), as_json=as_json)
        done = opened.tools.accept(
            {each.known.topic: each.known.hash for each in news}, by=installation.here()
        )
    _accepted({"accepted": list(done), "by": installation.here()}, as_json=as_json)


def _accepted(done: dict[str, Any], *, as_json: bool) -> None:
    lines: list[Line] = [(f"Accepted: {topic}", "green") for topic in done["accepted"]]
    report.answer(done, lines or ["All of it was accepted already."], as_json=as_json)


def _accept_there(there: Remote, server: str, tools: list[str], *, yes: bool, as_json: bool) -> None:
    """Accept at a server of Interlock, with a key, what the gateway saw last."""
    page = there.get("/v1/tools")
    with there.understood():
        offered = {str(each["tool"]): each for each in page["tools"] if each["server"] == server}
        chosen = [offered[name] for name in (tools or offered) if name in offered]
        missing = sorted(set(tools) - set(offered))
        news = [each for each in chosen if each["standing"] != "accepted"]
        shown = [(each["standing"], each["topic"], dict(each["definition"])) for each in news]
        wanted = {each["topic"]: each["hash"] for each in news}
    if missing or not chosen:
        what = ", ".join(map(value, missing)) or "a tool"
        raise Misuse(f"{server} does not offer {what}, as far as the gateway has seen.")
    if news and not yes:
        _confirm(shown, len(offered), as_json=as_json)
    done = there.post("/v1/tools/accept", {"tools": wanted})
    with there.understood():
        _accepted({"accepted": list(done["accepted"])}, as_json=as_json)


@app.command("install", epilog="Example: interlock mcp install --client cursor")
def install(
    client: Annotated[
        str,
        typer.Option(
            "--client",
            metavar="NAME|FILE",
            help="claude-desktop, claude-code, cursor, or a file with mcpServers.",
        ),
    ] = "claude-desktop",
    undo: Annotated[bool, typer.Option("--undo", help="Give the client its servers back.")] = False,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Put the MCP servers of a client behind the gate, or take that back.

    What its file said of them, credentials and all, moves into the home. Restart the client after it.
    """
    from interlock.adapters.mcp.install import client_file, install
    from interlock.adapters.mcp.install import undo as take_back

    folder = (home or Path(HOME)).absolute()
    installation.require(folder)
    file = client_file(client)
    with installation.readable(folder):
        done = take_back(file, folder) if undo else install(file, folder)
    lines: list[Line] = [f"{file}: {', '.join(done.moved) or 'nothing was changed'}"]
    if done.moved and not undo:
        lines += ["Behind the gate from the client's next start. Accept their tools:"]
        lines += [f"  interlock mcp accept {name} --home {folder}" for name in done.moved]
    lines += [(f"Left as it is: {name}: {why}", "red") for name, why in done.left.items()]
    document = {"file": str(file), "changed": list(done.moved), "left": dict(done.left), "undo": undo}
    report.answer(document, lines, as_json=as_json)


def _issuer(opened: Home, file: Path) -> Issuer:
    from interlock.adapters.mcp.tokens import Issuer, read_trusted

    trusted = read_trusted(file)
    missing = sorted({*trusted.clients.values()} - {key.id for key in opened.keyring.all()})
    if missing:
        raise Misuse(f"There is no key {value(missing[0])} in {opened.path}.", fix="See: interlock keys list")
    return Issuer(trusted)


def _look(opened: Home, server: str | None) -> Look:
    from interlock.adapters.mcp.look import look
    from interlock.adapters.mcp.servers import read_servers

    servers = read_servers(opened.path, server)
    if not servers:
        raise Misuse(f"There is no MCP server in {opened.path}.", fix="See: interlock mcp install --help")
    return asyncio.run(look(opened, servers))


def _confirm(news: Sequence[tuple[str, str, dict[str, Any]]], of: int, *, as_json: bool) -> None:
    """Show what is to be accepted and ask. Raises `Misuse` where nobody can be asked; a no ends with 1.

    Args:
        news: standing, topic and definition of each. of: how many tools the server offers.
    """
    if as_json or not sys.stdin.isatty():
        raise Misuse("Nobody can be asked here.", fix="Look at `interlock mcp tools --json`, then add --yes.")
    lines: list[Line] = []
    for standing, topic, rest in news:
        # All of it: what is not shown is where somebody would hide something.
        said = str(rest.pop("description", ""))
        lines += [(f"{standing}: {value(topic)}", "bold"), *quoted(said)]
        lines += quoted(json.dumps(rest, indent=1, ensure_ascii=False))
    report.say(lines, to=sys.stderr)
    if not typer.confirm(f"\nAccept {len(news)} of {of} tools?", default=False, err=True):
        report.say(["Nothing was accepted."], to=sys.stderr)
        raise typer.Exit(1)


def _serve(opened: Home) -> None:
    """Start a server for this home where none answers. It prints nothing: a sign-in link is for a person."""
    url = opened.server_url()
    if url is not None and _answers(url):
        return
    port = 8420 if _free(8420) else 0
    with (opened.path / "serve.log").open("ab") as log:
        os.fchmod(log.fileno(), 0o600)
        subprocess.Popen(  # noqa: S603 (this program)
            [sys.executable, "-m", "interlock.cli", "serve", "--home", str(opened.path), "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    report.say(
        [f"A server for {opened.path} is starting. To sign in: interlock keys link --home {opened.path}"],
        to=sys.stderr,
    )


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 443), timeout=2).close()
    except OSError:
        return False
    return True


def _free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True

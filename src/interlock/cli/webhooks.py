"""``interlock webhooks``: who is told what became of agents' actions, for whoever administers this host.

A signing secret is printed once, by the command that makes it; afterwards it stands in the webhook's file.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import installation, report
from interlock.cli.options import HOME, AsJson, HomeDir
from interlock.cli.report import Line, Misuse

if TYPE_CHECKING:
    from interlock.dispatch.undelivered import Undelivered
    from interlock.dispatch.webhooks import Endpoint
    from interlock.home.webhooks import Broken

SHOWN = 1_000

app = typer.Typer(
    name="webhooks",
    help="Tell an agent's service what became of its actions, signed.",
    epilog="Example: interlock webhooks list",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The webhook's name.")]


@app.command(
    "add",
    epilog="Example: interlock webhooks add support --url https://agents.example/decided --agent support-bot",
)
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower case letters, digits and dashes.")],
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Where events are sent.")],
    agent: Annotated[
        list[str] | None,
        typer.Option("--agent", metavar="NAME", help="Whose events; every agent's by default. Repeatable."),
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option("--event", metavar="TYPE", help="Which events; all by default. Repeatable."),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            "--network", metavar="RANGE", help="Addresses that are not public and may be reached. Repeatable."
        ),
    ] = None,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Tell a service of decisions, ends and outcomes; print the secret that signs them, this once."""
    with installation.opened(home or Path(HOME)) as opened:
        secret = opened.webhooks.add(
            name, url, agents=agent or (), events=event or (), networks=network or ()
        )
    lines: list[Line] = [f"The webhook {name} counts from now on. Its secret is shown this once:", secret]
    report.answer({"webhook": name, "secret": secret}, lines, as_json=as_json)


@app.command("list", epilog="Example: interlock webhooks list --json")
def list_(home: HomeDir = None, as_json: AsJson = False) -> None:
    """List the webhooks, and how much could not be delivered to each."""
    from interlock.dispatch.undelivered import undelivered

    with installation.opened(home or Path(HOME)) as opened:
        found = opened.webhooks.all()
        lost = opened.journal.look(partial(undelivered, limit=SHOWN))
    counts = {webhook.name: sum(one.webhook == webhook.name for one in lost) for webhook in found}
    document = {"webhooks": [{**_document(one), "undelivered": counts[one.name]} for one in found]}
    lines: list[Line] = [(f"Webhooks: {len(found)}", "bold")]
    lines += [f"  {_words(one)}" for one in document["webhooks"]]
    report.answer(document, lines, as_json=as_json)


@app.command("rotate", epilog="Example: interlock webhooks rotate support")
def rotate(name: Name, home: HomeDir = None, as_json: AsJson = False) -> None:
    """Make a new secret. Until the next rotation the one before signs as well."""
    with installation.opened(home or Path(HOME)) as opened:
        secret = opened.webhooks.rotate(name)
    lines: list[Line] = [f"The webhook {name} signs with this secret too. It is shown this once:", secret]
    report.answer({"webhook": name, "secret": secret}, lines, as_json=as_json)


@app.command("remove", epilog="Example: interlock webhooks remove support")
def remove(name: Name, home: HomeDir = None, as_json: AsJson = False) -> None:
    """Remove a webhook. What was still to be delivered to it is dropped."""
    with installation.opened(home or Path(HOME)) as opened:
        opened.webhooks.remove(name)
    report.answer({"webhook": name}, [f"The webhook {name} is removed."], as_json=as_json)


@app.command("failed", epilog="Example: interlock webhooks failed")
def failed(home: HomeDir = None, as_json: AsJson = False) -> None:
    """List what was given up, the oldest first."""
    from interlock.dispatch.undelivered import undelivered

    with installation.opened(home or Path(HOME)) as opened:
        lost = [_lost(one) for one in opened.journal.look(partial(undelivered, limit=SHOWN))]
    lines: list[Line] = [(f"Undelivered: {len(lost)}", "bold")]
    for one in lost:
        lines.append(
            f"  {one['id']}  {one['type']} of {one['action']} to {one['webhook']}, given up"
            f" {report.moment(one['failed_at'])}: {one['reason']}"
        )
    report.answer({"undelivered": lost}, lines, as_json=as_json)


@app.command("again", epilog="Example: interlock webhooks again --all")
def again(
    identifier: Annotated[
        str | None, typer.Argument(metavar="ID", help="As in: interlock webhooks failed.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Everything that was given up.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Let it go instead of sending it again.")] = False,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Send what was given up once more, from the first attempt on. A serving process delivers it."""
    from interlock.dispatch.undelivered import again, forget, undelivered

    if (identifier is None) != all_:
        raise Misuse("Name one delivery, or all of them.", fix="interlock webhooks again ID, or --all")
    step = forget if drop else again
    with installation.opened(home or Path(HOME)) as opened:
        journal = opened.journal
        wanted = (
            [identifier]
            if identifier is not None
            else [one.id for one in journal.look(partial(undelivered, limit=SHOWN))]
        )
        for one in wanted:
            journal.commit(partial(step, id=one))
    done = "let go" if drop else "to be sent again"
    report.answer({"deliveries": wanted, "dropped": drop}, [f"{len(wanted)} {done}."], as_json=as_json)


def _document(webhook: Endpoint | Broken) -> dict[str, Any]:
    from interlock.home.webhooks import Broken

    if isinstance(webhook, Broken):
        return {"name": webhook.name, "url": None, "agents": [], "events": [], "problem": webhook.why}
    # What follows the host may be a secret of the receiver's.
    url = f"{webhook.url.scheme}://{webhook.url.netloc.decode('ascii')}/…"
    return {
        "name": webhook.name,
        "url": url,
        "agents": sorted(webhook.agents),
        "events": sorted(webhook.events),
        "problem": None,
    }


def _words(webhook: dict[str, Any]) -> str:
    if webhook["problem"] is not None:
        return f"{webhook['name']}: cannot be used: {webhook['problem']}"
    whose = ", ".join(webhook["agents"]) or "every agent"
    which = ", ".join(webhook["events"]) or "everything"
    lost = f"; undelivered: {webhook['undelivered']}" if webhook["undelivered"] else ""
    return f"{webhook['name']}: {which} of {whose} to {webhook['url']}{lost}"


def _lost(one: Undelivered) -> dict[str, Any]:
    from interlock.model.ids import iso

    ids = one.carried
    return {
        "id": one.id,
        "webhook": one.webhook,
        "type": f"action.{ids.get('state')}",
        "action": ids.get("action"),
        "event": int(entry) if re.fullmatch(r"[0-9]{1,16}", entry := str(ids.get("entry"))) else None,
        "reason": one.reason,
        "failed_at": iso(one.failed_at),
    }

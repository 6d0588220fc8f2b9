"""``interlock kill`` and ``interlock rearm``: stop everything, an agent or topics at once; and go on.

1. With a key the server is asked, and the ledger names the person. Without one the home itself is: whoever
   has its files may stop it, and the ledger names this operating-system user. So it is too where the server
   that the home names does not answer: that is said, and nothing is waited for.
2. Stopping asks nothing back. When the command has ended with 0, nothing in the scope is claimed any more, in
   any process of any host that shares the database.
3. Lifting takes two people, each with a key of their own. Only where nobody is enrolled, ``--yes`` lifts it
   here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import installation, report
from interlock.cli.approvals import KeyFile, NoKey, Url
from interlock.cli.options import HOME, AsJson, HomeDir
from interlock.cli.remote import connect
from interlock.cli.report import Line, Misuse
from interlock.model.errors import Unavailable

if TYPE_CHECKING:
    from interlock.gate import Scope

_PATH = "/v1/kill-switches"


def register(app: typer.Typer) -> None:
    app.command("kill", epilog="Example: interlock kill --agent support-bot --reason 'refunds to strangers'")(
        kill
    )
    app.command("rearm", epilog="Example: interlock rearm --reason 'the policy is corrected' kil_…")(rearm)


def kill(
    everything: Annotated[bool, typer.Option("--all", help="Stop everything.")] = False,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="NAME", help="Stop one agent, by its name.")
    ] = None,
    topic: Annotated[
        str | None, typer.Option("--topic", metavar="PATTERN", help="Stop topics, as in 'pay.**'.")
    ] = None,
    reason: Annotated[
        str,
        typer.Option("--reason", metavar="TEXT", help="Why: one line that everybody can read in the ledger."),
    ] = "",
    drill: Annotated[
        bool,
        typer.Option("--drill", help="Stop, measure how long that took, record it, and go on at once."),
    ] = False,
    url: Url = None,
    key_file: KeyFile = None,
    key: NoKey = None,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Stop an agent, topics or everything, at once and durably.

    Nothing in the scope is claimed once this has ended. What is held is frozen and its deadlines pause; what
    was running is named. Two people lift it: interlock rearm.
    """
    del key
    from interlock.home.database import begun

    scope, target = _scope(everything=everything, agent=agent, topic=topic)
    if not reason:
        raise Misuse("Something is stopped for a reason.", fix="As in --reason 'refunds to strangers'")
    folder = home or Path(HOME)
    if _remote(url, key_file):
        server = connect(url, key_file, home)
        body = {"scope": scope.value, "target": target, "reason": reason, "drill": drill}
        try:
            done = server.post(_PATH, body)
            with server.understood():
                lines = _drilled(done) if drill else _engaged(done)
            report.answer(done, lines, as_json=as_json)
            return
        except Unavailable as error:
            # Whose home a named server serves, nobody here knows.
            if url is not None or not begun(folder):
                raise
            report.warn(error.detail, f"It is stopped through the files of {folder}, by this user.")
    done = _here(folder, scope, target, reason, drill=drill)
    report.answer(done, _drilled(done) if drill else _engaged(done), as_json=as_json)


def rearm(
    kill_id: Annotated[
        str | None,
        typer.Argument(metavar="KILL", help="The kill switch; without it, what is stopped is listed."),
    ] = None,
    reason: Annotated[
        str,
        typer.Option("--reason", metavar="TEXT", help="Why: one line that everybody can read in the ledger."),
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Lift it here, where nobody is enrolled who could agree.")
    ] = False,
    url: Url = None,
    key_file: KeyFile = None,
    key: NoKey = None,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Agree to lift a kill switch, or list what is stopped.

    Two different people with the role operator or policy-admin lift it, each with a key of their own.
    """
    del key
    folder = home or Path(HOME)
    if kill_id is None:
        if yes or reason:
            raise Misuse("Which kill switch?", fix="List them: interlock rearm")
        shown = connect(url, key_file, home).get(_PATH) if _remote(url, key_file) else _listed(folder)
        report.answer(shown, _standing(shown), as_json=as_json)
        return
    if not reason:
        raise Misuse("It is lifted for a reason.", fix="As in --reason 'the policy is corrected'")
    if yes:
        done = _rearmed_here(folder, kill_id, reason)
    else:
        server = connect(url, key_file, home)
        done = server.post(f"{_PATH}/{_segment(kill_id)}/rearm", {"reason": reason})
    report.answer(done, _rearmed(done), as_json=as_json)


def _scope(*, everything: bool, agent: str | None, topic: str | None) -> tuple[Scope, str | None]:
    from interlock.gate import Scope

    if everything + (agent is not None) + (topic is not None) != 1:
        raise Misuse("Say what to stop.", fix="One of --agent NAME, --topic PATTERN and --all.")
    if everything:
        return Scope.ALL, None
    return (Scope.AGENT, agent) if agent is not None else (Scope.TOPIC, topic)


def _remote(url: str | None, key_file: Path | None) -> bool:
    return bool(url or key_file or os.environ.get("INTERLOCK_KEY"))


def _segment(kill_id: str) -> str:
    from interlock.model.ids import check_id

    return check_id(kill_id, "kil", "KILL")


def _here(folder: Path, scope: Scope, target: str | None, reason: str, *, drill: bool) -> dict[str, Any]:
    from interlock.home import stops_view

    with installation.opened(folder) as home:
        switches, by = home.kill_switches, installation.here()
        if drill:
            return stops_view.drilled(switches.drill(scope, target, reason, by=by))
        return stops_view.engaged(switches.engage(scope, target, reason, by=by))


def _listed(folder: Path) -> dict[str, Any]:
    from interlock.home import stops_view

    with installation.opened(folder) as home:
        return stops_view.described(home)


def _rearmed_here(folder: Path, kill_id: str, reason: str) -> dict[str, Any]:
    from interlock.home import stops_view

    with installation.opened(folder) as home:
        return stops_view.rearmed(
            home.kill_switches.rearm_alone(_segment(kill_id), reason, by=installation.here())
        )


# --- words -----------------------------------------------------------------------------------------------


def _what(switch: dict[str, Any]) -> str:
    match switch["scope"]:
        case "all":
            return "everything"
        case "agent":
            return f"the agent {report.value(switch['target'])}"
        case _:
            return f"the topics {report.value(switch['target'])}"


def _engaged(done: dict[str, Any]) -> list[Line]:
    running = done["running"]
    when = "" if done["created"] else f" already, since {done['engaged_at']}"
    lines: list[Line] = [
        (f"Stopped: {_what(done)}{when}", "bold red"),
        f"Kill switch {done['id']}. Nothing in its scope is claimed any more; what is held is frozen.",
        f"Running when it was stopped: {len(running)}",
        *(f"  {action}" for action in running[:20]),
    ]
    if len(running) > 20:
        lines.append(f"  and {len(running) - 20} more, in --json")
    return [*lines, f"Two people lift it: interlock rearm {done['id']} --reason TEXT"]


def _drilled(done: dict[str, Any]) -> list[Line]:
    return [
        (f"Drill: {_what(done)} was stopped within {done['stop_us'] / 1000:.1f} ms and goes on.", "bold"),
        f"Running meanwhile: {len(done['running'])}. Recorded under {done['id']}.",
    ]


def _rearmed(done: dict[str, Any]) -> list[Line]:
    names = ", ".join(person["name"] for person in done["agreed"])
    if done["lifted"]:
        by = f" by {names}" if names else ""
        return [(f"Lifted{by}: {_what(done)} goes on.", "bold green")]
    return [
        (f"Agreed: {names} ({len(done['agreed'])} of {done['needed']})", "bold"),
        f"Another person agrees: interlock rearm {done['id']} --reason TEXT",
    ]


def _standing(shown: dict[str, Any]) -> list[Line]:
    if not shown["engaged"]:
        return ["Nothing is stopped."]
    lines: list[Line] = []
    for switch in shown["engaged"]:
        agreed = ", ".join(person["name"] for person in switch["agreed"]) or "nobody yet"
        lines += [
            (f"{switch['id']}  {_what(switch)}" + (" (a drill)" if switch["drill"] else ""), "bold red"),
            f"  since {switch['engaged_at']} by {switch['by']}: {report.value(switch['reason'])}",
            f"  {switch['needed']} lift it; agreed: {agreed}"
            if switch["needed"]
            else f"  Nobody is enrolled. To go on: interlock rearm {switch['id']} --yes --reason TEXT",
        ]
    may = ", ".join(person["name"] for person in shown["may"])
    return [*lines, f"Who may lift them: {may}"] if may else lines

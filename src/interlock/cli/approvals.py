"""``interlock approvals``: a person's answers from the command line, over HTTP and with a key.

1. What is decided on is what was shown: an answer carries the review hash of the view that was printed, or
   the one given with --hash. A request that changed in between is refused with the difference.
2. Approving asks first. Where nobody can be asked, --hash says what was reviewed; nothing is approved unseen.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.cli import report
from interlock.cli.approval_words import item_lines, shown_lines
from interlock.cli.edits import edited_args
from interlock.cli.options import AsJson
from interlock.cli.remote import Server, connect
from interlock.cli.report import Misuse
from interlock.model.errors import InvalidInput, Unavailable

app = typer.Typer(
    name="approvals",
    help="Read and answer approval requests, with a key.",
    epilog="Example: interlock approvals list",
)

Item = Annotated[str, typer.Argument(metavar="ID", help="An approval request (apr_…) or an action (act_…).")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The server; else INTERLOCK_URL, the one the home announces, or http://localhost:8420.",
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="A file with the key; INTERLOCK_KEY by default."),
]
HomeOfServer = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="The home whose server to ask; ./.interlock by default."),
]
Hash = Annotated[
    str | None,
    typer.Option(
        "--hash", metavar="HASH", help="Review hash of what was reviewed, instead of what is pending now."
    ),
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="A note for the record.")]


def _no_key(value: str | None) -> None:
    if value is not None:
        raise Misuse(
            "A key on the command line is seen by every user of this machine in the process list.",
            fix="Put it into INTERLOCK_KEY or a file for --key-file. This one has been shown: revoke it.",
        )


NoKey = Annotated[
    str | None,
    typer.Option("--key", hidden=True, callback=_no_key, help="Refused: use INTERLOCK_KEY or --key-file."),
]


@app.command("list", epilog="Example: interlock approvals list --resolved")
def list_(
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Those that have ended, newest first.")
    ] = False,
    cursor: Annotated[
        str | None, typer.Option("--cursor", metavar="CURSOR", help="Go on where a list ended.")
    ] = None,
    url: Url = None,
    key_file: KeyFile = None,
    key: NoKey = None,
    home: HomeOfServer = None,
    as_json: AsJson = False,
) -> None:
    """List the requests that wait for a person, soonest deadline first."""
    del key
    server = connect(url, key_file, home)
    query = {"state": "resolved" if resolved else "held"} | ({} if cursor is None else {"cursor": cursor})
    page = server.get("/v1/approvals", **query)
    with server.understood():
        counts, items = page["counts"], page["items"]
        ended = [f"{number} {state}" for state, number in counts.items() if state != "held" and number]
        head = f"{counts['held']} held" + (f"; ended: {', '.join(ended)}" if ended else "")
        lines: list[report.Line] = [(head, "bold")]
        if items:
            lines.append(page["order"])
        for item in items:
            lines += ["", *item_lines(item)]
        if page["next"] is not None:
            lines += ["", f"More: add --cursor {page['next']}"]
    report.answer(page, lines, as_json=as_json)


@app.command("watch", epilog="Example: interlock approvals watch")
def watch(
    url: Url = None,
    key_file: KeyFile = None,
    key: NoKey = None,
    home: HomeOfServer = None,
    as_json: AsJson = False,
) -> None:
    """Show requests as they come, and answer them here. Runs until Ctrl-C.

    What may be approved or rejected with a key is asked about, once it was shown whole. Where nobody sits at
    a terminal, requests are only told; with --json each event is one JSON document on a line of its own.
    """
    del key
    from interlock.cli.inbox import Inbox

    Inbox(connect(url, key_file, home), as_json=as_json).run()


@app.command("show", epilog="Example: interlock approvals show apr_0123456789abcdef0123456789abcdef")
def show(
    item: Item,
    url: Url = None,
    key_file: KeyFile = None,
    key: NoKey = None,
    home: HomeOfServer = None,
    as_json: AsJson = False,
) -> None:
    """Show everything a reviewer should know about one request."""
    del key
    server = connect(url, key_file, home)
    view = _view(server, item)
    with server.understood():
        lines = shown_lines(view)
    report.answer(view, lines, as_json=as_json)


@app.command(
    "approve",
    epilog="Example: interlock approvals approve apr_0123456789abcdef0123456789abcdef",
)
def approve(
    item: Item,
    expected: Hash = None,
    note: Note = "",
    url: Url = None,
    key_file: KeyFile = None,
    key: NoKey = None,
    home: HomeOfServer = None,
    as_json: AsJson = False,
) -> None:
    """Approve exactly what is shown, once it was confirmed.

    Scripts name what was reviewed with --hash; if that is not what is pending, nothing is approved.
    """
    del key
    server = connect(url, key_file, home)
    view = _view(server, item)
    if expected is None:
        _ask(server, view, as_json=as_json)
    _decide(server, view, {"decision": "approve", "note": note}, expected, as_json=as_json)


@app.command(
    "reject",
    epilog="Example: interlock approvals reject apr_0123456789abcdef0123456789abcdef --reason wrong_amount",
)
def reject(
    item: Item,
    reason: Annotated[
        str,
        typer.Option(
            "--reason",
            metavar="CODE",
            help="wrong_target, wrong_amount, not_authorised, insufficient_context, suspicious, policy, "
            "duplicate or other.",
        ),
    ],
    note: Note = "",
    expected: Hash = None,
    url: Url = None,
    key_file: KeyFile = None,
    key: NoKey = None,
    home: HomeOfServer = None,
    as_json: AsJson = False,
) -> None:
    """Reject a request; the agent learns the reason code and the note, and nothing runs."""
    del key
    server = connect(url, key_file, home)
    view = _view(server, item)
    answer = {"decision": "reject", "reason_code": reason, "note": note}
    _decide(server, view, answer, expected, as_json=as_json)


@app.command(
    "respond",
    epilog="Example: interlock approvals respond apr_0123456789abcdef0123456789abcdef --with EUR",
)
def respond(
    item: Item,
    response: Annotated[
        str, typer.Option("--with", metavar="TEXT", help="The answer: one of the options, where it has any.")
    ],
    note: Note = "",
    expected: Hash = None,
    url: Url = None,
    key_file: KeyFile = None,
    key: NoKey = None,
    home: HomeOfServer = None,
    as_json: AsJson = False,
) -> None:
    """Answer an agent's question; nothing runs by it."""
    del key
    server = connect(url, key_file, home)
    view = _view(server, item)
    answer = {"decision": "respond", "response": response, "note": note}
    _decide(server, view, answer, expected, as_json=as_json)


@app.command(
    "edit",
    epilog="Example: interlock approvals edit apr_0123456789abcdef0123456789abcdef --set amount_usd=80.00",
)
def edit(
    item: Item,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A new value in the argument's own type; FIELD:=JSON gives any type. Repeatable.",
        ),
    ] = None,
    args: Annotated[
        Path | None,
        typer.Option("--args", metavar="FILE.json", help="All arguments, as one JSON object."),
    ] = None,
    note: Note = "",
    expected: Hash = None,
    url: Url = None,
    key_file: KeyFile = None,
    key: NoKey = None,
    home: HomeOfServer = None,
    as_json: AsJson = False,
) -> None:
    """Change the arguments: a new revision, which goes through the policy and to a person again."""
    del key
    if not assignments and args is None:
        raise Misuse("Nothing to change was given.", fix="As in --set amount_usd=80.00")
    server = connect(url, key_file, home)
    view = _view(server, item)
    with server.understood():
        types = {row["field"]: str(row["type"]) for row in view["changes"]}
        before = dict(view["args"])
    answer = {"decision": "edit", "args": edited_args(before, types, assignments or [], args), "note": note}
    _decide(server, view, answer, expected, as_json=as_json)


def _view(server: Server, item: str) -> dict[str, Any]:
    """A request as its reviewer sees it, found by its own id or its action's."""
    from interlock.model.ids import check_id

    try:
        check_id(item, "act" if item.startswith("act_") else "apr", "ID")
    except InvalidInput as error:
        raise Misuse(error.detail, fix="Ids stand in: interlock approvals list") from None
    view = server.get(f"/v1/approvals/{item}")
    for name in ("id", "state", "review_hash"):
        if not isinstance(view.get(name), str):
            raise Unavailable(f"What {server.url} says about {item} lacks its {name}.")
    return view


def _ask(server: Server, view: dict[str, Any], *, as_json: bool) -> None:
    """Show what would be approved, and ask. Raises `Misuse` where nobody can be asked."""
    if not as_json:
        with server.understood():
            report.say(shown_lines(view))
    if view["state"] != "held":
        return
    if as_json or not sys.stdin.isatty():
        raise Misuse(
            "Nobody can be asked here.",
            fix=f"Approve what you reviewed with --hash {view['review_hash']}",
        )
    if not typer.confirm("\nApprove exactly this?", default=False, err=True):
        report.say(["Nothing was decided."])
        raise typer.Exit(1)


def _decide(
    server: Server, view: dict[str, Any], answer: dict[str, Any], expected: str | None, *, as_json: bool
) -> None:
    """Send an answer and say what came of it."""
    body = {**answer, "expected_hash": expected or view["review_hash"]}
    decided = server.post(f"/v1/approvals/{view['id']}/decisions", body)
    with server.understood():
        lines: list[report.Line] = [(f"{decided['state'].capitalize()}: {decided['title']}", "bold")]
        if decided["superseded_by"] is not None:
            lines.append(f"The new revision waits as {decided['superseded_by']}")
        lines.append(str(decided["action"]["user_message"]))
    report.answer(decided, lines, as_json=as_json)

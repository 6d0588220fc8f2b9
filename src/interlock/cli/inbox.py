"""``interlock approvals watch``: a person's inbox at a terminal, live.

1. What waits is asked for when the stream of events opens, and again after each event that may have changed
   it: nothing is missed over a lost connection, and nothing is decided on from an event alone.
2. Each request is shown whole before it can be answered, with everything that its review hash covers; the
   answer names that hash. A request that changed is shown again.
3. Only what this person may approve or reject is offered. Editing, answering a question and what asks for
   more than a key have commands and pages of their own.
4. Nobody is asked where standard input is no terminal, or with ``--json``: then requests are only told.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import typer

from interlock.cli import report
from interlock.cli.approval_words import shown_lines
from interlock.cli.remote import Refused, Server

_REASONS = (
    "wrong_target",
    "wrong_amount",
    "not_authorised",
    "insufficient_context",
    "suspicious",
    "policy",
    "duplicate",
    "other",
)
_MOST = 500


class Inbox:
    """What one person is told, and asked."""

    def __init__(self, server: Server, *, as_json: bool) -> None:
        self._server = server
        self._as_json = as_json
        self._asks = not as_json and sys.stdin.isatty()
        self._known: dict[str, str] = {}
        """Review hashes of the requests that were shown, by id."""
        self._again: set[str] = set()
        """Those that may have changed since."""

    def run(self) -> None:
        """Until the person leaves, or is not let in any more."""
        for event in self._server.events():
            if event is None:
                self._again.update(self._known)
            elif event.get("approval"):
                self._again.add(str(event["approval"]))
            elif not str(event.get("kind", "")).startswith("action."):
                continue
            self.refresh()

    def refresh(self) -> None:
        """Show what is new, and what is over."""
        waiting = self._waiting()
        for approval_id in [known for known in self._known if known not in waiting]:
            del self._known[approval_id]
            self._over(approval_id)
        look, self._again = set(waiting) - set(self._known) | self._again, set()
        for approval_id in [each for each in waiting if each in look]:
            view = self._server.get(f"/v1/approvals/{approval_id}")
            with self._server.understood():
                new = view["state"] == "held" and self._known.get(approval_id) != view["review_hash"]
                self._known[approval_id] = str(view["review_hash"])
            if new:
                self._show(view)

    def _waiting(self) -> list[str]:
        """Ids of the requests that wait, soonest deadline first."""
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None and len(found) < _MOST:
            query = {"state": "held"} | ({"cursor": cursor} if cursor else {})
            page = self._server.get("/v1/approvals", **query)
            with self._server.understood():
                found += [str(item["id"]) for item in page["items"]]
                cursor = page["next"]
        return found

    def _show(self, view: dict[str, Any]) -> None:
        if self._as_json:
            self._tell({"event": "held", "approval": view})
            return
        with self._server.understood():
            report.say(["", *shown_lines(view)])
            can = view["can"]
        if self._asks and (can["approve"] or can["reject"]):
            self._ask(view, approve=bool(can["approve"]), reject=bool(can["reject"]))

    def _ask(self, view: dict[str, Any], *, approve: bool, reject: bool) -> None:
        offered = ["approve"] * approve + ["reject"] * reject + ["later", "quit"]
        answer = typer.prompt(f"\n{', '.join(offered)}", default="later", err=True).strip().lower()
        chosen = next((word for word in offered if answer and word.startswith(answer)), "later")
        if chosen == "quit":
            raise typer.Exit
        if chosen == "later":
            return
        body: dict[str, Any] = {"decision": chosen, "note": "", "expected_hash": view["review_hash"]}
        if chosen == "reject":
            said = typer.prompt(f"Why ({', '.join(_REASONS)})", default="other", err=True).strip()
            body["reason_code"] = said if said in _REASONS else "other"
            body["note"] = typer.prompt("A note for the agent", default="", err=True, show_default=False)
        try:
            decided = self._server.post(f"/v1/approvals/{view['id']}/decisions", body)
        except Refused as refused:
            report.failure(refused.problem, as_json=False)
            self._known.pop(str(view["id"]), None)  # it is shown again, as it is now
            return
        with self._server.understood():
            report.say([str(decided["action"]["user_message"])])
        self._known.pop(str(view["id"]), None)

    def _over(self, approval_id: str) -> None:
        view = self._server.get(f"/v1/approvals/{approval_id}")
        with self._server.understood():
            state, title = str(view["state"]), str(view["title"])
        if self._as_json:
            self._tell({"event": "ended", "approval": approval_id, "state": state})
        else:
            report.say(["", f"{state.capitalize()}: {title}"])

    def _tell(self, event: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()

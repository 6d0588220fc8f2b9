"""The performance: the story told to somebody who decides in the console while it goes on."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from interlock.demo import audit, story
from interlock.demo.agent import Agent, without_the_gate
from interlock.demo.closing import Account
from interlock.demo.stage import Stage
from interlock.demo.voice import Voice

POLL_SEC = 0.5
_OPEN = frozenset({"allowed", "held", "approved", "executing", "in_doubt"})

View = dict[str, Any]


class Performance:
    """One performance.

    Attributes:
        open: how many requests still wait.
    """

    def __init__(self, stage: Stage, agent: Agent, voice: Voice) -> None:
        self._stage = stage
        self._agent = agent
        self._voice = voice
        self._seen: dict[str, tuple[int, str]] = {}

    @property
    def open(self) -> int:
        return sum(state in _OPEN for _, state in self._seen.values())

    def run(self) -> None:
        """Tell the story, until everything is decided. Ctrl-C ends it sooner, as `KeyboardInterrupt`."""
        self._introduce()
        self._morning()
        self._consequences()
        while self.open:
            time.sleep(POLL_SEC)
            for action_id in list(self._seen):
                self._follow(action_id)

    def _introduce(self) -> None:
        voice, stage = self._voice, self._stage
        voice.head("A support desk, an AI agent, and you")
        voice.item("shop", f"orders, refunds and a mailbox, on {stage.shop.url}")
        voice.item("gate", "Interlock, between the agent and the shop; only the gate has the shop's password")
        voice.item("agent", "answers tickets; it has a key to the gate and none to the shop")
        voice.item("rules", f"{stage.policy}, a file the agent cannot reach")
        voice.item("you", "decide what is not the agent's to decide")
        voice.head("Sign in")
        voice.copied(f"{stage.server.console}/sign-in#{stage.link_token}")
        voice.plain("The link works once, within an hour. For another one:")
        voice.copied(f"{_command()} keys link --home {stage.folder}")
        voice.gap()

    def _morning(self) -> None:
        voice = self._voice
        status = without_the_gate(self._stage.shop.url, "A-1001")
        voice.say(f"The agent asks the shop for a refund directly. The shop answers {status}: no password.")
        voice.say(f"The agent works through {len(story.TICKETS)} routine tickets.")
        done = Counter(
            action["topic"]
            for ticket in story.TICKETS
            for action in self._agent.work(ticket)
            if action["state"] == "succeeded"
        )
        voice.say(
            f"Done: {done[story.LOOK_UP]} orders looked up, {done[story.DRAFT]} replies drafted, "
            f"{done[story.REFUND]} small refunds paid. Nobody was asked; all of it is on record."
        )
        refused = self._agent.work(story.AGAIN)[-1]
        voice.say(
            f"${story.AGAIN.refund_usd} more for an order that was already refunded: the rules let it pass, "
            f"the shop refuses. Recorded as {refused['state']}, with the shop's answer as proof of no effect."
        )
        denied = self._agent.handle(story.BEYOND)
        voice.say(
            f"A refund of ${story.BEYOND.args['amount_usd']} is {denied['state']} at once: "
            f"{denied['reason']} (rule {denied['rule']})."
        )

    def _consequences(self) -> None:
        voice = self._voice
        voice.head("These wait for you. Nothing runs until you have answered.")
        for number, case in enumerate(story.CASES, start=1):
            action = self._agent.handle(case)
            self._seen[action["id"]] = (action["revision"], action["state"])
            until = datetime.fromisoformat(action["approval"]["due_at"]).astimezone()
            voice.gap()
            voice.item(str(number), case.says)
            voice.item(" ", f"→ {action['title']}")
            voice.item(" ", f"asks {action['owner']}, until {until:%H:%M:%S}; then it expires, not run")
        voice.gap()
        voice.plain("Decide in the console. Read closely: not everything the agent wants is right, and one")
        voice.plain(
            "request is not the customer's. What happens appears here. Ctrl-C ends the demonstration."
        )
        voice.gap()

    def _follow(self, action_id: str) -> None:
        action = self._agent.look(action_id)
        now = (action["revision"], action["state"])
        if now != self._seen[action_id]:
            was, self._seen[action_id] = self._seen[action_id], now
            words = self._words(action, edited=now[0] > was[0])
            if words:
                self._voice.say(words)

    def _words(self, action: View, *, edited: bool) -> str:
        """What just happened to an action; empty for what passes by at once."""
        title = action["title"]
        match action["state"]:
            case "held" if edited:
                return (
                    f"You changed it to “{title}”. That is revision {action['revision']}; the rules decided "
                    "on it anew, and it waits for an approval of its own."
                )
            case "succeeded":
                return f"You approved “{title}”. It ran, and the shop's books say: {self._booked(action)}."
            case "rejected":
                reason = (action.get("rejection") or {}).get("reason_code") or "no reason"
                return f"You rejected “{title}” ({reason}). It did not run, and the agent was told why."
            case "expired":
                return f"Nobody answered “{title}” in time. It expired and did not run."
            case "failed":
                return f"You approved “{title}”. It had no effect: {action['outcome']['note']}"
            case "in_doubt":
                return f"“{title}” was started and nobody knows how it ended. Settle it in the console."
            case "held" | "approved" | "executing":
                return ""
            case state:
                return f"“{title}” is {state}. It did not run."

    def _booked(self, action: View) -> str:
        effects = audit.effects_of(self._stage.shop.books())
        found = [effect for effect in effects if effect.action == action["id"]]
        return ", ".join(f"{effect.kind} {_line(effect.args)}" for effect in found) or "nothing"

    def sum_up(self, account: Account) -> None:
        """The closing words, after the accounts."""
        voice, actions = self._voice, account.actions
        voice.head("What remains")
        ends = ", ".join(f"{n} {state}" for state, n in actions.items() if state != "proposed")
        voice.plain(f"{actions['proposed']} actions proposed: {ends}.")
        voice.plain(f"{account.held_share:.1%} of them needed a person.")
        if account.ok:
            voice.plain("The shop's books and the journal agree: nothing ran twice, nothing was lost, and")
            voice.plain("nothing ran that was not decided.")
        for sentence in account.off:
            voice.say(f"This must not be: {sentence}.", style="bold red")
        if self.open:
            voice.plain(f"Still open when you ended it: {self.open}. Nothing ran without an answer.")
        voice.head(f"The ledger has {account.ledger_size} entries. Check it yourself")
        command, folder = _command(), self._stage.folder
        voice.copied(f"{command} ledger export {folder / 'export'} --home {folder}")
        voice.copied(f"{command} ledger verify {folder / 'export'}")
        voice.gap()


def _command() -> str:
    """How this command was started, for commands to copy."""
    return "uv run interlock" if "UV_RUN_RECURSION_DEPTH" in os.environ else "interlock"


def _line(args: Mapping[str, Any]) -> str:
    if "amount_usd" in args:
        return f"of ${args['amount_usd']} to {args['recipient']}"
    return f"to {args['to']}" if "to" in args else f"of {', '.join(map(str, args.values()))}"

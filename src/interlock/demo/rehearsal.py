"""The rehearsal: the whole story without anybody watching, and with the worst timing.

1. The person is played over HTTP with a person's key: approves, rejects, edits, lets one request expire, and
   finds out in the shop's books what became of what is in doubt.
2. The server is killed with SIGKILL: while the agent is working, between claim and settle of a refund and of
   an e-mail, and between an approval and its execution. Each time it is started again and nothing else is
   done about it.
3. What must not be possible is tried: the agent approving its own proposal, and an answer to a request that
   was edited meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from interlock.demo import audit, story
from interlock.demo.agent import Agent, without_the_gate
from interlock.demo.person import Reviewer
from interlock.demo.stage import Stage, until
from interlock.demo.voice import Voice

DESKS = 4
KILL_AFTER = 40
RUNS_SEC = 30.0
SETTLES_SEC = 60.0
_ENDS = {
    "late": "succeeded",
    "broken": "succeeded",
    "lost": "succeeded",
    "twice": "succeeded",
    "injected": "rejected",
    "supplier": "succeeded",
    "press": "rejected",
    "deletion": "expired",
    "beyond": "denied",
}
"""How each case must end."""

View = dict[str, Any]


class Rehearsal:
    """One rehearsal.

    Attributes:
        off: what went differently than it must, in sentences.
    """

    def __init__(self, stage: Stage, agent: Agent, voice: Voice) -> None:
        self.off: list[str] = []
        self._stage = stage
        self._agent = agent
        self._voice = voice
        self._person = Reviewer(stage.server.url, stage.person_key)
        self._ids: dict[str, str] = {}

    def run(self) -> None:
        """Play everything. Raises `DemoFailed` where a step did not come about."""
        try:
            self._work()
            self._propose()
            self._decide()
            self._kill_at_work("broken", "POST /refunds", "a refund was booked")
            self._kill_at_work("supplier", "POST /emails", "an e-mail was sent")
            self._kill_after_the_answer("lost")
            self._settle()
            self._check_ends()
        finally:
            self._person.close()

    # --- the agent's part ----------------------------------------------------------------------------------

    def _work(self) -> None:
        self._must(
            without_the_gate(self._stage.shop.url, "A-1001") == 401,
            "the shop served somebody who does not have its credential",
        )
        self._voice.say(f"The agent works through {len(story.TICKETS)} tickets, {DESKS} at a time.")
        with ThreadPoolExecutor(DESKS) as desks:
            try:
                tickets = [desks.submit(self._agent.work, ticket) for ticket in story.TICKETS]
                until(
                    lambda: len(self._agent.acknowledged) >= KILL_AFTER or all(t.done() for t in tickets),
                    f"the agent has {KILL_AFTER} answers",
                    SETTLES_SEC,
                )
                self._kill_and_restart("while the agent is working")
                wait(tickets)
            except BaseException:
                self._agent.close()
                raise
        for ticket in tickets:
            ticket.result()
        refused = self._agent.work(story.AGAIN)[-1]
        self._must(
            refused["state"] == "failed", f"a refund the shop refuses ended {refused['state']}, not failed"
        )

    def _propose(self) -> None:
        self._voice.say("The agent proposes what has consequences.")
        for case in (*story.CASES, story.BEYOND):
            action = self._agent.handle(case)
            self._ids[case.name] = action["id"]
            wanted = "denied" if case is story.BEYOND else "held"
            self._must(action["state"] == wanted, f"“{action['title']}” is {action['state']}, not {wanted}")
        broken = next(case for case in story.CASES if case.name == "broken")
        again = self._agent.handle(broken)
        self._must(again["id"] == self._ids["broken"], "a repeated proposal became another action")
        self._must(self._agent.approve_own(again) == 403, "an agent's key could answer an approval request")

    # --- the person's part ---------------------------------------------------------------------------------

    def _decide(self) -> None:
        self._voice.say("The person approves one refund, rejects a refund and an e-mail, and edits a refund.")
        person = self._person
        person.approve(self._request("late"))
        person.reject(self._request("injected"), "suspicious", "The note was typed by the buyer.")
        person.reject(self._request("press"), "policy", "The press office answers newspapers.")
        seen = self._request("twice")
        changes = {"amount_usd": story.FAIR_USD}
        edited = person.edit(seen, changes, "They paid $210 for the pair.")
        self._must(edited["superseded_by"] is not None, "an edit did not supersede what it edited")
        self._must(person.status_of_approving(seen) == 409, "an outdated request could still be approved")
        person.approve(self._request("twice"))
        for name in ("late", "twice"):
            self._until_state(name, "succeeded")

    def _kill_at_work(self, name: str, request: str, what: str) -> None:
        """Kill the server while the shop has acted and has not answered: between claim and settle."""
        self._stage.shop.withhold(request)
        self._person.approve(self._request(name))
        until(lambda: self._stage.shop.withheld() > 0, f"the shop withholds an answer to {request}", RUNS_SEC)
        self._kill_and_restart(
            f"after {what}, before anybody learnt it", lambda: self._stage.shop.withhold(None)
        )

    def _kill_after_the_answer(self, name: str) -> None:
        """Kill the server in the moment the approval was acknowledged."""
        self._person.approve(self._request(name))
        self._kill_and_restart("right after an approval was acknowledged")

    def _settle(self) -> None:
        """Wait until nothing is open, and reconcile what is in doubt by the shop's books."""
        self._voice.say("Waiting for leases to lapse (15 seconds), and for what follows.")

        def settled() -> bool:
            # In the order in which an action moves, so that one that moves meanwhile is met further on.
            for state in ("held", "allowed", "approved", "executing"):
                if self._person.in_state(state):
                    return False
            doubtful = self._person.in_state("in_doubt")
            for action in doubtful:
                self._reconcile(action)
            return not doubtful

        until(settled, "nothing is open any more", SETTLES_SEC)

    def _reconcile(self, action: View) -> None:
        effects = audit.effects_of(self._stage.shop.books())
        there = any(effect.action == action["id"] for effect in effects)
        self._voice.say(
            f"In doubt: “{action['title']}”. The shop's books say that it "
            f"{'took effect' if there else 'did not take effect'}; the person records that."
        )
        self._person.reconcile(action["id"], took_effect=there, note="Looked it up in the shop's books.")

    def _check_ends(self) -> None:
        for name, wanted in _ENDS.items():
            action = self._agent.look(self._ids[name])
            state = action["state"]
            self._must(state == wanted, f"“{action['title']}” ended {state}, not {wanted}")

    # --- steps ---------------------------------------------------------------------------------------------

    def _kill_and_restart(self, when: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        self._voice.say(f"kill -9 of the server {when}.", style="bold")
        self._stage.server.kill()
        meanwhile()
        self._stage.server.start()

    def _request(self, name: str) -> View:
        return self._person.request_about(self._ids[name])

    def _until_state(self, name: str, state: str) -> None:
        until(lambda: self._agent.look(self._ids[name])["state"] == state, f"{name} is {state}", RUNS_SEC)

    def _must(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.off.append(otherwise)
            self._voice.say(f"This must not be: {otherwise}.", style="bold red")

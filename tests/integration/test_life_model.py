"""Random lives of many actions in two processes on one home, step by step beside what the design says.

Agents, reviewers, executors, operators and policy-admins do what they like in any order, in either of two
homes that are open on one folder; processes die and come back, clocks jump, kill switches go on and off.
`spec/life.py` says what becomes of each action; a service downstream keeps its own books.

After every step each action is in the state that the specification says, and came there along the state
machine; each held one has one open request, an owner and an end; nothing took effect twice, nothing that was
not claimed, nothing of tier 4 that no person approved. At the end of a run the ledger is exported, and a
verifier that shares no code with the gate reads it.

``INTERLOCK_LONG=1`` runs many more and longer lives, other ones each time.
"""

from __future__ import annotations

import copy
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from house import ManualClock
from interlock.gate import Answer, Claim, HumanDecision, ReasonCode, Report, Scope, active
from interlock.gate.permits import Issued
from interlock.home import Home
from interlock.identity import KeyKind, Role
from interlock.journal import ClockBehind
from interlock.model.actions import ActionState, ExecutorKind, Proposal
from interlock.model.errors import IdempotencyConflict, InterlockError
from interlock.verify import verify_export
from spec.life import (
    DAY,
    LEASE,
    MAY_RUN,
    MINUTE,
    OPEN,
    PERMIT,
    SECOND,
    Action,
    Request,
    Stop,
    World,
    reachable,
)
from spec.life_shop import (
    AGENTS,
    NUMBERS,
    OPERATORS,
    PEOPLE,
    POLICIES,
    SAYS,
    TOPICS,
    Service,
    arguments,
)

LONG = bool(os.environ.get("INTERLOCK_LONG"))
EXAMPLES, STEPS = (3_000, 100) if LONG else (40, 50)
STARTED = 1_800_000_000 * SECOND

which = st.integers(0, 1)
index = st.integers(0, 20)
numbers = st.sampled_from(NUMBERS)
mostly = st.sampled_from([True, True, True, False])
reviewers = st.sampled_from(["Cleo", "Bob", "Ann", "Cleo", "Bob", "Ann", "Dora"])
operators = st.sampled_from(["Ann", "Bob", "Ann", "Bob", "Ann", "Bob", "Cleo", "Dora"])
proposals = st.builds(
    dict,
    topic=st.sampled_from(sorted(TOPICS)),
    agent=st.sampled_from(AGENTS),
    number=numbers,
    key=st.sampled_from([None, None, "a", "b"]),
    principal=st.sampled_from([None, None, "Bob"]),
    inline=st.booleans(),
)


@dataclass
class Run:
    """What an executor has in hand, in one of the processes: a claim, or a permit; and how far it came."""

    action: str
    where: int
    epoch: int
    claim: Claim | None = None
    issued: Issued | None = None
    sent: bool = False


class Lives(RuleBasedStateMachine):
    """The gate, the specification, and whoever uses them."""

    template: Path
    """A home that everybody is enrolled in."""
    tokens: dict[str, str]
    """Of the agents' and the executor's keys."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="interlock-life-"))
        shutil.copytree(self.template, self.folder / "home")
        self.clock = ManualClock()
        self.clock.micros = STARTED + SECOND
        self.offset = 0
        """By how many seconds the clock is away from elapsed time."""
        self.homes = [self._open(), self._open()]
        self.journal = sqlite3.connect(self.folder / "home" / "journal.db", timeout=10, isolation_level=None)
        self.world = World(TOPICS, SAYS, OPERATORS, "usual")
        self.service = Service()
        self.runs: list[Run] = []
        self.before: dict[str, str] = {}
        home = self.homes[0]
        self.people = {person.name: person for person in home.roster.all()}
        self.callers = {name: person.caller for name, person in self.people.items()}
        self.agents = {name: home.keyring.authenticate(self.tokens[name]) for name in AGENTS}
        self.depot = home.keyring.authenticate(self.tokens["depot"])

    def _open(self) -> Home:
        return Home.open(self.folder / "home", clock=self.clock)

    def _sql(self, statement: str, *params: Any) -> list[Any]:
        """What the database holds, read without the gate."""
        return self.journal.execute(statement, params).fetchall()

    def last(self) -> int:
        """When the last thing was recorded."""
        ((at,),) = self._sql("SELECT at FROM head")
        return int(at)

    def behind(self) -> bool:
        return not self.clock.jumped and self.last() > self.clock.micros + MINUTE

    # --- asking the gate and the specification ------------------------------------------------------------

    @contextmanager
    def step(self) -> Iterator[None]:
        """A step of somebody's. While the clock is behind it changes nothing, whatever it is (rule 9)."""
        last = self.last()
        self.world.clock_lies = self.clock.jumped
        self.world.now = last if self.clock.jumped else max(self.clock.micros, last)
        if not self.behind():
            yield
            return
        world, runs = copy.deepcopy(self.world), copy.copy(self.runs)
        with suppress(ClockBehind):
            yield
        self.world, self.runs = world, runs

    def tried(self, step: Callable[[], Any], expected: bool) -> Any:
        """What a step answered; None where it was refused. Which it is, the specification said before."""
        refused: InterlockError | None = None
        answer = None
        try:
            answer = step()
        except ClockBehind:
            raise
        except InterlockError as error:
            refused = error
        if refused is not None:
            note(f"refused: {refused.slug}: {refused.detail}")
        assert (refused is None) == expected, "the specification says otherwise"
        return answer

    def learn(self, action: Action) -> None:
        """Tell the specification id, hash and end of the request about an action that is held anew."""
        if action.state != "held" or (action.requests and action.request.state == "held"):
            return
        rows = self._sql(
            "SELECT id, review_hash, expires_at, editor FROM approvals"
            " WHERE action_id = ? AND state = 'held'",
            action.id,
        )
        assert len(rows) == 1, "a held action has one open request"
        [(identifier, shown, end, editor)] = rows
        names = {person.id: name for name, person in self.people.items()}
        now = self.world.now
        if action.topic == "account.delete":
            assert end == now + DAY, "tier 4 without a lane: 24 hours"
        assert end > now
        action.requests.append(
            Request(identifier, shown, action.revision, action.number, now, end, names.get(editor))
        )

    def pick(self, number: int, *states: str, strictly: bool = True) -> Action:
        """One of the actions: one in such a state, where there is one and it matters."""
        every = list(self.world.actions.values())
        suited = [action for action in every if action.state in states]
        chosen = suited if strictly and suited else every
        return chosen[number % len(chosen)]

    # --- what everybody does --------------------------------------------------------------------------------

    def propose(
        self,
        where: int,
        topic: str,
        agent: str,
        number: int,
        key: str | None,
        principal: str | None,
        inline: bool,
    ) -> None:
        world, gate, caller = self.world, self.homes[where].gate, self.agents[agent]
        proposal = Proposal(topic, arguments(topic, number), principal=principal, idempotency_key=key)
        asked = Action("", topic, agent, principal, number, "", "")
        inline = inline and TOPICS[topic].executor == "caller"
        with self.step():
            known = world.known(asked, key)
            if inline and world.clock_lies:
                self.tried(lambda: gate.propose(proposal, caller, inline=True), False)
                return
            if known == "conflict":
                with pytest.raises(IdempotencyConflict):
                    gate.propose(proposal, caller, inline=inline)
                return
            proposed = gate.propose(proposal, caller, inline=inline)
            assert proposed.action is not None
            assert proposed.created == (known is None)
            if known is not None:
                assert proposed.action.id == known, "the same request is the first action"
                assert proposed.claim is None
                return
            asked.id = proposed.action.id
            action = world.begin(asked, key)
            note(f"{action.id[:12]}: {topic} {number} is {action.state}")
            self.learn(action)
            assert (proposed.claim is not None) == (inline and action.state == "allowed")
            if proposed.claim is not None:
                world.start(action)
                self.took(action, where, proposed.claim)

    def answer(
        self,
        where: int,
        action: Action,
        about: Request,
        person: str,
        answer: Answer,
        *,
        right: bool = True,
        to: int = 0,
    ) -> None:
        """Somebody decides on a request, naming what was shown or something else."""
        decision = HumanDecision(
            answer,
            about.shown if right else "0" * 64,
            reason_code=ReasonCode.OTHER if answer is Answer.REJECT else None,
            args=arguments(action.topic, to) if answer is Answer.EDIT else None,
            response="Yes." if answer is Answer.RESPOND else None,
        )
        home, caller = self.homes[where], self.callers[person]
        with self.step():
            expected = self._counts(action, about, person, answer, right, to)
            self.tried(lambda: home.gate.decide(about.id, caller, decision), expected)
            if expected and answer is Answer.APPROVE:
                self.world.approve(action, person)
                page = home.views.approval(about.id, caller, home.gate.in_force())
                assert page["args"] == arguments(action.topic, about.seen)
            elif expected and answer is Answer.REJECT:
                about.state = action.state = "rejected"
            elif expected:
                self.world.edit(action, to)
            self.learn(action)

    def _counts(
        self, action: Action, about: Request, person: str, answer: Answer, right: bool, to: int
    ) -> bool:
        """Whether an answer counts (rule 3)."""
        world = self.world
        if Role.REVIEWER not in PEOPLE[person] or about.state != "held" or world.clock_lies:
            return False
        if answer is not Answer.REJECT and world.stopped(action):
            return False
        if world.over(action):
            world.expire(action)
            return False
        world.redecide(action)
        if about.state != "held" or not right:
            return False
        if answer is Answer.APPROVE:
            return world.may_approve(action, person)
        if answer is Answer.RESPOND:
            return False  # nothing here is a question
        return answer is Answer.REJECT or to != action.number

    def took(self, action: Action, where: int, claim: Claim) -> Run:
        """A claim was given: what it rests on, once more and from the test's own records."""
        assert claim.epoch == action.epoch
        assert claim.binding.args == arguments(action.topic, action.number), "what was seen is what runs"
        if TOPICS[action.topic].tier == 4:
            assert action.approved_by, "tier 4 never runs without a person"
        if action.requests and action.request.state == "unanswered":
            assert TOPICS[action.topic].silence, "silence approves nothing of tier 3 or 4"
        elif action.requests:
            person, revision = action.approved_by[-1]
            assert revision == claim.revision
            assert "reviewer" in PEOPLE[person]
        assert not self.world.stopped(action)
        assert not self.clock.jumped
        self.runs.append(Run(action.id, where, claim.epoch, claim))
        return self.runs[-1]

    def try_to_claim(self, where: int, action: Action) -> None:
        world, kind = self.world, TOPICS[action.topic].executor
        with self.step():
            again = action.state == "executing" and world.now >= action.lease and world.repeatable(action)
            may = kind != "permitted" and (again or action.state in MAY_RUN)
            may = may and not world.stopped(action) and not world.clock_lies
            if may and again and world.stricter(action):
                action.state, may = "in_doubt", False
            may = may and (again or self._ready(action))
            asked = ExecutorKind.HTTP if kind == "permitted" else ExecutorKind(kind)
            claim = self.tried(lambda: self.homes[where].gate.claim(action.id, asked), may)
            self.learn(action)
            if claim is not None:
                world.start(action)
                self.took(action, where, claim)

    def _ready(self, action: Action) -> bool:
        """Whether an allow or approval still counts under the policy in force and at this time."""
        world = self.world
        world.redecide(action)
        if action.state in MAY_RUN and action.offline_until is None and world.now >= action.expires:
            world.expire(action)
        return action.state in MAY_RUN and action.policy == world.policy and world.now < action.expires

    def call(self, run: Run) -> None:
        """The executor calls the service, as late as it likes: a paused process cannot know better. What it
        repeats, it repeats only while the service remembers, as the dispatcher does."""
        topic, now = TOPICS[self.world.actions[run.action].topic], self.clock.micros
        true = now - self.offset * SECOND
        if run.claim is None:
            assert run.issued is not None
            permit = run.issued.permit
            if not run.sent and permit.offline and now < permit.expires_at:
                run.sent = True
                self.service.call(run.action, permit.id, None, true)
        elif topic.remembers is None:
            if not run.sent:
                run.sent = True
                self.service.call(run.action, run.claim.key, None, true)
        elif not self.clock.jumped and now < run.claim.claimed_at + topic.remembers - MINUTE:
            run.sent = True
            self.service.call(run.action, run.claim.key, topic.remembers, true)

    def say(self, where: int, run: Run, *, unsure: bool) -> None:
        """The executor says honestly what it knows, once or more often."""
        if run.claim is None and not run.sent:
            return
        action, home = self.world.actions[run.action], self.homes[where]
        if run.sent:
            outcome = ActionState.IN_DOUBT if unsure else ActionState.SUCCEEDED
        else:  # nothing was sent, which proves nothing about whoever had it before
            outcome = ActionState.FAILED if run.epoch == 1 else ActionState.IN_DOUBT
        said = Report(outcome, "As I saw it.")
        with self.step():
            if run.claim is None:  # it ran without asking
                if action.offline_until is not None:
                    self.world.start(action)
                run.epoch = action.epoch
            expected = self.world.report(action, run.epoch, outcome.value)
            issued, claim = run.issued, run.claim
            if issued is not None:
                self.tried(lambda: home.permits.report(run.action, issued.token, self.depot, said), expected)
            elif claim is not None:
                self.tried(lambda: home.gate.settle(claim, said), expected)

    def ask_for_permit(self, where: int, action: Action, *, offline: bool) -> None:
        world, home = self.world, self.homes[where]
        with self.step():
            may = action.state in MAY_RUN and not world.stopped(action) and not world.clock_lies
            again = may and action.offline_until is not None
            if again:
                current = action.policy == world.policy and world.now < (action.offline_until or 0)
                may = offline and current
            elif may:
                may = self._ready(action) and (not offline or TOPICS[action.topic].offline)
                may = may and action.expires // SECOND > world.now // SECOND
            issued = self.tried(
                lambda: home.permits.mint(action.id, self.agents[action.agent], offline=offline), may
            )
            self.learn(action)
            if issued is None:
                return
            assert issued.permit.expires_at <= min(world.now + PERMIT, action.expires)
            if again:
                return
            if offline:
                action.offline_until = issued.permit.expires_at
            self.runs.append(Run(action.id, where, 0, issued=issued))

    def redeem(self, where: int, run: Run) -> None:
        action, world, issued = self.world.actions[run.action], self.world, run.issued
        assert issued is not None
        permit = issued.permit
        with self.step():
            may = run.claim is None and world.now < permit.expires_at
            may = may and permit.revision == action.revision and action.state in MAY_RUN
            may = may and not world.stopped(action) and not world.clock_lies
            may = may and bool(permit.offline) == (action.offline_until is not None)
            may = may and self._ready(action)
            redeemed = self.tried(lambda: self.homes[where].permits.redeem(issued.token, self.depot), may)
            self.learn(action)
            if redeemed is not None:
                world.start(action)
                self.took(action, where, redeemed.claim)
                self.runs.pop()
                run.claim, run.epoch = redeemed.claim, redeemed.claim.epoch

    def withdraw(self, where: int, action: Action, agent: str) -> None:
        with self.step():
            waits = action.state in {"held", *MAY_RUN} and action.offline_until is None
            expected = waits and agent == action.agent
            self.tried(lambda: self.homes[where].gate.withdraw(action.id, self.agents[agent]), expected)
            if expected:
                self.world.end(action, "withdrawn")

    def revoke(self, where: int, action: Action, person: str) -> None:
        with self.step():
            expected = person != "Dora" and action.state in MAY_RUN and action.offline_until is None
            self.tried(lambda: self.homes[where].gate.revoke(action.id, self.callers[person]), expected)
            if expected:
                self.world.end(action, "revoked")

    def reconcile(self, where: int, action: Action, person: str, outcome: ActionState) -> None:
        gate, caller = self.homes[where].gate, self.callers[person]
        with self.step():
            expected = person != "Dora" and action.state == "in_doubt"
            self.tried(lambda: gate.reconcile(action.id, caller, outcome, "I looked."), expected)
            if expected:
                action.state = outcome.value

    def renew(self, where: int, run: Run) -> None:
        action, claim = self.world.actions[run.action], run.claim
        if claim is None or run.issued is not None:
            return
        with self.step():
            holds = action.state == "executing" and action.epoch == run.epoch
            expected = holds and not self.world.stopped(action)
            assert bool(self.homes[where].gate.renew([claim])) == expected
            if expected:
                action.lease = self.world.now + LEASE

    def kill(self, where: int, scope: str, target: str | None, person: str) -> None:
        switches, caller = self.homes[where].kill_switches, self.callers[person]
        with self.step():
            expected = Role.OPERATOR in PEOPLE[person]
            said = self.tried(lambda: switches.engage(Scope(scope), target, "why", caller=caller), expected)
            if said is None:
                return
            stop = Stop(said.switch.id, scope, target, self.world.now)
            actions = self.world.actions.values()
            running = {each.id for each in actions if each.state == "executing" and stop.covers(each)}
            assert set(said.running) == running
            same = [(each.scope, each.target) for each in self.world.stops if each.until is None]
            assert said.created == ((scope, target) not in same)
            if said.created:
                self.world.stops.append(stop)

    def rearm(self, where: int, stop: Stop, person: str) -> None:
        switches, caller = self.homes[where].kill_switches, self.callers[person]
        with self.step():
            expected = Role.OPERATOR in PEOPLE[person] and stop.until is None
            said = self.tried(lambda: switches.rearm(stop.id, "why", caller), expected)
            if said is not None:
                stop.agreed.add(person)
                assert said.lifted == (len(stop.agreed) == 2), "two different people"
                stop.until = self.world.now if said.lifted else None

    def activate(self, where: int, name: str, *, dies: bool) -> None:
        """Another policy comes into force; its process may die before it has looked at what is open."""
        home, world = self.homes[where], self.world
        with self.step():
            expected = name == world.policy or not world.clock_lies
            if dies:
                step = partial(active.activate, policy=POLICIES[name], by="Ann", reason="why")
                self.tried(lambda: home.journal.commit(step), expected)
            else:
                self.tried(lambda: home.gate.activate(POLICIES[name], by="Ann", reason="why"), expected)
            changed = expected and name != world.policy
            if changed:
                world.policy = name
            if changed and not dies:
                self.all_redecided()

    def redecide(self, where: int) -> None:
        with self.step():
            self.homes[where].gate.redecide_open()
            self.all_redecided()

    def all_redecided(self) -> None:
        for action in self.world.actions.values():
            self.world.redecide(action)
            self.learn(action)

    def sweep(self, where: int) -> None:
        world = self.world
        with self.step():
            self.tried(self.homes[where].gate.sweep, not world.clock_lies)
            if world.clock_lies:
                return
            world.sweep()
            states = dict(self._sql("SELECT id, state FROM approvals"))
            for action in world.actions.values():
                if action.state == "held":
                    state = states[action.request.id]
                    assert state in world.swept(action)
                    if state == "expired":
                        world.expire(action)
                    elif state == "unanswered":
                        world.pass_unanswered(action)

    def serve(self, where: int) -> None:
        """A process sweeps for a quarter of an hour."""
        for _ in range(16):
            self.sweep(where)
            self.clock.forward(60)
        self.sweep(where)

    def die(self, where: int) -> None:
        """A process, with all that it had in hand; another one opens the home under another name."""
        if self.behind():
            return  # it would not open
        home = self.homes[where]
        home.leases.close()
        home.journal.close()
        self.runs = [run for run in self.runs if run.where != where]
        self.homes[where] = self._open()

    def jump(self, seconds: int) -> None:
        """The clock, against elapsed time."""
        self.clock.forward(seconds)
        self.offset += seconds
        self.clock.jumped = abs(self.offset) > 60

    # --- in any order -------------------------------------------------------------------------------------

    @initialize(wanted=st.lists(proposals, min_size=3, max_size=6))
    def begin(self, wanted: list[dict[str, Any]]) -> None:
        for each in wanted:
            self.propose(0, **each)

    @rule(where=which, wanted=proposals)
    def agent_asks(self, where: int, wanted: dict[str, Any]) -> None:
        self.propose(where, **wanted)

    @rule(where=which, number=index, times=st.integers(1, 4))
    def life_goes_on(self, where: int, number: int, times: int) -> None:
        """One of them comes some steps further, as on any good day."""
        action = self.pick(number, "held", "executing", *MAY_RUN)
        for _ in range(times):
            if action.state == "held":
                person = next(name for name in ("Cleo", "Bob") if self.world.may_approve(action, name))
                self.answer(where, action, action.request, person, Answer.APPROVE)
            elif action.state == "executing":
                for run in [run for run in self.runs if run.action == action.id][-1:]:
                    self.call(run)
                    self.say(where, run, unsure=False)
            elif action.state in MAY_RUN and TOPICS[action.topic].executor != "permitted":
                self.try_to_claim(where, action)
            elif action.state in MAY_RUN:
                self.ask_for_permit(where, action, offline=False)
                for run in [run for run in self.permits() if run.action == action.id][-1:]:
                    self.redeem(where, run)

    @rule(
        where=which,
        number=index,
        request=st.sampled_from([-1, -1, -1, 0, 1]),
        person=reviewers,
        answer=st.sampled_from([*Answer, Answer.APPROVE]),
        right=mostly,
        to=numbers,
        twice=st.booleans(),
    )
    @precondition(lambda self: any(action.requests for action in self.world.actions.values()))
    def reviewer_answers(
        self,
        where: int,
        number: int,
        request: int,
        person: str,
        answer: Answer,
        right: bool,
        to: int,
        twice: bool,
    ) -> None:
        asked = [action for action in self.world.actions.values() if action.requests]
        waiting = [action for action in asked if action.state == "held"] or asked
        action = waiting[number % len(waiting)]
        about = action.requests[min(request, len(action.requests) - 1)]
        for place in (where, 1 - where)[: 1 + twice]:
            self.answer(place, action, about, person, answer, right=right, to=to)

    @rule(
        where=which,
        number=index,
        strictly=mostly,
        what=st.sampled_from(["withdraw", "revoke", "succeeded", "failed"]),
        agent=st.sampled_from(AGENTS),
        person=operators,
    )
    def somebody_ends_one(
        self, where: int, number: int, strictly: bool, what: str, agent: str, person: str
    ) -> None:
        if what == "withdraw":
            self.withdraw(where, self.pick(number, "held", *MAY_RUN, strictly=strictly), agent)
        elif what == "revoke":
            self.revoke(where, self.pick(number, *MAY_RUN, strictly=strictly), person)
        else:
            self.reconcile(where, self.pick(number, "in_doubt", strictly=strictly), person, ActionState(what))

    @rule(where=which, number=index, strictly=mostly)
    def executor_claims(self, where: int, number: int, strictly: bool) -> None:
        self.try_to_claim(where, self.pick(number, "executing", *MAY_RUN, strictly=strictly))

    @rule(where=which, number=index, what=st.sampled_from(["call", "call", "report", "unsure", "renew"]))
    @precondition(lambda self: self.runs)
    def executor_works(self, where: int, number: int, what: str) -> None:
        run = self.runs[-1 - number % len(self.runs)]
        if what == "call":
            self.call(run)
        elif what == "renew":
            self.renew(where, run)
        else:
            self.say(where, run, unsure=what == "unsure")

    @rule(where=which, number=index, what=st.sampled_from(["mint", "mint", "offline", "redeem", "redeem"]))
    @precondition(lambda self: self.permitted())
    def executor_has_permits(self, where: int, number: int, what: str) -> None:
        permitted, permits = self.permitted(), self.permits()
        action = permitted[number % len(permitted)]
        if what == "redeem" and permits:
            self.redeem(where, permits[-1 - number % len(permits)])
        elif sum(run.action == action.id for run in self.runs) < 8:
            self.ask_for_permit(where, action, offline=what == "offline")

    @rule(
        seconds=st.sampled_from([1, 14, 15, 16, 59, 61, 120, 181, 900, 1800, 3539, 3600, 86_400, 700_000]),
        where=which,
        then=st.sampled_from(["", "sweep", "sweep", "redecide", "serve"]),
    )
    def time_passes(self, seconds: int, where: int, then: str) -> None:
        self.clock.forward(seconds)
        if then:
            getattr(self, then)(where)

    @rule(
        where=which,
        scope=st.sampled_from(["all", "agent", "topic"]),
        number=index,
        person=operators,
        people=st.lists(operators, min_size=1, max_size=3),
        lift=st.booleans(),
    )
    def operators_stop_and_go(
        self, where: int, scope: str, number: int, person: str, people: list[str], lift: bool
    ) -> None:
        on = [stop for stop in self.world.stops if stop.until is None]
        action = self.pick(number, *OPEN)
        if lift and on:
            for each in people:
                self.rearm(where, on[number % len(on)], each)
        else:
            self.kill(
                where, scope, {"all": None, "agent": action.agent, "topic": action.topic}[scope], person
            )

    @rule(
        where=which,
        what=st.sampled_from(["policy", "policy", "half", "die", "die", "jump", "jump", "right", "accept"]),
        name=st.sampled_from([*sorted(POLICIES), "usual"]),
        seconds=st.sampled_from([-3600, -59, 59, 3600]),
    )
    def machines_change(self, where: int, what: str, name: str, seconds: int) -> None:
        """Policies, processes, and clocks: one that jumped is set back, or everything begins anew with it."""
        if what in ("policy", "half"):
            self.activate(where, name, dies=what == "half")
        elif what == "die":
            self.die(where)
        elif what == "jump" and not self.offset:
            self.jump(seconds)
        else:
            self.jump(-self.offset if what != "accept" else 0)
            self.offset, self.clock.jumped = 0, False

    def permitted(self) -> list[Action]:
        return [a for a in self.world.actions.values() if TOPICS[a.topic].executor == "permitted"]

    def permits(self) -> list[Run]:
        """What may be tried to redeem: an executor does not redeem what it has run without asking."""
        return [run for run in self.runs if run.issued and (run.claim or not run.sent)]

    # --- the promises ------------------------------------------------------------------------------------

    @invariant()
    def each_action_is_where_the_design_says(self) -> None:
        """Nothing is lost, expired is not rejected, and no step is taken that the state machine lacks."""
        rows = self._sql("SELECT id, revision, state, epoch FROM actions ORDER BY id, revision")
        latest = {row[0]: row for row in rows}
        actions = self.world.actions
        assert set(latest) == set(actions)
        for identifier, revision, state, epoch in latest.values():
            action = actions[identifier]
            said = (action.revision, action.state, action.epoch)
            assert (revision, state, epoch) == said, f"{identifier}: {action.topic}"
            was = self.before.get(identifier, "")
            assert reachable(was, state), f"{identifier} went from {was} to {state}"
            self.before[identifier] = state
        for identifier, revision, state, _ in rows:
            assert (state == "superseded") == (revision < actions[identifier].revision)

    @invariant()
    def whatever_is_held_has_an_owner_and_an_end(self) -> None:
        rows = self._sql("SELECT id, action_id, state, owner, due_at, expires_at FROM approvals")
        held = [row for row in rows if row[2] == "held"]
        actions = self.world.actions.values()
        assert sorted(row[1] for row in held) == sorted(each.id for each in actions if each.state == "held")
        assert all(owner and 0 < due_at <= 2**53 and expires_at > 0 for *_, owner, due_at, expires_at in held)
        states = {row[0]: row[2] for row in rows}
        for action in actions:
            for request in action.requests:
                assert states[request.id] == request.state

    @invariant()
    def nothing_takes_effect_twice(self) -> None:
        for identifier, times in self.service.effects.items():
            action = self.world.actions[identifier]
            assert times == 1, f"{identifier}: {action.topic}"
            assert action.epoch > 0 or action.offline_until is not None
            assert action.state in {*MAY_RUN, "executing", "in_doubt", "succeeded", "failed"}

    def teardown(self) -> None:
        try:
            self.clock.micros, self.clock.jumped = max(self.clock.micros, self.last()), False
            home = self.homes[0]
            home.publisher.export(self.folder / "export")
            report = verify_export(self.folder / "export", vkey=home.publisher.vkey)
            assert report.ok, report
            self.each_action_is_where_the_design_says()
        finally:
            self.journal.close()
            for home in self.homes:
                home.leases.close()
                home.journal.close()
            shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The home that each life begins with a copy of."""
    clock = ManualClock()
    clock.micros = STARTED
    folder = tmp_path_factory.mktemp("life") / "home"
    home = Home.open(folder, policy=POLICIES["usual"], clock=clock)
    people = {name: home.roster.add(name, roles, by="test") for name, roles in PEOPLE.items()}
    Lives.template, Lives.tokens = folder, {}
    for name in AGENTS:
        operator = people.get(OPERATORS.get(name, ""))
        Lives.tokens[name] = home.keyring.add(KeyKind.AGENT, name, topics=["**"], person=operator, by="test")[
            1
        ]
    Lives.tokens["depot"] = home.keyring.add(KeyKind.EXECUTOR, "depot", topics=["**"], by="test")[1]
    home.close()
    yield
    del Lives.template, Lives.tokens


@pytest.mark.usefixtures("template")
@pytest.mark.timeout(4 * 3600 if LONG else 900)
def test_every_life_goes_as_the_design_says() -> None:
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=not LONG,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )

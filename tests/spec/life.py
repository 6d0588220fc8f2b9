"""What becomes of an action, in plain, slow Python: one object in one process, no database, no keys and no
hashes. The gate is compared with it after every step of random lives (`integration/test_life_model.py`).

 1. **Proposing.** A verdict of the policy in force is allow, hold or deny; under a kill switch it is deny.
    The same request under the same key is the first action; another one under that key is refused. Without a
    key it is the equal request that is still open, if there is one.
 2. **Holding.** A held action has one open request, an owner and an end. The end moves by the time that a
    kill switch covered the action since the request was made. Whoever answers after it expires it. So does
    who sweeps, unless its lane lets silence pass: at tiers 1 and 2 only, under the policy in force, and only
    if sweeps came all the while, no more than 90 seconds apart. That is no approval.
 3. **Answering.** A reviewer names what was shown. They approve nothing that they asked for: not as the
    principal, not as the agent's operator, not as its editor, unless all they changed since they first
    touched it is an amount that came down. An approval lasts an hour. An edit ends the request and opens one
    about the next revision, whatever the policy says short of deny.
 4. **Stopping.** Under a kill switch nothing is approved, edited, claimed, permitted or renewed. Rejecting,
    withdrawing, revoking, reporting and reconciling go on.
 5. **Drift.** Before an answer or a claim counts, the action is re-decided where another policy confirmed it.
    A stricter verdict voids what was allowed, approved or asked: it is denied, or held anew. Anything else
    leaves it as it is. What may run offline is left alone.
 6. **Claiming.** One claim holds an action, for 15 seconds that are renewed. A lapsed one is taken over only
    where the service still answers a repeated key with its first answer, and will for a minute, and while it
    may run: in its time, and under a policy that is no stricter by now. Otherwise it is in doubt.
 7. **Reporting.** Whoever claimed it last says what became of it: once, also late, also after it was taken
    for lost, but not after a person said so.
 8. **Sweeping.** What ended unanswered or unused is expired, what lapsed unrepeatably is in doubt. What may
    have run offline is in doubt a minute after its permit ended.
 9. **Clocks.** While the clock disagrees with elapsed time, time stands still where the last thing was
    recorded, and nothing is answered, claimed, permitted, swept or activated. While it is more than a minute
    behind the last thing recorded, nothing at all is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

LEASE = 15 * SECOND
PROMPT = 90 * SECOND
VALID = HOUR
PERMIT = 2 * MINUTE

NEXT = {
    "": {"denied", "allowed", "held", "executing"},
    "denied": set(),
    "allowed": {"executing", "expired", "withdrawn", "revoked", "stale", "in_doubt"},
    "held": {"approved", "allowed", "rejected", "superseded", "expired", "withdrawn", "revoked", "stale"},
    "approved": {"executing", "expired", "withdrawn", "revoked", "stale", "in_doubt"},
    "stale": {"denied", "held"},
    "executing": {"succeeded", "failed", "in_doubt"},
    "in_doubt": {"succeeded", "failed"},
    "succeeded": set(),
    "failed": set(),
    "rejected": set(),
    "superseded": {"held", "denied"},
    "expired": set(),
    "withdrawn": set(),
    "revoked": set(),
}
"""The steps of an action's life. `superseded` goes on as the next revision of the same action."""

OPEN = {"allowed", "held", "approved", "stale", "executing", "in_doubt"}
MAY_RUN = {"allowed", "approved"}
STRICTNESS = ["allow", "hold", "deny"]
ASKED = {"held", "approved", "unanswered"}
"""The states of a request that ends as its action ends."""


@dataclass
class Topic:
    """What the catalogue says.

    `executor`: who runs it. `remembers`: for how long the service knows a key, in microseconds; None for one
    that does whatever it is asked as often as it is asked. `amount`: its argument is an amount of money.
    `silence`: where it is held, its lane lets it pass unanswered.
    """

    tier: int
    executor: str = "caller"
    remembers: int | None = None
    offline: bool = False
    amount: bool = False
    silence: bool = False


@dataclass
class Request:
    """An approval request. `seen`: the number a reviewer was shown."""

    id: str
    shown: str
    revision: int
    seen: int
    since: int
    end: int
    editor: str | None = None
    state: str = "held"


@dataclass
class Action:
    """One action. `number` is its argument, `decided` the verdict it stands under."""

    id: str
    topic: str
    agent: str
    principal: str | None
    number: int
    policy: str
    decided: str
    state: str = ""
    revision: int = 1
    requests: list[Request] = field(default_factory=list)
    approved_by: list[tuple[str, int]] = field(default_factory=list)
    """Who approved which revision."""
    expires: int = 0
    epoch: int = 0
    lease: int = 0
    claimed: int = 0
    offline_until: int | None = None
    """The end of the permit under which it may be running."""
    numbers: dict[int, int] = field(default_factory=dict)

    @property
    def request(self) -> Request:
        return self.requests[-1]


@dataclass
class Stop:
    """A kill switch: over everything, an agent or a topic, from `since` until `until`."""

    id: str
    scope: str
    target: str | None
    since: int
    until: int | None = None
    agreed: set[str] = field(default_factory=set)

    def covers(self, action: Action) -> bool:
        return self.scope == "all" or self.target == (action.agent if self.scope == "agent" else action.topic)


class World:
    """Everything that one installation knows.

    Args:
        topics: the catalogue. verdicts: for each policy, topic and number what it says. operators: who
            operates an agent.
    """

    def __init__(
        self,
        topics: dict[str, Topic],
        verdicts: dict[str, dict[str, list[tuple[int, str]]]],
        operators: dict[str, str],
        policy: str,
    ) -> None:
        self.topics = topics
        self.verdicts = verdicts
        self.operators = operators
        self.policy = policy
        self.actions: dict[str, Action] = {}
        self.stops: list[Stop] = []
        self.keys: dict[tuple[str, str], str] = {}
        self.unnamed: dict[tuple[str, ...], str] = {}
        self.now = 0
        self.clock_lies = False
        self.attended: tuple[int, int] | None = None
        """From when until when sweeps came without a gap; noted every 15 seconds."""

    # --- what is so now ----------------------------------------------------------------------------------

    def verdict(self, topic: str, number: int) -> str:
        """allow, hold or deny: the last of the policy's steps that the number reaches."""
        steps = self.verdicts[self.policy][topic]
        return [said for least, said in steps if number >= least][-1]

    def stopped(self, action: Action) -> bool:
        return any(stop.until is None and stop.covers(action) for stop in self.stops)

    def frozen(self, action: Action, since: int) -> int:
        """For how long kill switches covered it since then; overlapping ones count once."""
        total, reached = 0, since
        for stop in sorted(self.stops, key=lambda stop: stop.since):
            if stop.covers(action):
                begins, ends = max(stop.since, reached), self.now if stop.until is None else stop.until
                total += max(0, ends - begins)
                reached = max(reached, ends)
        return total

    def over(self, action: Action) -> bool:
        """Whether the open request has ended (rule 2)."""
        request = action.request
        return self.now >= request.end + self.frozen(action, request.since)

    def repeatable(self, action: Action) -> bool:
        """Whether a lapsed claim may be taken over (rule 6)."""
        remembers = self.topics[action.topic].remembers
        end = action.claimed + (remembers or 0) - MINUTE
        return remembers is not None and self.now < min(end, action.expires)

    def stricter(self, action: Action) -> bool:
        """Whether the policy in force says something stricter than it stands under."""
        return STRICTNESS.index(self.verdict(action.topic, action.number)) > STRICTNESS.index(action.decided)

    # --- proposing ---------------------------------------------------------------------------------------

    def known(self, action: Action, key: str | None) -> str | None:
        """The id of the action that a request attaches to; "conflict" where its key is another request's."""
        name = _request(action)
        if key is not None:
            first = self.keys.get((action.agent, key))
            if first is None:
                return None
            return first if _request(self.actions[first]) == name else "conflict"
        first = self.unnamed.get(name)
        return first if first is not None and self.actions[first].state in OPEN else None

    def begin(self, action: Action, key: str | None) -> Action:
        """A new action."""
        decided = "deny" if self.stopped(action) else self.verdict(action.topic, action.number)
        action.decided, action.policy = decided, self.policy
        action.state = {"allow": "allowed", "hold": "held", "deny": "denied"}[decided]
        action.expires = self.now + VALID
        action.numbers[1] = action.number
        self.actions[action.id] = action
        self.unnamed[_request(action)] = action.id
        if key is not None:
            self.keys[action.agent, key] = action.id
        return action

    # --- drift -------------------------------------------------------------------------------------------

    def redecide(self, action: Action) -> bool:
        """Rule 5. True where it is held anew, under a new request that the caller names."""
        if action.policy == self.policy or action.state not in {"allowed", "held", "approved"}:
            return False
        if not self.stricter(action):
            action.policy = self.policy
            return False
        if action.offline_until is not None:
            return False
        self._close(action, "stale")
        now = self.verdict(action.topic, action.number)
        action.policy, action.decided = self.policy, now
        action.state = "held" if now == "hold" else "denied"
        return now == "hold"

    # --- answering ---------------------------------------------------------------------------------------

    def _close(self, action: Action, state: str) -> None:
        if action.requests and action.request.state in ASKED:
            action.request.state = state

    def expire(self, action: Action) -> None:
        self.end(action, "expired")

    def pass_unanswered(self, action: Action) -> None:
        action.request.state, action.state = "unanswered", "allowed"
        action.expires = self.now + VALID

    def may_approve(self, action: Action, person: str) -> bool:
        """Rule 3."""
        if person in (action.principal, self.operators.get(action.agent)):
            return False
        mine = [request for request in action.requests if request.editor == person]
        if not mine:
            return True
        before, after = action.numbers[mine[0].revision - 1], action.number
        return self.topics[action.topic].amount and 0 <= after < before

    def approve(self, action: Action, person: str) -> None:
        action.request.state = action.state = "approved"
        action.approved_by.append((person, action.revision))
        action.expires = self.now + VALID

    def edit(self, action: Action, number: int) -> bool:
        """True where it is held as the next revision, under a new request that the caller names."""
        action.request.state = "superseded"
        action.revision += 1
        action.number = action.numbers[action.revision] = number
        action.decided = "deny" if self.verdict(action.topic, number) == "deny" else "hold"
        action.state = "held" if action.decided == "hold" else "denied"
        return action.decided == "hold"

    def end(self, action: Action, state: str) -> None:
        """Withdrawn, revoked or expired."""
        self._close(action, state)
        action.state = state

    # --- running -----------------------------------------------------------------------------------------

    def start(self, action: Action) -> None:
        action.state = "executing"
        action.epoch += 1
        action.lease = self.now + LEASE
        action.claimed = action.claimed or self.now
        action.offline_until = None

    def report(self, action: Action, epoch: int, outcome: str) -> bool:
        """Rule 7. False where the report counts for nothing."""
        if epoch != action.epoch:
            return False
        if action.state == "executing" or (action.state == "in_doubt" and outcome != "in_doubt"):
            action.state = outcome
        return action.state == outcome

    # --- sweeping ----------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Rule 8, but for held requests: a frozen one is looked at once a minute, see `swept`."""
        if self.attended is None or self.now > self.attended[1] + PROMPT:
            self.attended = self.now, self.now
        elif self.now >= self.attended[1] + LEASE:
            self.attended = self.attended[0], self.now
        for action in self.actions.values():
            if action.state in MAY_RUN and action.offline_until is not None:
                if self.now >= action.offline_until + MINUTE:
                    self.start(action)
                    action.state = "in_doubt"
            elif action.state in MAY_RUN and self.now >= action.expires:
                self.expire(action)
            elif action.state == "executing" and self.now >= action.lease and not self.repeatable(action):
                action.state = "in_doubt"

    def swept(self, action: Action) -> set[str]:
        """In which states the request about a held action may be after a sweep. What ended before it was
        stopped ends all the same; what is, or was lately, stopped may be looked at a minute later."""
        if not self.over(action):
            return {"held"}
        topic, request = self.topics[action.topic], action.request
        late = self.now - request.end - self.frozen(action, request.since)
        heard = self.attended is not None and self.attended[0] <= request.since + PROMPT
        if topic.silence and topic.tier <= 2 and late <= PROMPT and heard:
            unsure = self.stopped(action) or action.policy != self.policy
            return {"held"} if unsure else {"held", "unanswered"}
        thawed = max([stop.until or 0 for stop in self.stops if stop.covers(action)], default=0)
        later = self.stopped(action) or topic.silence or self.now <= thawed + MINUTE
        return {"held", "expired"} if later else {"expired"}


def _request(action: Action) -> tuple[str, ...]:
    """What makes two requests of one agent the same."""
    return (action.agent, action.topic, str(action.numbers.get(1, action.number)), str(action.principal))


def reachable(before: str, after: str, steps: int = 4) -> bool:
    """Whether the state machine leads from one state to the other in at most so many steps."""
    found = {before}
    for _ in range(steps):
        found |= {state for each in found for state in NEXT[each]}
    return after in found

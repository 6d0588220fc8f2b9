"""Whether the entries tell a life that an action can have.

1. An action runs only after it was proposed and the policy allowed it, or a person approved it. The approval
   names the action hash and the review hash that were requested, is the one open for that revision, is given
   once, and before the request ends. Where its request asked for a passkey, it carries an assertion.
2. A claim is for the current revision, carries the action hash that was allowed, the policy that decided
   about the action last, and the approval and review hash that were given. It comes before the allow ends,
   and before the action is withdrawn, revoked, stale or settled. How long an approval is valid, entries do
   not say.
3. Claims are numbered 1, 2, 3 without a gap. A second one takes over what may have run, in the same time: the
   lease of the one before has lapsed. What an executor elsewhere runs is claimed with a permit, once; while
   one is out that works offline, the action is claimed with that one, or goes in doubt, and nothing else
   becomes of it.
4. Whatever is settled or in doubt was claimed, for the same revision, last with the same epoch. A revision is
   settled at most once; what a person reconciles, or a late report settles, was in doubt. A run that the gate
   only assumes is in doubt at once.
5. An edit and a stricter verdict take permission away; nothing gives it but a first proposal that the policy
   allows, and an approval. What a policy confirms it does not decide more strictly: that makes the action
   stale. An edit is the answer of whoever made it to the request it supersedes. Only what is stale is
   requested anew. A claimed action is not edited and ends with its outcome; what has ended stays so.
6. In doubt without a claim is only what was open when a new epoch of the ledger was opened, and nothing that
   was open then goes on in any other way. A question is answered or rejected, and never runs.
7. What rests on the state of the world runs only as it was read and shown; `probes.py` says what that means.
8. What a kill switch covers is not let run; `stops.py` says what that means.
9. What nobody answers ends after its time, and not before; `silence.py` says what may come of it.

What entries mean, and which fields each kind carries: `docs/ledger.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from interlock.verify import probes, silence
from interlock.verify.action import (
    CLAIMED_ONCE,
    OFFLINE_TIERS,
    OVER,
    WAITING,
    Action,
    State,
    runs,
    unenforced,
)
from interlock.verify.authority import Authority
from interlock.verify.broken import Broken, Unfounded
from interlock.verify.epochs import Epochs
from interlock.verify.passkeys import Passkeys
from interlock.verify.permits import Permits
from interlock.verify.stops import Stops

LEASE = 15_000_000
"""Microseconds for which a claim holds at least: then it may be taken over."""
_OUTCOMES = frozenset({"succeeded", "failed"})
_DECIDED = ""
_OUT = "an executor may run it under a permit that works offline"


class Life:
    """Follows every action of one namespace through the entries, in order.

    Args:
        epochs: the log's own, of which each voids what was open.
        editor_approved: told of each approval that its entry calls provably tighter.
    """

    def __init__(
        self,
        authority: Authority,
        passkeys: Passkeys,
        permits: Permits,
        stops: Stops,
        epochs: Epochs,
        *,
        editor_approved: Callable[[], None],
    ) -> None:
        self._authority = authority
        self._passkeys = passkeys
        self._permits = permits
        self._stops = stops
        self._epochs = epochs
        self._editor_approved = editor_approved
        self._actions: dict[str, Action] = {}
        # Actions that are over change no more; those that ended alike are remembered as one.
        self._alike: dict[tuple[int, int | None, State, str], Action] = {}
        # Agents and topics, each pair once.
        self._abouts: dict[tuple[str, str], tuple[str, str]] = {}
        # The action that each approval request is about; _DECIDED afterwards.
        self._requests: dict[str, str] = {}
        self.assumed = 0
        """Runs that the gate only assumes and that are not in doubt yet."""
        self.unenforced = 0
        """Actions that run only because the policy observes."""

    # --- opening ------------------------------------------------------------------------------------------

    def proposed(self, entry: Mapping[str, Any]) -> None:
        if entry["action"] in self._actions:
            raise Broken("this action was proposed before")
        self.unenforced += unenforced(entry)
        self._open(entry, State.MAY_RUN if runs(entry) else State.HELD)

    def edited(self, entry: Mapping[str, Any]) -> None:
        known = self._known(entry)
        if known.state in CLAIMED_ONCE:
            raise Broken("the action was claimed already; it cannot become another revision")
        if entry["revision"] <= known.revision:
            raise Broken(
                f"an edit makes a new revision; {entry['revision']} is not later than {known.revision}"
            )
        if known.state is not State.EDITING or known.editing is None or known.approval != entry["supersedes"]:
            raise Broken("nobody answered the request that it supersedes with an edit")
        editor, signed = known.editing
        self._open(entry, State.HELD, (*known.editors, entry["person"]))
        if entry["person"] != editor:
            raise Broken("another person edited than the one who answered the request")
        if signed is not None and signed != entry["action_hash"]:
            raise Broken("the edit is not the one that its editor signed")

    def _open(self, entry: Mapping[str, Any], state: State, editors: tuple[str, ...] = ()) -> None:
        policy = self._authority.named(entry)
        action = Action(entry, state, policy, self._epochs.number, editors)
        about = entry["agent"], entry["topic"]
        action.about = self._abouts.setdefault(about, about)
        self._actions[entry["action"]] = action
        if entry["decision"] == "deny":
            self._end(entry, action)
        self._request(action, entry)
        self._check_running(action)

    def _check_running(self, action: Action) -> None:
        """Raises `Broken` where something let an action go on that a kill switch covers."""
        if action.about is not None:
            self._stops.check(action.about)

    def _is_late(self, action: Action, at: int) -> bool:
        """Whether its request had ended: later by the time for which kill switches froze it."""
        if action.until is None or at < action.until or action.about is None:
            return False
        return at >= action.until + self._stops.paused(action.about, action.requested_at, at)

    def _request(self, action: Action, entry: Mapping[str, Any]) -> None:
        """The request of an entry, if it makes one, becomes the only open one of its action."""
        approval, review_hash = entry.get("approval"), entry.get("review_hash")
        if (approval is None) != (review_hash is None):
            raise Broken("it names a request or a review hash without the other")
        if approval is None:
            return
        if action.state is not State.HELD:
            raise Broken("it requests an approval of what is not held")
        if approval in self._requests:
            raise Broken("the approval request was made before")
        self._requests[approval] = entry["action"]
        action.approval, action.review_hash, action.requested_at = approval, review_hash, entry["at"]
        action.turn = 0
        action.step_up = entry.get("step_up") is True

    def redecided(self, entry: Mapping[str, Any]) -> None:
        action, policy = self._current(entry), self._authority.named(entry)
        if action.state is not State.STALE:
            self._confirmed(action, entry, policy)
            return
        action.decided_anew(entry, policy)
        if entry["decision"] == "deny":
            self._end(entry, action)
            return
        action.state = State.HELD
        self._request(action, entry)
        probes.anew(action, entry)

    def _confirmed(self, action: Action, entry: Mapping[str, Any], policy: str) -> None:
        if entry.get("approval") is not None:
            raise Broken("a new request was made although the action was not stale")
        if action.state not in WAITING:
            raise Broken("it was decided anew although it was not open")
        action.policy = policy
        if action.is_tighter(entry):
            raise Broken("the policy decided more strictly, and the action was not made stale")

    # --- stopping -----------------------------------------------------------------------------------------

    def stale(self, entry: Mapping[str, Any]) -> None:
        action = self._current(entry)
        could_run, approved = action.state is State.MAY_RUN, action.approval is not None
        self._stopped(entry).state = State.STALE
        probes.stale(action, entry, could_run=could_run, approved=approved)

    def over(self, entry: Mapping[str, Any]) -> None:
        self._end(entry, self._stopped(entry))

    def _stopped(self, entry: Mapping[str, Any]) -> Action:
        """The action, which from here on may not run by what was decided so far."""
        action = self._current(entry)
        if action.state in CLAIMED_ONCE:
            raise Broken("the action was claimed already; only its outcome can follow")
        if action.state in (State.ENDED, State.EDITING):
            raise Broken("the action had ended already")
        action.approval = action.review_hash = None
        if action.offline is not None:
            raise Broken(f"{_OUT}, so nobody can say that it did not run")
        return action

    def _end(self, entry: Mapping[str, Any], action: Action, outcome: str = "") -> None:
        action.state = State.SETTLED if outcome else State.ENDED
        action.outcome = outcome
        action.action_hash, action.approval, action.review_hash, action.offline = "", None, None, None
        action.key, action.editors, action.policy = None, (), ""
        action.probe = action.reading = None
        action.about = None
        alike = (action.revision, action.epoch, action.state, outcome)
        self._actions[entry["action"]] = self._alike.setdefault(alike, action)

    # --- deciding -----------------------------------------------------------------------------------------

    def decided(self, entry: Mapping[str, Any]) -> None:
        approval = entry["approval"]
        about = self._requests.get(approval)
        if about is None:
            raise Unfounded("nobody requested this approval")
        if about is _DECIDED:
            raise Broken("the approval request was decided before")
        self._requests[approval] = _DECIDED
        action = self._actions[about]
        self._check_epoch(action)
        if action.approval != approval or action.state is not State.HELD:
            raise Broken("the request had ended before it was decided")
        if about != entry["action"] or action.revision != entry["revision"]:
            raise Broken("the answer names another action or revision than was requested")
        if action.action_hash != entry["action_hash"]:
            raise Broken("the answer names another action hash than was requested")
        if action.review_hash != entry["review_hash"]:
            raise Broken("the answer names another review hash than was requested")
        key, editors, step_up = action.key, action.editors, action.step_up
        answer, late = entry["decision"], self._is_late(action, entry["at"])
        question = action.question
        if answer == "approve":
            action.state, action.until = State.MAY_RUN, None
        elif answer == "edit":
            action.state, action.editing = State.EDITING, (entry["person"], _signed_hash(entry))
        else:
            self._end(entry, action)
        if self._authority.decided(entry, key, editors):
            self._editor_approved()
        self._passkeys.check(entry, needed=step_up and answer == "approve")
        if (answer == "respond") != (entry.get("response") is not None):
            raise Broken("a response without an answer to a question, or the other way round")
        if answer != "reject" and question is not (answer == "respond"):
            raise Broken("a question was answered as what runs is, or what runs as a question")
        if late:
            raise Broken("the request was answered after its time")
        if answer == "approve":
            probes.check_permission(action)
        self._check_running(action)

    def probed(self, entry: Mapping[str, Any]) -> None:
        probes.shown(self._asked(entry), entry)

    # --- nobody answering ---------------------------------------------------------------------------------

    def escalated(self, entry: Mapping[str, Any]) -> None:
        action = self._asked(entry)
        silence.take_turn(action, entry, late=self._is_late(action, entry["at"]))
        self._check_running(action)

    def unanswered(self, entry: Mapping[str, Any]) -> None:
        action = self._asked(entry)
        early = self._is_early(action, entry["at"])
        self._requests[entry["approval"]] = _DECIDED
        action.state, action.until = State.MAY_RUN, entry["expires_at"]
        silence.check_allowed(action, entry, early=early)
        probes.check_permission(action)
        self._check_running(action)

    def stopping(self, entry: Mapping[str, Any]) -> None:
        """A kill switch that a lane engages, because nobody answered."""
        if silence.stops(entry):
            action = self._asked(entry)
            early = self._is_early(action, entry["at"])
            silence.check_stopped(action, entry, early=early)

    def expired(self, entry: Mapping[str, Any]) -> None:
        action = self._current(entry)
        about, held = action.about, action.state is State.HELD
        early = entry.get("on_timeout") is not None and held and self._is_early(action, entry["at"])
        self._end(entry, self._stopped(entry))
        silence.check_end(entry, held=held, early=early)
        kill = entry.get("kill")
        if kill is not None and about is not None:
            self._stops.check_agent(kill, about[0])

    def _asked(self, entry: Mapping[str, Any]) -> Action:
        """The action of the open request that an entry names."""
        about = self._requests.get(entry["approval"])
        if about is None:
            raise Unfounded("nobody requested this approval")
        if about is _DECIDED:
            raise Broken("the approval request was answered before")
        action = self._actions[about]
        self._check_epoch(action)
        if action.approval != entry["approval"] or action.state is not State.HELD:
            raise Broken("the request had ended before")
        if (entry.get("action", about), entry.get("revision", action.revision)) != (about, action.revision):
            raise Broken("it names another action or revision than was requested")
        return action

    def _is_early(self, action: Action, at: int) -> bool:
        """Whether its request had time left, where entries say how much it has."""
        return action.until is not None and not self._is_late(action, at)

    # --- running ------------------------------------------------------------------------------------------

    def minted(self, entry: Mapping[str, Any]) -> None:
        action = self._current(entry)
        if action.state is not State.MAY_RUN:
            raise Broken("a permit was minted for an action that may not run")
        outstanding = action.offline
        if entry["offline"]:
            action.offline = entry["permit"]
        self._permits.minted(entry)
        if outstanding is not None:
            raise Broken(f"{_OUT}, and another was minted")
        if entry["action_hash"] != action.action_hash:
            raise Broken("the permit names another action hash than was allowed")
        if entry["policy"] != action.policy:
            raise Broken("the permit names another policy than decided about it last")
        if not action.permitted:
            raise Broken("a permit was minted for an action that no executor elsewhere runs")
        if entry["offline"] and action.tier not in OFFLINE_TIERS:
            raise Broken("a permit that works offline is for tiers 1 and 2")
        if action.until is not None and entry["expires_at"] > action.until:
            raise Broken("the permit outlives what it rests on")
        self._check_running(action)

    def claimed(self, entry: Mapping[str, Any]) -> None:
        action = self._current(entry)
        state = action.state
        if state is State.DOUBTFUL or state is State.SETTLED:
            raise Broken("the action was claimed again after it had run")
        if state is not State.MAY_RUN and state is not State.CLAIMED:
            raise Broken("the action was claimed without being allowed or approved")
        if action.question:
            raise Broken("a question was claimed, and nothing runs by one")
        epoch, expected, at = entry["epoch"], (action.epoch or 0) + 1, entry["at"]
        before, action.claimed_at = action.claimed_at, at
        action.epoch, action.state = epoch, State.CLAIMED
        if entry.get("assumed") is True:
            action.state = State.ASSUMED
            self.assumed += 1
        if epoch != expected:
            raise Broken(f"the action was claimed with epoch {epoch} where {expected} is next")
        if entry["action_hash"] != action.action_hash:
            raise Broken("the claim names another action hash than was allowed")
        if entry["policy"] != action.policy:
            raise Broken("the claim names another policy than decided about it last")
        if entry.get("approval") != action.approval:
            raise Broken("the claim names another approval than the one it was given")
        if entry.get("review_hash") != action.review_hash:
            raise Broken("the claim names another review hash than was approved")
        again = state is State.CLAIMED
        probes.check_claim(action, entry, again=again)
        if entry.get("permit") is not None:
            self._redeemed(action, entry, again=again)
            return
        if action.permitted:
            raise Broken("what an executor elsewhere runs was claimed without a permit")
        if action.state is State.ASSUMED:
            raise Broken("a run is assumed only where a permit was out")
        if again and at < before + LEASE:
            raise Broken("the action was claimed again before the lease of the claim before it had lapsed")
        _check_time(action, at)
        self._check_running(action)

    def _redeemed(self, action: Action, entry: Mapping[str, Any], *, again: bool) -> None:
        outstanding, action.offline = action.offline, None
        if again:
            raise Broken("an action that was claimed already ran once more with a permit")
        if self._permits.redeemed(entry):
            return  # What ran without asking ran while it might; under which policy, is said above.
        if outstanding is not None:
            raise Broken(f"{_OUT}, and another was redeemed")
        self._authority.under_policy(entry)
        _check_time(action, entry["at"])
        self._check_running(action)

    def settled(self, entry: Mapping[str, Any]) -> None:
        action = self._ran(entry)
        if action.state is State.DOUBTFUL:
            raise Broken("what is in doubt is settled by a late report or by a person")
        self._settle(action, entry)

    def in_doubt(self, entry: Mapping[str, Any]) -> None:
        if entry.get("recovery") is not None:
            self._recovered(entry)
            return
        action = self._ran(entry, assumed=True)
        if action.state is State.SETTLED:
            raise Broken("the action fell in doubt after it was settled")
        if action.state is State.ASSUMED:
            self.assumed -= 1
        action.state = State.DOUBTFUL

    def _recovered(self, entry: Mapping[str, Any]) -> None:
        if not self._epochs.recovers(entry):
            raise Broken("it was put in doubt by the opening of an epoch that is not being opened")
        action = self._current(entry, recovering=True)
        if action.state in OVER:
            raise Broken("the opening of an epoch put in doubt what was not open")
        if entry["epoch"] != (action.epoch or 0):
            raise Broken(f"the action was last claimed with epoch {action.epoch or 0}")
        if action.state is State.ASSUMED:
            self.assumed -= 1
        action.state, action.approval, action.review_hash = State.DOUBTFUL, None, None

    def reconciled(self, entry: Mapping[str, Any]) -> None:
        action = self._current(entry)
        if action.state is State.SETTLED:
            raise Broken("the action was settled before")
        if action.state is not State.DOUBTFUL:
            raise Broken("the action was reconciled without having been in doubt")
        self._settle(action, entry)

    def late(self, entry: Mapping[str, Any]) -> None:
        action = self._ran(entry)
        if not entry["applied"]:
            return
        if action.state is State.SETTLED:
            raise Broken("the action was settled before")
        if action.state is not State.DOUBTFUL:
            raise Broken("a late report settled an action that was not in doubt")
        self._settle(action, entry)

    def _settle(self, action: Action, entry: Mapping[str, Any]) -> None:
        outcome = entry["outcome"]
        if outcome not in _OUTCOMES:
            raise Broken("an action settles as succeeded or failed")
        if action.state is State.SETTLED:
            raise Broken("the action was settled before")
        if "action_hash" in entry and entry["action_hash"] != action.action_hash:
            raise Broken("the outcome names another action hash than was claimed")
        self._end(entry, action, outcome)

    def _ran(self, entry: Mapping[str, Any], *, assumed: bool = False) -> Action:
        action = self._current(entry)
        if action.epoch is None or entry["epoch"] != action.epoch:
            raise Broken(f"nobody holds the action with epoch {entry['epoch']}")
        if action.state is State.ASSUMED and not assumed:
            raise Broken("a run that is only assumed was not put in doubt first")
        return action

    # --- finding ------------------------------------------------------------------------------------------

    def _known(self, entry: Mapping[str, Any], *, recovering: bool = False) -> Action:
        """The action, unless a new epoch voided it (rule 6)."""
        action = self._actions.get(entry["action"])
        if action is None:
            raise Unfounded("the action was never proposed")
        if action.log_epoch != self._epochs.number and not recovering:
            self._check_epoch(action)
        return action

    def standing(self, action_id: str) -> tuple[State, str]:
        """How far an action came, and its outcome if it is settled. Raises `Unfounded` for an unknown one."""
        action = self._actions.get(action_id)
        if action is None:
            raise Unfounded("the action that it names was never proposed")
        return action.state, action.outcome

    def check_revision(self, entry: Mapping[str, Any]) -> None:
        """Raises `Broken` unless the entry is about the current revision of its action."""
        self._current(entry)

    def _check_epoch(self, action: Action) -> None:
        number = self._epochs.number
        if action.log_epoch != number and action.state not in OVER:
            raise Broken(f"it was open when epoch {number} was opened, and was not put in doubt")

    def _current(self, entry: Mapping[str, Any], *, recovering: bool = False) -> Action:
        action = self._known(entry, recovering=recovering)
        if entry["revision"] != action.revision:
            raise Broken(f"revision {entry['revision']} is not the current one, {action.revision}")
        return action


def _check_time(action: Action, at: int) -> None:
    if action.until is not None and at >= action.until:
        raise Broken("the action was claimed after the time that it was allowed for")


def _signed_hash(entry: Mapping[str, Any]) -> str | None:
    """The action hash that an answer with an assertion was given for."""
    answer = entry.get("answer")
    return None if answer is None else str(answer.get("action_hash"))

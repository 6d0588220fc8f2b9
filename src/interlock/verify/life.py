"""Whether the entries tell a life that an action can have.

1. An action runs only after it was proposed and the policy allowed it, or a person approved it. The approval
   names the action hash and the review hash that were requested, is the one open for that revision, and is
   given once. Where its request asked for a passkey, it carries an assertion.
2. A claim is for the current revision, carries the action hash that was allowed and the approval and review
   hash that were given, raises the epoch, and comes before the action expires, is withdrawn, revoked, stale
   or settled. What an executor elsewhere runs is claimed with a permit, once.
3. Whatever is settled or in doubt was claimed, for the same revision, last with the same epoch. A revision is
   settled at most once; what a person reconciles, or a late report settles, was in doubt. A run that the gate
   only assumes is in doubt at once.
4. An edit and a stale policy decision take permission away; nothing gives it but a first proposal that the
   policy allows, and an approval. An edit is the answer of whoever made it to the request it supersedes. Only
   what is stale is requested anew. A claimed action is not edited and ends with its outcome; what has ended
   stays so.
5. In doubt without a claim is only what was open when a new epoch of the ledger was opened.
6. What a kill switch covers is not let run; `stops.py` says what that means.
7. What is kept for each action is a few words, so a log of millions is followed in one pass.

What entries mean, and which fields each kind carries: `docs/ledger.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any

from interlock.verify.authority import Authority
from interlock.verify.broken import Broken, Unfounded
from interlock.verify.passkeys import Passkeys
from interlock.verify.permits import Permits
from interlock.verify.stops import Stops

_ALLOWS = frozenset({"allow", "allow_with_constraints"})
_OUTCOMES = frozenset({"succeeded", "failed"})
_DECIDED = ""


class State(Enum):
    """How far an action came."""

    HELD = auto()
    MAY_RUN = auto()
    EDITING = auto()
    STALE = auto()
    ENDED = auto()
    CLAIMED = auto()
    ASSUMED = auto()
    DOUBTFUL = auto()
    SETTLED = auto()


_CLAIMED_ONCE = frozenset({State.CLAIMED, State.ASSUMED, State.DOUBTFUL, State.SETTLED})


class Action:
    """What is remembered of an action: its current revision and how far that came."""

    __slots__ = (
        "about",
        "action_hash",
        "approval",
        "editing",
        "editors",
        "epoch",
        "key",
        "permit",
        "permitted",
        "review_hash",
        "revision",
        "state",
        "step_up",
    )

    def __init__(self, entry: Mapping[str, Any], state: State) -> None:
        self.revision: int = entry["revision"]
        self.action_hash: str = entry["action_hash"]
        self.about: tuple[str, str] | None = None
        """Agent and topic, until the action has ended."""
        self.state = state
        self.key: str | None = entry.get("key")
        self.permitted = entry["executor"] == "permitted"
        self.epoch: int | None = None
        self.permit: str | None = None
        self.approval: str | None = None
        self.review_hash: str | None = None
        self.step_up = False
        self.editors: tuple[str, ...] = ()
        self.editing: tuple[str, str | None] | None = None
        """Who answers the request with an edit, and the action hash they signed for it."""


class Life:
    """Follows every action of one namespace through the entries, in order.

    Args:
        recovers: whether this entry, which puts an action in doubt, belongs to the opening of an epoch.
        editor_approved: told of each approval that its entry calls provably tighter.
    """

    def __init__(
        self,
        authority: Authority,
        passkeys: Passkeys,
        permits: Permits,
        stops: Stops,
        *,
        recovers: Callable[[Mapping[str, Any]], bool],
        editor_approved: Callable[[], None],
    ) -> None:
        self._authority = authority
        self._passkeys = passkeys
        self._permits = permits
        self._stops = stops
        self._recovers = recovers
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

    # --- opening ------------------------------------------------------------------------------------------

    def proposed(self, entry: Mapping[str, Any]) -> None:
        if entry["action"] in self._actions:
            raise Broken("this action was proposed before")
        self._open(entry, State.MAY_RUN if entry["decision"] in _ALLOWS else State.HELD)

    def edited(self, entry: Mapping[str, Any]) -> None:
        known = self._known(entry)
        if known.state in _CLAIMED_ONCE:
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
        action = Action(entry, state)
        action.editors = editors
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
        action.approval, action.review_hash = approval, review_hash
        action.step_up = entry.get("step_up") is True

    def redecided(self, entry: Mapping[str, Any]) -> None:
        action = self._current(entry)
        if action.state is not State.STALE:
            if entry.get("approval") is not None:
                raise Broken("a new request was made although the action was not stale")
            return
        if entry["decision"] == "deny":
            self._end(entry, action)
            return
        action.state = State.HELD
        self._request(action, entry)

    # --- stopping -----------------------------------------------------------------------------------------

    def stale(self, entry: Mapping[str, Any]) -> None:
        self._stopped(entry).state = State.STALE

    def over(self, entry: Mapping[str, Any]) -> None:
        self._end(entry, self._stopped(entry))

    def _stopped(self, entry: Mapping[str, Any]) -> Action:
        """The action, which from here on may not run by what was decided so far."""
        action = self._current(entry)
        if action.state in _CLAIMED_ONCE:
            raise Broken("the action was claimed already; only its outcome can follow")
        if action.state in (State.ENDED, State.EDITING):
            raise Broken("the action had ended already")
        action.approval = action.review_hash = None
        return action

    def _end(self, entry: Mapping[str, Any], action: Action, outcome: str = "") -> None:
        action.state = State.SETTLED if outcome else State.ENDED
        action.action_hash, action.approval, action.review_hash, action.permit = "", None, None, None
        action.key, action.editors, action.about = None, (), None
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
        if action.approval != approval or action.state is not State.HELD:
            raise Broken("the request had ended before it was decided")
        if about != entry["action"] or action.revision != entry["revision"]:
            raise Broken("the answer names another action or revision than was requested")
        if action.action_hash != entry["action_hash"]:
            raise Broken("the answer names another action hash than was requested")
        if action.review_hash != entry["review_hash"]:
            raise Broken("the answer names another review hash than was requested")
        key, editors, step_up = action.key, action.editors, action.step_up
        answer = entry["decision"]
        if answer == "approve":
            action.state = State.MAY_RUN
        elif answer == "edit":
            action.state, action.editing = State.EDITING, (entry["person"], _signed_hash(entry))
        else:
            self._end(entry, action)
        if self._authority.decided(entry, key, editors):
            self._editor_approved()
        self._passkeys.check(entry, needed=step_up and answer == "approve")
        self._check_running(action)

    # --- running ------------------------------------------------------------------------------------------

    def minted(self, entry: Mapping[str, Any]) -> None:
        action = self._current(entry)
        if action.state is not State.MAY_RUN:
            raise Broken("a permit was minted for an action that may not run")
        if entry["action_hash"] != action.action_hash:
            raise Broken("the permit names another action hash than was allowed")
        if not action.permitted:
            raise Broken("a permit was minted for an action that no executor elsewhere runs")
        self._permits.minted(entry)
        self._check_running(action)

    def claimed(self, entry: Mapping[str, Any]) -> None:
        action = self._current(entry)
        state = action.state
        if state is State.DOUBTFUL or state is State.SETTLED:
            raise Broken("the action was claimed again after it had run")
        if state is not State.MAY_RUN and state is not State.CLAIMED:
            raise Broken("the action was claimed without being allowed or approved")
        epoch = entry["epoch"]
        if epoch <= (action.epoch or 0):
            raise Broken(f"the action was claimed without a later epoch than {action.epoch or 0}")
        again, action.epoch, action.state = state is State.CLAIMED, epoch, State.CLAIMED
        if entry["action_hash"] != action.action_hash:
            raise Broken("the claim names another action hash than was allowed")
        if entry.get("approval") != action.approval:
            raise Broken("the claim names another approval than the one it was given")
        if entry.get("review_hash") != action.review_hash:
            raise Broken("the claim names another review hash than was approved")
        if entry.get("assumed") is True:
            action.state = State.ASSUMED
            self.assumed += 1
        if entry.get("permit") is not None:
            if again:
                raise Broken("an action that was claimed already ran once more with a permit")
            action.permit = entry["permit"]
            offline_under = self._permits.redeemed(entry)
            if offline_under != entry["policy"]:
                self._authority.under_policy(entry)
            if offline_under is None:
                self._check_running(action)
        elif action.permitted:
            raise Broken("what an executor elsewhere runs was claimed without a permit")
        elif action.state is State.ASSUMED:
            raise Broken("a run is assumed only where a permit was out")
        else:
            self._check_running(action)

    def settled(self, entry: Mapping[str, Any]) -> None:
        self._settle(self._ran(entry), entry)

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
        if not self._recovers(entry):
            raise Broken("it was put in doubt by the opening of an epoch that is not being opened")
        action = self._current(entry)
        if action.state in (State.ENDED, State.DOUBTFUL, State.SETTLED):
            raise Broken("the opening of an epoch put in doubt what was not open")
        if entry["epoch"] != (action.epoch or 0):
            raise Broken(f"the action was last claimed with epoch {action.epoch or 0}")
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

    def _known(self, entry: Mapping[str, Any]) -> Action:
        action = self._actions.get(entry["action"])
        if action is None:
            raise Unfounded("the action was never proposed")
        return action

    def _current(self, entry: Mapping[str, Any]) -> Action:
        action = self._known(entry)
        if entry["revision"] != action.revision:
            raise Broken(f"revision {entry['revision']} is not the current one, {action.revision}")
        return action


def _signed_hash(entry: Mapping[str, Any]) -> str | None:
    """The action hash that an answer with an assertion was given for."""
    answer = entry.get("answer")
    return None if answer is None else str(answer.get("action_hash"))

"""Whether the entries tell a life that an action can have.

1. An action runs only after it was proposed and the policy allowed it, or a person approved it. The approval
   names the action hash and the review hash that were requested, is the one open for that revision, and is
   given once.
2. A claim is for the current revision, carries the action hash that was allowed, raises the epoch, and comes
   before the action expires, is withdrawn, revoked, stale or settled.
3. Whatever is settled or in doubt was claimed, for the same revision, last with the same epoch. A revision is
   settled at most once; what a person reconciles, or a late report settles, was in doubt.
4. An edit and a stale policy decision take permission away; nothing gives it but a first proposal that the
   policy allows, and an approval. Only what is stale is requested anew. A claimed action is not edited and
   ends with its outcome; what has ended stays so.
5. What is kept for each action is a few words, so a log of millions is followed in one pass.

What entries mean, and which fields each kind carries: `docs/ledger.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

_ALLOWS = frozenset({"allow", "allow_with_constraints"})
_APPROVES = frozenset({"approve", "approve_with_constraints"})
_DECIDED = ("", -1, "", "")


class Broken(ValueError):
    """The entry cannot follow what came before it. The message is a sentence."""


class _Action:
    """What is remembered of an action: its current revision and how far that came."""

    __slots__ = (
        "action_hash",
        "approval",
        "doubtful",
        "ended",
        "epoch",
        "may_run",
        "revision",
        "settled",
        "stale",
    )

    def __init__(self, revision: int, action_hash: str) -> None:
        self.revision = revision
        self.action_hash = action_hash
        self.approval: str | None = None
        self.may_run = False
        self.ended = False
        self.stale = False
        self.epoch: int | None = None
        self.doubtful = False
        self.settled: str | None = None


class Life:
    """Follows every action through the entries, in order."""

    __slots__ = ("_actions", "_alike", "_requests")

    def __init__(self) -> None:
        self._actions: dict[str, _Action] = {}
        # Settled actions change no more; those that ended alike are remembered as one.
        self._alike: dict[tuple[int, int | None, str], _Action] = {}
        # (action key, revision, action hash, review hash) of each approval request; _DECIDED afterwards.
        self._requests: dict[str, tuple[str, int, str, str]] = {}

    def follow(self, entry: Mapping[str, Any]) -> None:
        """Take the next entry (as `read_entry` gives it). Raises `Broken` where it cannot come next."""
        step = self._STEPS.get(entry["kind"])
        if step is not None:
            step(self, entry)

    def _proposed(self, entry: Mapping[str, Any]) -> None:
        key = _action_key(entry)
        known = self._actions.get(key)
        revision = _number(entry, "revision")
        if known is not None and revision <= known.revision:
            raise Broken(f"revision {revision} of this action was proposed before")
        self._open(key, entry, allowed=known is None and _text(entry, "decision") in _ALLOWS)

    def _edited(self, entry: Mapping[str, Any]) -> None:
        known = self._known(entry)
        revision = _number(entry, "revision")
        if revision <= known.revision:
            raise Broken(f"an edit makes a new revision; {revision} is not later than {known.revision}")
        self._open(_action_key(entry), entry, allowed=False)

    def _open(self, key: str, entry: Mapping[str, Any], *, allowed: bool) -> None:
        """Begin a revision: its request for approval, if it has one, becomes the only open one."""
        before = self._actions.get(key)
        if before is not None and before.epoch is not None:
            raise Broken("the action was claimed already; it cannot become another revision")
        action = _Action(_number(entry, "revision"), _text(entry, "action_hash"))
        action.may_run = allowed
        action.ended = entry.get("decision") == "deny"
        self._actions[key] = action
        self._request(key, action, entry)

    def _request(self, key: str, action: _Action, entry: Mapping[str, Any]) -> None:
        if entry.get("approval") is None:
            return
        approval = _text(entry, "approval")
        if approval in self._requests:
            raise Broken("the approval request was made before")
        action.approval = approval
        self._requests[approval] = (key, action.revision, action.action_hash, _text(entry, "review_hash"))

    def _redecided(self, entry: Mapping[str, Any]) -> None:
        action = self._current(entry)
        if not action.stale:
            if entry.get("approval") is not None:
                raise Broken("a new request was made although the action was not stale")
            return
        action.stale = False
        action.ended = entry.get("decision") == "deny"
        self._request(_action_key(entry), action, entry)

    def _stale(self, entry: Mapping[str, Any]) -> None:
        self._stopped(entry).stale = True

    def _over(self, entry: Mapping[str, Any]) -> None:
        self._stopped(entry).ended = True

    def _stopped(self, entry: Mapping[str, Any]) -> _Action:
        """The action, which from here on may not run by what was decided so far."""
        action = self._current(entry)
        if action.epoch is not None:
            raise Broken("the action was claimed already; only its outcome can follow")
        if action.ended:
            raise Broken("the action had ended already")
        action.may_run = False
        action.approval = None
        return action

    def _decided(self, entry: Mapping[str, Any]) -> None:
        approval = _text(entry, "approval")
        request = self._requests.get(approval)
        if request is None:
            raise Broken("nobody requested this approval")
        if request is _DECIDED:
            raise Broken("the approval request was decided before")
        self._requests[approval] = _DECIDED
        key, revision, action_hash, review_hash = request
        action = self._actions[key]
        if action.approval != approval or action.ended:
            raise Broken("the request had ended before it was decided")
        if _text(entry, "decision") not in _APPROVES:
            action.ended = True
            return
        if _text(entry, "action_hash") != action_hash:
            raise Broken("the approval names another action hash than was requested")
        if _text(entry, "review_hash") != review_hash:
            raise Broken("the approval names another review hash than was requested")
        if _action_key(entry) != key or _number(entry, "revision") != revision:
            raise Broken("the approval names another action or revision than was requested")
        action.may_run = True

    def _claimed(self, entry: Mapping[str, Any]) -> None:
        action = self._current(entry)
        epoch = _number(entry, "epoch")
        if action.settled is not None or action.doubtful:
            raise Broken("the action was claimed again after it had run")
        if not action.may_run:
            raise Broken("the action was claimed without being allowed or approved")
        if "action_hash" in entry and entry["action_hash"] != action.action_hash:
            raise Broken("the claim names another action hash than was allowed")
        if "approval" in entry and entry["approval"] != action.approval:
            raise Broken("the claim names another approval than the one it was given")
        if action.epoch is not None and epoch <= action.epoch:
            raise Broken(f"the action was claimed again without a later epoch than {action.epoch}")
        action.epoch = epoch

    def _settled(self, entry: Mapping[str, Any]) -> None:
        self._settle(self._ran(entry), entry)

    def _in_doubt(self, entry: Mapping[str, Any]) -> None:
        action = self._ran(entry)
        if action.settled is not None:
            raise Broken("the action fell in doubt after it was settled")
        action.doubtful = True

    def _reconciled(self, entry: Mapping[str, Any]) -> None:
        action = self._current(entry)
        if not action.doubtful:
            raise Broken("the action was reconciled without having been in doubt")
        self._settle(action, entry)

    def _late(self, entry: Mapping[str, Any]) -> None:
        action = self._ran(entry)
        if entry.get("applied") is not True:
            return
        if not action.doubtful:
            raise Broken("a late report settled an action that was not in doubt")
        self._settle(action, entry)

    def _settle(self, action: _Action, entry: Mapping[str, Any]) -> None:
        outcome = _text(entry, "outcome")
        if outcome not in ("succeeded", "failed"):
            raise Broken("an action settles as succeeded or failed")
        if action.settled is not None:
            raise Broken(f"the action was settled before, as {action.settled}")
        action.settled = outcome
        action.action_hash, action.approval = "", None
        same = self._alike.setdefault((action.revision, action.epoch, outcome), action)
        self._actions[_action_key(entry)] = same

    def _ran(self, entry: Mapping[str, Any]) -> _Action:
        action = self._current(entry)
        epoch = _number(entry, "epoch")
        if epoch != action.epoch:
            raise Broken(f"nobody holds the action with epoch {epoch}")
        return action

    def _known(self, entry: Mapping[str, Any]) -> _Action:
        action = self._actions.get(_action_key(entry))
        if action is None:
            raise Broken("the action was never proposed")
        return action

    def _current(self, entry: Mapping[str, Any]) -> _Action:
        action = self._known(entry)
        revision = _number(entry, "revision")
        if revision != action.revision:
            raise Broken(f"revision {revision} is not the current one, {action.revision}")
        return action

    _STEPS: ClassVar[Mapping[str, Callable[[Life, Mapping[str, Any]], None]]] = {
        "action.proposed": _proposed,
        "action.edited": _edited,
        "action.redecided": _redecided,
        "action.stale": _stale,
        "action.expired": _over,
        "action.withdrawn": _over,
        "action.revoked": _over,
        "approval.decided": _decided,
        "action.claimed": _claimed,
        "action.settled": _settled,
        "action.in_doubt": _in_doubt,
        "action.reconciled": _reconciled,
        "action.late_report": _late,
    }


def _action_key(entry: Mapping[str, Any]) -> str:
    # A namespace is printable, so the separator cannot stand in it.
    return f"{entry['namespace']}\0{_text(entry, 'action')}"


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if type(value) is not str or not value:
        raise Broken(f"it lacks `{name}`")
    return value


def _number(entry: Mapping[str, Any], name: str) -> int:
    value = entry.get(name)
    if type(value) is not int or value < 0:
        raise Broken(f"it lacks `{name}`")
    return value

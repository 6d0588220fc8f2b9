"""The audit: what the shop's books say against what the journal says.

1. An action has at most one effect, whichever of its revisions ran and however often it was tried. More is
   a double execution.
2. What the journal calls succeeded stands in the books, and what the agent was told was recorded stands in
   the journal. Less is a loss.
3. An effect belongs to an action that was carried out and carries that revision's key. Otherwise something
   acted without authority: it is unaccounted for.
4. What the books say was done is what the journal says was decided, argument for argument. Otherwise it was
   altered on the way.
5. Where the journal says `executing` or `in_doubt`, the books may say either; nobody claimed to know.

Functions of values only: `read` and `ever_held` gather them from an open home.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from interlock.demo import story
from interlock.gate.claim import downstream_key
from interlock.home import Home
from interlock.model.actions import ActionState

KINDS: Mapping[str, str] = {
    story.DRAFT: "draft",
    story.DISCARD: "discard",
    story.RESTORE: "restore",
    story.REFUND: "refund",
    story.EMAIL: "email",
    story.DELETE: "deletion",
}
"""What each topic leaves in the shop's books. A lookup leaves nothing."""

_SUCCEEDED = frozenset({ActionState.SUCCEEDED, ActionState.ROLLED_BACK})
_RAN = _SUCCEEDED | {ActionState.EXECUTING, ActionState.IN_DOUBT}


@dataclass(frozen=True, slots=True)
class Effect:
    """One line of the shop's books. `action` and `key` came in the request's headers."""

    kind: str
    args: Mapping[str, Any]
    action: str | None
    key: str | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """One revision of one action, as the journal has it."""

    action: str
    revision: int
    state: ActionState
    topic: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Findings:
    """What does not add up, one sentence for each occurrence; all empty when the accounts agree."""

    double: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unaccounted: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        return [*self.double, *self.lost, *self.unaccounted, *self.altered]


def compare(
    effects: Iterable[Effect],
    recorded: Iterable[Recorded],
    acknowledged: Iterable[str],
    *,
    namespace: str = "default",
) -> Findings:
    """Compare the books with the journal.

    Args:
        recorded: every revision of every action.
        acknowledged: ids of actions that the agent was told were recorded.
    """
    found = Findings()
    effects = list(effects)
    revisions: dict[str, list[Recorded]] = {}
    for one in recorded:
        revisions.setdefault(one.action, []).append(one)
    for action, times in Counter(effect.action for effect in effects if effect.action).items():
        found.double.extend([f"{action} took effect {times} times"] * (times - 1))
    for effect in effects:
        ran = _revision_that_ran(revisions.get(effect.action or "", []), effect, namespace)
        if ran is None:
            found.unaccounted.append(f"a {effect.kind} for {effect.action}, which nothing authorised")
        elif dict(ran.args) != dict(effect.args):
            found.altered.append(f"{ran.action} was decided with other arguments than the shop received")
    done = {effect.action for effect in effects}
    for one in (one for several in revisions.values() for one in several):
        if one.state in _SUCCEEDED and one.topic in KINDS and one.action not in done:
            found.lost.append(f"{one.action} succeeded, and the shop's books do not have it")
    found.lost.extend(
        f"{action} was acknowledged, and the journal does not have it"
        for action in acknowledged
        if action not in revisions
    )
    return found


def _revision_that_ran(revisions: Iterable[Recorded], effect: Effect, namespace: str) -> Recorded | None:
    for one in revisions:
        if (
            one.state in _RAN
            and KINDS.get(one.topic) == effect.kind
            and downstream_key(namespace, one.action, one.revision) == effect.key
        ):
            return one
    return None


def effects_of(books: Mapping[str, Any]) -> list[Effect]:
    """The effects in the shop's answer to ``GET /books``."""
    return [Effect(one["kind"], one["args"], one["action"], one["key"]) for one in books["effects"]]


def read(home: Home) -> list[Recorded]:
    """Every revision of every action in a home's journal."""
    return [
        Recorded(one["id"], one["revision"], state, one["topic"], one["args"])
        for state in ActionState
        for one in _pages(partial(home.views.actions, state))
    ]


def ever_held(home: Home) -> set[str]:
    """The ids of the actions about which a person was ever asked."""
    return {
        one["action_id"]
        for state in ("held", "resolved")
        for one in _pages(partial(home.views.approvals, state))
    }


def _pages(look: Callable[[str | None], Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    cursor = None
    while True:
        page = look(cursor)
        yield from page["items"]
        cursor = page["next"]
        if cursor is None:
            return

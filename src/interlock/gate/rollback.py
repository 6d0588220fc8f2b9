"""Rollback: one call that asks for the action which takes another one back.

1. Only what succeeded is taken back, by the topic that the catalogue in force names as its undo, with
   arguments from the action's own, from what it answered and from what was read before it ran
   (`policy.undos`). What was there before and is missing or was empty, and an argument that the undo cannot
   do without, refuse the rollback: nothing is guessed.
2. The undo goes through the gate as any other proposal: the policy decides, people approve, the claim makes
   it once. Whoever asks is the agent that ran the action, for topics of its key, or a person with the role
   reviewer or operator; a person asks under a name that no agent has (`person:<id>`), so that a kill switch
   for the agent does not keep people from cleaning up after it.
3. It is on behalf of whoever the action was on behalf of, so that erasing that subject erases both.
4. Once: while a rollback is open, in doubt or done, another one is refused. One that ended without effect
   leaves the way free. The action names its latest rollback in its own marked row.
5. `undo_within` is counted from the first claim of the action: its effect can be as old as that, and of what
   was in doubt nobody knows better. Afterwards nobody may ask, and what waited so long does not start.
6. What would be done is shown by the same function that does it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from interlock.gate import settle
from interlock.gate.before import before_of
from interlock.gate.claim import Enforces
from interlock.gate.opening import Proposed
from interlock.gate.package import Sealed, TakesBack, title
from interlock.gate.propose import Proposing, prepare
from interlock.gate.records import ActionRow, load_action, name_undo
from interlock.gate.undoing import UndoTooLate
from interlock.identity import Caller, KeyKind, Role
from interlock.identity.keyring import check_live, check_person
from interlock.journal import Tx
from interlock.model.actions import ActionState, ExecutorKind, Proposal
from interlock.model.canonical import Json
from interlock.model.errors import Conflict, InDoubt, InvalidInput, NotFound
from interlock.model.ids import iso
from interlock.model.text import visible
from interlock.model.topics import TopicPattern
from interlock.policy import Policy, Undo

PERSON = "person:"
"""What begins the name under which a person asks; agents' names have no colon."""
_EVERYTHING = (TopicPattern.parse("*"),)
_LEFT_NOTHING = frozenset(
    {
        ActionState.DENIED,
        ActionState.FAILED,
        ActionState.REJECTED,
        ActionState.EXPIRED,
        ActionState.WITHDRAWN,
        ActionState.REVOKED,
    }
)
"""How a rollback ends without effect."""


class NoUndo(Conflict):
    slug = "no-undo"
    title = "This action cannot be taken back by one call"
    advice = "Take it back in the system it acted on, or propose an action that does."


class RollbackExists(Conflict):
    slug = "rollback-exists"
    title = "This is being taken back, or was"
    advice = "Follow that rollback; another one may be asked for if it ends without effect."


@dataclass(frozen=True, slots=True)
class Planned:
    """What a rollback would propose, decided under the policy in force and not recorded.

    Attributes:
        original: the action that would be taken back.
        proposing: the undo, ready to commit.
        takes_back: what the undo is sealed with.
    """

    original: ActionRow
    proposing: Proposing
    takes_back: TakesBack

    @property
    def topic(self) -> str:
        """The undo's."""
        return self.proposing.row.topic

    def to_json(self) -> dict[str, Any]:
        """For people and agents: what would be proposed, and what the policy says to it."""
        undo, verdict = self.proposing, self.proposing.verdict
        binding = undo.sealed.binding
        entry = undo.policy.entry(binding.topic)
        until = self.takes_back.until
        return {
            "action": self.original.id,
            "title": self.takes_back.title,
            "undo": {
                "topic": binding.topic,
                "args": binding.args,
                "title": title(undo.policy, binding.topic, binding.args),
                "worst_case": None if entry is None else entry.worst_case,
                "executor": undo.row.executor,
                "tier": None if verdict.tier is None else int(verdict.tier),
                "decision": verdict.decision.value,
                "rule": verdict.rule,
                "reason": verdict.reason,
                "owner": verdict.owner if verdict.held else None,
            },
            "until": None if until is None else iso(until),
            "policy": verdict.snapshot,
        }


def plan(
    tx: Tx,
    action_id: str,
    caller: Caller,
    policy: Policy,
    *,
    enforces: Enforces,
    holder: str | None = None,
    executes: Collection[ExecutorKind] = (),
) -> Planned:
    """What a rollback would do, under `policy`.

    Args:
        holder, executes: as for a proposal (`propose.prepare`).

    Raises:
        NotFound: there is no such action, or it is another agent's. Forbidden, OutOfScope, Unauthenticated:
            this caller may not ask. InDoubt, Conflict: it did not succeed. NoUndo, UndoTooLate,
            RollbackExists. Erased, Tampered: what it needs cannot be read.
    """
    original = load_action(tx, action_id)
    person = _check_caller(tx, caller, original)
    undo = _check_state(tx, original, policy)
    sealed = Sealed.read(tx.unseal(original.payload), original.action_hash)
    was = sealed.binding
    takes = TakesBack(
        original.id, title(policy, was.topic, was.args), person, _until(original, undo.within_sec)
    )
    _check_time(tx, takes)
    proposal = Proposal(
        undo.topic,
        _arguments(tx, original, sealed, undo, policy),
        principal=was.principal or f"agent:{was.agent}",
        session=was.session,
        parent_action=original.id,
    )
    asking = caller
    if person is not None:
        asking = Caller(KeyKind.AGENT, caller.key_id, agent=f"{PERSON}{person}", topics=_EVERYTHING)
    try:
        proposing = prepare(
            proposal,
            asking,
            policy,
            tx.vault,
            namespace=tx.namespace,
            registered=False,
            enforces=enforces,
            holder=holder,
            executes=executes,
        )
    except InvalidInput as error:
        raise NoUndo(
            f"{undo.topic}, which takes {original.topic} back, does not accept what it would get: "
            f"{error.detail}."
        ) from None
    return Planned(
        original,
        replace(
            proposing,
            row=proposing.row._replace(undoes=original.id),
            sealed=replace(proposing.sealed, takes_back=takes),
            # No caller can give a request such a name; the guard on the action is what makes it once.
            key=f"rollback:{proposing.row.id}",
        ),
        takes,
    )


@dataclass(frozen=True, slots=True)
class RollingBack:
    """The transition that proposes what was planned, where nothing changed since."""

    planned: Planned
    caller: Caller

    def __call__(self, tx: Tx) -> Proposed:
        original = load_action(tx, self.planned.original.id)
        _check_caller(tx, self.caller, original)
        _check_state(tx, original, self.planned.proposing.policy)
        _check_time(tx, self.planned.takes_back)
        proposed = self.planned.proposing(tx)
        if proposed.action is None or not proposed.created:
            raise Conflict(f"The rollback of {original.id} met another request of its own name.")
        name_undo(tx, original, proposed.action.id)
        return proposed


def _check_caller(tx: Tx, caller: Caller, original: ActionRow) -> str | None:
    """The person who asks; None for the agent that ran it. Raises as `plan`."""
    if caller.kind is KeyKind.PERSON:
        return check_person(tx, caller, Role.REVIEWER, Role.OPERATOR)
    check_live(tx, caller.key_id)
    if not caller.owns(original.agent, original.topic):
        raise NotFound(f"There is no action {visible(original.id, 64)}.")
    return None


def _check_state(tx: Tx, original: ActionRow, policy: Policy) -> Undo:
    """How the action is taken back. Raises as `plan`."""
    match original.status:
        case ActionState.SUCCEEDED:
            pass
        case ActionState.IN_DOUBT:
            raise InDoubt(f"Nobody knows yet whether {original.id} took effect, so nothing is taken back.")
        case ActionState.ROLLED_BACK:
            raise RollbackExists(
                f"{original.id} was taken back by {original.undone_by}.",
                extra={"rollback": original.undone_by, "state": ActionState.SUCCEEDED.value},
            )
        case _:
            raise Conflict(f"{original.id} is {original.state}; only what succeeded is taken back.")
    if original.undone_by is not None:
        latest = load_action(tx, original.undone_by)
        if latest.status not in _LEFT_NOTHING:
            raise RollbackExists(
                f"{original.id} is being taken back by {latest.id}, which is {latest.state}.",
                extra={"rollback": latest.id, "state": latest.state},
            )
    entry = policy.entry(original.topic)
    undo = None if entry is None else entry.taken_back
    if undo is None:
        raise NoUndo(f"The catalogue in force names nothing that takes {original.topic} back.")
    return undo


def _until(original: ActionRow, within_sec: int | None) -> int | None:
    """Rule 5. An action that succeeded without a claim, in a recovery, began when it was proposed."""
    if within_sec is None:
        return None
    began = original.proposed_at if original.claimed_at is None else original.claimed_at
    return began + within_sec * 1_000_000


def _check_time(tx: Tx, takes: TakesBack) -> None:
    if takes.until is not None and tx.now >= takes.until:
        raise UndoTooLate(f"{takes.action} could be taken back until {iso(takes.until)}.")


def _arguments(tx: Tx, original: ActionRow, sealed: Sealed, undo: Undo, policy: Policy) -> dict[str, Json]:
    before = before_of(tx, original, sealed) if undo.reads_before else None
    if undo.reads_before and before is None:
        raise NoUndo(f"What was there before {original.id} was not read, and {undo.topic} needs it.")
    lacking = [] if before is None else undo.lacking(before.values)
    if lacking:
        raise NoUndo(f"Before {original.id} there was no {', '.join(lacking)}, which {undo.topic} puts back.")
    output = settle.output(tx, original)
    target = policy.entry(undo.topic)
    return undo.arguments(
        sealed.binding.args,
        None if output is None else output[1],
        None if before is None else dict(before.values),
        None if target is None or target.args is None else tuple(target.args),
    )

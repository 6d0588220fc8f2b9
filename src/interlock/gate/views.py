"""What people and agents are told: plain JSON values read from the journal in one consistent state.

1. An agent learns the state of its action, what is awaited, from whom and until when, and how it ended. It
   does not learn who reviews, nor anything about other agents' actions.
2. A reviewer is shown what the review hash covers, in the order of risk, with what is hidden made visible.
3. Lists page by opaque keyset cursors.
4. What was erased is shown as erased, in its place: state, times, rule and hashes stay.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping

from sqlalchemy import bindparam, func, or_, select

from interlock.gate import settle, stops
from interlock.gate.claim import shown
from interlock.gate.deadlines import coming, timed
from interlock.gate.decide import check_duties
from interlock.gate.kept import kept
from interlock.gate.package import Package, Sealed
from interlock.gate.records import (
    ActionRow,
    ApprovalRow,
    DecisionRow,
    approval_of,
    decisions_on,
    load_action,
    load_approval,
)
from interlock.gate.undoing import owns, rollback_shown
from interlock.gate.wording import (
    ERASED,
    View,
    alarm,
    changes,
    constraint_words,
    erased_package,
    listing,
    mapping,
    message,
    role_value,
    shown_text,
    then,
    words,
)
from interlock.gate.world import again, why_not_approve, world
from interlock.identity import Caller, KeyKind, Person, Role
from interlock.identity.people import alone, people
from interlock.journal import Journal, Prepared, Tx
from interlock.journal import tables as t
from interlock.model.actions import ActionState
from interlock.model.binding import Binding
from interlock.model.canonical import Json
from interlock.model.errors import Erased, InvalidInput, NotFound, SeparationOfDuties, Tampered
from interlock.model.ids import iso
from interlock.model.text import visible
from interlock.model.verdicts import OnTimeout
from interlock.policy import Policy

_POSITION = re.compile(r"[0-9]{1,18}", re.ASCII)
PAGE = 50

_a = t.approvals.c
_HELD_PAGE = Prepared(
    select(t.approvals)
    .where(
        _a.namespace == bindparam("ns"),
        _a.state == "held",
        or_(_a.due_at > bindparam("due_"), (_a.due_at == bindparam("due_")) & (_a.id > bindparam("id_"))),
    )
    .order_by(_a.due_at, _a.id)
    .limit(bindparam("limit_"))
)
_RESOLVED_PAGE = Prepared(
    select(t.approvals)
    .where(
        _a.namespace == bindparam("ns"),
        _a.state != "held",
        or_(
            _a.requested_at < bindparam("due_"),
            (_a.requested_at == bindparam("due_")) & (_a.id > bindparam("id_")),
        ),
    )
    .order_by(_a.requested_at.desc(), _a.id)
    .limit(bindparam("limit_"))
)
_COUNTS = Prepared(
    select(_a.state, func.count(), func.min(_a.due_at))
    .where(_a.namespace == bindparam("ns"))
    .group_by(_a.state)
)
_BEFORE = Prepared(
    select(_a.id).where(_a.namespace == bindparam("ns"), _a.state == "held").order_by(_a.due_at, _a.id)
)
_x = t.actions.c
_BY_STATE = Prepared(
    select(t.actions)
    .where(_x.namespace == bindparam("ns"), _x.state == bindparam("state_"), _x.id > bindparam("id_"))
    .order_by(_x.id)
    .limit(bindparam("limit_"))
)
_TALLY = Prepared(select(_x.state, func.count()).where(_x.namespace == bindparam("ns")).group_by(_x.state))
_PROPOSED = Prepared(select(func.count()).where(_x.namespace == bindparam("ns"), _x.revision == 1))
_HELD_ONCE = Prepared(select(func.count(_a.action_id.distinct())).where(_a.namespace == bindparam("ns")))


class Views:
    """Reads of one namespace.

    Args:
        titles: the title for a policy snapshot, a topic and arguments.
        console: base URL of the console, for links in messages; None where no server is known.
    """

    def __init__(
        self,
        journal: Journal,
        titles: Callable[[str, str, Mapping[str, Json]], str],
        *,
        console: str | None = None,
        home: str | None = None,
    ) -> None:
        self._journal = journal
        self._titles = titles
        self.console = console
        self._home = home

    # --- actions -----------------------------------------------------------------------------------------

    def action(self, action_id: str, caller: Caller) -> View:
        """One action as its proposer or a person may see it.

        Raises:
            NotFound: there is none, or it is another agent's: an agent cannot tell the two apart.
        """

        def look(tx: Tx) -> View:
            row = load_action(tx, action_id)
            if caller.kind is not KeyKind.PERSON and not owns(tx, caller, row):
                raise NotFound(f"There is no action {visible(action_id, 64)}.")
            return self._action(tx, row)

        return self._journal.look(look)

    def actions(self, state: ActionState, cursor: str | None = None) -> View:
        """Actions in one state, oldest id first: `items` and the `next` cursor."""
        (after,) = _decode(cursor, 1) or ("",)

        def look(tx: Tx) -> View:
            rows = [ActionRow(*r) for r in tx.all(_BY_STATE, state_=state.value, id_=after, limit_=PAGE + 1)]
            following = _encode(rows[PAGE - 1].id) if len(rows) > PAGE else None
            return {"items": [self._listed(tx, row) for row in rows[:PAGE]], "next": following}

        return self._journal.look(look)

    def _listed(self, tx: Tx, row: ActionRow) -> View:
        """An action in a list; one that was changed from outside is named instead of hiding all others."""
        try:
            return self._action(tx, load_action(tx, row.id, row.revision))
        except (Tampered, NotFound) as error:
            return alarm(row.id, row.revision, error)

    def _requested(self, tx: Tx, approval: ApprovalRow, names: Mapping[str, Person]) -> View:
        """A request in a list, as `_listed`."""
        try:
            return self._item(tx, approval.check(tx), names)
        except (Tampered, NotFound) as error:
            return {
                **alarm(approval.id, approval.revision, error),
                "action_id": approval.action_id,
                "owner": approval.owner,
                "requested_at": iso(approval.requested_at),
                "due_at": iso(approval.expires_at),
                "escalates_at": None,
                "escalates_to": [],
                "on_timeout": "deny",
                "then": "stays refused",
                "frozen": None,
                "money": None,
                "rows": None,
                "people": None,
                "reversible": False,
                "undo": None,
                "decided": None,
            }

    def tally(self) -> View:
        """How many actions there are: `proposed`, `held` at some time, and revisions by state."""

        def look(tx: Tx) -> View:
            proposed, held = tx.one(_PROPOSED), tx.one(_HELD_ONCE)
            return {
                "proposed": proposed[0] if proposed else 0,
                "ever_held": held[0] if held else 0,
                "states": dict(sorted(tx.all(_TALLY))),
            }

        return self._journal.look(look)

    def _action(self, tx: Tx, row: ActionRow) -> View:
        verdict = row.decided
        approval = approval_of(tx, row)
        if approval is None and row.status is ActionState.HELD:
            raise Tampered(f"The approval request about {row.id} is missing from the journal.")
        binding = _binding(tx, row)
        view: View = {
            "id": row.id,
            "revision": row.revision,
            "state": row.state,
            "topic": row.topic,
            "agent": row.agent,
            "title": ERASED
            if binding is None
            else self._titles(verdict.snapshot, row.topic, binding.args)
            if approval is None
            else shown(tx, row, approval).summary,
            "args": {} if binding is None else binding.args,
            "erased": binding is None,
            "tier": None if verdict.tier is None else int(verdict.tier),
            "decision": verdict.decision.value,
            "rule": verdict.rule,
            "reason": verdict.reason,
            "triggers": [trigger.value for trigger in verdict.triggers],
            "handoff": verdict.handoff,
            "observed": verdict.observed,
            "tags": list(verdict.tags),
            "constraints": verdict.constraints.to_json(),
            "owner": verdict.owner if approval is None else approval.owner,
            "policy": verdict.snapshot,
            "action_hash": row.action_hash,
            "executor": row.executor,
            "executor_name": None if binding is None else binding.executor.get("name"),
            "proposed_at": iso(row.proposed_at),
            "changed_at": iso(row.changed_at),
            "expires_at": None if row.expires_at is None else iso(row.expires_at),
            "predecessor": row.predecessor,
            "undoes": row.undoes,
            "rollback": rollback_shown(tx, row),
            "approval": None,
            "outcome": None,
            "result": None,
        }
        if approval is not None:
            approval = timed(tx, approval, row)
            view["approval"] = {
                "id": approval.id,
                "state": approval.state,
                "review_hash": approval.review_hash,
                "owner": approval.owner,
                "due_at": iso(approval.expires_at),
                "then": then(approval, _end(row), coming(row, approval)),
                "url": self._link(approval.id),
                "frozen": _frozen(tx, approval, row),
            }
            answer = _answer(tx, approval)
            if answer is not None and row.status is ActionState.REJECTED:
                view["rejection"] = {"reason_code": answer.reason_code, "note": _note(tx, answer)}
        found = _output(tx, row)
        if found is not None:
            view["outcome"] = {"state": row.state, "at": iso(row.changed_at), "note": found[0]}
            if row.status in (ActionState.SUCCEEDED, ActionState.ROLLED_BACK):
                view["result"] = found[1]
        view["user_message"] = message(view, self._home)
        return view

    def _link(self, approval_id: str) -> str | None:
        return None if self.console is None else f"{self.console}/a/{approval_id}"

    # --- approval requests -------------------------------------------------------------------------------

    def approvals(self, state: str, cursor: str | None = None) -> View:
        """Requests that wait (`held`, soonest deadline first) or have ended (`resolved`, newest first)."""
        if state not in ("held", "resolved"):
            raise InvalidInput("`held` or `resolved`", path="$.state")
        held = state == "held"
        after = _decode(cursor, 2)
        start, last = (int(after[0]), after[1]) if after else (0 if held else 2**62, "")
        page = _HELD_PAGE if held else _RESOLVED_PAGE

        def look(tx: Tx) -> View:
            rows = [ApprovalRow(*r) for r in tx.all(page, due_=start, id_=last, limit_=PAGE + 1)]
            following = None
            if len(rows) > PAGE:
                edge = rows[PAGE - 1]
                following = _encode(str(edge.due_at if held else edge.requested_at), edge.id)
            counts = {name: (number, first) for name, number, first in tx.all(_COUNTS)}
            names = {person.id: person for person in people(tx)}
            waiting = counts.get("held")
            return {
                "items": [self._requested(tx, row, names) for row in rows[:PAGE]],
                "next": following,
                "counts": {name: number for name, (number, _) in sorted(counts.items())}
                | {"held": waiting[0] if waiting else 0},
                "next_deadline": iso(waiting[1]) if waiting else None,
                "order": "Soonest deadline first." if held else "Newest request first.",
            }

        return self._journal.look(look)

    def approval(self, approval_id: str, caller: Caller, policy: Policy) -> View:
        """Everything the decision page shows. Raises `NotFound`, and `Tampered` where it does not add up."""

        def look(tx: Tx) -> View:
            approval = load_approval(tx, approval_id)
            row = load_action(tx, approval.action_id, approval.revision)
            package, erased = _shown(tx, row, approval)
            names = {person.id: person for person in people(tx)}
            verdict, context = row.decided, package.context
            solo = policy.people == "solo" and alone(tx)
            editor = names.get(approval.editor or "")
            return {
                **self._item(tx, approval, names),
                "erased": erased,
                "review_hash": approval.review_hash,
                "action_hash": row.action_hash,
                "worst_case": context["worst_case"],
                "why": {
                    "rule": verdict.rule,
                    "reason": verdict.reason,
                    "triggers": [trigger.value for trigger in verdict.triggers],
                    "handoff": verdict.handoff,
                    "informed": list(verdict.informed),
                    "overridden": list(verdict.overridden),
                    "policy": verdict.snapshot,
                    "missing": list(verdict.missing),
                },
                "constraints": verdict.constraints.to_json(),
                "constraint_words": constraint_words(verdict.constraints),
                "changes": changes(context),
                "args": context["args"],
                "reasoning": shown_text(str(words(context).get("reasoning") or "")),
                "alternatives": [shown_text(str(a)) for a in listing(words(context).get("alternatives"))],
                "context": {
                    name: shown_text(context[name])
                    for name in ("session", "principal", "parent_action", "agent")
                },
                "can": self._can(tx, approval, row, caller, context, policy, solo=solo),
                "takes_back": _takes_back(context, names),
                "again": again(context),
                "world": world(row, context),
                "superseded_by": approval.superseded_by,
                "supersedes": approval.supersedes,
                "edited_by": None if approval.editor is None else editor.name if editor else approval.editor,
                "editor_is_you": approval.editor is not None and approval.editor == caller.person,
                "action": self._action(tx, load_action(tx, row.id)),
                "position": _position(tx, approval),
            }

        return self._journal.look(look)

    def approval_about(self, action_id: str) -> str:
        """The latest approval request about an action's latest revision. Raises `NotFound`."""

        def look(tx: Tx) -> str:
            found = approval_of(tx, load_action(tx, action_id))
            if found is None:
                raise NotFound(f"The action {action_id} needed no approval.")
            return found.id

        return self._journal.look(look)

    def _item(self, tx: Tx, approval: ApprovalRow, names: Mapping[str, Person]) -> View:
        row = load_action(tx, approval.action_id, approval.revision)
        package, _ = _shown(tx, row, approval)
        verdict, context = row.decided, package.context
        answer = None if approval.state == "held" else _answer(tx, approval)
        money = listing(context["money"])
        approval, following = timed(tx, approval, row), coming(row, approval)
        return {
            "id": approval.id,
            "state": approval.state,
            "action_id": row.id,
            "revision": row.revision,
            "topic": row.topic,
            "agent": row.agent,
            "title": package.summary,
            "tier": None if verdict.tier is None else int(verdict.tier),
            "tier_words": "not in the catalogue" if verdict.tier is None else verdict.tier.words,
            "owner": approval.owner,
            "requested_at": iso(approval.requested_at),
            "due_at": iso(approval.expires_at),
            "escalates_at": iso(approval.due_at) if following else None,
            "escalates_to": list(following),
            "on_timeout": _end(row).value,
            "then": then(approval, _end(row), following),
            "frozen": _frozen(tx, approval, row),
            "money": {"amount": money[0], "currency": money[1]} if money else None,
            "rows": role_value(context, "rows"),
            "people": role_value(context, "people"),
            "reversible": context["undo"] is not None,
            "undo": context["undo"],
            "reason": verdict.reason,
            "decided": None
            if answer is None
            else {
                "decision": answer.decision,
                "by": names[answer.person].name if answer.person in names else answer.person,
                "at": iso(answer.at),
                "solo": bool(answer.solo),
                "reason_code": answer.reason_code,
                "note": _note(tx, answer),
            },
        }

    def _can(
        self,
        tx: Tx,
        approval: ApprovalRow,
        row: ActionRow,
        caller: Caller,
        context: Mapping[str, Json],
        policy: Policy,
        *,
        solo: bool,
    ) -> View:
        """What this caller may answer, and why not. Advice for the page; `decide` is what enforces it."""
        reviews = caller.person is not None and Role.REVIEWER in caller.roles
        if approval.state != "held" or not reviews:
            why = "Only a reviewer decides." if not reviews else f"It is {approval.state}."
            return {"approve": False, "reject": False, "edit": False, "why_not": why}
        if _frozen(tx, approval, row) is not None:
            why = "A kill switch is on: it is frozen, and its deadline pauses."
            return {"approve": False, "reject": True, "edit": False, "why_not": why}
        why_not = None
        if not solo and caller.person is not None:
            try:
                check_duties(
                    tx, policy, approval, row, context["principal"], mapping(context["args"]), caller.person
                )
            except (SeparationOfDuties, Erased) as error:
                why_not = error.detail
        why_not = why_not or why_not_approve(row, approval, context)
        edit = row.undoes is None
        return {"approve": why_not is None, "reject": True, "edit": edit, "why_not": why_not}


def _takes_back(context: Mapping[str, Json], names: Mapping[str, Person]) -> View | None:
    """What a rollback takes back, who asked for it, and until when that is possible."""
    found = mapping(context.get("takes_back"))
    if not found:
        return None
    person, until = found["asked_by"], found["until"]
    return {
        "action": found["action"],
        "title": found["title"],
        "asked_by": names[person].name if isinstance(person, str) and person in names else person,
        "until": iso(until) if isinstance(until, int) else None,
    }


def _binding(tx: Tx, row: ActionRow) -> Binding | None:
    """What was proposed; None where it was erased. Raises `Tampered`."""
    try:
        return Sealed.read(tx.unseal(row.payload), row.action_hash).binding
    except Erased:
        return None


def _end(row: ActionRow) -> OnTimeout:
    """What silence does to a request about it."""
    lane = row.decided.lane
    return OnTimeout.DENY if lane is None else lane.on_timeout


def _frozen(tx: Tx, approval: ApprovalRow, row: ActionRow) -> View | None:
    """The kill switch that keeps a held request from being approved and from ending, and since when."""
    switch = stops.covering(tx, row.agent, row.topic) if approval.state == "held" else None
    return None if switch is None else {"kill": switch.id, "since": iso(switch.engaged_at)}


def _shown(tx: Tx, row: ActionRow, approval: ApprovalRow) -> tuple[Package, bool]:
    """What the reviewer is shown, and whether it was erased. Raises `Tampered`."""
    try:
        return shown(tx, row, approval), False
    except Erased:
        return erased_package(row, approval), True


def _output(tx: Tx, row: ActionRow) -> tuple[str, Json] | None:
    """Note and result of the latest report. Raises `Tampered`."""
    try:
        return settle.output(tx, row)
    except Erased:
        return ERASED, None


def _answer(tx: Tx, approval: ApprovalRow) -> DecisionRow | None:
    found = [d for d in decisions_on(tx, approval.id) if d.decision != "revoke"]
    return found[-1] if found else None


def _note(tx: Tx, answer: DecisionRow) -> str | None:
    try:
        return None if answer.note is None else kept(tx, answer.note, answer.note_hash)["note"]
    except Erased:
        return ERASED


def _position(tx: Tx, approval: ApprovalRow) -> View:
    ids: list[str] = [row[0] for row in tx.all(_BEFORE)]
    if approval.id not in ids:
        following = ids[0] if ids else None
        return {"index": None, "of": len(ids), "previous": None, "next": following}
    index = ids.index(approval.id)
    return {
        "index": index + 1,
        "of": len(ids),
        "previous": ids[index - 1] if index else None,
        "next": ids[index + 1] if index + 1 < len(ids) else None,
    }


def _encode(*parts: str) -> str:
    return base64.urlsafe_b64encode("\n".join(parts).encode()).decode()


def _decode(cursor: str | None, count: int) -> list[str] | None:
    """The parts of a cursor. Raises `InvalidInput` where it is not one of ours."""
    if cursor is None:
        return None
    try:
        parts = base64.urlsafe_b64decode(cursor.encode()).decode().split("\n")
        if len(parts) != count or (count == 2 and not _POSITION.fullmatch(parts[0])):
            raise ValueError
    except ValueError:
        raise InvalidInput("this cursor is not from this list", path="$.cursor") from None
    return parts

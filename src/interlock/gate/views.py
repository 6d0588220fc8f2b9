"""What people and agents are told: plain JSON values read from the journal in one consistent state.

1. An agent learns the state of its action, what is awaited, from whom and until when, and how it ended. It
   does not learn who reviews, nor anything about other agents' actions.
2. A reviewer is shown what the review hash covers, in the order of risk, with what is hidden made visible.
3. A list costs a page, whatever waits (`lists.py`); a record in it that was changed from outside is an alarm
   in its place, and hides no other.
4. What was erased is shown as erased, in its place: state, times, rule and hashes stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from interlock.gate import lists, settle, stops
from interlock.gate.claim import shown
from interlock.gate.deadlines import coming, timed
from interlock.gate.decide import check_duties, difference
from interlock.gate.kept import kept
from interlock.gate.package import Package, Sealed
from interlock.gate.records import (
    ActionRow,
    ApprovalRow,
    DecisionRow,
    approval_of,
    checked,
    decisions_on,
    load_action,
    load_request,
)
from interlock.gate.undoing import owns, rollback_shown
from interlock.gate.wording import (
    ERASED,
    View,
    alarm,
    alarm_request,
    changes,
    constraint_words,
    erased_package,
    listing,
    mapping,
    message,
    moment,
    role_value,
    shown_text,
    then,
    words,
)
from interlock.gate.world import again, why_not_approve, world
from interlock.identity import Caller, KeyKind, Person, Role
from interlock.identity.people import alone, people
from interlock.journal import Journal, Tx
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.binding import Binding
from interlock.model.canonical import Json
from interlock.model.errors import Erased, InvalidInput, NotFound, SeparationOfDuties, Tampered
from interlock.model.ids import iso
from interlock.model.sessions import is_issued
from interlock.model.text import visible
from interlock.model.verdicts import OnTimeout
from interlock.policy import Policy


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
        """Actions in one state, what was proposed first first: `items` and the `next` cursor."""

        def look(tx: Tx) -> View:
            rows, following = lists.actions(tx, state.value, cursor)
            return {"items": [self._listed(tx, row) for row in rows], "next": following}

        return self._journal.look(look)

    def _listed(self, tx: Tx, row: ActionRow) -> View:
        """An action in a list; one that was changed from outside is named instead of hiding all others."""
        try:
            return self._action(tx, checked(tx, row))
        except (Tampered, NotFound) as error:
            return alarm(row.id, row.revision, error)

    def _requested(self, tx: Tx, listed: lists.Listed, names: Mapping[str, Person]) -> View:
        """A request in a list, as `_listed`."""
        approval, action = listed
        try:
            approval.check(tx)
            if action is None:
                raise Tampered(f"The action {approval.action_id} is missing from the journal.")
            return self._item(tx, approval, checked(tx, action), names)
        except (Tampered, NotFound) as error:
            return alarm_request(approval, error)

    def made(self, row: ActionRow, proposed: Binding) -> View:
        """What `action` tells about an action that was just recorded, and that nobody was asked about and
        nobody claimed: everything there is to tell about it is at hand.

        Args:
            proposed: its binding, as it was sealed.
        """
        args = orjson.loads(proposed.canonical())["args"]  # as whoever reads them later reads them
        title = self._titles(row.decided.snapshot, row.topic, args)
        return self._told(self._recorded(row, proposed, args, title))

    def _action(self, tx: Tx, row: ActionRow) -> View:
        approval = approval_of(tx, row)
        if approval is None and row.status is ActionState.HELD:
            raise Tampered(f"The approval request about {row.id} is missing from the journal.")
        binding = _binding(tx, row)
        title = (
            ERASED
            if binding is None
            else self._titles(row.decided.snapshot, row.topic, binding.args)
            if approval is None
            else shown(tx, row, approval).summary
        )
        view = self._recorded(row, binding, None if binding is None else binding.args, title)
        view["rollback"] = rollback_shown(tx, row)
        if row.revision > 1 and binding is not None:
            view["edited"] = _edits(tx, row, binding)
        if approval is not None:
            approval = timed(tx, approval, row)
            view["owner"] = approval.owner
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
            elif answer is not None and row.status is ActionState.ANSWERED:
                view["answer"] = {
                    "response": _said(tx, answer, "response"),
                    "note": _note(tx, answer) or None,
                }
        found = _output(tx, row)
        if found is not None:
            view["outcome"] = {"state": row.state, "at": iso(row.changed_at), "note": found[0]}
            if row.status in (ActionState.SUCCEEDED, ActionState.ROLLED_BACK):
                view["result"] = found[1]
        return self._told(view)

    def _recorded(
        self, row: ActionRow, binding: Binding | None, args: Mapping[str, Json] | None, title: str
    ) -> View:
        """What the row and the sealed binding tell, None where it was erased; `args` as they are read."""
        verdict = row.decided
        return {
            "id": row.id,
            "revision": row.revision,
            "state": row.state,
            "topic": row.topic,
            "agent": row.agent,
            "title": title,
            "args": {} if args is None else args,
            "erased": binding is None,
            "session": None if binding is None else _session(binding.session),
            "tier": None if verdict.tier is None else int(verdict.tier),
            "decision": verdict.decision.value,
            "rule": verdict.rule,
            "reason": verdict.reason,
            "triggers": [trigger.value for trigger in verdict.triggers],
            "handoff": verdict.handoff,
            "observed": verdict.observed,
            "tags": list(verdict.tags),
            "constraints": verdict.constraints.to_json(),
            "owner": verdict.owner,
            "policy": verdict.snapshot,
            "action_hash": row.action_hash,
            "executor": row.executor,
            "executor_name": None if binding is None else binding.executor.get("name"),
            "proposed_at": iso(row.proposed_at),
            "changed_at": iso(row.changed_at),
            "expires_at": None if row.expires_at is None else iso(row.expires_at),
            "predecessor": row.predecessor,
            "undoes": row.undoes,
            "rollback": None,
            "approval": None,
            "outcome": None,
            "result": None,
        }

    def _told(self, view: View) -> View:
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

        def look(tx: Tx) -> View:
            found, following = lists.requests(tx, held=held, cursor=cursor)
            numbers, more, first = lists.counts(tx)
            names = {} if held else _names(tx)
            return {
                "items": [self._requested(tx, one, names) for one in found],
                "next": following,
                "counts": numbers,
                "more": more,
                "next_deadline": moment(first),
                "order": "Soonest deadline first." if held else "Newest request first.",
            }

        return self._journal.look(look)

    def approval(self, approval_id: str, caller: Caller, policy: Policy) -> View:
        """Everything the decision page shows. Raises `NotFound`, and `Tampered` where it does not add up."""

        def look(tx: Tx) -> View:
            approval, row = load_request(tx, approval_id)
            package, erased = _shown(tx, row, approval)
            names = {person.id: person for person in people(tx)}
            verdict, context = row.decided, package.context
            solo = policy.people == "solo" and alone(tx)
            editor = names.get(approval.editor or "")
            return {
                **self._item(tx, approval, row, names),
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
                "position": lists.position(tx, approval),
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

    def _item(self, tx: Tx, approval: ApprovalRow, row: ActionRow, names: Mapping[str, Person]) -> View:
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
                **(
                    {"response": _said(tx, answer, "response")}
                    if row.executor == ExecutorKind.QUESTION
                    else {}
                ),
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
            return {"approve": False, "reject": False, "edit": False, "respond": False, "why_not": why}
        if _frozen(tx, approval, row) is not None:
            why = "A kill switch is on: it is frozen, and its deadline pauses."
            return {"approve": False, "reject": True, "edit": False, "respond": False, "why_not": why}
        if row.executor == ExecutorKind.QUESTION:
            return {"approve": False, "reject": True, "edit": False, "respond": True, "why_not": None}
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
        approve = why_not is None
        return {"approve": approve, "reject": True, "edit": edit, "respond": False, "why_not": why_not}


def _session(session: str | None) -> View | None:
    """The session as it was named, and whether that is one of the gate's own, or anybody's word."""
    return None if session is None else {"id": session, "issued": is_issued(session)}


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


def _edits(tx: Tx, row: ActionRow, binding: Binding) -> list[Json]:
    """Field by field, what people changed since the agent proposed it. Raises `Tampered`."""
    proposed = _binding(tx, load_action(tx, row.id, 1))
    return [] if proposed is None else difference(proposed.args, binding.args)


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
    return _said(tx, answer, "note")


def _said(tx: Tx, answer: DecisionRow, what: str) -> str | None:
    """What a person wrote: the `note`, or the `response` to a question."""
    try:
        return None if answer.note is None else kept(tx, answer.note, answer.note_hash).get(what)
    except Erased:
        return ERASED


def _names(tx: Tx) -> dict[str, Person]:
    """Who is enrolled, by id. Nobody, where one of them was changed from outside: a list goes on without."""
    try:
        return {person.id: person for person in people(tx)}
    except Tampered:
        return {}

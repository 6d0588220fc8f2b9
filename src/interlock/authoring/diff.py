"""Diff: what changed between two policies, and for which actions that changes the answer.

1. Two documents are compared part by part: rules by their id (those without one by what they say), entries of
   the catalogue and named parts by their names, settings one by one.
2. Then both policies are asked about the same actions, chosen at the boundaries of both (`witnesses`). An
   answer that differs is shown with the action, so that ``explain`` gives it again.
3. *Looser* is what would no longer be refused, denied, held or limited as far, is taken for less dangerous,
   or waits with a milder end to silence (`direction`). It is found, not proved: a difference that no tried
   action shows is not seen.
4. What changed and was never put to the test by a tried action is named (`exercised`): there, that nothing
   looser was found means nothing.
5. A topic that may run offline now and could not before is looser whatever the answers are: such a run
   cannot be stopped (`Diff.offline`).
6. Only topics are asked about that something changed speaks of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from interlock.authoring import exercised
from interlock.authoring.direction import direction as direction_of
from interlock.authoring.exercised import Aim, Aims
from interlock.authoring.parts import Written, patterns_of, rules_of
from interlock.authoring.witnesses import Witnesses, as_json, as_question, topics_of
from interlock.model.canonical import Json, canonical
from interlock.model.errors import InvalidInput
from interlock.model.topics import TopicPattern
from interlock.model.verdicts import Decision, Verdict
from interlock.policy import PermittedExecute, Policy

BUDGET = 20_000
MOST, LEAST = 2_000, 64
"""How many of them one topic gets, at most and at least."""

Answer: TypeAlias = "Verdict | InvalidInput"
Direction: TypeAlias = Literal["looser", "stricter", "other"]
_NAMED = {
    "actions": "action",
    "lanes": "lane",
    "facts": "fact",
    "autonomy_levels": "level",
    "workflows": "workflow",
}
"""Sections that are mappings of names, and what one of their parts is."""
_SILENT = frozenset({"interlock", "name", "people"})
"""Settings that no decision rests on."""


@dataclass(frozen=True, slots=True)
class Change:
    """One part that differs.

    Attributes:
        what: ``rule``, ``action``, ``lane``, ``fact``, ``level``, ``workflow`` or ``setting``.
        keys: of a changed part, each key that differs with its value before and after; None is not there.
        loosens: whether something that became looser rests on it.
    """

    kind: Literal["added", "removed", "changed"]
    what: str
    name: str
    keys: tuple[tuple[str, Json, Json], ...]
    loosens: bool = False

    def to_json(self) -> dict[str, Json]:
        keys: list[Json] = [{"key": key, "old": old, "new": new} for key, old, new in self.keys]
        return {
            "kind": self.kind,
            "what": self.what,
            "name": self.name,
            "keys": keys,
            "loosens": self.loosens,
        }


@dataclass(frozen=True, slots=True)
class Witness:
    """An action whose answer differs.

    Attributes:
        action: an action file, as JSON.
        alike: how many of the tried actions differ in the same way.
    """

    direction: Direction
    action: Mapping[str, Json]
    old: Answer
    new: Answer
    alike: int

    def to_json(self) -> dict[str, Json]:
        return {
            "direction": self.direction,
            "action": self.action,
            "old": answer_json(self.old),
            "new": answer_json(self.new),
            "alike": self.alike,
        }


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed, and the actions that show it, looser ones first.

    Attributes:
        tried: actions that both policies were asked about; complete: whether those were all combinations.
        untried: what changed and no tried action has put to the test, a clause each.
        offline: topics among the tried that may run under an offline permit now, and could not before.
    """

    changes: tuple[Change, ...]
    witnesses: tuple[Witness, ...]
    tried: int
    complete: bool
    untried: tuple[str, ...] = ()
    offline: tuple[str, ...] = ()

    @property
    def loosens(self) -> bool:
        return bool(self.offline) or any(witness.direction == "looser" for witness in self.witnesses)

    @property
    def vouches(self) -> bool:
        """Whether nothing became looser, as far as anything that changed was put to the test."""
        return not self.loosens and not self.untried


def diff(old: Policy, new: Policy, *, budget: int = BUDGET) -> Diff:
    """Compare two policies.

    Args:
        budget: about how many actions to ask both about, shared among the topics.
    """
    sides = (_Side(old), _Side(new))
    changes = tuple(_changes(*sides))
    if not changes:
        return Diff((), (), 0, True)
    found: dict[object, Witness] = {}
    patterns = dict.fromkeys(pattern for change in changes for pattern in _patterns(change, sides))
    every, complete = topics_of((old, new), patterns)
    topics = [topic for topic in every if _touched(topic, sides, changes)]
    limit = max(LEAST, min(MOST, budget // max(1, len(topics))))
    aims = _aims(changes, *sides)
    offline = tuple(topic for topic in topics if _offline(new, topic) and not _offline(old, topic))
    tried, blamed = 0, {("offline", topic) for topic in offline}
    for topic in topics:
        asked = [
            (policy, [aim for aim in wanted if aim.about(topic)])
            for policy, wanted in zip((old, new), aims, strict=True)
        ]
        together = [aim.reads(topic, policy) for policy, about in asked for aim in about]
        tries = Witnesses(topic, (old, new), limit, together)
        complete = complete and tries.possible <= tries.tried
        for action in tries.actions():
            tried += 1
            before, after = (_answer(policy, action, about) for policy, about in asked)
            direction = compared(before, after)
            if direction is None:
                continue
            key = (topic, direction, _short(before), _short(after))
            if key in found:
                found[key] = replace(found[key], alike=found[key].alike + 1)
                continue
            shown = {name: as_json(value) for name, value in action.items()}
            found[key] = Witness(direction, shown, before, after, 1)
            if direction == "looser":
                blamed.add(("topic", topic))
                blamed.update(
                    ("rule", name) for name in (*sides[0].counted(before), *sides[1].counted(after))
                )
    witnesses = sorted(found.values(), key=lambda witness: _ORDER[witness.direction])
    missed = dict.fromkeys(clause for wanted in aims for aim in wanted for clause in aim.missed)
    return Diff(
        tuple(replace(change, loosens=_loosens(change, blamed)) for change in changes),
        tuple(witnesses),
        tried,
        complete,
        tuple(missed),
        offline,
    )


def _offline(policy: Policy, topic: str) -> bool:
    """Whether an action of this topic may run under a permit that nobody redeems."""
    entry = policy.entry(topic)
    execute = None if entry is None else entry.execute
    return isinstance(execute, PermittedExecute) and execute.offline


def _answer(policy: Policy, action: Mapping[str, Any], aims: Iterable[Aim]) -> Answer:
    """What a policy says about an action; noted where something is still to be seen."""
    try:
        question = as_question(policy, action)
    except InvalidInput as refusal:
        return refusal
    verdict = policy.decide(question)
    waiting = [aim for aim in aims if aim.goals]
    if waiting:
        inputs = policy.inputs(question)
        for aim in waiting:
            aim.note(inputs, verdict)
    return verdict


_ORDER: Mapping[Direction, int] = {"looser": 0, "stricter": 1, "other": 2}


# --- answers ----------------------------------------------------------------------------------------------


def compared(old: Answer, new: Answer) -> Direction | None:
    """How one answer differs from another; None where it says the same."""
    if isinstance(old, InvalidInput) or isinstance(new, InvalidInput):
        if isinstance(old, InvalidInput) and isinstance(new, InvalidInput):
            return None
        return "looser" if isinstance(old, InvalidInput) else "stricter"
    if old.decision is Decision.DENY and new.decision is Decision.DENY:
        return None
    return direction_of(old, new) or ("other" if _handling(old) != _handling(new) else None)


def _handling(verdict: Verdict) -> tuple[Any, ...]:
    """Who is asked, until when, and how it is handed over."""
    if not verdict.held:
        return ()
    return verdict.owner, verdict.lane, verdict.informed, verdict.handoff


def _short(answer: Answer) -> tuple[Any, ...]:
    """What makes two witnesses show the same thing."""
    if isinstance(answer, InvalidInput):
        return ("refused",)
    return answer.decision, answer.rule, answer.tier, answer.constraints, _handling(answer)


def answer_json(answer: Answer) -> dict[str, Json]:
    """An answer as JSON; what was refused says so in place of a decision."""
    if isinstance(answer, InvalidInput):
        return {"decision": None, "refused": answer.detail}
    return answer.to_json()


# --- changes ----------------------------------------------------------------------------------------------


class _Side:
    """One of the two policies, and its rules by the name under which they are compared."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.document = policy.document.normal()
        self.rules: dict[str, dict[str, Any]] = {}
        self.written: dict[str, Written] = {}
        self._names: dict[str, str] = {}
        for rule in rules_of(policy.document):
            said = rule.spec.model_dump(exclude_defaults=True)
            name = rule.id if rule.spec.id is not None else f"(no id) {canonical(said).decode()[:120]}"
            while name in self.rules:
                name += " (again)"
            self.rules[name], self.written[name] = said, rule
            self._names[rule.id] = name

    def counted(self, answer: Answer) -> Iterator[str]:
        """The rules behind an answer."""
        if isinstance(answer, Verdict):
            for rule in (*answer.matched, *answer.overridden):
                if rule in self._names:
                    yield self._names[rule]

    def named(self, section: str) -> dict[str, Any]:
        """A section that is a mapping of names."""
        found = self.document.get(section)
        return dict(found) if isinstance(found, Mapping) else {}


def _changes(old: _Side, new: _Side) -> Iterator[Change]:
    yield from _named("rule", old.rules, new.rules)
    for section, what in _NAMED.items():
        yield from _named(what, old.named(section), new.named(section))
    for key in sorted(old.document.keys() | new.document.keys()):
        if key == "rules" or key in _NAMED:
            continue
        one, other = old.document.get(key), new.document.get(key)
        if one != other:
            yield Change("changed", "setting", key, ((key, one, other),))


def _named(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield Change("removed", what, name, ())
        elif name not in before:
            yield Change("added", what, name, ())
        elif before[name] != after[name]:
            one, other = before[name], after[name]
            rows = ((key, one.get(key), other.get(key)) for key in sorted(one.keys() | other.keys()))
            yield Change("changed", what, name, tuple(row for row in rows if row[1] != row[2]))


def _patterns(change: Change, sides: tuple[_Side, _Side]) -> Iterator[TopicPattern]:
    """The topics that a changed rule, entry or level speaks about, before and after."""
    for side in sides:
        if change.what == "rule" and change.name in side.written:
            yield from side.written[change.name].patterns
        level = side.policy.document.autonomy_levels.get(change.name) if change.what == "level" else None
        for spec in () if level is None else level.rules:
            yield from patterns_of(spec.match)
    if change.what == "action":
        yield TopicPattern.parse(change.name)


def _aims(changes: Iterable[Change], old: _Side, new: _Side) -> Aims:
    """What the tried actions have to show about the changes, under the old policy and under the new one."""
    before: list[Aim] = []
    after: list[Aim] = []
    one, other = old.policy.document, new.policy.document
    others = {rule.id: rule for rule in new.written.values()}
    for change in changes:
        name = change.name
        found: Aims = ([], [])
        if change.what == "rule":
            found = exercised.of_rule(old.written.get(name), new.written.get(name), others)
        elif change.what == "action":
            found = exercised.of_entry(name, one.actions.get(name), other.actions.get(name))
        elif change.what == "level":
            levels = one.autonomy_levels, other.autonomy_levels
            found = exercised.of_level(name, *(level.get(name) for level in levels))
        before += found[0]
        after += found[1]
    return before, after


def _everywhere(change: Change) -> bool:
    """Whether it can matter for every topic."""
    return change.what not in ("rule", "action", "workflow") and change.name not in _SILENT


def _touched(topic: str, sides: tuple[_Side, _Side], changes: Iterable[Change]) -> bool:
    """Whether something that changed can matter for a topic."""
    old, new = sides
    if old.policy.entry_digest(topic) != new.policy.entry_digest(topic):
        return True
    return any(
        _everywhere(change)
        or (change.what == "rule" and any(pattern.matches(topic) for pattern in _patterns(change, sides)))
        for change in changes
    )


def _loosens(change: Change, blamed: set[tuple[str, str]]) -> bool:
    """Whether something looser can rest on a change: on a rule that counted, on the topic's entry."""
    if change.what == "rule":
        return ("rule", change.name) in blamed
    if change.what == "action":
        pattern = TopicPattern.parse(change.name)
        return any(what in ("topic", "offline") and pattern.matches(name) for what, name in blamed)
    return _everywhere(change) and any(what != "offline" for what, _ in blamed)

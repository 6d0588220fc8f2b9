"""Drafts: a policy that a program proposes and a person has yet to review.

1. A draft is a value. `write_policy` and `write_cases` turn it into YAML that the strict reader loads: plain
   data, one spelling each, comments where a person has to decide (``# review me: …``).
2. Text from outside (a tool's description, an enumeration, a title) stands in comments only, each line of it
   behind a bar, with unseen characters written out and cut at a stated length. It cannot end the comment it
   stands in, and it never becomes a title, a worst case or a reason: a reviewer reads those as ours.
3. A draft never permits more than the defaults do, unless a person said so: it catalogues, and catalogued
   actions of tier 3 and 4 ask somebody.
4. Every drafted action comes with a test that says what happens to it today, so that an edit shows.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from interlock.model.text import visible
from interlock.policy.catalogue import ArgKind

WIDTH = 108
QUOTED = 240
"""Characters of somebody else's text that a comment shows."""
REVIEW = "review me: "
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./@+$-]*( [A-Za-z0-9_./@+$-]+)*|[1-9][0-9]*[smhd]", re.ASCII)
_WORDS_OF_YAML = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


@dataclass(frozen=True, slots=True)
class Noted:
    """A value with what is said about it: sentences above it, or one beside it."""

    value: Any
    above: tuple[str, ...] = ()
    beside: str = ""


@dataclass(frozen=True, slots=True)
class DraftArg:
    """One argument of a drafted action. `review`: what a person decides about it; `note`: a fact to show."""

    name: str
    kind: ArgKind
    optional: bool = False
    scale: int | None = None
    currency: str | None = None
    max_length: int | None = None
    review: str = ""
    note: str = ""

    def to_value(self) -> Any:
        limits = {"scale": self.scale, "currency": self.currency, "max_length": self.max_length}
        stated = {key: limit for key, limit in limits.items() if limit is not None}
        if self.optional:
            stated["optional"] = True
        value = {"type": self.kind, **stated} if stated else self.kind
        beside = "; ".join(part for part in (self.review and REVIEW + self.review, self.note) if part)
        return Noted(value, beside=beside) if beside else value

    def example(self) -> Any:
        """A value that the declaration accepts."""
        if self.kind == "string":
            return "example"[: self.max_length]
        empty: Mapping[ArgKind, Any] = {
            "integer": 1,
            "number": 1,
            "boolean": False,
            "decimal": 1,
            "object": {},
            "array": [],
        }
        return empty[self.kind]


@dataclass(frozen=True, slots=True)
class DraftAction:
    """One catalogue entry.

    Attributes:
        args: None leaves the arguments undeclared: any are accepted.
        execute: as in a policy, None where nobody says how.
        facts: what to show above the entry, in our words. quotes: what somebody else says of it.
        reviews: what a person decides, and why it was drafted like this.
    """

    topic: str
    tier: int
    tags: tuple[str, ...] = ()
    args: tuple[DraftArg, ...] | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    summary: str | None = None
    execute: Mapping[str, Any] | None = None
    facts: tuple[str, ...] = ()
    quotes: tuple[str, ...] = ()
    reviews: tuple[str, ...] = ()

    def to_value(self) -> Noted:
        entry: dict[str, Any] = {"tier": self.tier}
        if self.tags:
            entry["risk_tags"] = list(self.tags)
        if self.args is not None:
            entry["args"] = {arg.name: arg.to_value() for arg in self.args}
        if self.roles:
            entry["roles"] = dict(self.roles)
        if self.summary is not None:
            entry["summary"] = self.summary
        if self.execute is not None:
            entry["execute"] = self.execute
        above = (
            *self.facts,
            *(line for text in self.quotes for line in quoted(text)),
            *(REVIEW + why for why in self.reviews),
        )
        return Noted(entry, above)

    @property
    def dollars(self) -> DraftArg | None:
        """The argument that is the amount, if it is one in US dollars."""
        named = self.roles.get("amount")
        return next((arg for arg in self.args or () if arg.name == named and arg.currency == "USD"), None)

    @property
    def unknown_money(self) -> bool:
        """Whether it moves money and nobody can say how much: every call of it waits for a person."""
        return self.dollars is None and ("money" in self.tags or "amount" in self.roles)

    def example(self) -> dict[str, Any]:
        """Arguments that the entry accepts: the needed ones, and an amount in dollars."""
        paid = self.dollars
        return {arg.name: arg.example() for arg in self.args or () if not arg.optional or arg == paid}

    def cases(self) -> Iterator[DraftCase]:
        """What its tier makes of it, and of an amount that is not stated."""
        asked: dict[str, Any] = {"topic": self.topic}
        if self.args is not None:
            asked["args"] = self.example()
        held = {"decision": "require_approval", "tier": self.tier}
        if self.tier > 1 or self.unknown_money:
            yield DraftCase(f"{self.topic} waits for a person"[-200:], asked, held)
            return
        yield DraftCase(f"{self.topic} runs"[-200:], asked, {"decision": "allow", "tier": self.tier})
        if (paid := self.dollars) is not None and paid.optional:
            unsaid = {name: value for name, value in self.example().items() if name != paid.name}
            name = f"{self.topic} waits where {paid.name} is not stated"[-200:]
            yield DraftCase(name, {**asked, "args": unsaid}, held)


@dataclass(frozen=True, slots=True)
class DraftRule:
    """One rule. `rest` holds the other keys of a rule as they stand in a policy."""

    id: str
    decision: str
    reason: str
    match: Mapping[str, Any]
    rest: Mapping[str, Any] = field(default_factory=dict)
    reviews: tuple[str, ...] = ()

    def to_value(self) -> Noted:
        value = {"id": self.id, "match": self.match, "decision": self.decision, "reason": self.reason}
        return Noted({**value, **self.rest}, tuple(REVIEW + why for why in self.reviews))


@dataclass(frozen=True, slots=True)
class DraftCase:
    """One test: an action file and what is expected of the policy."""

    name: str
    action: Mapping[str, Any]
    expect: Mapping[str, Any]

    def to_value(self) -> dict[str, Any]:
        return {"name": self.name, "action": self.action, "expect": self.expect}


@dataclass(frozen=True, slots=True)
class Draft:
    """A whole policy and its tests.

    Attributes:
        heading: what the file says first, one paragraph each.
        sections: other top-level keys, as they stand in a policy (values may be `Noted`).
        remarks: what whoever asked for the draft has to know beside it; also in the file's heading.
    """

    name: str
    heading: tuple[str, ...] = ()
    actions: tuple[DraftAction, ...] = ()
    rules: tuple[DraftRule, ...] = ()
    sections: Mapping[str, Any] = field(default_factory=dict)
    cases: tuple[DraftCase, ...] = ()
    remarks: tuple[str, ...] = ()


# --- writing ----------------------------------------------------------------------------------------------


def write_policy(draft: Draft) -> str:
    """The policy as YAML."""
    document: dict[str, Any] = {"interlock": 1, "name": draft.name}
    if draft.actions:
        document["actions"] = {action.topic: action.to_value() for action in draft.actions}
    if draft.rules:
        document["rules"] = [rule.to_value() for rule in draft.rules]
    document |= draft.sections
    heading = [*draft.heading, *(REVIEW + remark for remark in draft.remarks)]
    return write_yaml(document, heading)


def write_cases(draft: Draft) -> str:
    """The tests of the policy as YAML, as `interlock policy test` reads them; empty where there are none."""
    if not draft.cases:
        return ""
    heading = (f"What the policy {draft.name} does with these actions. Run: interlock policy test",)
    return write_yaml({"tests": [case.to_value() for case in draft.cases]}, heading)


def catalogue_cases(actions: Iterable[DraftAction]) -> tuple[DraftCase, ...]:
    """At least one test for each action: what happens to it without any rule."""
    return tuple(case for action in actions for case in action.cases())


def write_yaml(document: Mapping[str, Any], heading: Iterable[str] = ()) -> str:
    """A mapping as YAML that `interlock.policy.source.read` reads back as the same values."""
    lines = list(_comment(heading, 0, apart=True))
    for key, value in document.items():
        nested = _bare(value)
        if lines and (isinstance(nested, dict | list) or isinstance(value, Noted)):
            lines.append("")
        lines += _mapping({key: value}, 0)
    return "\n".join(lines) + "\n"


Lines: TypeAlias = Iterator[str]


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, Noted) else value


def _mapping(value: Mapping[str, Any], indent: int) -> Lines:
    for index, (key, item) in enumerate(value.items()):
        if indent == 2 and index and isinstance(_bare(item), dict):
            yield ""  # entries of the catalogue stand apart
        yield from _entry(f"{' ' * indent}{scalar(key)}:", item, indent)


def _sequence(value: Sequence[Any], indent: int) -> Lines:
    pad = " " * indent
    for index, item in enumerate(value):
        bare = _bare(item)
        if isinstance(bare, dict) and bare:
            if index and isinstance(item, Noted):
                yield ""
            if isinstance(item, Noted):
                yield from _comment(item.above, indent)
            first, *rest = _mapping(bare, indent + 2)
            yield f"{pad}- {first[indent + 2 :]}"
            yield from rest
        else:
            yield from _entry(f"{pad}-", item, indent)


def _entry(head: str, item: Any, indent: int) -> Lines:
    noted = item if isinstance(item, Noted) else Noted(item)
    flow = None if _stands_open(noted.value, indent) else _flow(noted.value)
    line = head if flow is None else f"{head} {flow}"
    beside = one_line(noted.beside)
    fits = len(line) + len(beside) + 3 <= WIDTH
    yield from _comment((*noted.above, *(() if fits else (beside,))), indent)
    if flow is None or (len(line) > WIDTH and isinstance(noted.value, dict | list)):
        yield f"{head}  # {beside}" if beside and fits else head
        nested = _mapping if isinstance(noted.value, Mapping) else _sequence
        yield from nested(noted.value, indent + 2)
    else:
        yield f"{line}  # {beside}" if beside and fits else line


def _stands_open(value: Any, indent: int) -> bool:
    """Whether a value is written over several lines although it might fit in one: sections and entries."""
    if isinstance(value, dict):
        return bool(value) and indent < 4
    return isinstance(value, list) and indent == 0 and any(isinstance(_bare(item), dict) for item in value)


def _flow(value: Any) -> str | None:
    """A value on one line; None where something is said inside it."""
    if isinstance(value, Noted):
        return None
    if isinstance(value, Mapping):
        pairs = [(scalar(key), _flow(item)) for key, item in value.items()]
        return (
            None
            if any(text is None for _, text in pairs)
            else f"{{{', '.join(f'{k}: {v}' for k, v in pairs)}}}"
        )
    if isinstance(value, list | tuple):
        items = [_flow(item) for item in value]
        return None if None in items else f"[{', '.join(filter(None, items))}]"
    return scalar(value)


def scalar(value: str | int | Decimal | bool) -> str:
    """One value as the strict reader reads it back, in block and flow context alike."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS_OF_YAML:
        return value
    return json.dumps(value, ensure_ascii=False)


# --- comments ---------------------------------------------------------------------------------------------


def one_line(text: str, limit: int = 4_000) -> str:
    """Text on one line, with every unseen character written out, cut after `limit` characters."""
    return visible(" ".join(text.split()), limit)


def quoted(text: str) -> tuple[str, ...]:
    """Somebody else's words as lines of a comment, each behind a bar."""
    shown = one_line(text, QUOTED)
    return tuple(f"| {line}" for line in textwrap.wrap(shown, WIDTH - 8)) if shown else ()


def _comment(paragraphs: Iterable[str], indent: int, *, apart: bool = False) -> Lines:
    pad = " " * indent
    for index, paragraph in enumerate(filter(None, paragraphs)):
        if apart and index:
            yield "#"
        bar = "| " if paragraph.startswith("| ") else ""
        for line in textwrap.wrap(one_line(paragraph), WIDTH - indent - 2, subsequent_indent=bar):
            yield f"{pad}# {line}"

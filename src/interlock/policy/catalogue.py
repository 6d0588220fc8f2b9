"""The catalogue: what people reviewed about each topic, and what follows from it for real arguments.

1. An exact key wins over patterns, and a more specific pattern over a less specific one: a pattern of fixed
   length before an open-ended one, then the one with more literal segments, then the longer, then the one
   whose literals come first. The order is total; it does not depend on where an entry stands.
2. Arguments are checked once, here. What passes is canonical: money is a string of its scale, nothing is
   rounded, nothing is dropped, nothing undeclared gets through. An amount is never negative, for a negative
   one would be below every threshold.
3. A title is rendered from the reviewed template over the real arguments, on one line, with every unseen
   character written out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from interlock.model.binding import catalogue_digest
from interlock.model.canonical import MAX_BYTES, Json, canonical, plain
from interlock.model.errors import (
    InvalidInput,
    MissingField,
    NumberOutOfRange,
    TooLarge,
    UnknownField,
    WrongType,
)
from interlock.model.money import fixed
from interlock.model.text import visible
from interlock.model.topics import TopicPattern
from interlock.model.verdicts import NO_CONSTRAINTS, Constraints, Tier
from interlock.policy.conditions import Test
from interlock.policy.executes import Execute
from interlock.policy.fields import declared_decimal
from interlock.policy.findings import nearest
from interlock.policy.probes import Probe
from interlock.policy.templates import split
from interlock.policy.trie import Trie
from interlock.policy.undos import Source, Undo

SHOWN = 200
"""Characters of one value that a title shows."""
_TOKEN = re.compile(r"[A-Za-z0-9_.@:/+-]+", re.ASCII)

ArgKind: TypeAlias = Literal["string", "integer", "number", "boolean", "decimal", "object", "array"]


@dataclass(frozen=True, slots=True)
class ArgType:
    """The declared type of one argument.

    Attributes:
        optional: may be missing or null.
        scale, currency: of a decimal; `currency` is an ISO 4217 code, None where it is no money.
        max_length: of a string, in characters.
    """

    kind: ArgKind
    optional: bool = False
    scale: int | None = None
    currency: str | None = None
    max_length: int | None = None

    def check(self, value: Any, path: str) -> Json:
        """The canonical form of a value. Raises subclasses of `InvalidInput`."""
        if value is None and self.optional:
            return None
        if self.kind == "decimal":
            text = fixed(value, self.scale or 0, path)
            if self.currency is not None and text.startswith("-"):
                # Below a threshold is not below zero: a negative payment would pass every limit.
                raise NumberOutOfRange(
                    "an amount of money is not negative", path=path, fix="Amounts are zero or more."
                )
            return text
        if not isinstance(value, _PYTHON[self.kind]) or (isinstance(value, bool) and self.kind != "boolean"):
            raise WrongType(f"expected {_WORD[self.kind]}, got {_word_of(value)}", path=path)
        if self.max_length is not None and isinstance(value, str) and len(value) > self.max_length:
            raise InvalidInput(f"{len(value)} characters; at most {self.max_length}", path=path)
        return plain(value, path)

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": self.kind,
            "optional": self.optional,
            "scale": self.scale,
            "currency": self.currency,
            "max_length": self.max_length,
        }


_PYTHON: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float, Decimal),
    "boolean": (bool,),
    "object": (Mapping,),
    "array": (list, tuple),
}
_WORD = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "an array",
}


def _word_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    return next(
        (_WORD[kind] for kind, types in _PYTHON.items() if isinstance(value, types)), "something else"
    )


@dataclass(frozen=True, slots=True)
class RaiseTo:
    """The action's tier is at least `tier` unless `when` is proved false.

    `reported`: whether it rests on what the agent reports; then it is never proved, only not refuted.
    """

    tier: Tier
    when: str
    tests: tuple[Test, ...] = field(compare=False, repr=False)
    reported: bool = False


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """What people reviewed about one topic, or about every topic a pattern matches.

    Attributes:
        args: None where arguments are not declared; then any are accepted.
        roles: from role to argument name; `amount` names money.
        summary: the title's template. worst_case: one sentence.
        execute: None where nobody said how; then only a registered function can run it.
        probe: how to read what the action rests on, before people decide and before it runs.
        undo: topic of the action that takes this one back; `undo_within_sec` after it ran.
        undo_sources: where the undo's arguments come from; None for those of the same names.
        tags, decimals: `risk_tags`, and the names of the decimal arguments, as sets.
    """

    pattern: str
    tier: Tier
    raise_to: tuple[RaiseTo, ...] = ()
    risk_tags: tuple[str, ...] = ()
    args: Mapping[str, ArgType] | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    summary: str | None = None
    worst_case: str | None = None
    constraints: Constraints = NO_CONSTRAINTS
    execute: Execute | None = None
    probe: Probe | None = None
    undo: str | None = None
    undo_within_sec: int | None = None
    undo_sources: Mapping[str, Source] | None = None
    tags: frozenset[str] = field(init=False, compare=False, repr=False)
    decimals: frozenset[str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        decimals = (name for name, declared in (self.args or {}).items() if declared.kind == "decimal")
        object.__setattr__(self, "tags", frozenset(self.risk_tags))
        object.__setattr__(self, "decimals", frozenset(decimals))

    @property
    def taken_back(self) -> Undo | None:
        """How it is taken back; None where nobody said so."""
        return None if self.undo is None else Undo(self.undo, self.undo_sources, self.undo_within_sec)

    def check_args(self, args: Mapping[str, Any]) -> dict[str, Json]:
        """The arguments in canonical form (rule 2). Raises subclasses of `InvalidInput`."""
        if self.args is None:
            return undeclared_args(args)
        _check_object(args)
        for name in args:
            if name not in self.args:
                guess = nearest(name, self.args)
                hint = f"; did you mean {guess!r}?" if guess else ""
                raise UnknownField(
                    f"{self.pattern} takes no argument {visible(name, 64)!r}{hint}",
                    path=f"$.args.{visible(name, 64)}",
                )
        checked: dict[str, Json] = {}
        for name, declared in self.args.items():
            path = f"$.args.{name}"
            if name in args:
                checked[name] = declared.check(args[name], path)
            elif not declared.optional:
                raise MissingField(f"{self.pattern} needs it", path=path)
        return _check_size(checked)

    def money(self, args: Mapping[str, Any]) -> tuple[str, str] | None:
        """The amount at stake as (fixed text, currency), or None where there is none."""
        name = self.roles.get("amount")
        declared = (self.args or {}).get(name) if name else None
        value = args.get(name) if name else None
        if declared is None or declared.currency is None or not isinstance(value, str):
            return None
        return value, declared.currency

    def amount_usd(self, args: Mapping[str, Any]) -> Decimal | None:
        """The amount in US dollars; None where it is missing, malformed or in another currency."""
        money = self.money(args)
        if money is None or money[1] != "USD":
            return None
        amount = declared_decimal(money[0])
        return amount if amount is not None and amount >= 0 else None

    def above(self, args: Mapping[str, Any], thresholds: Mapping[str, Decimal]) -> bool | None:
        """Whether the amount is above its currency's threshold; None where either is unknown."""
        money = self.money(args)
        threshold = None if money is None else thresholds.get(money[1])
        amount = None if money is None or threshold is None else declared_decimal(money[0])
        return None if amount is None or threshold is None or amount < 0 else amount > threshold

    def render(self, args: Mapping[str, Any], topic: str | None = None) -> str:
        """The title: one line, for a person. Values are cut at `SHOWN` characters.

        Without a template it names the topic (the pattern where no topic is given) and the arguments by name.
        """
        if self.summary is None:
            shown = (f"{visible(name, SHOWN)}={self._quoted(name, args[name])}" for name in sorted(args))
            return _one_line(f"{topic or self.pattern}: {', '.join(shown)}")
        parts: list[str] = []
        for literal, name in split(self.summary):
            if name is None:
                parts.append(literal)
                continue
            declared = (self.args or {}).get(name)
            dollars = declared is not None and declared.currency == "USD"  # these bring their own sign
            parts += [literal.removesuffix("$") if dollars else literal, self._shown(name, args.get(name))]
        return _one_line("".join(parts))

    def _shown(self, name: str, value: Json) -> str:
        if value is None:
            return "(none)"
        declared = (self.args or {}).get(name)
        if declared is not None and declared.currency is not None:
            amount = declared_decimal(value)
            if amount is not None:
                return f"${amount:,f}" if declared.currency == "USD" else f"{amount:,f} {declared.currency}"
        return _one_line(visible(value if isinstance(value, str) else canonical(value).decode(), SHOWN))

    def _quoted(self, name: str, value: Json) -> str:
        """A value among others: quoted unless it is one plain word, so that it cannot imitate the next."""
        declared = (self.args or {}).get(name)
        if declared is not None and declared.kind == "decimal" and isinstance(value, str):
            return visible(value, SHOWN)
        if isinstance(value, str) and not _TOKEN.fullmatch(value):
            return _one_line(visible(canonical(value).decode(), SHOWN))
        return self._shown(name, value)

    def to_json(self) -> dict[str, Json]:
        """Everything a reviewer relies on; its digest is part of the review hash."""
        undo = self.taken_back
        sources = None if undo is None else undo.sources_json()
        return {
            "pattern": self.pattern,
            "tier": int(self.tier),
            "raise_to": [{"tier": int(raised.tier), "when": raised.when} for raised in self.raise_to],
            "risk_tags": list(self.risk_tags),
            "args": None if self.args is None else {name: t.to_json() for name, t in self.args.items()},
            "roles": dict(self.roles),
            "summary": self.summary,
            "worst_case": self.worst_case,
            "constraints": self.constraints.to_json(),
            "execute": None if self.execute is None else self.execute.to_json(),
            "probe": None if self.probe is None else self.probe.to_json(),
            "undo": self.undo,
            "undo_within_sec": self.undo_within_sec,
            # Entries that were decided on before this could be said keep their digest.
            **({} if sources is None else {"undo_args": sources}),
        }


def _one_line(text: str) -> str:
    return text.replace("\n", "⟨U+000A⟩").replace("\t", "⟨U+0009⟩")


def _check_object(args: Any) -> None:
    if not isinstance(args, Mapping):
        raise WrongType(f"expected an object, got {_word_of(args)}", path="$.args")
    for name in args:
        if not isinstance(name, str):
            raise WrongType("the name of an argument is a string", path="$.args")


def _check_size(args: dict[str, Json]) -> dict[str, Json]:
    """The arguments unchanged, once it is certain that they have canonical bytes."""
    size = len(canonical({"args": args}))
    if size > MAX_BYTES:
        raise TooLarge(f"{size} bytes; at most {MAX_BYTES}", path="$.args")
    return args


def undeclared_args(args: Mapping[str, Any]) -> dict[str, Json]:
    """Arguments nobody declared, in canonical form. Raises subclasses of `InvalidInput`."""
    _check_object(args)
    return _check_size({name: plain(value, f"$.args.{name}") for name, value in args.items()})


# --- which entry ------------------------------------------------------------------------------------------


def specificity(pattern: TopicPattern) -> tuple[bool, int, int, tuple[bool, ...]]:
    """A key by which the more specific of two patterns sorts higher (rule 1)."""
    literal = tuple(segment != "*" for segment in pattern.segments)
    return (not pattern.open_ended, sum(literal), len(literal), literal)


def overlap(one: TopicPattern, other: TopicPattern) -> bool:
    """Whether some topic matches both."""
    if len(one.segments) < len(other.segments) and not one.open_ended:
        return False
    if len(other.segments) < len(one.segments) and not other.open_ended:
        return False
    pairs = zip(one.segments, other.segments, strict=False)
    return all(a == b or "*" in (a, b) for a, b in pairs)


class Catalogue:
    """The entries of one policy, and the rule of which one speaks for a topic.

    Attributes:
        patterns: those whose key is a pattern, the most specific first (rule 1).
    """

    __slots__ = ("_digests", "_exact", "_trie", "entries", "patterns")

    def __init__(self, entries: Iterable[CatalogueEntry]) -> None:
        parsed = [(TopicPattern.parse(entry.pattern), entry) for entry in entries]
        self.entries = tuple(entry for _, entry in parsed)
        self._exact = {pattern.text: entry for pattern, entry in parsed if pattern.exact}
        patterns = [pair for pair in parsed if not pair[0].exact]
        patterns.sort(key=lambda pair: specificity(pair[0]), reverse=True)
        self.patterns = tuple(patterns)
        self._trie = Trie()
        for rank, (pattern, _) in enumerate(patterns):
            self._trie.add(pattern, rank)
        self._digests: dict[str, str] = {}

    def entry(self, topic: str) -> CatalogueEntry | None:
        """The entry that speaks for a topic."""
        found = self._exact.get(topic)
        ranks = [*self._trie.find(topic), *self._trie.everywhere] if found is None else ()
        return self.patterns[min(ranks)][1] if ranks else found

    def exactly(self, topic: str) -> CatalogueEntry | None:
        """The entry whose key is the topic itself."""
        return self._exact.get(topic)

    def digest(self, entry: CatalogueEntry) -> str:
        """Hash of one of these entries, made once."""
        found = self._digests.get(entry.pattern)
        if found is None:
            found = self._digests[entry.pattern] = catalogue_digest(entry.to_json())
        return found

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that stand here by their exact name."""
        return tuple(self._exact)

"""Boundaries: the values of an action at which two policies can change their minds.

1. Conditions compare fields with literals, so whatever a policy decides about a field, it decides between two
   literals: each literal, one unit below and one above it, and the missing value stand for all others.
2. A unit is what the argument's declared type counts in: a cent, one, a hundredth of a score.
3. The first value of a field is the quiet one: the smallest number, the baseline of a signal, a text that no
   condition names. Literals that only one of the policies knows come first among the others, for a field has
   at most `MAX_VALUES` values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice, product
from typing import Any, TypeAlias

from interlock.authoring.parts import patterns_of, rules_of
from interlock.model.actions import Signals
from interlock.policy import ArgType, CatalogueEntry, Policy
from interlock.policy.document import Document, LevelRuleSpec, MatchSpec, RuleSpec, TriggersSpec
from interlock.policy.expressions import parse_expression
from interlock.policy.fields import PROVENANCES, RANGES
from interlock.policy.syntax import (
    Compare,
    Each,
    Expr,
    Field,
    Has,
    In,
    Items,
    Literal,
    Size,
    Text,
    Value,
    atoms_of,
    parts,
)

MAX_VALUES = 24
MAX_SIZE = 200
"""Elements or characters of the longest value that is made for a condition on `size()`."""
_ANY: tuple[Value, ...] = (Decimal(1), "a", "b")
"""For a field that is compared with another field."""
OTHER = "something else"
"""A text that no condition names."""

Name: TypeAlias = "tuple[str, ...]"
"""A dimension: ``("args", "amount_usd")``, ``("signals", "confidence")``, ``("tags",)``, ``("level",)``."""


_TELLING_TAGS = (
    frozenset({"deploy", "prod"}),
    *(frozenset({tag}) for tag in ("external-comms", "delete", "privilege", "money", "security", "secrets")),
)
"""Tags that the built-in invariants and the routing look for."""


class Missing:
    """Stands for a value that is not there."""

    def __repr__(self) -> str:
        return "missing"


MISSING = Missing()


@dataclass(slots=True)
class Noted:
    """What conditions say about one field, of which the kind is not known yet."""

    literals: dict[Value, None] = field(default_factory=dict)
    sizes: set[int] = field(default_factory=set)
    elements: dict[Value, None] = field(default_factory=dict)
    boolean: bool = False
    inside: dict[Name, Noted] = field(default_factory=dict)
    """Of an object, by the path below it; of a list that a macro walks, by the path below one element."""


class Boundaries:
    """What some conditions say, by field."""

    def __init__(self) -> None:
        self.noted: dict[Name, Noted] = {}
        self.tags: dict[frozenset[str], None] = {}

    def note(self, name: Name) -> Noted:
        """What was noted about a field; arguments are whole, what stands inside them is noted with them."""
        if len(name) > 2:
            return self.note(name[:2]).inside.setdefault(name[2:], Noted())
        return self.noted.setdefault(name, Noted())

    def condition(self, text: str) -> None:
        self._expression(parse_expression(text), {})

    def match(self, match: MatchSpec, amount: str, people: str | None) -> None:
        """Args: amount, people: the arguments that hold them."""
        for tags in (match.risk_tags or (), match.all_risk_tags or ()):
            self.tags.update(dict.fromkeys(frozenset({tag}) for tag in tags))
            self.tags[frozenset(tags)] = None
        for name, value in (
            (("signals", "confidence"), match.confidence_below),
            (("signals", "anomaly_score"), match.anomaly_score_above),
            (("signals", "retry_count"), match.retry_count_above),
            (("args", amount), match.amount_usd_above),
            (("signals", "affected_users"), match.affected_users_above),
        ):
            if value is not None:
                self.note(name).literals[Decimal(value)] = None
        if match.affected_users_above is not None and people is not None:
            self.note(("args", people)).literals[Decimal(match.affected_users_above)] = None
        if match.first_time_action is not None:
            self.note(("signals", "first_time_action")).boolean = True

    def _expression(self, expr: Expr, bound: Mapping[str, Name]) -> None:
        for atom in atoms_of(expr):
            if isinstance(atom, Field):
                self._at(atom, bound).boolean = True
            elif isinstance(atom, Each):
                over = self._name(atom.over, bound)
                self.note(over)
                self._expression(atom.body, {**bound, atom.variable: over})
            else:
                for node in parts(atom):
                    self._node(node, bound)

    def _name(self, found: Field, bound: Mapping[str, Name]) -> Name:
        over = bound.get(found.root)
        return found.path if over is None else (*over, *found.path[1:])

    def _at(self, found: Field, bound: Mapping[str, Name]) -> Noted:
        over = bound.get(found.root)
        if over is not None and len(found.path) == 1:  # the element itself
            return self.note(over).inside.setdefault((), Noted())
        return self.note(self._name(found, bound))

    def _node(self, node: Any, bound: Mapping[str, Name]) -> None:
        match node:
            case Compare():
                for one, other in ((node.left, node.right), (node.right, node.left)):
                    self._compared(one, other, bound)
            case In(item=Field() as item, container=Items() as items):
                self._literals(item, items.values, bound)
            case In(item=Literal() as literal, container=Field(path=("tags",))):
                self.tags[frozenset({str(literal.value)})] = None
            case In(item=Literal() as literal, container=Field() as container):
                self._at(container, bound).elements[literal.value] = None
            case Has():
                self._at(node.field, bound)
            case Text():
                self._literals(node.of, (node.literal,), bound)

    def _compared(self, one: Any, other: Any, bound: Mapping[str, Name]) -> None:
        if isinstance(one, Field) and one.path not in (("tier",), ("topic",)):
            self._literals(one, (other.value,) if isinstance(other, Literal) else _ANY, bound)
        elif isinstance(one, Size) and isinstance(other, Literal) and isinstance(other.value, Decimal):
            whole = int(other.value)
            noted = self._at(one.of, bound)
            noted.sizes |= {size for size in (whole - 1, whole, whole + 1) if 0 <= size <= MAX_SIZE}

    def _literals(self, found: Field, values: Iterable[Value], bound: Mapping[str, Name]) -> None:
        if found.path in (("tier",), ("topic",)):
            return
        noted = self._at(found, bound)
        for value in values:
            if isinstance(value, bool):
                noted.boolean = True
            else:
                noted.literals[value] = None


def boundaries(topic: str, policies: tuple[Policy, ...]) -> Boundaries:
    """What the conditions of some policies say about the fields of one topic's actions.

    Triggers, invariants and routing are asked about where the policies differ in them.
    """
    found = Boundaries()
    documents = [policy.document for policy in policies]
    if any(document.triggers != documents[0].triggers for document in documents):
        for document in documents:
            _triggers(found, document.triggers)
    if any((d.invariants, d.routing) != (documents[0].invariants, documents[0].routing) for d in documents):
        found.tags.update(dict.fromkeys(_TELLING_TAGS))
    for policy in policies:
        document, entry = policy.document, policy.entry(topic)
        amount, people = _roles(entry)
        for match, when in _asked(topic, document):
            found.match(match, amount, people)
            if when is not None:
                found.condition(when)
        for raised in () if entry is None else entry.raise_to:
            found.condition(raised.when)
        if entry is None or "amount" in entry.roles or "money" in entry.risk_tags:
            limits = (document.invariants.money_above_usd, *document.invariants.money_above.values())
            found.note(("args", amount)).literals.update(dict.fromkeys(limits))
    return found


def read_by(topic: str, policy: Policy, match: MatchSpec, when: str | None) -> frozenset[Name]:
    """The fields of a topic's actions that a condition asks about."""
    found = Boundaries()
    found.match(match, *_roles(policy.entry(topic)))
    if when is not None:
        found.condition(when)
    return frozenset(found.noted) | (frozenset({("tags",)}) if found.tags else frozenset())


def _roles(entry: CatalogueEntry | None) -> tuple[str, str | None]:
    """The arguments that hold an amount and people."""
    if entry is None:
        return "amount_usd", None
    return entry.roles.get("amount", "amount_usd"), entry.roles.get("people")


def _triggers(found: Boundaries, spec: TriggersSpec) -> None:
    """The thresholds of the built-in triggers."""
    floor = spec.confidence.floor
    for name, threshold in (
        ("confidence", floor and floor + spec.confidence.discount),
        ("sentiment", spec.frustration.sentiment_below),
        ("retry_count", spec.frustration.retry_count_above),
        ("deadline_sec", spec.sla.within),
        ("anomaly_score", spec.anomaly.above),
        ("injection_score", spec.anomaly.injection_above),
    ):
        if threshold is not None:
            found.note(("signals", name)).literals[Decimal(threshold)] = None


def _asked(topic: str, document: Document) -> Iterator[tuple[MatchSpec, str | None]]:
    """The rules that speak about a topic, those of the levels included."""
    levels = [spec for level in document.autonomy_levels.values() for spec in level.rules]
    specs: list[RuleSpec | LevelRuleSpec] = [*(rule.spec for rule in rules_of(document)), *levels]
    for spec in specs:
        if any(pattern.matches(topic) for pattern in patterns_of(spec.match)):
            yield spec.match or MatchSpec(), spec.when


# --- values -----------------------------------------------------------------------------------------------


def dimensions(topic: str, policies: tuple[Policy, ...], found: Boundaries) -> dict[Name, list[Any]]:
    """The values of each field that matters for a topic, the quiet one first."""
    made: dict[Name, list[Any]] = {}
    entries = [entry for policy in policies if (entry := policy.entry(topic)) is not None]
    for name, declared in _arguments(entries).items():
        noted = found.noted.get(("args", name), Noted())
        values = _of_type(declared, noted)
        everywhere = all(entry.args is not None and name in entry.args for entry in entries)
        made["args", name] = values if everywhere and not declared.optional else [*values, MISSING]
    for path, noted in found.noted.items():
        if path in made:
            continue
        if path[0] == "args":
            # An argument that nobody declared may be anything, and may be left out.
            made[path] = [*_guessed(noted), MISSING]
        elif path[0] == "signals":
            made[path] = _signal(path[1], noted)
        elif path[0] == "facts":
            made[path] = [*_guessed(noted), MISSING]
        elif path[0] == "provenance":
            made[path] = [*PROVENANCES, MISSING]
    if len(entries) < len(policies):
        tags = list(dict.fromkeys((frozenset[str](), *found.tags, frozenset().union(*found.tags))))
        made["tags",] = [*tags[:MAX_VALUES], MISSING]
    numbers = sorted({level.number for policy in policies for level in policy.levels})
    if numbers:
        made["level",] = numbers
    return made


def _arguments(entries: Iterable[CatalogueEntry]) -> dict[str, ArgType]:
    return {name: declared for entry in entries for name, declared in (entry.args or {}).items()}


def _of_type(declared: ArgType, noted: Noted) -> list[Any]:
    if declared.kind == "decimal":
        unit = Decimal(1).scaleb(-(declared.scale or 0))
        least = Decimal(0) if declared.currency is not None else None
        return _numbers(noted, unit, least, None) or [unit]
    if declared.kind == "integer":
        return [int(number) for number in _numbers(noted, Decimal(1), None, None)] or [1]
    if declared.kind == "number":
        return _numbers(noted, _unit(noted), None, None) or [Decimal(1)]
    if declared.kind == "boolean":
        return [False, True]
    if declared.kind == "string":
        limit = declared.max_length or MAX_SIZE
        return [text for text in _texts(noted) if len(text) <= limit] or ["x"[:limit]]
    if declared.kind == "array":
        return _lists(noted) or [[]]
    return _objects(noted) or [{}]


def _guessed(noted: Noted) -> list[Any]:
    """Values for a field whose type nobody declared, from what conditions compare it with."""
    values: list[Any] = _numbers(noted, _unit(noted), None, None)
    if any(isinstance(literal, str) for literal in noted.literals) or not (
        values or noted.boolean or noted.elements or noted.inside
    ):
        values += _texts(noted)
    if noted.boolean:
        values += [False, True]
    if noted.elements or noted.sizes or () in noted.inside:
        values += _lists(noted)
    if any(noted.inside):
        values += [*_objects(noted), *_lists(noted)]
    unique: list[Any] = []
    for value in values:
        if value not in unique or isinstance(value, bool):
            unique.append(value)
    return unique[:MAX_VALUES]


def _signal(name: str, noted: Noted) -> list[Any]:
    baseline = getattr(Signals(), name)
    if name == "duplicate_of":
        return [None, "act_0", *(text for text in noted.literals if isinstance(text, str))]
    if isinstance(baseline, bool):
        return [False, True]
    low, high = RANGES.get(f"signals.{name}", (0, None))
    scored = f"signals.{name}" in RANGES
    unit = Decimal("0.01") if scored else Decimal(1)
    found = _numbers(noted, unit, Decimal(low), None if high is None else Decimal(high))
    values: list[Any] = found if scored else [int(number) for number in found]
    best = Decimal(1) if name == "confidence" else baseline
    return list(dict.fromkeys([best, *values, *([] if baseline is not None else [None])]))


def _unit(noted: Noted) -> Decimal:
    """One unit in the last place of the finest literal, and a whole one among integers."""
    places = [-int(n.normalize().as_tuple().exponent) for n in noted.literals if isinstance(n, Decimal)]
    return Decimal(1).scaleb(-max([0, *places]))


def _numbers(noted: Noted, unit: Decimal, least: Decimal | None, most: Decimal | None) -> list[Decimal]:
    literals = [n for n in noted.literals if isinstance(n, Decimal)][: MAX_VALUES // 3]
    found = {literal.quantize(unit) + step for literal in literals for step in (-unit, Decimal(0), unit)}
    return sorted(n for n in found if (least is None or n >= least) and (most is None or n <= most))


def _texts(noted: Noted) -> list[str]:
    literals = [text for text in noted.literals if isinstance(text, str)]
    return [OTHER, *literals[:MAX_VALUES], *("x" * size for size in sorted(noted.sizes))]


def _lists(noted: Noted) -> list[Any]:
    values: list[Any] = [[]]
    values += [[element] for element in _plain(noted.elements)]
    if len(noted.elements) > 1:
        values.append(_plain(noted.elements))
    values += [["x"] * size for size in sorted(noted.sizes) if size]
    whole = noted.inside.get(())
    values += [[element] for element in (_guessed(whole) if whole is not None else ())]
    values += [[element] for element in _objects(noted)]
    return values[:MAX_VALUES]


def _plain(values: Iterable[Value]) -> list[Any]:
    return list(values)


def _objects(noted: Noted) -> list[dict[str, Any]]:
    """Objects of the fields that conditions look for inside."""
    below = {path: _guessed(inner) for path, inner in noted.inside.items() if path}
    if not below:
        return []
    found = []
    for values in islice(product(*below.values()), MAX_VALUES):
        one: dict[str, Any] = {}
        for path, value in zip(below, values, strict=True):
            _put(one, path, value)
        found.append(one)
    return found


def _put(target: dict[str, Any], path: Name, value: Any) -> None:
    for step in path[:-1]:
        inner = target.setdefault(step, {})
        if not isinstance(inner, dict):
            return
        target = inner
    target[path[-1]] = value

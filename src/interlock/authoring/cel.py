"""Conditions as CEL that never fails: one text for "proved", one for "not refuted".

1. CEL has two truth values and errors; our conditions have three truth values. Each becomes two texts:
   `proved` is true where the condition is True, `possible` where it is not False. Neither of them ever ends
   in an error, whatever is missing or of another type: guards (``has()``, ``type()``) stand before each use.
2. The texts read these variables. ``topic``: string. ``catalogued``: bool. ``tiers``: the possible tiers,
   list of int, empty outside the catalogue. ``args``, ``facts``, ``provenance``, ``signals``: maps as in an
   action, amounts and other declared decimals as doubles. ``known``: a map that holds ``tags`` (list of
   string), ``amount_usd`` and ``people`` (double: how many the arguments name) where they are known.
   ``no_money``: whether the catalogue proves that the action moves none. ``names_people``: whether the
   catalogue says which argument names people.
3. Numbers are doubles, where ours are exact; everything else means the same.

Source: CEL language definition (cel-spec); the meaning of the originals is in `interlock.policy.closures`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from decimal import Decimal
from typing import Any

from interlock.model.topics import TopicPattern
from interlock.policy.closures import MAX_ELEMENTS, kind_of
from interlock.policy.document import MatchSpec
from interlock.policy.fields import FIELDS, PROVENANCES, RANGES
from interlock.policy.syntax import (
    And,
    Compare,
    Each,
    Expr,
    Field,
    Has,
    In,
    Items,
    Literal,
    Not,
    Operand,
    Or,
    Size,
    Text,
    Value,
    show,
)

_COUNTED = frozenset({"signals.retry_count", "signals.affected_users"})
_DEADLINE = "signals.deadline_sec"
_NEVER = "1e300"
"""Later than any deadline a condition can name."""
_ELEMENT = "element"
"""A macro's variable, whatever its author called it: other names of ours must not capture it."""
_KINDS = ("number", "string", "boolean")


@dataclass(frozen=True, slots=True)
class Both:
    """The two texts of one condition (rule 1)."""

    proved: str
    possible: str


def of_expression(expr: Expr) -> Both:
    """The two texts of an expression."""
    return _both(_renamed(expr, "tags", ("known", "tags")))


def _both(expr: Expr) -> Both:
    match expr:
        case And() | Or():
            sign = " && " if isinstance(expr, And) else " || "
            parts = [_both(operand) for operand in expr.operands]
            return Both(_joined(sign, [p.proved for p in parts]), _joined(sign, [p.possible for p in parts]))
        case Not():
            inner = _both(expr.operand)
            return Both(f"!({inner.possible})", f"!({inner.proved})")
        case Compare():
            return _comparison(expr)
        case In():
            return _lookup(expr)
        case Has():
            text = _present(expr.field)
            return Both(text, text)
        case Text():
            guard, value = _typed(expr.of, "string")
            return _guarded(guard, f"{value}.{expr.function}({show(Literal(expr.literal))})")
        case Each():
            guard = f"{_list(expr.over)} && size({expr.over.name}) <= {MAX_ELEMENTS}"
            body = _both(_renamed(expr.body, expr.variable, (_ELEMENT,)))
            start = f"{expr.over.name}.{expr.quantifier}({_ELEMENT}, "
            return Both(f"({guard} && {start}{body.proved}))", f"(!({guard}) || {start}{body.possible}))")
        case Field():
            return _guarded(*_typed(expr, "boolean"))
        case Literal():
            return Both(show(expr), show(expr))


def of_match(match: MatchSpec | None) -> list[Both]:
    """The texts of what a rule's `match` asks besides its topics."""
    if match is None:
        return []
    found = []
    for tags, quantifier in ((match.risk_tags, "exists"), (match.all_risk_tags, "all")):
        if tags is not None:
            listed = ", ".join(map(_text, tags))
            found.append(_guarded("has(known.tags)", f"[{listed}].{quantifier}(tag, tag in known.tags)"))
    signals = (
        ("confidence", "<", match.confidence_below),
        ("anomaly_score", ">", match.anomaly_score_above),
        ("retry_count", ">", match.retry_count_above),
        ("first_time_action", "==", match.first_time_action),
    )
    for name, op, limit in signals:
        if limit is not None:
            value = limit if isinstance(limit, bool) else Decimal(limit)
            found.append(_comparison(Compare(op, Field(("signals", name)), Literal(value))))  # type: ignore[arg-type]
    if match.amount_usd_above is not None:
        above = f"known.amount_usd > {_number(Decimal(match.amount_usd_above))}"
        possible = f"(has(known.amount_usd) ? {above} : !no_money)"
        found.append(Both(f"(has(known.amount_usd) && {above})", possible))
    if match.affected_users_above is not None:
        found.append(_affects(_number(Decimal(match.affected_users_above))))
    return found


def _affects(threshold: str) -> Both:
    """More people than that, by what was observed or by what the arguments name."""
    field = Field(("signals", "affected_users"))
    guard, value = _typed(field, "number")
    seen = f"{value} > {threshold}"
    named = f"known.people > {threshold}"
    return Both(
        f"(({guard} && {seen}) || (has(known.people) && {named}))",
        f"(({_present(field)} ? (!({guard}) || {seen}) : !catalogued) || "
        f"(names_people && (!has(known.people) || {named})))",
    )


def together(parts: Iterable[Both]) -> Both:
    """All of them."""
    listed = list(parts)
    if not listed:
        return Both("true", "true")
    return Both(_joined(" && ", [p.proved for p in listed]), _joined(" && ", [p.possible for p in listed]))


def of_topics(patterns: Iterable[TopicPattern]) -> str:
    """Whether the topic matches one of the patterns; `false` where there are none."""
    listed = list(patterns)
    if any(pattern.open_ended and not pattern.segments for pattern in listed):
        return "true"
    if not listed:
        return "false"
    return f"topic.matches('^({'|'.join(map(_pattern, listed))})$')"


def _pattern(pattern: TopicPattern) -> str:
    segments = ["[a-z0-9_-]+" if segment == "*" else segment for segment in pattern.segments]
    return "[.]".join(segments) + ("([.][a-z0-9_-]+)*" if pattern.open_ended else "")


# --- text -------------------------------------------------------------------------------------------------


def _joined(sign: str, parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"({sign.join(parts)})"


def _guarded(guard: str, value: str) -> Both:
    """A condition that is unknown where the guard fails."""
    return Both(f"({guard} && {value})", f"(!({guard}) || {value})")


def _number(value: Decimal) -> str:
    text = f"{value:f}"
    return text if "." in text else f"{text}.0"


def _text(value: Value) -> str:
    return _number(value) if isinstance(value, Decimal) else show(Literal(value))


# --- what fields hold -------------------------------------------------------------------------------------


def _there(field: Field) -> list[str]:
    """Guards that the field is there at all: each step is looked up in a map."""
    if len(field.path) == 1:
        return []
    guards, walked = [], field.path[0]
    bound = field.root == _ELEMENT
    for place, step in enumerate(field.path[1:]):
        if place or bound:
            guards.append(f"type({walked}) == map")
        walked = f"{walked}.{step}"
        guards.append(f"has({walked})")
    return guards


def _present(field: Field) -> str:
    guards = _there(field)
    return f"({' && '.join([*guards, f'{field.name} != null'])})" if guards else "true"


def _list(field: Field) -> str:
    return " && ".join([*_there(field), f"type({field.name}) == list"])


def _is(kind: str, text: str) -> str:
    if kind == "number":
        return f"type({text}) in [int, uint, double]"
    return f"type({text}) == {'bool' if kind == 'boolean' else 'string'}"


def _typed(operand: Operand, kind: str) -> tuple[str, str]:
    """A guard that the operand is known as this kind, and its value; the value is used behind the guard."""
    if isinstance(operand, Literal):
        return ("true" if kind_of(operand.value) == kind else "false"), _text(operand.value)
    if isinstance(operand, Size):
        guards = [*_there(operand.of), f"(type({operand.of.name}) in [string, list])"]
        return (" && ".join(guards) if kind == "number" else "false"), f"double(size({operand.of.name}))"
    name = operand.name
    if FIELDS.get(name, kind) != kind or (operand.root == "provenance" and kind != "string"):
        return "false", name
    if name == _DEADLINE:
        given = f"has({name}) && {name} != null"
        return f"(!({given}) || {_is(kind, name)})", f"({given} ? double({name}) : {_NEVER})"
    guards = [*_there(operand), *([] if name == "topic" else [f"({_is(kind, name)})"])]
    if operand.root == "provenance":
        guards.append(f"{name} in [{', '.join(map(_text, PROVENANCES))}]")
    if name in RANGES:
        low, high = RANGES[name]
        guards.append(f"double({name}) >= {low}.0 && double({name}) <= {high}.0")
    if name in _COUNTED:
        guards.append(f"double({name}) >= 0.0")
    return " && ".join(guards) or "true", f"double({name})" if kind == "number" else name


def _is_tier(operand: Operand) -> bool:
    return isinstance(operand, Field) and operand.name == "tier"


def _only_tier(kind: str) -> tuple[str, str]:
    """The tier as a value, where there is one only."""
    return ("size(tiers) == 1" if kind == "number" else "false"), "double(tiers[0])"


def _renamed(node: Any, root: str, path: tuple[str, ...]) -> Any:
    """The tree in which what starts with `root` starts with `path`."""
    if isinstance(node, Field):
        return replace(node, path=(*path, *node.path[1:])) if node.root == root else node
    if isinstance(node, tuple):
        return tuple(_renamed(part, root, path) for part in node)
    if is_dataclass(node) and not isinstance(node, type):
        parts = {field.name: _renamed(getattr(node, field.name), root, path) for field in fields(node)}
        return replace(node, **parts)
    return node


def _agreed(guard: str, value: str) -> Both:
    """A test of every possible tier: known where all of them agree."""
    proved = f"(size(tiers) > 0 && {guard} && tiers.all(tier, {value}))"
    return Both(proved, f"(size(tiers) == 0 || !({guard}) || tiers.exists(tier, {value}))")


# --- comparisons ------------------------------------------------------------------------------------------


def _comparison(expr: Compare) -> Both:
    left, right = expr.left, expr.right
    if _is_tier(left) or _is_tier(right):
        against, tier = (right if _is_tier(left) else left), "double(tier)"
        guard, value = ("true", tier) if _is_tier(against) else _typed(against, "number")
        return _agreed(guard, f"{tier} {expr.op} {value}" if _is_tier(left) else f"{value} {expr.op} {tier}")
    kinds = _KINDS if expr.op in ("==", "!=") else _KINDS[:2]
    proved, guards = [], []
    for kind in kinds:
        (one, a), (other, b) = _typed(left, kind), _typed(right, kind)
        if "false" in (one, other):
            continue
        guard = " && ".join(text for text in (one, other) if text != "true") or "true"
        guards.append(guard)
        proved.append(f"({guard} && {a} {expr.op} {b})")
    if not guards:
        return Both("false", "true")
    known = _joined(" || ", [f"({guard})" for guard in guards])
    holds = _joined(" || ", proved)
    return Both(holds, f"(!{known} || {holds})")


def _lookup(expr: In) -> Both:
    item, container = expr.item, expr.container
    if isinstance(container, Items):
        listed = f"[{', '.join(map(_text, container.values))}]"
        wanted = kind_of(container.values[0])
        if _is_tier(item):
            numbers = wanted == "number"
            return _agreed("true", f"double(tier) in {listed}") if numbers else Both("false", "true")
        guard, value = _typed(item, wanted)
        return _guarded(guard, f"{value} in {listed}")
    if container.path == ("known", "tags"):
        guard, value = _typed(item, "string")
        return _guarded(f"has(known.tags) && {guard}", f"{value} in known.tags")
    lists = f"{_list(container)} && size({container.name}) <= {MAX_ELEMENTS}"
    proved, possible, guards = [], [], []
    for kind in _KINDS:
        guard, value = _only_tier(kind) if _is_tier(item) else _typed(item, kind)
        if guard == "false":
            continue
        is_kind = _is(kind, "one")
        equal = f"{'double(one)' if kind == 'number' else 'one'} == {value}"
        guards.append(f"({guard})")
        proved.append(f"({guard} && {container.name}.exists(one, {is_kind} && {equal}))")
        possible.append(f"({guard} && {container.name}.exists(one, !({is_kind}) || {equal}))")
    known = f"{lists} && {_joined(' || ', guards)}"
    return Both(f"({lists} && {_joined(' || ', proved)})", f"(!({known}) || {_joined(' || ', possible)})")

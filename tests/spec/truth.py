"""When a condition holds: the meaning of the language, read off the tree one node at a time.

1. A condition is True, False, or None: nobody knows. What is missing, null, of another type than the
   condition asks for, NaN, infinite, or out of a signal's range is unknown; what compares an unknown is None.
2. Unknowns travel as Kleene has it. ``&&`` is False where one part is False, else None where one is None.
   ``||`` is True where one part is True, else None where one is None. ``!`` turns the two round, not None.
3. ``exists`` is an ``||`` over the elements of a list, ``all`` an ``&&``; a list of more than 1,000 elements
   is more than anybody looks through: None.
4. ``has`` asks whether something is there at all. Null is not there, nor is what would stand in something
   that is not there; what would stand in a text or a list, nobody can say.
5. Numbers are exact decimals. True is no number, and ``"5"`` is none either, except that an argument declared
   ``decimal`` is written as text and is a number only.
6. An action may have one of several tiers, where it is not known whether it is raised. A comparison with
   ``tier`` knows its answer where it is the same for all of them.

Only the parser is borrowed from the implementation: its tree is data. Everything that decides stands here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import re2

from interlock.model.actions import Signals
from interlock.policy import expressions as tree

Truth = bool | None

MOST_ELEMENTS = 1_000
MOST_SEARCHED = 65_536
SPREAD: dict[str, tuple[int, int]] = {
    "confidence": (0, 1),
    "anomaly_score": (0, 1),
    "injection_score": (0, 1),
    "sentiment": (-1, 1),
}
"""Between which numbers a signal lies."""
COUNTS = ("retry_count", "affected_users")
FLAGS = ("first_time_action", "first_time_recipient")
PROVENANCES = ("user", "known", "record", "untrusted", "unseen")


@dataclass(frozen=True)
class World:
    """Everything a policy can read about one action.

    Attributes:
        entry: what stands in the catalogue, as in the file; None outside the catalogue.
        tags: None where nobody knows.
        tiers: those the action may have; none outside the catalogue.
    """

    topic: str
    args: Mapping[str, Any]
    signals: Signals
    entry: Mapping[str, Any] | None = None
    tags: frozenset[str] | None = None
    tiers: tuple[int, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


# --- rule 2: joining ---------------------------------------------------------------------------------------


def all_of(truths: Iterable[Truth]) -> Truth:
    found = list(truths)
    if False in found:
        return False
    return None if None in found else True


def any_of(truths: Iterable[Truth]) -> Truth:
    found = list(truths)
    if True in found:
        return True
    return None if None in found else False


def opposite(truth: Truth) -> Truth:
    return None if truth is None else not truth


# --- the tree ----------------------------------------------------------------------------------------------

Bound = Mapping[str, Any]
"""The element a macro is at, by the name of its variable."""


def condition(text: str, world: World) -> Truth:
    """Whether what stands in a `when` holds."""
    return holds(tree.parse_expression(text), world, {})


def holds(expr: Any, world: World, bound: Bound) -> Truth:
    if isinstance(expr, tree.And):
        return all_of(holds(part, world, bound) for part in expr.operands)
    if isinstance(expr, tree.Or):
        return any_of(holds(part, world, bound) for part in expr.operands)
    if isinstance(expr, tree.Not):
        return opposite(holds(expr.operand, world, bound))
    if isinstance(expr, tree.Each):
        return each(expr, world, bound)
    if reads_tier(expr) and len(world.tiers) != 1:  # rule 6
        answers = {holds(expr, replace(world, tiers=(tier,)), bound) for tier in world.tiers}
        return answers.pop() if len(answers) == 1 else None
    if isinstance(expr, tree.Compare):
        return compare(expr.op, operand(expr.left, world, bound), operand(expr.right, world, bound))
    if isinstance(expr, tree.In):
        return is_in(operand(expr.item, world, bound), elements(expr.container, world, bound))
    if isinstance(expr, tree.Has):
        return there(expr.field, world, bound)  # rule 4
    if isinstance(expr, tree.Text):
        return says(expr.function, value(expr.of, world, bound), expr.literal)
    if isinstance(expr, tree.Field):
        flag = value(expr, world, bound)
        return flag if isinstance(flag, bool) else None
    if isinstance(expr, tree.Literal):
        return expr.value is True
    raise AssertionError(expr)


def reads_tier(expr: Any) -> bool:
    return any(isinstance(part, tree.Field) and part.name == "tier" for part in tree.parts(expr))


def each(expr: tree.Each, world: World, bound: Bound) -> Truth:
    """Rule 3."""
    items = elements(expr.over, world, bound)
    if items is None or len(items) > MOST_ELEMENTS:
        return None
    answers = [holds(expr.body, world, {**bound, expr.variable: item}) for item in items]
    return any_of(answers) if expr.quantifier == "exists" else all_of(answers)


# --- rule 1: single questions ------------------------------------------------------------------------------


def compare(op: str, left: Any, right: Any) -> Truth:
    kind = kind_of(left)
    if kind is None or kind != kind_of(right):
        return None
    if op == "==":
        return bool(left == right)
    if op == "!=":
        return bool(left != right)
    if kind == "boolean":
        return None
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[op])


def is_in(item: Any, items: list[Any] | None) -> Truth:
    if items is None:
        return None
    return (
        any_of(compare("==", item, scalar(element)) for element in items) if items else unless_unknown(item)
    )


def unless_unknown(item: Any) -> Truth:
    """Nothing is in an empty list, if it is something."""
    return None if item is None else False


def says(function: str, text: Any, literal: str) -> Truth:
    if not isinstance(text, str):
        return None
    if function == "startsWith":
        return text[: len(literal)] == literal
    if function == "endsWith":
        return literal == "" or text[-len(literal) :] == literal
    if function == "contains":
        return literal in text
    assert function == "matches"
    if len(text) > MOST_SEARCHED:
        return None
    return re2.search(literal, text) is not None


# --- values ------------------------------------------------------------------------------------------------


def kind_of(value: Any) -> str | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "number" if isinstance(value, int | Decimal) else None


def number(value: Any) -> Decimal | None:
    """The exact number, or None where it is none (rule 5)."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    exact = Decimal(value)
    return exact if exact.is_finite() else None


def scalar(value: Any) -> Any:
    """A number, a text or a truth; None for everything else."""
    return value if isinstance(value, bool | str) else number(value)


def operand(node: Any, world: World, bound: Bound) -> Any:
    if isinstance(node, tree.Literal):
        return node.value
    if isinstance(node, tree.Size):
        of = sized(node.of, world, bound)
        return None if of is None else Decimal(len(of))
    found = value(node, world, bound)
    return found if node.root == "signals" else scalar(found)


def elements(node: Any, world: World, bound: Bound) -> list[Any] | None:
    if isinstance(node, tree.Items):
        return list(node.values)
    found = value(node, world, bound)
    return list(found) if isinstance(found, list | tuple) else None


def sized(node: tree.Field, world: World, bound: Bound) -> Any:
    found = value(node, world, bound)
    return found if isinstance(found, str | list | tuple) else None


def value(node: tree.Field, world: World, bound: Bound) -> Any:
    """What a field reads; None where that is unknown."""
    found, name = raw(node, world, bound), node.path[-1]
    if node.root in bound:
        return found
    if node.root == "tier":
        return world.tiers[0] if len(world.tiers) == 1 else None
    if node.root == "signals":
        return signal(name, world.signals)
    if node.root == "provenance":
        return found if found in PROVENANCES else None
    if node.root == "args" and len(node.path) == 2 and declared(world.entry, name).get("type") == "decimal":
        return decimal_text(found) if isinstance(found, str) else None
    return found


def there(node: tree.Field, world: World, bound: Bound) -> Truth:
    for length in range(2, len(node.path)):
        found = raw(tree.Field(node.path[:length]), world, bound)
        if found is None:
            return False
        if not isinstance(found, Mapping):
            return None
    if node.root in bound and len(node.path) > 1 and not isinstance(bound[node.root], Mapping):
        return False if bound[node.root] is None else None
    return raw(node, world, bound) is not None


def raw(node: tree.Field, world: World, bound: Bound) -> Any:
    """What stands there, whatever it is; None where nothing does."""
    root, steps = node.path[0], node.path[1:]
    if root in bound:
        found = bound[root]
    elif root == "signals":
        return getattr(world.signals, steps[0])
    elif root == "tags":
        return None if world.tags is None else sorted(world.tags)
    elif root == "topic":
        return world.topic
    elif root == "tier":
        return world.tiers or None
    else:
        found = {"args": world.args, "facts": world.facts, "provenance": world.provenance}[root]
    for step in steps:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def signal(name: str, signals: Signals) -> Any:
    """A signal's value; None where it is not what it can be."""
    found = getattr(signals, name)
    if name in FLAGS:
        return found if isinstance(found, bool) else None
    if name == "duplicate_of":
        return found if isinstance(found, str) else None
    if name == "deadline_sec" and found is None:
        return Decimal("Infinity")  # nothing was promised: later than any deadline
    exact = number(found)
    if exact is None or (name in COUNTS and exact < 0):
        return None
    low, high = SPREAD.get(name, (exact, exact))
    return exact if low <= exact <= high else None


def declared(entry: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    """The declaration of an argument; nothing where there is none."""
    found = ((entry or {}).get("args") or {}).get(name) or {}
    return {"type": found} if isinstance(found, str) else found


def decimal_text(text: str) -> Decimal | None:
    """The number that the text of an amount is: digits and at most a point, up to 18 of them before it."""
    if len(text) > 64 or re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", text) is None:
        return None
    amount = Decimal(text)
    return amount if abs(amount) < 10**18 else None

"""The tree of a condition: its nodes, walks over them, and the canonical text.

1. Nodes are frozen values; two that say the same are equal wherever they stood in the text.
2. `show` prints with as few parentheses as possible; reading that text gives the same tree.
3. What the nodes mean is said in `expressions`, what they read in `fields`, how they decide in `conditions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias
from typing import Literal as OneOf

ROOTS = frozenset({"args", "facts", "provenance", "signals", "tier", "topic", "tags", "result"})
"""The words a field starts with. Which of them exist where is the type check's business (`fields`)."""

Value: TypeAlias = Decimal | str | bool
Comparison: TypeAlias = OneOf["==", "!=", "<", "<=", ">", ">="]
TextFunction: TypeAlias = OneOf["startsWith", "endsWith", "contains", "matches"]
Quantifier: TypeAlias = OneOf["exists", "all"]


def _at() -> Any:
    """Where a node starts, counted from 1; two nodes that say the same are equal wherever they stand."""
    return field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Field:
    """What is read: ``("args", "amount_usd")``; in a macro's body also ``("item", "price")``."""

    path: tuple[str, ...]
    at: int = _at()

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def root(self) -> str:
        return self.path[0]


@dataclass(frozen=True, slots=True)
class Literal:
    value: Value
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Items:
    """Literals of one type, at least one."""

    values: tuple[Value, ...]
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Size:
    """Characters of a text or elements of a list."""

    of: Field
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Compare:
    op: Comparison
    left: Operand
    right: Operand
    at: int = _at()


@dataclass(frozen=True, slots=True)
class In:
    item: Operand
    container: Field | Items
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Has:
    field: Field
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Text:
    """A question about a text."""

    function: TextFunction
    of: Field
    literal: str
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Not:
    operand: Expr
    at: int = _at()


@dataclass(frozen=True, slots=True)
class And:
    """Two or more operands, none of them an `And`."""

    operands: tuple[Expr, ...]
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more operands, none of them an `Or`."""

    operands: tuple[Expr, ...]
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Each:
    """``over.exists(variable, body)`` or ``over.all(variable, body)``."""

    quantifier: Quantifier
    over: Field
    variable: str
    body: Expr
    at: int = _at()


Operand: TypeAlias = Field | Literal | Size
Expr: TypeAlias = Compare | In | Has | Text | Not | And | Or | Each | Field | Literal
Node: TypeAlias = Expr | Items | Size

# --- walking ----------------------------------------------------------------------------------------------


def parts(expr: Node) -> Iterator[Node]:
    """The node and everything in it, in the order of the text."""
    waiting: list[Node] = [expr]
    while waiting:
        node = waiting.pop()
        yield node
        match node:
            case And() | Or():
                waiting += reversed(node.operands)
            case Not():
                waiting.append(node.operand)
            case Compare():
                waiting += (node.right, node.left)
            case In():
                waiting += (node.container, node.item)
            case Has():
                waiting.append(node.field)
            case Text() | Size():
                waiting.append(node.of)
            case Each():
                waiting += (node.body, node.over)


def fields_of(expr: Expr) -> tuple[Field, ...]:
    """The fields it reads, in order, each once; what is read of a macro's element is none."""
    bound = {node.variable for node in parts(expr) if isinstance(node, Each)}
    found = (node for node in parts(expr) if isinstance(node, Field))
    return tuple(dict.fromkeys(node for node in found if node.root not in bound))


def atoms_of(expr: Expr) -> tuple[Expr, ...]:
    """The parts that are joined by ``&& || !``: what coverage of branches counts. A macro is one."""
    match expr:
        case And() | Or():
            return tuple(atom for operand in expr.operands for atom in atoms_of(operand))
        case Not():
            return atoms_of(expr.operand)
        case _:
            return (expr,)


def conjuncts(expr: Expr) -> tuple[Expr, ...]:
    """The parts that must all hold."""
    return expr.operands if isinstance(expr, And) else (expr,)


# --- printing ---------------------------------------------------------------------------------------------


def show(expr: Node) -> str:
    """The canonical text. Never more characters, blanks aside, than what it was read from."""
    match expr:
        case Or():
            return " || ".join(show(operand) for operand in expr.operands)
        case And():
            return " && ".join(
                f"({show(operand)})" if isinstance(operand, Or) else show(operand)
                for operand in expr.operands
            )
        case Not():
            inner = show(expr.operand)
            return f"!({inner})" if isinstance(expr.operand, And | Or | Compare | In) else f"!{inner}"
        case Compare():
            return f"{show(expr.left)} {expr.op} {show(expr.right)}"
        case In():
            return f"{show(expr.item)} in {show(expr.container)}"
        case Has():
            return f"has({expr.field.name})"
        case Text():
            return f"{expr.of.name}.{expr.function}({_shown(expr.literal)})"
        case Size():
            return f"size({expr.of.name})"
        case Each():
            return f"{expr.over.name}.{expr.quantifier}({expr.variable}, {show(expr.body)})"
        case Field():
            return expr.name
        case Literal():
            return _shown(expr.value)
        case Items():
            return f"[{', '.join(map(_shown, expr.values))}]"


_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"})


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    quote = "'" if value.count('"') > value.count("'") else '"'
    return quote + value.translate(_ESCAPES).replace(quote, "\\" + quote) + quote

"""The condition language: what can be said, how it is read, and how it is printed.

1. It is a subset of CEL (https://cel.dev): what parses here means the same there, `conditions` says where
   not. It is total: no arithmetic, no ``? :``, no functions of one's own, no clock, no loop but one bounded
   ``exists`` or ``all`` per condition.
2. Operands are fields (``args.amount_usd``, ``tier``), numbers, strings, ``true``, ``false`` and sizes
   (``size(args.to)`` or ``args.to.size()``). ``== != < <= > >=`` compare two of them; ``in`` looks one up in
   a list of literals or in a field. ``has(args.note)`` asks whether there is one. Fields of text answer
   ``.startsWith("a") .endsWith("a") .contains("a") .matches("a+")``; the last is RE2 and needs no anchors.
3. ``&& || !`` and parentheses join; ``AND OR NOT`` are the same, except that ``NOT`` takes the whole
   comparison after it: ``NOT tier == 3`` is ``!(tier == 3)``. A field of truth is a condition by itself.
4. ``args.items.exists(item, item.price > 100)`` and ``.all(...)`` range over a list; not nested, once.
5. Everything is bounded: `MAX_CONDITION` characters, `MAX_NODES` nodes, `MAX_DEPTH` levels of parentheses and
   negations (one that follows a negation directly costs nothing), `MAX_STEPS` parser steps, which are linear
   in the text. There is no backtracking.
6. `show` prints what was read, with as few parentheses as possible, and reading that gives the same tree.

>>> show(parse_expression("NOT args.amount_usd < 99.50 AND 'prod' in tags"))
'!(args.amount_usd < 99.50) && "prod" in tags'
"""

from __future__ import annotations

from functools import lru_cache

from interlock.policy.findings import nearest
from interlock.policy.patterns import MAX_PATTERN, pattern_of
from interlock.policy.syntax import (
    ROOTS,
    And,
    Compare,
    Each,
    Expr,
    Field,
    Has,
    In,
    Items,
    Literal,
    Node,
    Not,
    Operand,
    Or,
    Size,
    Text,
    Value,
    atoms_of,
    conjuncts,
    fields_of,
    parts,
    show,
)
from interlock.policy.tokens import MAX_CONDITION, ExpressionError, Token, tokenize

__all__ = [
    "MAX_CONDITION",
    "MAX_DEPTH",
    "MAX_ITEMS",
    "MAX_NODES",
    "MAX_PATTERN",
    "MAX_STEPS",
    "ROOTS",
    "And",
    "Compare",
    "Each",
    "Expr",
    "ExpressionError",
    "Field",
    "Has",
    "In",
    "Items",
    "Literal",
    "Not",
    "Operand",
    "Or",
    "Parser",
    "Size",
    "Text",
    "Value",
    "atoms_of",
    "conjuncts",
    "fields_of",
    "parse_expression",
    "parts",
    "show",
]

MAX_NODES = 256
MAX_DEPTH = 24
MAX_STEPS = 40_000
MAX_ITEMS = 200

_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_TEXT_FUNCTIONS = ("startsWith", "endsWith", "contains", "matches")
_FUNCTIONS = ("has", "size")
_METHODS = (*_TEXT_FUNCTIONS, "size", "exists", "all")
_KEYWORDS = frozenset({"in", "true", "false", "null"})
_CAPITALS = {"AND": "&&", "OR": "||", "NOT": "!"}
_SAID = {
    "and": "join with && or AND",
    "or": "join with || or OR",
    "not": "negate with ! or NOT",
    "IN": "write in",
    "In": "write in",
    "is": "compare with ==",
    "True": "write true",
    "False": "write false",
    "TRUE": "write true",
    "FALSE": "write false",
    "contains": 'write args.note.contains("…")',
    "matches": 'write args.note.matches("…")',
}
_ALIASES = {"len": "size", "length": "size", "count": "size", "any": "exists", "exist": "exists"}


# --- reading ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=16_384)  # a condition is read once to be checked and once to be compiled
def parse_expression(text: str) -> Expr:
    """Read a condition. Raises `ExpressionError` at the first character that cannot be understood."""
    return Parser(text).parse()


class Parser:
    """One reading of one text, by recursive descent with a look at the next token only.

    Attributes:
        steps: how much work it was, for the bound of rule 5.
    """

    __slots__ = ("_depth", "_each", "_limit", "_next", "_nodes", "_text", "_tokens", "_variable", "steps")

    def __init__(self, text: str, limit: int = MAX_STEPS) -> None:
        self.steps = 0
        self._text = text
        self._limit = limit
        self._tokens: list[Token] = []
        self._next = 0
        self._depth = 0
        self._nodes = 0
        self._variable: str | None = None
        self._each = False

    def parse(self) -> Expr:
        self._tokens = tokenize(self._text)
        if self._peek().kind == "end":
            raise ExpressionError("the condition is empty; write one such as args.amount_usd >= 100", 1)
        expr = self._truth(self._or(), "a condition")
        token = self._peek()
        if token.kind == "end":
            return expr
        if token.kind in (")", "]"):
            raise ExpressionError(f"{token} closes what was not opened", token.at)
        raise ExpressionError(f"{token} does not belong here: {_after(token)}", token.at)

    # the tokens

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._step(token.at)
        if token.kind != "end":
            self._next += 1
        return token

    def _found(self, kind: str) -> Token | None:
        return self._take() if self._peek().kind == kind else None

    def _need(self, kind: str, why: str) -> Token:
        token = self._peek()
        if token.kind != kind:
            raise ExpressionError(f"expected {kind!r} {why}, not {token}", token.at)
        return self._take()

    def _joined(self, sign: str) -> Token | None:
        """The joining sign, or the word in capitals that means it, if it stands next."""
        token = self._peek()
        if token.kind == sign or (token.kind == "name" and _CAPITALS.get(token.text) == sign):
            return self._take()
        return None

    def _step(self, at: int) -> None:
        self.steps += 1
        if self.steps > self._limit:
            raise ExpressionError(f"more than {self._limit} steps to read; write it shorter", at)

    def _node(self, at: int) -> int:
        """Count a node that starts there."""
        self._step(at)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ExpressionError(
                f"more than {MAX_NODES} fields, literals and signs; split it into several rules", at
            )
        return at

    def _enter(self, at: int) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH} levels", at)

    def _leave(self) -> None:
        self._depth -= 1

    # truth

    def _or(self) -> Node:
        first = self._and()
        if self._joined("||") is None:
            return first
        operands = [*_flat(Or, self._truth(first, "the left of ||"))]
        while True:
            operands += _flat(Or, self._truth(self._and(), "the right of ||"))
            if self._joined("||") is None:
                return Or(tuple(operands), self._node(first.at))

    def _and(self) -> Node:
        first = self._not()
        if self._joined("&&") is None:
            return first
        operands = [*_flat(And, self._truth(first, "the left of &&"))]
        while True:
            operands += _flat(And, self._truth(self._not(), "the right of &&"))
            if self._joined("&&") is None:
                return And(tuple(operands), self._node(first.at))

    def _not(self) -> Node:
        token = self._peek()
        if not (token.kind == "name" and token.text == "NOT"):
            return self._relation()
        self._take()
        self._enter(token.at)
        operand = self._truth(self._not(), "what NOT negates")
        self._leave()
        return Not(operand, self._node(token.at))

    def _relation(self) -> Node:
        left = self._unary()
        token = self._peek()
        if token.kind in _COMPARISONS:
            self._take()
            operand = self._operand(left, token)
            right = self._operand(self._unary(), token)
            again = self._peek()
            if again.kind in _COMPARISONS or (again.kind == "name" and again.text == "in"):
                raise ExpressionError("comparisons do not chain; write two and join them with &&", again.at)
            if token.kind not in ("==", "!="):
                for side in (operand, right):
                    if isinstance(side, Literal) and isinstance(side.value, bool):
                        raise ExpressionError("true and false have no order; compare with == or !=", side.at)
            return Compare(token.kind, operand, right, self._node(left.at))  # type: ignore[arg-type]
        if token.kind == "name" and token.text == "in":
            self._take()
            operand = self._operand(left, token)
            container = self._unary()
            if not isinstance(container, Field | Items):
                raise ExpressionError(
                    'expected a list after in, such as ["a", "b"], tags or args.labels', container.at
                )
            return In(operand, container, self._node(left.at))
        if token.kind == "name" and token.text in ("not", "NOT"):
            raise ExpressionError("write !(a in b) for what is not in a list", token.at)
        return left

    def _unary(self) -> Node:
        token = self._peek()
        if token.kind != "!":
            return self._primary(free=False)
        self._take()
        self._enter(token.at)
        following = self._peek()
        if following.kind == "name" and following.text == "NOT":
            raise ExpressionError("write !(NOT …) or leave both out", following.at)
        inner = self._unary() if following.kind == "!" else self._primary(free=True)
        operand = self._truth(inner, "what ! negates")
        self._leave()
        return Not(operand, self._node(token.at))

    def _truth(self, node: Node, what: str) -> Expr:
        """The node, if it is a condition."""
        if isinstance(node, Literal) and not isinstance(node.value, bool):
            kind = "a string" if isinstance(node.value, str) else "a number"
            raise ExpressionError(f"{what} is a comparison or a field of true and false, not {kind}", node.at)
        if isinstance(node, Items):
            raise ExpressionError(f"{what} is a comparison, not a list; write args.kind in [ … ]", node.at)
        if isinstance(node, Size):
            raise ExpressionError(f"{what} is a comparison, not a size; write size(…) > 0", node.at)
        return node

    def _operand(self, node: Node, sign: Token) -> Operand:
        """The node, if it can be compared."""
        if isinstance(node, Field | Literal | Size):
            return node
        if isinstance(node, Items):
            raise ExpressionError(f"lists are not compared with {sign.text}; write a in [ … ]", node.at)
        if isinstance(node, Not):
            raise ExpressionError(f"! takes only what follows it directly; write !(… {sign.text} …)", node.at)
        raise ExpressionError(
            f"{sign.text} compares fields, literals and sizes, not conditions; use them as they are, "
            "or negate them with !",
            node.at,
        )

    # things

    def _primary(self, *, free: bool) -> Node:
        """`free`: an opening parenthesis here is part of a negation, which has been counted."""
        token = self._take()
        if token.kind in ("number", "string"):
            assert token.value is not None
            return Literal(token.value, self._node(token.at))
        if token.kind == "(":
            if not free:
                self._enter(token.at)
            inner = self._or()
            if not free:
                self._leave()
            self._need(")", f"to close the parenthesis at character {token.at}")
            return inner
        if token.kind == "[":
            return self._items(token)
        if token.kind == "name":
            return self._named(token)
        raise ExpressionError(f"expected a field such as args.amount_usd or a value, not {token}", token.at)

    def _items(self, opening: Token) -> Items:
        values: list[Value] = []
        if self._peek().kind == "]":
            raise ExpressionError("an empty list contains nothing; name at least one value", opening.at)
        while True:
            token = self._take()
            value: Value
            if token.kind in ("number", "string"):
                assert token.value is not None
                value = token.value
            elif token.kind == "name" and token.text in ("true", "false"):
                value = token.text == "true"
            else:
                raise ExpressionError(
                    f"expected a number, a quoted string, true or false in the list, not {token}", token.at
                )
            if values and type(value) is not type(values[0]):
                raise ExpressionError("the values of a list are of one type", token.at)
            values.append(value)
            if len(values) > MAX_ITEMS:
                raise ExpressionError(f"more than {MAX_ITEMS} values in a list", token.at)
            if self._found(",") is None:
                self._need("]", f"or ',' in the list at character {opening.at}")
                return Items(tuple(values), self._node(opening.at))

    def _named(self, token: Token) -> Node:
        word = token.text
        if word in ("true", "false"):
            return Literal(word == "true", self._node(token.at))
        if word == "null":
            raise ExpressionError("nothing is compared with null; write has(args.note) or !has(…)", token.at)
        if word in _CAPITALS or word == "in" or word in _SAID:
            why = _SAID.get(word, f"{word} needs something on its left" if word != "NOT" else "write !( … )")
            raise ExpressionError(f"{word!r} does not belong here: {why}", token.at)
        if self._peek().kind == "(":
            return self._call(token)
        return self._field(token)

    def _call(self, name: Token) -> Node:
        if name.text not in _FUNCTIONS:
            raise _unknown_function(name, _FUNCTIONS)
        self._take()
        first = self._need_name("a field such as args.note")
        field = self._path(first)
        if self._peek().kind == "(":
            raise ExpressionError(f"{name.text}() takes a field only", self._peek().at)
        self._need(")", f"to close {name.text}(")
        return self._has(field, name.at) if name.text == "has" else Size(field, self._node(name.at))

    def _has(self, field: Field, at: int) -> Has:
        if len(field.path) == 1:
            raise ExpressionError(
                f"has() asks about one field of args, facts, provenance or signals; {field.name} is none",
                field.at,
            )
        return Has(field, self._node(at))

    def _need_name(self, what: str) -> Token:
        token = self._peek()
        if token.kind != "name" or token.text in _KEYWORDS:
            raise ExpressionError(f"expected {what}, not {token}", token.at)
        return self._take()

    def _path(self, first: Token) -> Field:
        """A field without a method."""
        steps = [first.text]
        while self._found("."):
            steps.append(self._need_name("a name after the point").text)
        return Field(tuple(steps), self._node(first.at))

    def _field(self, first: Token) -> Node:
        """A field, with the method that may follow."""
        steps = [first.text]
        while self._found("."):
            name = self._need_name("a name after the point")
            if self._peek().kind == "(":
                return self._method(Field(tuple(steps), self._node(first.at)), name)
            steps.append(name.text)
        if self._peek().kind == "[":
            raise ExpressionError(
                "single elements are not read; write args.items.exists(item, …) or a in args.items",
                self._peek().at,
            )
        return Field(tuple(steps), self._node(first.at))

    def _method(self, of: Field, name: Token) -> Node:
        if name.text not in _METHODS:
            raise _unknown_function(name, _METHODS)
        self._need("(", f"after .{name.text}")
        result: Node
        if name.text == "size":
            result = Size(of, self._node(of.at))
        elif name.text in ("exists", "all"):
            result = self._macro(of, name)
        else:
            result = self._text_test(of, name)
        self._need(")", f"to close .{name.text}(")
        after = self._peek()
        if after.kind in (".", "["):
            raise ExpressionError(f"{after} cannot follow .{name.text}(…)", after.at)
        return result

    def _text_test(self, of: Field, name: Token) -> Text:
        token = self._take()
        if token.kind != "string":
            raise ExpressionError(f".{name.text}( takes a quoted string, not {token}", token.at)
        assert isinstance(token.value, str)
        if name.text == "matches":
            _check_pattern(token.value, token.at)
        return Text(name.text, of, token.value, self._node(of.at))  # type: ignore[arg-type]

    def _macro(self, over: Field, name: Token) -> Each:
        if self._variable is not None:
            raise ExpressionError(f".{name.text}( cannot stand inside another exists or all", name.at)
        if self._each:
            raise ExpressionError("one exists or all per condition; write two rules", name.at)
        self._each = True
        variable = self._need_name(f"a name for one element, as in .{name.text}(item, item.price > 100)")
        word = variable.text
        if word in ROOTS or word in _CAPITALS or word in _FUNCTIONS or word in _SAID:
            raise ExpressionError(f"{word!r} has a meaning already; call the element item", variable.at)
        self._need(",", f"after the name of an element, as in .{name.text}({word}, {word}.price > 100)")
        self._variable = word
        self._enter(over.at)
        body = self._truth(self._or(), f"what .{name.text}( asks")
        self._leave()
        self._variable = None
        return Each(name.text, over, word, body, self._node(over.at))  # type: ignore[arg-type]


def _flat(kind: type[And] | type[Or], expr: Expr) -> tuple[Expr, ...]:
    return expr.operands if isinstance(expr, kind) else (expr,)


def _after(token: Token) -> str:
    if token.kind == "name" and token.text in _SAID:
        return _SAID[token.text]
    return "join conditions with && or ||"


def _unknown_function(name: Token, known: tuple[str, ...]) -> ExpressionError:
    guess = _ALIASES.get(name.text, name.text)
    guess = guess if guess in (*_FUNCTIONS, *_METHODS) else nearest(name.text, (*_FUNCTIONS, *_METHODS)) or ""
    hint = f"; did you mean {guess}?" if guess else ""
    where = ", ".join(f"{word}()" if known is _FUNCTIONS else f".{word}()" for word in known)
    return ExpressionError(f"unknown function {name.text!r}; there are {where}{hint}", name.at)


def _check_pattern(pattern: str, at: int) -> None:
    if len(pattern) > MAX_PATTERN:
        raise ExpressionError(f"{len(pattern)} characters; a pattern has at most {MAX_PATTERN}", at)
    try:
        pattern_of(pattern)
    except ValueError as error:
        raise ExpressionError(f"RE2 does not take this pattern: {error}", at) from None

"""The words of a condition: text in, tokens with their positions out.

1. A token is a number, a string, a name, or one of ``== != < <= > >= && || ! ( ) [ ] , .``. Between tokens
   stand blanks, tabs and line ends only.
2. Numbers are plain decimals of at most 18 digits before the point and 18 after it, read exactly. There is
   no arithmetic: ``-`` is the sign of a number.
3. Strings stand in ``'`` or ``"`` and know the escapes ``\\\\ \\' \\" \\n \\t \\r``. Control
   characters and lone surrogates do not stand in them.
4. Everything else is an `ExpressionError` that names the character and says what to write instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

MAX_CONDITION = 4_000
"""Characters of a condition, blanks aside."""
_MAX_BLANK = 4 * MAX_CONDITION
"""Characters of a condition, blanks included."""


class ExpressionError(ValueError):
    """A condition cannot be read.

    Attributes:
        at: the offending character of the condition, counted from 1.
        reason: the sentence without the position.
    """

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(f"{reason} (at character {at} of the condition)")
        self.reason = reason
        self.at = at


@dataclass(slots=True)
class Token:
    """One word. `kind` is ``number``, ``string``, ``name``, ``end``, or the sign itself; `at` counts
    from 1."""

    kind: str
    text: str
    at: int
    value: Decimal | str | None = None

    def __str__(self) -> str:
        return "the end of the condition" if self.kind == "end" else repr(self.text)


_TOKEN = re.compile(
    r"""
      (?P<blank>[ \t\r\n]+)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?(?![A-Za-z0-9_.]))
    | (?P<digits>-?\.?[0-9][A-Za-z0-9_.]*)
    | (?P<string>'(?:[^'\\\x00-\x1f\x7f\ud800-\udfff]|\\[\\'"ntr])*'
                |"(?:[^"\\\x00-\x1f\x7f\ud800-\udfff]|\\[\\'"ntr])*")
    | (?P<sign>&&|\|\||==(?!=)|!=(?!=)|<=|>=|<(?!>)|>|!|\(|\)|\[|\]|,|\.)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)")
_MEANS = {"n": "\n", "t": "\t", "r": "\r"}
_ARITHMETIC = "conditions do no arithmetic; compare with the number itself"
_INSTEAD = {
    "&": "join conditions with &&",
    "|": "join conditions with ||",
    "=": "compare with ==",
    "!": "compare with !=",
    "<": "compare with !=",
    "+": _ARITHMETIC,
    "-": _ARITHMETIC,
    "*": _ARITHMETIC,
    "/": _ARITHMETIC,
    "%": _ARITHMETIC,
    "?": "there is no '? :'; write two rules, or join with && and ||",
    ":": "there is no '? :'; write two rules, or join with && and ||",
    "{": "a list of values stands in [ ]",
    "}": "a list of values stands in [ ]",
    ";": "join conditions with &&",
    "$": "a field is written without $, as in args.amount_usd",
    "@": "a field is written as in args.amount_usd; text stands in quotes",
    "`": "text stands in ' or \"",
    "“": "text stands in plain quotes, ' or \"",
    "”": "text stands in plain quotes, ' or \"",
    "‘": "text stands in plain quotes, ' or \"",
    "’": "text stands in plain quotes, ' or \"",
    "\\": "a backslash stands inside quoted text only",
}


def tokenize(text: str) -> list[Token]:
    """The tokens of a condition, an ``end`` last, in one pass. Raises `ExpressionError`."""
    size = sum(map(len, text.split())) if len(text) <= _MAX_BLANK else len(text)
    if size > MAX_CONDITION:
        raise ExpressionError(
            f"{size} characters; a condition has at most {MAX_CONDITION}: split it into several rules",
            MAX_CONDITION + 1,
        )
    tokens = []
    for match in _TOKEN.finditer(text):
        kind, word, at = match.lastgroup or "other", match[0], match.start() + 1
        if kind == "blank":
            continue
        if kind == "name":
            tokens.append(Token("name", word, at))
        elif kind == "sign":
            tokens.append(Token(word, word, at))
        elif kind == "number":
            tokens.append(Token("number", word, at, Decimal(word)))
        elif kind == "string":
            inside = word[1:-1]
            value = _ESCAPE.sub(_unescaped, inside) if "\\" in inside else inside
            tokens.append(Token("string", word, at, value))
        elif kind == "digits":
            raise ExpressionError(
                f"{word[:40]!r} is no number here: write it out in plain digits, such as 1000 or 0.25, "
                "at most 18 before the point and 18 after it",
                at,
            )
        else:
            raise _unreadable(text, match.start())
    tokens.append(Token("end", "", len(text) + 1))
    return tokens


def _unescaped(match: re.Match[str]) -> str:
    return _MEANS.get(match[1], match[1])


def _unreadable(text: str, start: int) -> ExpressionError:
    letter = text[start]
    if letter in "'\"":
        return _broken_string(text, start)
    instead = _INSTEAD.get(letter)
    if instead is None:
        return ExpressionError(f"{letter!r} does not belong into a condition", start + 1)
    return ExpressionError(f"{letter!r} does not belong here: {instead}", start + 1)


def _broken_string(text: str, start: int) -> ExpressionError:
    """Why the string that starts there is none: the first character that cannot stand in it."""
    quote, position = text[start], start + 1
    while position < len(text) and text[position] != quote:
        letter = text[position]
        if letter == "\\":
            escaped = text[position + 1 : position + 2]
            if escaped and escaped not in "\\'\"ntr":
                message = f"\\{escaped} is no escape here; there are \\\\ \\' \\\" \\n \\t \\r"
                return ExpressionError(message, position + 1)
            position += 1
        elif letter < " " or letter == "\x7f":
            return ExpressionError(
                f"{letter!r} cannot stand in a string; write \\n, \\t or \\r", position + 1
            )
        elif "\ud800" <= letter <= "\udfff":
            return ExpressionError("half of a surrogate pair is no character", position + 1)
        position += 1
    return ExpressionError(f"the string that starts here is not closed; end it with {quote}", start + 1)

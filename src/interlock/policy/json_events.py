"""JSON as the events of a YAML parser, so that one reader knows what a policy's values mean.

1. What comes out is what RFC 8259 says is in the text: escapes (also of surrogate pairs), numbers as their
   text, one value. What is wrong is raised as the YAML parser raises it, with the line and the column.
2. The text is read once, from left to right, with a list of what is open instead of recursion. Depth,
   repeated keys, nulls and unseen characters are the reader's business (`source`).

Source: RFC 8259.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import yaml

_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
      (?P<string>"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*+")
    | (?P<word>true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)(?![\w.+-])
    | (?P<sign>[{}\[\],:])
    | (?P<end>\Z)
    )""",
    re.VERBOSE | re.ASCII,
)
_PLAIN = (True, False)
_VALUE, _KEY, _COLON, _NEXT, _DONE = "a value", "a quoted key", "':'", "',' or the closing sign", "the end"


def json_events(text: str) -> Iterator[yaml.Event]:
    """The events of one JSON text. Raises `yaml.MarkedYAMLError` where it is none."""
    places = _Places(text)
    yield yaml.StreamStartEvent()
    yield yaml.DocumentStartEvent(explicit=False)
    open_signs: list[str] = []
    expected, may_close, position = _VALUE, False, 0
    while True:
        token = _TOKEN.match(text, position)
        if token is None:
            raise _wrong(places, expected, _after_space(text, position))
        kind = token.lastgroup or ""
        found, start, position = token[kind], token.start(kind), token.end()
        closes = bool(open_signs) and found == ("}" if open_signs[-1] == "{" else "]")
        if kind == "sign" and closes and (may_close or expected is _NEXT):
            yield yaml.MappingEndEvent() if open_signs.pop() == "{" else yaml.SequenceEndEvent()
            expected, may_close = (_NEXT if open_signs else _DONE), False
        elif expected is _VALUE and found in ("{", "["):
            open_signs.append(found)
            is_mapping = found == "{"
            opened = yaml.MappingStartEvent if is_mapping else yaml.SequenceStartEvent
            yield opened(None, None, True, start_mark=places.mark(start))
            expected, may_close = (_KEY if is_mapping else _VALUE), True
        elif (expected in (_VALUE, _KEY) and kind == "string") or (expected is _VALUE and kind == "word"):
            style = '"' if kind == "string" else None
            value = found if style is None else json.loads(found) if "\\" in found else found[1:-1]
            yield yaml.ScalarEvent(None, None, _PLAIN, value, start_mark=places.mark(start), style=style)
            expected = _COLON if expected is _KEY else _NEXT if open_signs else _DONE
            may_close = False
        elif expected is _COLON and found == ":":
            expected = _VALUE
        elif expected is _NEXT and found == ",":
            expected = _KEY if open_signs[-1] == "{" else _VALUE
        elif expected is _DONE and kind == "end":
            break
        else:
            raise _wrong(places, expected, start)
    yield yaml.DocumentEndEvent(explicit=False)
    yield yaml.StreamEndEvent()


def _after_space(text: str, position: int) -> int:
    return len(text) - len(text[position:].lstrip(" \t\r\n"))


def _wrong(places: _Places, expected: str, position: int) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=f"expected {expected}", problem_mark=places.mark(position))


class _Places:
    """Line and column of positions that only grow."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._line = 0
        self._start = 0
        self._seen = 0

    def mark(self, position: int) -> yaml.Mark:
        breaks = self._text.count("\n", self._seen, position)
        if breaks:
            self._line += breaks
            self._start = self._text.rfind("\n", self._seen, position) + 1
        self._seen = position
        return yaml.Mark("", position, self._line, position - self._start, None, 0)

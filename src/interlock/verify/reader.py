"""Reading many entries: as strictly as one, and faster.

1. The first entry of each shape is read the long way (`entry.py`, `fields.py`). A shape is the kind, the
   names of the fields in their order, and the types of their values.
2. Of an entry whose shape is known and flat (text, integers, truth values and nulls alone), the names, their
   order and the types are right already. What is left is how texts and integers are spelled, and there a
   fast encoder writes what RFC 8785 asks for: the shortest integer, refused beyond 2^53 - 1, and text in
   UTF-8 with only the quote, the backslash and control characters escaped, in the same way.
3. What that encoder does not give back byte for byte is read the long way. So this makes an answer faster and
   never another one.
"""

from __future__ import annotations

from typing import Any

import orjson

from interlock.verify.entry import KERNEL, VERSION, read_entry
from interlock.verify.fields import check_fields

_NESTED = frozenset({float, list, dict})
_MAX_SHAPES = 64
"""Of one kind."""
_MAX_NAMESPACES = 64


class Reader:
    """Reads entries; remembers the shapes that were right."""

    __slots__ = ("_namespaces", "_shapes")

    def __init__(self) -> None:
        self._shapes: dict[object, list[list[object]]] = {}
        self._namespaces: set[str] = set()

    def read(self, raw: bytes) -> dict[str, Any]:
        """The entry, with every field that its kind has to have.

        Raises:
            BadEntry: it is none. NotKnown: it belongs to a later version.
        """
        try:
            value = orjson.loads(raw)
            if (
                type(value) is dict
                and [*value, *map(type, value.values())] in self._shapes.get(value.get("kind"), ())
                and orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER) == raw
                and value["v"] == VERSION
                and value["kernel"] == KERNEL
                and value["at"] >= 0
                and value["namespace"] in self._namespaces
            ):
                return value
        except (ValueError, TypeError):  # no JSON, too large an integer, or a kind that is no text
            pass
        value = read_entry(raw)
        check_fields(value)
        self._remember(value)
        return value

    def _remember(self, value: dict[str, Any]) -> None:
        shapes = self._shapes.setdefault(value["kind"], [])
        if _NESTED.isdisjoint(map(type, value.values())) and len(shapes) < _MAX_SHAPES:
            shapes.append([*value, *map(type, value.values())])
        if len(self._namespaces) < _MAX_NAMESPACES:
            self._namespaces.add(value["namespace"])

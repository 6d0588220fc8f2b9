"""Edited arguments: a file with all of them, or single values in the type the argument has.

1. ``field=text`` keeps the argument's type: text stays text, also where it looks like a number; an amount
   travels as its digits. ``field:=json`` gives a value of any type.
2. Nothing is guessed: text that does not fit the type is an error, and a new field is text unless said
   otherwise. What the catalogue accepts is the server's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interlock.cli.report import Misuse
from interlock.model.canonical import MAX_BYTES, Json, parse_json, plain
from interlock.model.errors import InvalidInput

_TEXT = ("string", "decimal", "str")


def edited_args(
    before: Mapping[str, Any], types: Mapping[str, str], assignments: Sequence[str], file: Path | None
) -> dict[str, Json]:
    """All arguments after the edit.

    Args:
        types: the type of each argument there is, by the words of the API's change table.

    Raises:
        InvalidInput: the file or a value is not JSON of the right kind. Misuse: an assignment is none.
    """
    args = dict(before) if file is None else _read(file)
    for assignment in assignments:
        field, equals, text = assignment.partition("=")
        as_json = field.endswith(":")
        field = field.removesuffix(":")
        if not equals or not field:
            raise Misuse(f"--set {assignment!r} is no FIELD=VALUE.", fix="As in --set amount_usd=80.00")
        kind = types.get(field, "string")
        args[field] = text if kind in _TEXT and not as_json else _json(field, text, None if as_json else kind)
    return args


def _read(file: Path) -> dict[str, Json]:
    try:
        with file.open("rb") as content:
            found = plain(parse_json(content.read(MAX_BYTES + 1)))
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}", path="--args") from None
    if not isinstance(found, dict):
        raise InvalidInput("expected one JSON object with all arguments", path="--args")
    return found


def _json(field: str, text: str, kind: str | None) -> Json:
    """A value given as JSON; of the same kind as the argument's where `kind` is given."""
    path = f"--set {field}"
    try:
        found = plain(parse_json(text))
    except InvalidInput as error:
        raise InvalidInput(f"{error.detail}, and {field} is no text", path=path) from None
    if kind is not None and not isinstance(found, _PYTHON.get(kind, (object,))):
        raise InvalidInput(f"{field} is of the type {kind}", path=path)
    if kind in ("integer", "int", "number", "float") and isinstance(found, bool):
        raise InvalidInput(f"{field} is of the type {kind}", path=path)
    return found


_PYTHON: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "int": (int,),
    "number": (int, float),
    "float": (int, float),
    "boolean": (bool,),
    "bool": (bool,),
    "object": (dict,),
    "dict": (dict,),
    "array": (list,),
    "list": (list,),
}

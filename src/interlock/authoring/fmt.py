"""Formatting: a policy's conditions in their canonical text, and nothing else moved.

1. Every condition (`when`) is printed as `interlock.policy.expressions` prints it: ``AND OR NOT`` become
   ``&& || !``, blanks and parentheses are minimal. It keeps its quotes where they still fit. One that stands
   on several lines and is canonical but for blanks keeps its lines; another becomes one line if it fits,
   else one part a line. What stands in a condition's place and is no text (``when: true``) is left as it is:
   loading refuses it, and quotes would turn it into a condition.
2. Trailing blanks and line ends are tidied; text of several lines is left as it is. The order of keys, other
   quotes, comments and blank lines stay: they are the author's.
3. Places are taken from the parser, never searched for, and the result is read again: a text that would say
   something else is an error and is not returned.
4. Formatting twice is formatting once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from interlock.model.errors import PolicyError
from interlock.policy.expressions import Expr, ExpressionError, parse_expression
from interlock.policy.findings import Finding, Path, Place, raise_for
from interlock.policy.json_events import json_events
from interlock.policy.source import read
from interlock.policy.syntax import And, Or, show

WIDTH = 110
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_STRING = r"""\"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""
_WORD = re.compile(rf"{_STRING}|[A-Za-z0-9_.]+|[^\s\w]")
_BETWEEN_BLANKS = re.compile(rf"(?:{_STRING}|[^\s\"'])+")
_UNSAFE_START = frozenset("-?:,[]{}#&*!|>'\"%@`~")
_UNSAFE = re.compile(r": | #|:$")
_FLOW_SIGNS = re.compile(r"[,\[\]{}]")
_NOT_TEXT = re.compile(r"true|false|null|-?[0-9].*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Change:
    """One condition that is written otherwise now."""

    place: Place
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Formatted:
    """The text, and what changed in its conditions. Nothing changed where `text` is what was given."""

    text: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class _Scalar:
    """One text value: from `start` to before `end`, in lines `first` to `last`, and how it stands there."""

    path: Path
    place: Place
    start: int
    end: int
    first: int
    last: int
    style: str
    flow: bool
    indent: int
    value: str


def format_policy(file: str, text: str) -> Formatted:
    """The formatted text of one file, which may be a part of a policy, or its tests.

    Raises:
        PolicyError: it cannot be read, or a condition in it cannot; each finding at its line.
    """
    text = text.replace("\r\n", "\n")
    findings: list[Finding] = []
    tree = read(file, text, findings)
    raise_for(findings)
    assert tree is not None
    scalars = list(_scalars(file, text))
    changes: list[Change] = []
    replaced: list[tuple[_Scalar, str, str]] = []
    for scalar in scalars:
        if not _is_condition(scalar.path) or not isinstance(_at(tree.data, scalar.path), str):
            continue
        try:
            expr = parse_expression(scalar.value)
        except ExpressionError as error:
            findings.append(Finding(scalar.place, str(error)))
            continue
        canonical = show(expr)
        if _laid_out(scalar, canonical, text[scalar.start : scalar.end]):
            continue
        rendered = _rendered(scalar, expr, canonical, text[scalar.start : scalar.end])
        if canonical != scalar.value:
            changes.append(Change(scalar.place, scalar.value, canonical))
        replaced.append((scalar, canonical, rendered))
    raise_for(findings)
    pieces, position = [], 0
    for scalar, _, rendered in replaced:
        pieces += [text[position : scalar.start], rendered]
        position = scalar.end
    result = _tidied(file, "".join([*pieces, text[position:]]))
    if _data(file, result) != _with(tree.data, replaced):
        raise PolicyError(f"{file}: formatting would change what it says.", fix="Format it by hand.")
    return Formatted(result, tuple(changes))


def _data(file: str, text: str) -> Any:
    findings: list[Finding] = []
    tree = read(file, text, findings)
    return None if tree is None or findings else tree.data


def _with(data: Any, replaced: list[tuple[_Scalar, str, str]]) -> Any:
    """The values as they were, but for the conditions."""
    for scalar, canonical, _ in replaced:
        _at(data, scalar.path[:-1])[scalar.path[-1]] = canonical
    return data


def _at(data: Any, path: Path) -> Any:
    """The value that stands at a path."""
    for step in path:
        data = data[step]
    return data


def _is_condition(path: Path) -> bool:
    if path[-1:] != ("when",):
        return False
    holders = [step for step in path[:-1] if isinstance(step, str)]
    return (
        (path[0] == "rules" and len(path) == 3)
        or (path[0] == "actions" and len(path) == 5 and path[2] == "raise_to")
        or (path[0] == "autonomy_levels" and len(path) == 5 and path[2] == "rules")
        or (path[0] in ("steps", "workflows") and len(holders) > 2 and holders[-2] == "branches")
    )


# --- places -----------------------------------------------------------------------------------------------


def _scalars(file: str, text: str) -> Iterator[_Scalar]:
    """Every text value, in the order of the text."""
    as_json = file.endswith(".json")
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    events: Iterator[Any] = json_events(text) if as_json else yaml.parse(text, Loader=_LOADER)

    def at(mark: Any) -> int:
        return int(starts[mark.line] + mark.column)

    def walk(event: Any, path: Path, flow: bool, indent: int) -> Iterator[_Scalar]:
        inside = flow or bool(getattr(event, "flow_style", False))
        if isinstance(event, yaml.SequenceStartEvent):
            index = 0
            while not isinstance(item := next(events), yaml.SequenceEndEvent):
                yield from walk(item, (*path, index), inside, indent)
                index += 1
        elif isinstance(event, yaml.MappingStartEvent):
            while not isinstance(key := next(events), yaml.MappingEndEvent):
                yield from walk(next(events), (*path, key.value), inside, key.start_mark.column)
        else:
            first, start = event.start_mark.line, at(event.start_mark)
            place = Place(file, first + 1, event.start_mark.column + 1)
            if as_json:
                quoted = _JSON_STRING.match(text, start)
                last, end = first, quoted.end() if quoted else start + len(event.value)
            else:
                last, end = event.end_mark.line, at(event.end_mark)
            yield _Scalar(path, place, start, end, first, last, event.style or "", flow, indent, event.value)

    event = next(events)
    while isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
        event = next(events)
    yield from walk(event, (), False, 0)


# --- writing ----------------------------------------------------------------------------------------------


def _rendered(scalar: _Scalar, expr: Expr, canonical: str, source: str) -> str:
    """The condition in its place, with what stood behind it on its first line and after it."""
    kept = source.rstrip()
    after = source[len(kept) :]
    block = scalar.style in ("|", ">")
    if not block and "\n" not in kept:
        return _quoted(canonical, scalar.style, scalar.flow) + after
    comment = ""
    if block:
        _, sign, said = kept.partition("\n")[0].partition("#")
        comment = f"  {sign}{said}".rstrip() if sign else ""
    line = _quoted(canonical, "" if block else scalar.style, scalar.flow)
    fits = scalar.place.column - 1 + len(line) + len(comment) <= WIDTH
    if fits or scalar.flow or not isinstance(expr, And | Or):
        return line + comment + after
    sign = "&&" if isinstance(expr, And) else "||"
    grouped = [f"({show(part)})" if isinstance(part, Or) else show(part) for part in expr.operands]
    pad = " " * (scalar.indent + 2)
    lines = [
        line
        for index, part in enumerate(grouped)
        for line in _filled(f"{sign} {part}" if index else part, pad)
    ]
    return "\n".join([f">-{comment}", *lines]) + after


def _laid_out(scalar: _Scalar, canonical: str, source: str) -> bool:
    """Whether it stands on several lines, without quotes, and is canonical but for where lines break."""
    if scalar.last == scalar.first or scalar.style in ("'", '"'):
        return False
    body = source.partition("\n")[2] if scalar.style else source
    wanted, found = _words(canonical), _words(body.strip())
    return len(wanted) == len(found) and all(
        word == other and (blank == gap or "\n" in gap)
        for (word, blank), (other, gap) in zip(wanted, found, strict=True)
    )


def _words(condition: str) -> list[tuple[str, str]]:
    """Names, numbers, strings and signs, each with the blanks before it."""
    words, position = [], 0
    for word in _WORD.finditer(condition):
        words.append((word[0], condition[position : word.start()]))
        position = word.end()
    return words


def _filled(part: str, pad: str) -> list[str]:
    """A part of a condition on lines that are no longer than `WIDTH`, broken outside of strings."""
    lines = [pad]
    for word in _BETWEEN_BLANKS.findall(part):
        fresh = lines[-1] == pad
        if not fresh and len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append(pad)
            fresh = True
        lines[-1] += word if fresh else f" {word}"
    return lines


def _quoted(text: str, style: str, flow: bool) -> str:
    if style == '"':
        return json.dumps(text, ensure_ascii=False)
    if style == "'":
        return "'" + text.replace("'", "''") + "'"
    unsafe = text[0] in _UNSAFE_START or _UNSAFE.search(text) or _NOT_TEXT.fullmatch(text)
    if not unsafe and not (flow and _FLOW_SIGNS.search(text)):
        return text
    return _quoted(text, "'" if '"' in text or "\\" in text else '"', flow)


def _tidied(file: str, text: str) -> str:
    """Without blanks at the ends of lines and with one line end at the end, but for text of several lines."""
    lines = text.split("\n")
    protected: set[int] = set()
    for scalar in _scalars(file, text):
        if scalar.last > scalar.first:
            protected.update(range(scalar.first, scalar.last + 1))
    tidy = [line if number in protected else line.rstrip(" \t") for number, line in enumerate(lines)]
    result = "\n".join(tidy)
    return result if len(lines) - 1 in protected else result.rstrip("\n") + "\n"

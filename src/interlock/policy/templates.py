"""Templates: text with ``{args.name}`` in it, for titles and for addresses.

1. A field is ``{args.name}`` and nothing else: no formats, no expressions, no other braces.
2. In an address, scheme, host and port are literal, and a field is a whole path segment or a whole query
   value. What an argument says can then choose a resource, never a machine or a different operation.
"""

from __future__ import annotations

import re
from functools import lru_cache

_FIELD = re.compile(r"\{args\.([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_ADDRESS = re.compile(
    rf"https?://({_LABEL}(\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{{1,5}}))?(?P<rest>[/?].*)?",
    re.ASCII,
)
_LITERAL = re.compile(r"([A-Za-z0-9._~!$'()*+,;:@-]|%[0-9A-Fa-f]{2})*", re.ASCII)


@lru_cache(maxsize=4_096)
def split(template: str) -> tuple[tuple[str, str | None], ...]:
    """Pairs of literal text and the argument that follows it (None at the end).

    >>> split("Refund {args.amount} now")
    (('Refund ', 'amount'), (' now', None))

    Raises:
        ValueError: a brace that belongs to no field.
    """
    pairs: list[tuple[str, str | None]] = []
    position = 0
    for match in _FIELD.finditer(template):
        pairs.append((template[position : match.start()], match[1]))
        position = match.end()
    pairs.append((template[position:], None))
    for literal, _ in pairs:
        if "{" in literal or "}" in literal:
            raise ValueError("braces hold one argument, as in {args.order_id}, and nothing else")
    return tuple(pairs)


def fields(template: str) -> tuple[str, ...]:
    """The arguments a template names, in order. Raises ValueError as `split`."""
    return tuple(name for _, name in split(template) if name is not None)


def check_address(template: str) -> None:
    """Raises ValueError with the reason where a template breaks rule 2."""
    split(template)
    address = _ADDRESS.fullmatch(template)
    if address is None:
        raise ValueError(
            "the address starts with http:// or https:// and a literal host, without user, password or fields"
        )
    if address["port"] is not None and not 1 <= int(address["port"]) <= 65535:
        raise ValueError(f"there is no port {address['port']}")
    path, question, query = (address["rest"] or "").partition("?")
    for segment in path.split("/"):
        if not _FIELD.fullmatch(segment) and not _LITERAL.fullmatch(segment):
            raise ValueError(f"the path segment {segment!r} is neither one whole field nor plain text")
        if segment.replace("%2e", ".").replace("%2E", ".") in (".", ".."):
            raise ValueError("'.' and '..' are no path segments")
    for pair in query.split("&") if question else ():
        key, equals, value = pair.partition("=")
        if not key or not equals or not _LITERAL.fullmatch(key):
            raise ValueError(f"the query part {pair!r} is not of the form key=value")
        if not _FIELD.fullmatch(value) and not _LITERAL.fullmatch(value):
            raise ValueError(f"the query value {value!r} is neither one whole field nor plain text")

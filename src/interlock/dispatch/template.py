"""URL templates: where a catalogue entry's URL takes values from the arguments.

1. A template is an absolute ``http`` or ``https`` URL with placeholders such as ``{args.order_id}`` in its
   path or query. Scheme, host and port are fixed text: no argument chooses where a request goes. User
   information, fragments, backslashes and other braces are refused.
2. A value is one path segment, or a part of one, or one query value: percent-encoded, every character that
   is not unreserved. It can neither end the segment nor start a query, a parameter or a fragment.
3. Refused before encoding: the empty string, ``.`` and ``..``, anything with ``/``, ``\\`` or a control
   character, null, arrays and objects. So is what would become one of these after one more percent-decoding
   or after Unicode compatibility normalisation, because servers behind proxies do either.
4. A missing argument is an error, never an empty segment.

Source: RFC 3986, sections 2.3, 3.3 and 6.2; NFKC from Unicode UAX #15.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from urllib.parse import quote, unquote

from interlock.model.canonical import Json, canonical
from interlock.model.errors import InvalidInput, MissingField, WrongType

MAX_URL = 8_000
"""Characters; RFC 9110, section 4.1, asks servers to support at least 8,000 octets."""

AUTHORITY = r"(?:[^\s/?#@\\{}%\[\]:]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
"""Pattern of ``host`` or ``host:port``: no user information, nothing percent-encoded, nothing templated."""

_HERE = "execute.http.url"
_TEMPLATE = re.compile(rf"(?P<origin>https?://{AUTHORITY})(?P<rest>(?:[/?][!-~]*)?)")
_PLACEHOLDER = re.compile(r"\{args\.([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})


def render_url(template: str, args: Mapping[str, Json]) -> str:
    """The URL with every placeholder replaced by its argument.

    Raises:
        MissingField: a placeholder names an argument that is not there.
        WrongType: its value is null, an array or an object.
        InvalidInput: its value cannot be one segment, the URL is too long, or the template is not one.
            `path` points at the argument or at the template; the value itself is not repeated.
    """
    parts = _TEMPLATE.fullmatch(template)
    if parts is None:
        raise InvalidInput(
            "expected http:// or https://, a host without placeholders or user information, and a path and "
            "query in printable ASCII",
            path=_HERE,
        )
    rest = parts["rest"]
    fixed = _PLACEHOLDER.sub("", rest)
    if any(letter in fixed for letter in "{}\\#"):
        raise InvalidInput("a placeholder reads {args.name}; '\\' and '#' are not allowed", path=_HERE)
    url = parts["origin"] + _PLACEHOLDER.sub(lambda found: _segment(found[1], args), rest)
    if len(url) > MAX_URL:
        raise InvalidInput(f"the URL would have {len(url)} characters; at most {MAX_URL}", path=_HERE)
    return url


def _segment(name: str, args: Mapping[str, Json]) -> str:
    path = f"$.args.{name}"
    if name not in args:
        raise MissingField("the URL needs this argument", path=path)
    value = args[name]
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool | int | float):
        text = canonical(value).decode("ascii")
    else:
        kind = "null" if value is None else "a list" if not isinstance(value, Mapping) else "an object"
        raise WrongType(f"{kind} cannot stand in a URL", path=path)
    for form in (text, unquote(text), unicodedata.normalize("NFKC", text)):
        if form in ("", ".", "..") or "/" in form or "\\" in form:
            raise InvalidInput("it is empty, a dot segment, or holds a path separator", path=path)
        if any(unicodedata.category(letter) in _CONTROL for letter in form):
            raise InvalidInput("it holds a control character", path=path)
    return quote(text, safe="")

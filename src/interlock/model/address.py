"""Where a server is, and whether a key may travel there."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from interlock.model.errors import InvalidInput


def server_parts(url: str) -> SplitResult:
    """The parts of a server's URL. Raises `InvalidInput` where it is none."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known or "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidInput("expected the URL of a server", path="url", fix="As in https://interlock.example")
    return parts


def this_machine(parts: SplitResult) -> bool:
    """Whether a URL's host is the machine itself, so that what travels there leaves no wire."""
    name = parts.hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified

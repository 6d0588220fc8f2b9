"""Identifiers: a typed prefix and 128 random bits, ``act_5f3c…``; and times as integer microseconds, UTC."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

from interlock.model.errors import InvalidInput

Prefix = Literal["act", "apr", "dec", "key", "per", "ses", "lnk", "prc", "prm", "hom", "web", "kil"]
_ID = re.compile(r"([a-z]{3})_[0-9a-f]{32}", re.ASCII)


def new_id(prefix: Prefix) -> str:
    return f"{prefix}_{os.urandom(16).hex()}"


def check_id(value: str, prefix: Prefix, path: str = "$") -> str:
    """The id unchanged. Raises `InvalidInput` where it is not an id of that kind."""
    found = _ID.fullmatch(value)
    if found is None or found[1] != prefix:
        raise InvalidInput(f"expected an id of the form {prefix}_… with 32 hex digits", path=path)
    return value


def minute(microseconds: int) -> str:
    """A moment inside a sentence for people: ``2026-11-20 10:13 UTC``."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")


def iso(microseconds: int) -> str:
    """RFC 3339 in UTC with milliseconds, for people and HTTP."""
    return f"{_second(microseconds // 1_000_000)}.{microseconds // 1_000 % 1_000:03}Z"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    """Kept: what happens now is told many times in one second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")

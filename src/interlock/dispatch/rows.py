"""Rows: what a database answered, as JSON values and within its caps.

1. Columns are listed once, rows are arrays: two columns of one name stay two.
2. Nothing is rounded: decimals, integers beyond 2^53 and what JSON has no form for are strings, bytes are
   ``{"base64": …}``, dates and times are ISO 8601.
3. The row that passes a cap ends the reading.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

from interlock.model.canonical import Json, canonical
from interlock.model.text import visible

MAX_BYTES = 1 << 20
"""Bytes of an answer, as JSON."""
MAX_SAFE = (1 << 53) - 1


class CapExceeded(Exception):
    """More than the caps allow. `breach` is the cap: `max_rows` or `max_bytes`."""

    def __init__(self, reason: str, breach: str) -> None:
        super().__init__(reason)
        self.breach = breach


def too_many(max_rows: int) -> CapExceeded:
    return CapExceeded(f"more than {max_rows} rows", "max_rows")


def too_long() -> CapExceeded:
    return CapExceeded(f"more than {MAX_BYTES} bytes of answer", "max_bytes")


@dataclass(slots=True)
class Answer:
    """Columns and rows, and how many rows were changed; None where the statement changes none."""

    columns: list[str] = field(default_factory=list)
    rows: list[list[Json]] = field(default_factory=list)
    changed: int | None = None

    def fill(self, columns: Iterable[str], rows: Iterable[Sequence[Any]], max_rows: int) -> None:
        """Read rows. Raises `CapExceeded`."""
        self.columns = [visible(name, 200) for name in columns]
        size = len(canonical(self.columns))
        for row in rows:
            if len(self.rows) == max_rows:
                raise too_many(max_rows)
            found = [plain_value(value) for value in row]
            size += len(canonical(found)) + 1
            if size > MAX_BYTES:
                raise too_long()
            self.rows.append(found)

    def to_json(self) -> dict[str, Json]:
        value: dict[str, Json] = {}
        if self.columns:
            value |= {"columns": list(self.columns), "rows": [list(row) for row in self.rows]}
        if self.changed is not None:
            value["changed"] = self.changed
        return value


def plain_value(value: Any) -> Json:
    """One value of a row (rule 2)."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, int):
        return value if abs(value) <= MAX_SAFE else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    return visible(str(value))


def readable(error: Exception, limit: int = 300) -> str:
    """What an error says, on one line."""
    return visible(" ".join(str(error).split()), limit) or type(error).__name__

"""Sessions: opened once, recorded in order and without a gap while they are open, ended once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.verify.broken import Broken, Unfounded

_KINDS = frozenset({"turn", "result"})


class Sessions:
    """Follows the sessions of one namespace through the entries, in order."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[str, int | None] = {}
        """How many records each session has; None for one that has ended."""

    def opened(self, entry: Mapping[str, Any]) -> None:
        if entry["session"] in self._open:
            raise Broken("this session was opened before")
        self._open[entry["session"]] = 0

    def recorded(self, entry: Mapping[str, Any]) -> None:
        records = self._records(entry)
        if entry["what"] not in _KINDS:
            raise Broken("what it records is neither a turn nor a result")
        if entry["number"] != records + 1:
            raise Broken(f"record {entry['number']} of a session follows its record {records}")
        self._open[entry["session"]] = records + 1

    def ended(self, entry: Mapping[str, Any]) -> None:
        self._records(entry)
        self._open[entry["session"]] = None

    def _records(self, entry: Mapping[str, Any]) -> int:
        if entry["session"] not in self._open:
            raise Unfounded("nobody opened this session")
        records = self._open[entry["session"]]
        if records is None:
            raise Broken("the session had ended")
        return records

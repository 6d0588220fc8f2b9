"""Probes: how the state of the world that an action rests on is read, as the catalogue says it.

1. A probe only reads: one GET, one query through a connection that the database itself keeps read-only, or
   one tool of an MCP server that reviewers vouch for.
2. It names the fields that are compared. A field is a path into the answer: names, or places in a list,
   joined by dots. A field that the answer lacks makes the reading unavailable, never equal.
3. `cursor` is the field that has to be what the argument with the role `cursor` says.
4. `to_json` is what a reviewer relies on; its bytes are part of the catalogue entry's digest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from interlock.model.canonical import Json, canonical
from interlock.policy.executes import DispatchedExecute, HttpExecute, SqlExecute

_PROBE = b"interlock/probe/v1\0"


@dataclass(frozen=True, slots=True)
class Probe:
    """One reviewed way to read.

    Attributes:
        read: the call. Of `http` a GET, whose `no_effect` are the statuses that say "not there"; of `sql` a
            query for at most one row.
        compare: the fields that are compared, in the order in which people wrote them.
        cursor: the field that has to equal the argument with the role `cursor`; it is compared as well.
        takes: what an MCP tool is called with: pairs of its parameter and our argument.
    """

    read: DispatchedExecute
    compare: tuple[str, ...]
    cursor: str | None = None
    takes: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """Hash of all that it says, in hexadecimal."""
        return hashlib.sha256(_PROBE + canonical(self.to_json())).hexdigest()

    @property
    def fields(self) -> tuple[str, ...]:
        """Everything that is compared."""
        if self.cursor is None or self.cursor in self.compare:
            return self.compare
        return (*self.compare, self.cursor)

    def to_json(self) -> dict[str, Json]:
        read = dict(self.read.to_json())
        # What means nothing for reading is not told.
        absent = read.pop("no_effect", [])
        for name in ("idempotent_retention_sec", "error_is_no_effect"):
            read.pop(name, None)
        value: dict[str, Json] = {**read, "compare": list(self.compare), "cursor": self.cursor}
        if isinstance(self.read, HttpExecute):
            value["absent"] = absent
        elif not isinstance(self.read, SqlExecute):
            value["args"] = dict(self.takes)
        return value

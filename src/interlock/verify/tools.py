"""Tools of foreign servers: each acceptance names the definition that was accepted for the topic before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.verify.broken import Broken, Unfounded


class Tools:
    """Follows the accepted tools of one namespace through the entries, in order."""

    __slots__ = ("_accepted",)

    def __init__(self) -> None:
        self._accepted: dict[str, str] = {}

    def accepted(self, entry: Mapping[str, Any]) -> None:
        topic = entry["topic"]
        before = self._accepted.get(topic)
        self._accepted[topic] = entry["tool"]
        if entry.get("previous") == before:
            return
        wrong = "it replaces another definition of the tool than the one that was accepted"
        raise Broken(wrong) if before is not None else Unfounded(wrong)

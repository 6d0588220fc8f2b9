"""Sessions: what is recorded of an agent's run, and how a session of the gate's is told from a mere word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from interlock.model.canonical import Json

MAX_CONTENT = 256 << 10
"""Bytes of the canonical JSON of one record."""
_FORM = re.compile(r"ses_[0-9a-f]{32}", re.ASCII)


class SessionState(StrEnum):
    ACTIVE = "active"
    CLOSED = "closed"


class RecordKind(StrEnum):
    TURN = "turn"
    RESULT = "result"


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user said. `pasted`: it is not the user's own words; `cut`: the host left something out."""

    text: str
    pasted: bool = False
    cut: bool = False

    kind = RecordKind.TURN
    action_id: None = None

    def to_json(self) -> dict[str, Json]:
        return {"text": self.text, "pasted": self.pasted, "cut": self.cut}


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool gave back.

    Attributes:
        topic: what trusted code maps the tool to; the catalogue says what that is worth as a source.
        action_id: the action by which it ran, where it ran by one.
        call_id: the framework's id of the call.
        source: where it came from: a server, an address, a file.
        failed: it is an error. cut: the host left something out.
    """

    tool: str
    content: Json
    topic: str | None = None
    action_id: str | None = None
    call_id: str | None = None
    source: str | None = None
    failed: bool = False
    cut: bool = False

    kind = RecordKind.RESULT

    def to_json(self) -> dict[str, Json]:
        return {
            "tool": self.tool,
            "topic": self.topic,
            "content": self.content,
            "call_id": self.call_id,
            "source": self.source,
            "failed": self.failed,
            "cut": self.cut,
        }


def is_issued(session: str | None) -> bool:
    """Whether the session that an action names is one of the gate's: what has the form of its ids is compared
    with those that were issued before it is recorded. Any other text is the proposer's own word."""
    return session is not None and _FORM.fullmatch(session) is not None

"""Topics: the stable names of tools, and the patterns that match them.

1. A topic is two to sixteen segments of ``[a-z0-9_-]+`` joined by dots, in ASCII, at most 255 characters.
   Anything else is refused, never normalised: ``job.pаyments.refund`` with a Cyrillic letter is an error
   that names the letter.
2. A pattern has the same segments, where ``*`` stands for one segment, a final ``**`` for any number of
   them (none included), and the lone ``*`` for every topic.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from interlock.model.errors import BadTopic

MAX_LENGTH = 255
_TOPIC = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+){1,15}", re.ASCII)
_SEGMENT = re.compile(r"[a-z0-9_-]+|\*", re.ASCII)


def parse_topic(value: Any, path: str = "$.topic") -> str:
    """The topic, unchanged, or `BadTopic` saying which character or segment is wrong."""
    if not isinstance(value, str):
        raise BadTopic(f"expected a string, got {type(value).__name__}", path=path)
    if len(value) <= MAX_LENGTH and _TOPIC.fullmatch(value):
        return value
    raise BadTopic(_why(value), path=path)


def _why(text: str) -> str:
    if len(text) > MAX_LENGTH:
        return f"{len(text)} characters; at most {MAX_LENGTH}"
    for index, letter in enumerate(text):
        if not letter.isascii():
            name = unicodedata.name(letter, f"U+{ord(letter):04X}")
            return f"character {index + 1} is {name}, which is not ASCII"
        if not (letter.islower() or letter.isdigit() or letter in "_-."):
            return f"character {index + 1} ({letter!r}) is not one of a-z 0-9 _ - ."
    segments = text.split(".")
    if "" in segments:
        return "a segment between dots is empty"
    if len(segments) < 2:
        return "it has one segment; a topic has two to sixteen"
    return f"it has {len(segments)} segments; a topic has two to sixteen"


@dataclass(frozen=True, slots=True)
class TopicPattern:
    """A parsed pattern. `text` is what stood in the policy; `segments` excludes a final ``**``."""

    text: str
    segments: tuple[str, ...]
    open_ended: bool

    @classmethod
    def parse(cls, text: str) -> TopicPattern:
        """Raises `BadTopic` where the text is no pattern."""
        if text == "*":
            return cls(text, (), True)
        segments = text.split(".")
        open_ended = segments[-1] == "**"
        if open_ended:
            segments.pop()
        if len(text) > MAX_LENGTH or len(segments) > 16 or not all(_SEGMENT.fullmatch(s) for s in segments):
            raise BadTopic(
                f"{text!r} is not a topic pattern: segments of a-z 0-9 _ -, '*' for one segment, "
                "a final '**' for any number, or the lone '*'",
                path="topic pattern",
            )
        return cls(text, tuple(segments), open_ended)

    @property
    def names(self) -> bool:
        """Whether the pattern names topics rather than sweeping: not the lone ``*``, no final ``**``."""
        return not self.open_ended

    @property
    def exact(self) -> bool:
        """Whether it matches one topic only."""
        return not self.open_ended and "*" not in self.segments

    def matches(self, topic: str) -> bool:
        if self.open_ended and not self.segments:
            return True
        parts = topic.split(".")
        if len(parts) < len(self.segments) or (not self.open_ended and len(parts) != len(self.segments)):
            return False
        return all(want in ("*", part) for want, part in zip(self.segments, parts, strict=False))

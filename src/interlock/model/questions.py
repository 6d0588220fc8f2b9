"""Questions: what an agent asks a person instead of guessing (design, "The life of an action").

A question is an action of one topic, under which nothing is ever run: its arguments are the words of the
agent, its executor is nobody, and its end is a person's answer. Every agent may ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.model.canonical import Json
from interlock.model.errors import InvalidInput, MissingField, UnknownField, WrongType
from interlock.model.text import visible

TOPIC = "interlock.ask"
MAX_QUESTION = 2_000
MAX_CONTEXT = 8_000
MAX_OPTION = 200
MAX_OPTIONS = 10
MAX_RESPONSE = 4_000


def is_question(topic: str) -> bool:
    return topic == TOPIC


def question_args(question: str, options: tuple[str, ...] = (), context: str = "") -> dict[str, Any]:
    """The arguments of a question."""
    return {"question": question, "options": list(options), "context": context}


def checked_question(args: Mapping[str, Any]) -> dict[str, Json]:
    """The arguments of a question in canonical form.

    An option is what a person presses, so that it has no character that is not seen.

    Raises:
        MissingField, UnknownField, WrongType, InvalidInput: with the path to the argument.
    """
    for name in args:
        if name not in ("question", "options", "context"):
            raise UnknownField("a question has `question`, `options` and `context`", path="$.args")
    if "question" not in args:
        raise MissingField("a question asks something", path="$.args.question")
    options = args.get("options", [])
    if not isinstance(options, list | tuple) or not all(isinstance(one, str) for one in options):
        raise WrongType("a list of strings", path="$.args.options")
    if len(options) > MAX_OPTIONS or len(set(options)) < len(options):
        raise InvalidInput(f"at most {MAX_OPTIONS} options, no two alike", path="$.args.options")
    for place, one in enumerate(options):
        if not (1 <= len(one) <= MAX_OPTION) or visible(one, MAX_OPTION) != one or one != one.strip():
            raise InvalidInput(f"1 to {MAX_OPTION} characters that are seen", path=f"$.args.options[{place}]")
    return {
        "question": _words(args["question"], "question", MAX_QUESTION, least=1),
        "options": list(options),
        "context": _words(args.get("context", ""), "context", MAX_CONTEXT),
    }


def question_title(args: Mapping[str, Json]) -> str:
    """One line: the agent's own words, quoted as such."""
    return f"Asks: “{visible(str(args.get('question', '')), 200)}”"


def _words(value: Any, name: str, most: int, *, least: int = 0) -> str:
    if not isinstance(value, str):
        raise WrongType("a string", path=f"$.args.{name}")
    words = value.strip()
    if not least <= len(words) <= most:
        raise InvalidInput(f"{least} to {most} characters", path=f"$.args.{name}")
    return words

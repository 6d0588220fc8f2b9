"""A log of actions as lines of JSON: one action file each, if known with what was decided about it.

1. A line holds an action file's keys, and may hold ``id`` (shown where the action is spoken of) and
   ``decided``, an object with at least ``decision``: a verdict as it was logged will do.
2. A line that cannot be read is an error that names it. What a line's arguments lack is another matter: an
   action that the policy refuses as invalid is counted as such.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ConfigDict

from interlock.authoring.question import Asked, Name, question_of, read_as
from interlock.model.canonical import parse_json
from interlock.model.errors import InvalidInput
from interlock.model.topics import parse_topic
from interlock.model.verdicts import Decision
from interlock.policy import Policy, Question
from interlock.policy.document import DecisionName, Spec


class Decided(Spec):
    """What was decided; a logged verdict's other keys are passed over."""

    model_config = ConfigDict(extra="ignore")
    decision: DecisionName


class LoggedSpec(Asked):
    id: Name | None = None
    decided: Decided | None = None


@dataclass(frozen=True, slots=True)
class Logged:
    """One line.

    Attributes:
        question: None where the policy refuses the action's arguments; `refusal` says why.
    """

    id: str | None
    topic: str
    question: Question | None
    refusal: InvalidInput | None
    decided: Decision | None


def read_line(text: bytes | str, policy: Policy) -> Logged:
    """One line of a log, as a question to `policy`.

    Raises:
        InvalidInput: (a subclass) it is not JSON, or no action file.
    """
    spec = read_as(LoggedSpec, parse_json(text))
    topic = parse_topic(spec.topic)
    decided = None if spec.decided is None else Decision(spec.decided.decision)
    try:
        question = question_of(spec, policy)
    except InvalidInput as refusal:
        if refusal.path.startswith("$.args"):
            return Logged(spec.id, topic, None, refusal, decided)
        raise
    return Logged(spec.id, topic, question, None, decided)

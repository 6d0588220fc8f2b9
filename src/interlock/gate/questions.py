"""Questions at the gate: an approval request about words, with no effect behind it.

1. A question is an action like every other, with an owner, a deadline and a record, as the policy's defaults
   say; what the policy denies, or a kill switch covers, is not asked. Only a person answers: a policy that
   would let one pass, or only observes, is told so, and nothing is asked.
2. The answer is `respond`, with one of the question's options where it has any, or a rejection. A question is
   never approved or edited, nobody claims it, and nothing runs by its answer.
3. The answer goes to whoever asked. It is sealed with everything else about its subject; the entry of the
   decision carries the commitment to it.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.model.actions import ExecutorKind
from interlock.model.canonical import Json
from interlock.model.errors import Conflict, InvalidInput
from interlock.model.questions import MAX_RESPONSE, TOPIC
from interlock.model.verdicts import Decision, Verdict

EXECUTOR: dict[str, Json] = {"kind": ExecutorKind.QUESTION.value}


def check_asked(verdict: Verdict) -> None:
    """Rule 1. Raises `Conflict` where the policy would let a question pass without a person."""
    if verdict.decision is not Decision.DENY and not verdict.held:
        why = "the policy only observes" if verdict.observed is not None else f"{verdict.rule} lets it pass"
        raise Conflict(
            f"Nobody would answer: {why}, and a question waits for a person.",
            fix=f"Leave {TOPIC} out of what the policy allows.",
        )


def check_response(executor: str, response: str | None, args: Mapping[str, Json]) -> None:
    """Rule 2, for somebody's answer; `response` is None for one that is no response.

    Raises:
        InvalidInput: an answer that a question does not take, or a response to what is no question.
    """
    asked = executor == ExecutorKind.QUESTION
    if response is None:
        if asked:
            raise InvalidInput("a question is answered with `respond`, or rejected", path="$.decision")
        return
    if not asked:
        raise InvalidInput("only a question is answered with `respond`", path="$.decision")
    if not response.strip() or len(response) > MAX_RESPONSE:
        raise InvalidInput(f"1 to {MAX_RESPONSE} characters", path="$.response")
    options = args.get("options")
    if isinstance(options, list) and options and response not in options:
        raise InvalidInput("one of the options, as it is written", path="$.response")

"""What a guarded call raises instead of running."""

from __future__ import annotations

from typing import Any, ClassVar

from interlock.model.actions import ActionState
from interlock.model.errors import InDoubt, InterlockError, NotClaimable


class NotRun(InterlockError):
    """A guarded call did not run. `action` is the action as its proposer may see it."""

    slug = "not-run"
    title = "This did not run"

    status: ClassVar[int] = 409
    exit_code: ClassVar[int] = 4

    def __init__(self, action: dict[str, Any]) -> None:
        super().__init__(action["user_message"], extra={"action": action["id"], "state": action["state"]})
        self.action = action

    @property
    def action_id(self) -> str:
        """What `gate.resume` takes."""
        identifier: str = self.action["id"]
        return identifier

    @property
    def state(self) -> str:
        state: str = self.action["state"]
        return state


class Held(NotRun):
    """It waits for a person. Its text says what is awaited, from whom, until when and where to decide.

    Attributes:
        approval_id: the approval request. owner: who is asked. due_at: until when (RFC 3339, UTC).
    """

    slug = "held"
    title = "A person decides this first"
    status = 202

    def __init__(self, action: dict[str, Any]) -> None:
        super().__init__(action)
        approval: dict[str, Any] = action["approval"]
        self.approval_id: str = approval["id"]
        self.owner: str = approval["owner"]
        self.due_at: str = approval["due_at"]


class Denied(NotRun):
    """It will not run: the policy denies it, or a person rejected it.

    Attributes:
        reason_code, note: a person's answer, where one rejected it.
    """

    slug = "denied"
    title = "This will not run"
    status = 403

    def __init__(self, action: dict[str, Any]) -> None:
        super().__init__(action)
        rejection: dict[str, Any] = action.get("rejection") or {}
        self.reason_code: str | None = rejection.get("reason_code")
        self.note: str | None = rejection.get("note")


class Ended(NotRun):
    """It ended otherwise: failed without effect, expired, withdrawn, revoked or superseded."""

    slug = "ended"
    title = "This ended without effect"


def result_of(view: dict[str, Any]) -> Any:
    """The result of an action, or the answer to a question; or the exception that says where it stands.

    Raises:
        Held, Denied, Ended. InDoubt: nobody knows whether it took effect. NotClaimable: somebody runs it.
    """
    match ActionState(view["state"]):
        case ActionState.SUCCEEDED:
            return view["result"]
        case ActionState.ANSWERED:
            return view["answer"]["response"]
        case ActionState.HELD:
            raise Held(view)
        case ActionState.DENIED | ActionState.REJECTED:
            raise Denied(view)
        case ActionState.IN_DOUBT:
            raise InDoubt(view["user_message"], extra={"action": view["id"]})
        case ActionState.EXECUTING:
            raise NotClaimable(view["user_message"], fix="Ask again later.")
        case _:
            raise Ended(view)

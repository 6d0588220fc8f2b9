"""Guarded functions: a function, its topic, and how a call becomes named arguments."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.model.actions import ActionState
from interlock.model.errors import InvalidInput, NotClaimable

_TAG = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}", re.ASCII)


def loading() -> bool:
    """Whether a child process is importing a guarded function's module."""
    return bool(getattr(sys.modules.get("__main__"), "INTERLOCK_LOADING", False))


def refuse_while_loading() -> None:
    """Refuse to act while a child process imports a guarded function's module (`interlock.dispatch.child`).

    What a module does when it is imported is done again in each such process: a guarded call among it would
    propose the action anew, and might start the next process.

    Raises:
        NotClaimable: nothing was proposed or run.
    """
    if loading():
        raise NotClaimable(
            "A module is being imported for one of its functions; meanwhile nothing is proposed or run.",
            fix='Call guarded functions inside functions, or under `if __name__ == "__main__":`.',
        )


@dataclass(frozen=True, slots=True)
class Guarded:
    """A function bound to a topic by trusted code.

    Attributes:
        tags: risk tags for a topic outside the catalogue.
        checkpoint: gives the agent's state at a call, to be kept with the proposal.
    """

    topic: str
    function: Callable[..., Any]
    signature: inspect.Signature
    tags: tuple[str, ...]
    checkpoint: Callable[[], bytes | None] | None = None

    @classmethod
    def bind(
        cls,
        topic: str,
        function: Callable[..., Any],
        tags: Sequence[str],
        checkpoint: Callable[[], bytes | None] | None = None,
    ) -> Guarded:
        """Raises `InvalidInput` for a signature whose calls have no fixed names."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise InvalidInput(
                f"{function.__qualname__} is a generator; its work would happen after it returned",
                path=topic,
                fix="Guard a function that does the work and returns.",
            )
        kept = () if isinstance(tags, str) else tuple(tags)
        if isinstance(tags, str) or not all(isinstance(tag, str) and _TAG.fullmatch(tag) for tag in kept):
            raise InvalidInput(
                f"{tags!r} are no tags: a tuple of words of a-z, 0-9, - and _",
                path="tags",
                fix='As in tags=("delete", "prod").',
            )
        signature = inspect.signature(function)
        for parameter in signature.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise InvalidInput(
                    f"{function.__qualname__} takes {parameter}; a guarded function names its arguments",
                    path=topic,
                    fix="Give each argument a name; it is what the policy and the reviewer see.",
                )
        return cls(topic, function, signature, kept, checkpoint)

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(
            getattr(self.function, "__call__", None)  # noqa: B004 (an object whose call is a coroutine)
        )

    def check(self, action: Mapping[str, Any]) -> None:
        """Raises `NotClaimable` where the action is not this function's to run; nothing is claimed then.

        Outside the catalogue the tags of the registration are what the policy goes by. An action that was
        allowed without them (proposed over HTTP, where nobody vouches for tags) was decided on less than
        this process knows.
        """
        unseen = set(self.tags) - set(action["tags"])
        if unseen and action["tier"] is None and action["state"] == ActionState.ALLOWED:
            raise NotClaimable(
                f"{action['id']} was allowed without the tags that {self.topic} is registered with: "
                f"{', '.join(sorted(unseen))}.",
                fix="Propose it from this process, or catalogue the topic.",
            )
        try:
            self.signature.bind(**action["args"])
        except TypeError as error:
            raise NotClaimable(
                f"The function bound to {self.topic} does not take these arguments: {error}.",
                fix="Give the function the arguments of the catalogue, optional ones with a default.",
            ) from None

    def named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The call's arguments by name, defaults filled in: the whole call, as it is hashed and shown."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

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
        wait: how many seconds a held call waits for its decision.
    """

    topic: str
    function: Callable[..., Any]
    signature: inspect.Signature
    tags: tuple[str, ...]
    checkpoint: Callable[[], bytes | None] | None = None
    wait: float = 0.0

    @classmethod
    def bind(
        cls,
        topic: str,
        function: Callable[..., Any],
        tags: Sequence[str],
        checkpoint: Callable[[], bytes | None] | None = None,
        wait: float = 0.0,
    ) -> Guarded:
        """Raises `InvalidInput` for a signature whose calls have no fixed names."""
        signature = _signature(topic, function)
        bound = cls(topic, function, signature, checked_tags(tags), checkpoint, wait)
        for parameter in bound.signature.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise InvalidInput(
                    f"{_name(function)} takes {parameter}; a guarded function names its arguments",
                    path=topic,
                    fix="Give each argument a name; it is what the policy and the reviewer see.",
                )
        return bound

    @classmethod
    def handed(
        cls, topic: str, function: Callable[..., Any], tags: Sequence[str], wait: float = 0.0
    ) -> Guarded:
        """A function that is handed in for one run: it is called by the names of the approved arguments, and
        may take them as ``**kwargs``. Raises `InvalidInput` for a generator."""
        return cls(topic, function, _signature(topic, function), tuple(tags), wait=wait)

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


def checked_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Risk tags as trusted code gives them. Raises `InvalidInput`."""
    kept = () if isinstance(tags, str) else tuple(tags)
    if isinstance(tags, str) or not all(isinstance(tag, str) and _TAG.fullmatch(tag) for tag in kept):
        raise InvalidInput(
            f"{tags!r} are no tags: a tuple of words of a-z, 0-9, - and _",
            path="tags",
            fix='As in tags=("delete", "prod").',
        )
    return kept


def _signature(topic: str, function: Callable[..., Any]) -> inspect.Signature:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidInput(
            f"{_name(function)} is a generator; its work would happen after it returned",
            path=topic,
            fix="Guard a function that does the work and returns.",
        )
    return inspect.signature(function)


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))

"""What adapters share: how a tool becomes a topic, and what the model reads of a call that was gated.

1. A topic comes from a mapping that trusted code gives. A tool outside of it gets ``tools.<name>``, made
   lawful so that two names never become one topic: whoever names a tool cannot step into another's rules.
2. A sentence for the model says what became of the call, names the action, and says what to do next. Where
   nothing ran it says so; where nobody knows, it says that.
3. A model does not see that a person edited its call, and repeats it. `edited` says what was changed, and
   every adapter puts it before the result.
4. Values that people and tools wrote are shown with what is invisible written out, and cut.
5. Where a run is resumed twice at once, the one that comes second waits for the tool's result.
6. A tool is handed an approved amount in the type that it was proposed in; nothing else is converted.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from interlock.client import Denied, Ended, Gate, Held
from interlock.model.errors import InDoubt, InterlockError, InvalidInput, NotClaimable
from interlock.model.text import visible
from interlock.model.topics import MAX_LENGTH, parse_topic

UNDER = "tools"
AGAIN_SEC = 0.2
REPEAT = "Tell the user. Repeat the identical call once it is decided; it attaches to this one."
"""What to do about a held call where the framework does not pause by itself."""

_PLAIN = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+){0,13}", re.ASCII)
_MARKED = re.compile(r"-[0-9a-f]{16}\Z", re.ASCII)
_FOREIGN = re.compile(r"[^a-z0-9_-]+", re.ASCII)
_MARK = 17
_SHOWN = 200


class Topics:
    """Tools by name, and their topics.

    Args:
        given: the topic of each tool that trusted code maps; the others get ``<under>.<name>``.
        under: the first segments of those.

    Raises:
        BadTopic: a mapped topic, or `under` with a name, is none.
    """

    def __init__(self, given: Mapping[str, str] | None = None, *, under: str = UNDER) -> None:
        self._given = {name: parse_topic(topic, f"topics.{name}") for name, topic in (given or {}).items()}
        self._under = parse_topic(f"{under}.x", "under").removesuffix(".x")

    def of(self, name: str) -> str:
        """The topic of a tool. Different names have different topics, unless the mapping says otherwise.

        >>> Topics({"refund": "pay.refund"}).of("refund")
        'pay.refund'
        >>> Topics().of("send_money")
        'tools.send_money'
        >>> Topics().of("sendMoney")
        'tools.sendmoney-128ef61c844972a9'
        """
        given = self._given.get(name)
        if given is not None:
            return given
        topic = f"{self._under}.{_lawful(name, MAX_LENGTH - len(self._under) - 1)}"
        if topic in self._given.values():
            raise InvalidInput(
                f"{topic} is the topic of another tool, and the tool {visible(name, 80)} is not mapped",
                path="topics",
                fix="Give each of the two a topic.",
            )
        return topic


def _lawful(name: str, room: int) -> str:
    """The name where it can stand in a topic; otherwise what is left of it, marked with the name's hash."""
    if len(name) <= room and _PLAIN.fullmatch(name) and not _MARKED.search(name):
        return name
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[: _MARK - 1]
    return f"{_FOREIGN.sub('_', name.lower())[: min(80, room - _MARK)]}-{mark}"


def call_id(*parts: str) -> str:
    """One call of one run, as `Gate.propose` takes it: short, and different where any of the parts is.

    Args:
        parts: whatever names the call in its framework and stays when a node is executed again: the thread,
            the message, the tool call.
    """
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


async def run_to_end(gate: Gate, action_id: str, function: Callable[..., Any]) -> Any:
    """`Gate.run_async`; where somebody else runs it just now, their result when they are done.

    A holder that is gone keeps it waiting for as long as its lease lasts, a quarter of a minute.

    Raises:
        As `Gate.run_async`. NotClaimable: it may run, but not now (a kill switch).
    """
    while True:
        try:
            return await gate.run_async(action_id, function)
        except NotClaimable:
            state = (await asyncio.to_thread(gate.action, action_id))["state"]
            if state in ("allowed", "approved"):
                raise
            if state == "executing":
                await asyncio.sleep(AGAIN_SEC)


def as_given(approved: Any, given: Any) -> Any:
    """An approved amount in the JSON type that it was proposed in; any other value as it is.

    >>> as_given(Decimal("120.00"), 500), as_given(Decimal("120.00"), 4.5), as_given(Decimal("120.00"), "500")
    (120, 120.0, '120.00')
    """
    if not isinstance(approved, Decimal):
        return approved
    if isinstance(given, bool) or not isinstance(given, int | float):
        return str(approved)
    return int(approved) if approved == approved.to_integral_value() else float(approved)


def faults(error: ValidationError) -> str:
    """What a schema does not take, field by field, without the values."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)


# --- what the model reads ---------------------------------------------------------------------------------


def edited(action: Mapping[str, Any]) -> str:
    """What a person changed about the call before it ran, as a sentence; empty where nobody did."""
    changes = [_change(row) for row in action.get("edited") or ()]
    if not changes:
        return ""
    return (
        f"A person changed this call before it ran: {'; '.join(changes)}. This is what ran, on purpose. "
        "Do not repeat your own version."
    )


def with_edit(action: Mapping[str, Any], text: str) -> str:
    """A result as the model reads it, after `edited`."""
    said = edited(action)
    return f"{said}\n\n{text}" if said else text


def kept_text(kept: Any, note: str | None = None) -> str:
    """The recorded result of a call that ran before; `note` stands in for a result that could not be kept."""
    if kept is None:
        return f"It ran. {note or ''}".strip()
    return kept if isinstance(kept, str) else json.dumps(kept, ensure_ascii=False)


def told(error: InterlockError, *, again: str = REPEAT) -> str:
    """What the model reads where the gate did not let the call through.

    Args:
        again: what to do about a held call; the default fits where the framework does not pause by itself.
    """
    match error:
        case Held():
            said = f"{error.detail} It has not run. {again}".strip()
        case Denied(state="rejected"):
            said = f"{error.detail} Do not repeat it unchanged."
        case Ended(state="expired"):
            said = f"{error.detail} Nobody rejected it; ask the user whether it is still wanted."
        case Denied() | Ended() | InDoubt():
            said = error.detail
        case NotClaimable():
            return f"{error.detail} Do not call it again; ask for its result later."
        case InvalidInput():
            return f"Not proposed, and not run. {error}"
        case _:
            return f"The gate did not let this run: {error}"
    action = error.extra.get("action")
    return f"{said} Action {action}." if action else said


def _change(row: Mapping[str, Any]) -> str:
    name = visible(str(row["field"]), _SHOWN)
    if "before" not in row:
        return f"{name} was added: {_value(row['after'])}"
    if "after" not in row:
        return f"{name} was taken out: {_value(row['before'])}"
    return f"{name} from {_value(row['before'])} to {_value(row['after'])}"


def _value(value: object) -> str:
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), _SHOWN)

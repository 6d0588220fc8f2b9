"""One call of a tool, as the gate makes it: in the claim, with the approved arguments.

1. The server is called once, by the arguments that the claim hands in, and never by those that the client
   gave.
2. Exact numbers go out in the JSON that the tool's schema names; one that cannot be said in it exactly is not
   sent. What ran otherwise than it was asked for is known afterwards.
3. An answer that is an error is raised, so that nobody takes it for a success.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import mcp_types as types

from interlock.adapters.mcp.tools import Known, wire
from interlock.adapters.mcp.upstream import Upstream
from interlock.model.calls import current_call
from interlock.model.errors import InvalidInput, NoEffect
from interlock.model.money import decimal_of


class ToolFailed(Exception):
    """The tool answered with an error of its own."""

    def __init__(self, result: types.CallToolResult) -> None:
        super().__init__("the tool answered with an error")
        self.result = result


class Call:
    """One call of a tool: what the gate calls, in the claim, with the approved arguments.

    Attributes:
        asked: the arguments that the client gave; None where it asks after an earlier call.
        ran: the arguments of the run; None while there was none. action_id: of that run.
        later: asked in the claim, where time has passed since the tool was looked at; false: not called.
    """

    def __init__(
        self, ctx: Any, tool: Known | None, upstream: Upstream | None, asked: Mapping[str, Any] | None
    ) -> None:
        self._ctx = ctx
        self.tool = tool
        self._upstream = upstream
        self.asked = asked
        self.ran: Mapping[str, Any] | None = None
        self.action_id: str | None = None
        self.later: Callable[[], bool] | None = None

    @property
    def topic(self) -> str:
        return "" if self.tool is None else self.tool.topic

    __signature__ = inspect.Signature([inspect.Parameter("args", inspect.Parameter.VAR_KEYWORD)])

    async def __call__(self, /, **args: Any) -> Any:
        if self.tool is None or self._upstream is None:
            raise NoEffect("The tool's server does not stand behind this gateway.")
        if self.later is not None and not await asyncio.to_thread(self.later):
            raise NoEffect(
                "The tool's server changed what it says of the tool, and nobody has accepted that."
            )
        under_way = current_call()
        self.ran, self.action_id = args, None if under_way is None else under_way.action
        try:
            sent = wire(args, self.tool.definition.input_schema)
        except InvalidInput as error:
            raise NoEffect(str(error)) from error

        async def report(progress: float, total: float | None, message: str | None) -> None:
            with contextlib.suppress(Exception):  # a client that is gone stops nothing here
                await self._ctx.session.report_progress(progress, total, message)

        result = await self._upstream.call(self.tool.definition.name, sent, report, self.action_id)
        if result.is_error:
            raise ToolFailed(result)
        kept = {"meta", "result_type"}
        return result.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=kept)

    def changes(self) -> Mapping[str, Any]:
        """What was run otherwise than it was asked for, in the form of an action's view."""
        ran, asked = self.ran or {}, self.asked or {}
        rows: list[dict[str, Any]] = []
        for name in sorted({*ran, *asked}) if self.asked is not None else ():
            before, after = _shown(asked.get(name), ran.get(name)), _shown(ran.get(name), asked.get(name))
            if name in asked and name in ran and before == after:
                continue
            row = {"field": name}
            rows.append(row | ({"before": before} if name in asked else {}))
            if name in ran:
                rows[-1]["after"] = after
        return {"edited": rows}


def _shown(value: Any, other: Any) -> Any:
    """A value as it is compared with another: where one of them is a number, by its worth."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | float | str):
        return value
    if isinstance(value, str) and not isinstance(other, Decimal):
        return value
    try:
        return f"{decimal_of(value).normalize():f}"
    except InvalidInput:
        return value

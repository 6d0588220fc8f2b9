"""The gateway's server: what each request of a client becomes.

1. `tools/call` goes to the gate and nowhere else; the function that calls the server is handed to the claim.
2. Tools are read again from their servers whenever a client lists them, and before a call where a server said
   that they changed. What was read is written down, for whoever accepts it elsewhere.
3. A held call is waited for `wait_sec`, then answered as held. Its action is remembered by agent, topic and
   arguments until its end was told once; the gate itself attaches a repetition to what is still open.
4. Whoever makes a request is known before anything is answered; what is not theirs is not there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, Protocol

import mcp_types as types
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.shared.exceptions import MCPError

from interlock.adapters.mcp import answers, tasks
from interlock.adapters.mcp.call import Call, ToolFailed
from interlock.adapters.mcp.links import Waiting
from interlock.adapters.mcp.passing import Passing
from interlock.adapters.mcp.servers import Server as Configured
from interlock.adapters.mcp.tools import ASK, RESULT, Known, Left, known, offered, own_tools
from interlock.adapters.mcp.upstream import Upstream
from interlock.client import Gate, Held
from interlock.dispatch.credentials import Credentials
from interlock.gate.tools import SeenTool
from interlock.model.canonical import canonical
from interlock.model.errors import InterlockError, InvalidInput, NoEffect, NotClaimable, NotFound
from interlock.model.text import visible

WAIT_SEC = 2.0
LONGEST_WAIT_SEC = 45.0
POLL_SEC = 0.25
REMEMBERED = 10_000
SESSIONS = 1_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asking:
    """Whoever makes a request: their gate, the agent's name, and which topics they may propose."""

    gate: Gate
    agent: str
    may: Callable[[str], bool] = lambda _topic: True


class Accepted(Protocol):
    """Which definitions of tools somebody accepted, by their hashes."""

    def of(self, topic: str) -> str | None:
        """The hash that was accepted for a topic. Raises `Tampered`."""
        ...

    async def of_async(self, topic: str) -> str | None:
        """As `of`, without blocking the event loop."""
        ...

    def saw(self, servers: Collection[str], tools: Iterable[SeenTool]) -> None:
        """Write down what these servers say of all their tools now."""
        ...


class Gateway:
    """One gateway. Enter it before its server is run; everything happens in one event loop.

    Args:
        servers: what stands behind it. several: name tools by server; by default where there is not just one.
        asking: who makes a request, by its context; raises `MCPError` for a stranger.
        accepted: which definitions of tools count.
        wait_sec: how long a held call is waited for, at most `LONGEST_WAIT_SEC`.
    """

    def __init__(
        self,
        servers: tuple[Configured, ...],
        *,
        credentials: Credentials,
        asking: Callable[[Any], Asking],
        accepted: Accepted,
        wait_sec: float = WAIT_SEC,
        several: bool | None = None,
    ) -> None:
        self._upstreams = {each.name: Upstream(each, credentials, self._changed) for each in servers}
        self.several = len(servers) != 1 if several is None else several
        self.asking = asking
        self._accepted = accepted
        self._wait_sec = min(wait_sec, LONGEST_WAIT_SEC)
        self._known: dict[str, Known] = {}
        self._topics: dict[str, Known] = {}
        self.left: list[Left] = []
        """What is not offered."""
        self._stale = True
        self._reading = asyncio.Lock()
        self._remembered: OrderedDict[tuple[str, str, bytes], str] = OrderedDict()
        self._sessions: OrderedDict[str, Any] = OrderedDict()
        self._bus = InMemorySubscriptionBus()
        self._tasks: list[asyncio.Task[None]] = []
        passing = Passing(self._upstreams, several=self.several, met=self._met)
        self.server = _server(self, passing)

    async def __aenter__(self) -> Gateway:
        self._tasks = [
            asyncio.create_task(each.run(), name=each.server.name) for each in self._upstreams.values()
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- tools -------------------------------------------------------------------------------------------

    async def read(self) -> list[Known]:
        """Read the tools of every server. What cannot be reached offers none, and is logged."""
        async with self._reading:
            self._stale = False
            listed = await asyncio.gather(*(self._listed(each) for each in self._upstreams.values()))
            found, self.left = known(dict(zip(self._upstreams, listed, strict=True)), several=self.several)
            self._known = {each.name: each for each in found}
            self._topics = {each.topic: each for each in found}
            answered = [name for name, tools in zip(self._upstreams, listed, strict=True) if tools]
            try:
                await asyncio.to_thread(self._accepted.saw, answered, [each.seen for each in found])
            except InterlockError as error:
                _log.warning("what servers say of their tools is not written down: %s", error)
            return found

    def silent(self) -> dict[str, str]:
        """The servers that have no connection, with why."""
        return {name: each.trouble for name, each in self._upstreams.items() if each.trouble}

    async def _listed(self, upstream: Upstream) -> list[types.Tool]:
        try:
            return await upstream.tools()
        except (MCPError, InterlockError, ValueError) as error:
            _log.warning("%s lists no tools: %s", upstream.server.name, visible(str(error), 300))
            self._stale = True
            return []

    async def list_tools(self, ctx: Any, _params: Any) -> types.ListToolsResult:
        asking = self._met(ctx)
        found = [each for each in await self.read() if asking.may(each.topic)]

        def shown() -> list[types.Tool]:
            return [offered(each, accepted=self._accepted.of(each.topic) == each.hash) for each in found]

        tools = await asyncio.to_thread(shown)
        return types.ListToolsResult(tools=[*tools, *own_tools()])

    async def call_tool(self, ctx: Any, params: types.CallToolRequestParams) -> Any:
        asking = self._met(ctx)
        gate, args = asking.gate, params.arguments or {}
        if params.name == RESULT:
            return await self._told(ctx, args)
        if params.name == ASK:
            return await self._asked(ctx, gate, args)
        if self._stale:
            await self.read()
        tool = self._known.get(params.name)
        if tool is None or not asking.may(tool.topic):
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {visible(params.name, 200)}")
        if await self._accepted.of_async(tool.topic) != tool.hash:
            return answers.unaccepted(tool)
        try:
            key = asking.agent, tool.topic, canonical(_exact(args))
        except InterlockError as error:
            return answers.refused(error)
        gate.register(tool.topic)
        call = Call(ctx, tool, self._upstreams[tool.server], args)
        waiting = Waiting(ctx, params, self._wait_sec, LONGEST_WAIT_SEC)
        with waiting.ended():
            return await self._follow(ctx, gate, call, self._remembered.get(key), key, waiting)

    async def _told(self, ctx: Any, args: Mapping[str, Any]) -> Any:
        """`interlock_result`: an approved call is carried out, any other told."""
        action_id = args.get("action")
        if not isinstance(action_id, str):
            raise MCPError(code=types.INVALID_PARAMS, message="interlock_result takes the action's id")
        return await self.tell(ctx, action_id)

    async def _asked(self, ctx: Any, gate: Gate, args: Mapping[str, Any]) -> Any:
        """`interlock_ask`: a person is asked; the same question again is the same one while it waits."""
        question, options = args.get("question"), args.get("options") or []
        texts = isinstance(question, str) and isinstance(options, list)
        if (
            not texts
            or not all(isinstance(each, str) for each in options)
            or {*args} - {"question", "options"}
        ):
            raise MCPError(code=types.INVALID_PARAMS, message=f"{ASK} takes a question, and options as texts")
        try:
            said = await asyncio.to_thread(partial(gate.ask, str(question), options=tuple(options)))
        except Held as error:
            return self._held(ctx, error)
        except InterlockError as error:
            return answers.refused(error)
        return answers.said(said)

    async def action(self, ctx: Any, action_id: str) -> dict[str, Any]:
        """An action of whoever asks, within their topics. Raises `NotFound`, `InvalidInput`."""
        asking = self.asking(ctx)
        action = await asyncio.to_thread(asking.gate.action, action_id)
        if action["executor"] != "question" and not asking.may(action["topic"]):
            raise NotFound(f"There is no action {visible(action_id, 64)}.")
        return action

    async def tell(self, ctx: Any, action_id: str) -> Any:
        """Where such an action stands, with its result; an approved one is carried out."""
        try:
            action = await self.action(ctx, action_id)
        except (NotFound, InvalidInput) as error:
            return answers.refused(error)
        tool = self._topics.get(action["topic"])
        if tool is None and self._stale:
            await self.read()
            tool = self._topics.get(action["topic"])
        if action["state"] in ("allowed", "approved"):
            if tool is None:
                return answers.outcome(action)
            if await self._accepted.of_async(tool.topic) != tool.hash:
                return answers.unaccepted(tool)
        key = next((key for key, kept in self._remembered.items() if kept == action_id), None)
        call = Call(ctx, tool, None if tool is None else self._upstreams[tool.server], None)
        call.later = partial(self._sound, tool)
        waiting = Waiting(ctx, None, 0.0, 0.0)
        return await self._follow(ctx, self.asking(ctx).gate, call, action_id, key, waiting)

    async def _follow(
        self,
        ctx: Any,
        gate: Gate,
        call: Call,
        action_id: str | None,
        key: tuple[str, str, bytes] | None,
        waiting: Waiting,
    ) -> Any:
        """Propose, or go on with, an action; wait a while for what is held; and say what became of it."""
        while True:
            try:
                if action_id is None:
                    found = await gate.call_async(call.topic, call.asked or {}, call)
                else:
                    found = await gate.run_async(action_id, call)
            except Held as error:
                action_id = error.action_id
                offered, left = waiting.offer(error), waiting.left
                if offered is not None or left <= 0:
                    self._remember(key, action_id)
                    return offered or self._held(ctx, error)
                call.later = partial(self._sound, call.tool)
                await asyncio.sleep(min(POLL_SEC, left))
                continue
            except NotClaimable as error:
                action_id, left = error.extra.get("action", action_id), waiting.left
                action = None if action_id is None else await asyncio.to_thread(gate.action, action_id)
                if action is not None and action["state"] == "executing" and left <= 0:
                    return answers.running(action)
                if action is None or action["state"] not in ("executing", "succeeded"):
                    return answers.refused(error)
                await asyncio.sleep(min(POLL_SEC, max(left, 0.0)))
                continue
            except ToolFailed as error:
                answer = answers.failed(error.result, await self._view(gate, action_id or call.action_id))
            except NoEffect as error:
                answer = answers.unsent(error)
            except InterlockError as error:
                answer = answers.refused(error)
            else:
                again = await self._view(gate, action_id) if call.ran is None else call.changes()
                if isinstance(found, str) and again is not None and again.get("state") == "answered":
                    answer = answers.said(found)
                else:
                    answer = answers.result(found, again)
            if key is not None:
                self._remembered.pop(key, None)
            return answer

    def _sound(self, tool: Known | None) -> bool:
        """Whether a tool is still what was accepted, after somebody has waited."""
        now = None if tool is None else self._topics.get(tool.topic)
        return now is not None and not self._stale and self._accepted.of(now.topic) == now.hash

    async def _view(self, gate: Gate, action_id: str | None) -> Mapping[str, Any] | None:
        return None if action_id is None else await asyncio.to_thread(gate.action, action_id)

    def _held(self, ctx: Any, error: Held) -> Any:
        return tasks.task(error.action) if tasks.wanted(ctx) else answers.held(error)

    def _remember(self, key: tuple[str, str, bytes] | None, action_id: str) -> None:
        if key is not None:
            self._remembered[key] = action_id
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)

    # --- notifications -----------------------------------------------------------------------------------

    def _met(self, ctx: Any) -> Asking:
        """Who asks; and remember how to reach them, which does nothing where no stream stands open."""
        asking = self.asking(ctx)
        headers = getattr(ctx.request, "headers", {}) or {}
        self._sessions[headers.get("mcp-session-id", "")] = ctx.session
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return asking

    async def _changed(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._stale = True
            await self._bus.publish(ToolsListChanged())
        for name, session in list(self._sessions.items()):
            try:
                await session.send_notification(message)
            except Exception:  # noqa: BLE001 (whatever a client that is gone leaves behind)
                self._sessions.pop(name, None)


class _Server(Server[Any]):
    """Says of itself that its lists change, over every transport."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> Any:
        every = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(
            notification_options or every, experimental_capabilities, extensions
        )


def _server(gateway: Gateway, passing: Passing) -> Server[Any]:
    server = _Server(
        "interlock",
        version=version("interlock"),
        instructions=(
            "Calls of tools pass a gate. One that is held says so: tell the user, and ask for its result "
            f"later with {RESULT}. Never work around a call that is held or denied."
        ),
        on_list_tools=gateway.list_tools,
        on_call_tool=gateway.call_tool,
        on_list_prompts=passing.list_prompts,
        on_get_prompt=passing.get_prompt,
        on_list_resources=passing.list_resources,
        on_list_resource_templates=passing.list_templates,
        on_read_resource=passing.read_resource,
        on_completion=passing.complete,
        on_subscriptions_listen=ListenHandler(gateway._bus),
    )
    tasks.register(server, gateway.tell, gateway.action, lambda ctx: gateway.asking(ctx).gate)
    return server


def _exact(args: Any) -> Any:
    """Arguments as something that has a canonical form, for comparing calls only."""
    if isinstance(args, Mapping):
        return {str(key): _exact(value) for key, value in args.items()}
    if isinstance(args, list):
        return [_exact(value) for value in args]
    return repr(args) if isinstance(args, float) else args

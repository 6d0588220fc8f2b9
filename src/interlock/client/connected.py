"""The gate at a server elsewhere: what `Gate.connect` stands on.

1. Nothing is decided, kept or known here but functions and the claims they run under. What runs is the
   binding that the server hashed, under a claim whose token this process made up.
2. Every request may be sent again (`interlock.client.server`): a proposal carries a name of its own sending,
   a claim its token, a report its token and epoch. So nothing runs twice where an answer was lost, and a
   claim whose answer is lost is asked for again.
3. Directly before the call the claim is renewed: that is the server's word that it still holds and that no
   kill switch covers it. A word that was long on its way is asked for again.
4. While a function runs one thread renews its lease, every `SIGNAL_SEC`, and hears of kill switches by that.
5. Where the outcome cannot be reported the call raises `Unavailable`, and the action is in doubt.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from interlock.client.backend import Callback, Following
from interlock.client.remote_news import RemoteFollower, RemoteWatcher
from interlock.client.server import PATIENCE_SEC, Answer, Server
from interlock.dispatch import Execution, lacking
from interlock.dispatch.caller import typed_by_name
from interlock.dispatch.lease import Leases
from interlock.dispatch.stopping import Stopping
from interlock.gate import KillSwitchOn, Report
from interlock.gate.resumable import Resumable
from interlock.identity import KeyKind
from interlock.model.actions import ActionState, ExecutorKind, Proposal
from interlock.model.canonical import MAX_BYTES, canonical, parse_json, plain
from interlock.model.errors import (
    Conflict,
    Forbidden,
    HomeUnusable,
    InterlockError,
    NotClaimable,
    StaleClaim,
    Unauthenticated,
)
from interlock.model.verdicts import Constraints, Tier

_GRANTED = (
    "action",
    "revision",
    "epoch",
    "binding",
    "decimals",
    "tier",
    "constraints",
    "amount_usd",
    "key",
    "remembered_sec",
)
SIGNAL_SEC = 2.0
FRESH_SEC = 5.0
RENEW_PATIENCE_SEC = 4.0
LONG_POLL_SEC = 20
DISPATCH_SEC = 60.0
_GOING = (ActionState.ALLOWED, ActionState.APPROVED, ActionState.EXECUTING)


class Elsewhere:
    """An `Execution` under a claim of a server."""

    def __init__(self, gate: Connected, token: str, answer: Answer) -> None:
        said = answer.body
        binding: Any = plain(parse_json(said["binding"]))
        self._gate = gate
        self._token = token
        self._remembered_until = answer.sent + int(said["remembered_sec"])
        self.action_id: str = said["action"]
        self.revision: int = said["revision"]
        self.epoch: int = said["epoch"]
        self.topic: str = binding["topic"]
        self.key: str = said["key"]
        self.args = typed_by_name(binding["args"], said["decimals"])
        self.tier = None if said["tier"] is None else Tier(said["tier"])
        self.constraints = Constraints.from_json(said["constraints"])
        self.amount_usd = None if said["amount_usd"] is None else Decimal(said["amount_usd"])

    def kept(self) -> AbstractContextManager[Stopping]:
        return self._gate.leases.keep(self)

    def withheld(self) -> str | None:
        try:
            for _ in range(3):
                answer = self.renew()
                if time.monotonic() - answer.sent < FRESH_SEC:
                    return None
        except KillSwitchOn as error:
            return error.detail.rstrip(".")
        except StaleClaim:
            return "the claim holds the action no more"
        except InterlockError as error:
            return f"the gate could not be asked ({error.slug})"
        return "the gate answers too slowly"

    async def withheld_async(self) -> str | None:
        return await asyncio.to_thread(self.withheld)

    async def settle_async(self, report: Report) -> None:
        await asyncio.to_thread(self.settle, report)

    def remembered(self) -> bool:
        return time.monotonic() < self._remembered_until

    def renew(self) -> Answer:
        path = f"/v1/actions/{self.action_id}/renew"
        held = {"claim": self._token, "epoch": self.epoch}
        return self._gate.server.post(path, held, patience=RENEW_PATIENCE_SEC)

    def settle(self, report: Report) -> None:
        body: dict[str, Any] = {
            "claim": self._token,
            "epoch": self.epoch,
            "outcome": report.state.value,
            "note": report.note,
            "result": report.result,
        }
        if report.breach is not None:
            body["breach"] = report.breach
        if len(canonical(body)) > MAX_BYTES:
            body |= {"note": f"{report.note} Its result was too large to be kept.", "result": None}
        self._gate.server.post(f"/v1/actions/{self.action_id}/outcome", body)


class Connected:
    """A server, seen by the process of an agent or its host."""

    def __init__(self, server: Server) -> None:
        self.server = server
        who = server.get("/v1/caller", patience=0.0)
        server.understood(who, "kind", "name", "topics")
        if who["kind"] not in (KeyKind.AGENT, KeyKind.ADAPTER):
            server.close()
            raise Forbidden(
                f"This is the key of {_A[who['kind']]}; a gate takes an adapter's or an agent's.",
                fix="Make one on the server's machine: interlock keys add --kind adapter.",
            )
        self._adapter = who["kind"] == KeyKind.ADAPTER
        self.agent: str = who["name"]
        self.leases: Leases[Elsewhere] = Leases(self, signal_sec=SIGNAL_SEC)
        self._watcher = RemoteWatcher(server)

    @classmethod
    def open(cls, url: str | None, key: str | None, *, insecure: bool, ca: Path | None) -> Connected:
        """As `Gate.connect`."""
        where = url if url is not None else os.environ.get("INTERLOCK_URL", "")
        shown = key if key is not None else os.environ.get("INTERLOCK_KEY", "").strip()
        server = Server(where, shown, insecure=insecure, ca=ca)
        try:
            return cls(server)
        except BaseException:
            server.close()
            raise

    @property
    def folder(self) -> Path:
        raise HomeUnusable("The home of a connected gate is at its server.", fix=f"See {self.server.url}.")

    # --- acting ------------------------------------------------------------------------------------------

    def propose(
        self,
        proposal: Proposal,
        function: Callable[..., Any] | None,
        *,
        registered: bool,
        inline: bool,
        retry_of: str | None = None,
    ) -> tuple[str, Execution | None]:
        body: dict[str, Any] = {
            "topic": proposal.topic,
            "args": proposal.args,
            "principal": proposal.principal,
            "session": proposal.session,
            "parent_action": proposal.parent_action,
            "call_id": proposal.call_id,
            "confidence": proposal.confidence,
            "reasoning": proposal.reasoning,
            "alternatives": list(proposal.alternatives),
            "retry_of": retry_of,
        }
        headers = {}
        if proposal.idempotency_key is not None:
            headers["idempotency-key"] = proposal.idempotency_key
        elif proposal.call_id is None:
            body["attempt"] = secrets.token_hex(16)
        if proposal.checkpoint is not None:
            body["checkpoint"] = base64.b64encode(proposal.checkpoint).decode()
        token = _token()
        if registered and self._adapter:
            body |= {"tags": list(proposal.tags), "cannot": _cannot(function)}
            if inline and function is not None:
                body["claim"] = token
        answer = self.server.post("/v1/actions", body, headers=headers)
        view, claim = answer.body, answer.body.get("claim")
        self.server.understood(view, "id", "state", "executor")
        self._watcher.mine(view["id"])
        if claim is not None:
            return view["id"], self._granted(token, replace(answer, body=claim))
        # Where the answer with the claim was lost, its token asks for it again.
        began = ActionState.EXECUTING if answer.repeated else ActionState.ALLOWED
        ours = view["executor"] == ExecutorKind.CALLER and view["state"] in (ActionState.ALLOWED, began)
        if inline and ours and function is not None:
            return view["id"], self._claim(view["id"], function, token)
        return view["id"], None

    async def propose_async(
        self, proposal: Proposal, function: Callable[..., Any] | None
    ) -> tuple[str, Execution | None]:
        return await asyncio.to_thread(self.propose, proposal, function, registered=True, inline=True)

    def action(self, action_id: str) -> dict[str, Any]:
        return self.server.get(_of(action_id))

    def wait(self, action_id: str, seconds: float) -> dict[str, Any]:
        return self._until(action_id, (ActionState.HELD,), seconds)

    def _until(self, action_id: str, states: Sequence[ActionState], seconds: float) -> dict[str, Any]:
        """The action once it is in none of these states, or after so many seconds."""
        until = time.monotonic() + seconds
        view = self.action(action_id)
        while view["state"] in states and (left := until - time.monotonic()) > 0:
            asked, most = time.monotonic(), max(1, min(LONG_POLL_SEC, int(left)))
            view = self.server.get(_of(action_id), wait=most, seen=view["state"])
            if view["state"] in states and time.monotonic() - asked < most / 2:
                time.sleep(min(1.0, max(0.0, until - time.monotonic())))  # nobody lets us wait there now
        return view

    def checkpoint(self, action_id: str) -> bytes | None:
        kept = self.server.get(f"{_of(action_id)}/checkpoint")["checkpoint"]
        return None if kept is None else base64.b64decode(kept)

    def claim(self, action_id: str, function: Callable[..., Any]) -> Execution:
        return self._claim(action_id, function, _token())

    def _claim(self, action_id: str, function: Callable[..., Any], token: str) -> Execution:
        body = {"claim": token, "cannot": _cannot(function)}
        return self._granted(token, self.server.post(f"{_of(action_id)}/claim", body))

    def _granted(self, token: str, answer: Answer) -> Execution:
        self.server.understood(answer.body, *_GRANTED)
        return Elsewhere(self, token, answer)

    def dispatch(self, action_id: str) -> None:
        view = self._until(action_id, _GOING, DISPATCH_SEC)
        if view["state"] in _GOING:
            raise NotClaimable(f"The server has not carried out {action_id} yet.", fix="Ask again later.")

    def withdraw(self, action_id: str) -> None:
        try:
            self.server.post(f"{_of(action_id)}/withdraw", {})
        except Conflict:
            if self.action(action_id)["state"] != ActionState.WITHDRAWN:  # then an answer was lost
                raise

    def rollback_plan(self, action_id: str) -> dict[str, Any]:
        return self.server.get(f"{_of(action_id)}/rollback")

    def rollback(self, action_id: str) -> str:
        undo: dict[str, Any] = self.server.post(f"{_of(action_id)}/rollback", {}).body["rollback"]
        self._watcher.mine(undo["id"])
        return str(undo["id"])

    # --- sessions ----------------------------------------------------------------------------------------

    def open_session(self, principal: str | None, ref: str | None) -> dict[str, Any]:
        opened = self.server.post(
            "/v1/sessions", {"principal": principal, "ref": ref or secrets.token_hex(16)}
        )
        self.server.understood(opened.body, "id", "state")
        return opened.body

    def record(self, session_id: str, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        named = {**body, "ref": body["ref"] or secrets.token_hex(16)}  # it may be sent again
        place = self.server.post(f"/v1/sessions/{quote(session_id, safe='')}/{what}", named).body
        self.server.understood(place, "number")
        return place

    def end_session(self, session_id: str) -> None:
        self.server.post(f"/v1/sessions/{quote(session_id, safe='')}/end", {})

    # --- leases, as `Leases` asks ------------------------------------------------------------------------

    def renew(self, claimed: Sequence[Elsewhere], /) -> list[Elsewhere]:
        """All of them: `halted` renews them, more often."""
        return list(claimed)

    def halted(self, running: Sequence[Elsewhere], /) -> list[tuple[Elsewhere, str]]:
        found: list[tuple[Elsewhere, str]] = []
        failed: InterlockError | None = None
        for execution in running:
            try:
                execution.renew()
            except KillSwitchOn as error:
                found.append((execution, error.detail.rstrip(".")))
            except StaleClaim:
                continue  # said already what became of it
            except InterlockError as error:
                failed = error
        if failed is not None and not found:
            raise failed
        return found

    # --- going on for others -----------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Nothing: the server does."""

    def on_decided(self, callback: Callback) -> None:
        if self._adapter and not self._watcher.asked:
            RemoteFollower(self.server, []).begin()
        self._watcher.on_decided(callback)

    def follow(self, callbacks: list[Callback]) -> Following:
        self._watcher.close()
        return RemoteFollower(self.server, callbacks)

    def resumable(self, topics: Collection[str], limit: int) -> tuple[list[Resumable], dict[str, str]]:
        body = {"topics": sorted(topics), "limit": min(limit, 100)}
        said = self.server.post("/v1/actions/ready", body, patience=RENEW_PATIENCE_SEC).body
        return [Resumable(one["id"], one["revision"], one["topic"]) for one in said["items"]], said["others"]

    async def serve(self, stop: asyncio.Event, news: Callable[[], None]) -> None:
        """Tell of news until `stop`; the server serves its home itself."""
        after: int | None = None
        while not stop.is_set():
            try:
                told = await asyncio.to_thread(self._news, after)
                if after is not None and told["items"]:
                    news()
                after = told["next"]
            except Unauthenticated:
                raise
            except InterlockError:
                await asyncio.sleep(1.0)

    def _news(self, after: int | None) -> dict[str, Any]:
        if after is None:
            return self.server.get("/v1/news")
        return self.server.get("/v1/news", after=after, wait=2, patience=PATIENCE_SEC)

    def close(self) -> None:
        self._watcher.close()
        self.leases.close()
        self.server.close()


_A = {KeyKind.PERSON: "a person", KeyKind.EXECUTOR: "an executor"}


def _token() -> str:
    """What names one run of this process to the server, and is known nowhere else."""
    return secrets.token_urlsafe(24)


def _of(action_id: str) -> str:
    return f"/v1/actions/{quote(action_id, safe='')}"


def _cannot(function: Callable[..., Any] | None) -> list[str]:
    """The constraints that a function cannot be held to; one that is handed in later is none of a module."""
    return ["max_runtime_sec"] if function is None or lacking(function) is not None else []

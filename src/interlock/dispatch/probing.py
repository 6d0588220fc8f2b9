"""Probing: reading the state of the world that an action rests on, and nothing else.

1. A probe goes out as an action of its kind would: the same templates, credentials, limits on networks and
   caps on what is read (`interlock.dispatch.http`, `.sql`, `.mcp`). It carries no idempotency key: a service
   that remembers keys would answer with what was true when it first saw this one.
2. It is asked once. What went wrong is a `Reading` that is unavailable and says why, never an exception and
   never silence. No redirect, no status but 2xx, no answer that is not JSON is a reading.
3. Only the fields that the probe names leave here, at most `MAX_FIELDS_BYTES` of them together.
4. It has `PATIENCE_SEC` seconds, fewer than the age at which a claim would refuse what it read.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from interlock.dispatch.connectors import Connectors
from interlock.dispatch.outcome import Failed, Outcome, Succeeded
from interlock.engine import Delivery
from interlock.gate import Gatekeeper
from interlock.gate.reading import ProbeUnavailable
from interlock.model.canonical import Json, canonical, parse_json, plain
from interlock.model.errors import Erased, InterlockError, InvalidInput, NotFound, Tampered
from interlock.model.readings import Reading
from interlock.model.text import visible
from interlock.model.verdicts import Constraints
from interlock.policy import HttpExecute, McpExecute, Probe, SqlExecute

PATIENCE_SEC = 4.0
PARALLEL = 8
REFUSED_SEC = 60.0
"""How long a request is left alone whose record cannot be used."""
MAX_FIELDS_BYTES = 1 << 16
_log = logging.getLogger(__name__)
_PLACE = re.compile(r"0|[1-9][0-9]{0,5}", re.ASCII)


class Unreadable(Exception):
    """An answer is no reading; the text is a clause for a person."""


class Prober:
    """Reads what probes name. Safe to share between tasks, threads and event loops.

    Args:
        connectors: what goes out.
        now: the journal's clock, in microseconds UTC.
    """

    def __init__(self, connectors: Connectors, now: Callable[[], int]) -> None:
        self._connectors = connectors
        self._now = now

    async def read(
        self,
        probe: Probe,
        args: Mapping[str, Json],
        constraints: Constraints,
        *,
        action: str,
        timeout_sec: float = PATIENCE_SEC,
    ) -> Reading:
        """Ask once.

        Args:
            args: the action's arguments as they were hashed.
            constraints: those in force for the action; its `network_allowlist` holds for its probe.
            action: the action's id, told to services as for an execution.
            timeout_sec: from the start of connecting to the last byte.
        """
        began = self._now()
        handed = args
        if isinstance(probe.read, McpExecute):
            handed = {name: args[argument] for name, argument in probe.takes if argument in args}
        try:
            async with asyncio.timeout(timeout_sec):
                outcome = await self._connectors.send(
                    probe.read,
                    handed,
                    Constraints(network_allowlist=constraints.network_allowlist),
                    key=None,
                    action=action,
                    read_only=True,
                )
        except TimeoutError:
            return Reading(began, reason=f"no answer within {timeout_sec:g} s")
        except InterlockError as error:
            return Reading(began, reason=error.detail)
        except Exception as error:  # noqa: BLE001 (whatever a credential's store raises is no reading)
            return Reading(began, reason=f"it stopped with {type(error).__name__}")
        return _judge(outcome, probe, began)

    def read_here(
        self,
        probe: Probe,
        args: Mapping[str, Json],
        constraints: Constraints,
        action: str,
        *,
        timeout_sec: float = PATIENCE_SEC,
    ) -> Reading:
        """As `read`, from any thread, with an event loop of its own."""
        asked = self.read(probe, args, constraints, action=action, timeout_sec=timeout_sec)
        with ThreadPoolExecutor(1, thread_name_prefix="probe") as thread:
            return thread.submit(asyncio.run, asked).result()


class Probes:
    """Shows held requests with what they rest on: when their segment comes, and when they are due.

    Slow systems keep only each other waiting: the threads are this object's own.
    """

    def __init__(self, gate: Gatekeeper) -> None:
        self._gate = gate
        self._threads = ThreadPoolExecutor(PARALLEL, thread_name_prefix="probes")
        self._refused: dict[str, float] = {}

    async def deliver(self, delivery: Delivery) -> None:
        """Read what the request of one `probe` segment rests on.

        Raises:
            InterlockError: the machine, and not the request, is at fault: it is delivered again.
        """
        approval_id = delivery.ids.get("approval", "")
        await asyncio.get_running_loop().run_in_executor(self._threads, self._show, approval_id)

    def due(self) -> int:
        """Read for every request that is due; how many there were."""
        now = time.monotonic()
        self._refused = {one: until for one, until in self._refused.items() if now < until}
        waiting = self._gate.unread(PARALLEL + len(self._refused))
        found = [one for one in waiting if one not in self._refused][:PARALLEL]
        for done in [self._threads.submit(self._show, approval_id) for approval_id in found]:
            done.result()
        return len(found)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _show(self, approval_id: str) -> None:
        try:
            self._gate.probe(approval_id)
        except (Erased, NotFound, Tampered, ProbeUnavailable) as error:
            _log.error("%s was not read for: %s", approval_id, error)
            self._refused[approval_id] = time.monotonic() + REFUSED_SEC


def _judge(outcome: Outcome, probe: Probe, began: int) -> Reading:
    """Rule 2 of this module."""
    if not isinstance(outcome, Succeeded):
        if (
            isinstance(outcome, Failed)
            and outcome.proof == "no_effect_response"
            and isinstance(probe.read, HttpExecute)
        ):
            return Reading(began, absent=True)
        return Reading(began, reason=outcome.reason)
    try:
        answer = _answer(outcome.result, probe)
        if answer is None:
            return Reading(began, absent=True)
        values = {name: _field(answer, name) for name in probe.fields}
        size = len(canonical(values))
    except (Unreadable, InvalidInput) as error:
        return Reading(began, reason=str(error))
    if size > MAX_FIELDS_BYTES:
        return Reading(began, reason=f"the compared fields hold {size} bytes; at most {MAX_FIELDS_BYTES}")
    return Reading(began, values)


def _answer(result: Json, probe: Probe) -> Json:
    """What a field is looked up in; None where the system says that it is not there. Raises `Unreadable`."""
    assert isinstance(result, Mapping)  # as every connector answers
    if isinstance(probe.read, HttpExecute):
        if result.get("body") is None:
            raise Unreadable("the answer is not JSON")
        return result["body"]
    if isinstance(probe.read, SqlExecute):
        columns, rows = result.get("columns"), result.get("rows")
        if not isinstance(columns, Sequence) or not isinstance(rows, Sequence):
            raise Unreadable("the statement answers no rows")
        if len(set(map(str, columns))) != len(columns):
            raise Unreadable("two columns have the same name")
        row = rows[0] if rows else None
        return dict(zip(map(str, columns), row, strict=True)) if isinstance(row, Sequence) else None
    return _structured(result)


def _structured(result: Mapping[str, Json]) -> Json:
    """What an MCP tool answered as values: its structured content, or else its one text if that is JSON."""
    if result.get("structuredContent") is not None:
        return result["structuredContent"]
    parts = result.get("content")
    texts = [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, Sequence) else []
    if len(texts) == 1 and isinstance(text := texts[0].get("text"), str):
        try:
            return plain(parse_json(text))
        except InvalidInput:
            pass  # said below, for every answer that holds no values
    raise Unreadable("the tool's answer holds no JSON values")


def _field(answer: Json, path: str) -> Json:
    """The value at a path. Raises `Unreadable`."""
    value = answer
    for step in path.split("."):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif (
            isinstance(value, Sequence)
            and not isinstance(value, str)
            and _PLACE.fullmatch(step)
            and int(step) < len(value)
        ):
            value = value[int(step)]
        else:
            raise Unreadable(f"the answer has no field {visible(path, 200)}")
    return value

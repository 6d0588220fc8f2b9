"""A service that holds the keys of subjects and takes its time holds up new subjects, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from house import BOTH, POLICY, REFUND, House, agent
from interlock.dispatch import Dispatcher
from interlock.journal import KeyFile, KeysUnavailable, Subjects
from interlock.journal.subjects import AT_ONCE, OUTSTANDING
from interlock.model.actions import Proposal

DATABASES = BOTH
WITH_MAIL = POLICY.replace(
    "rules:\n",
    """  mail.send: {tier: 2, args: {to: string}, undo: notes.drop, undo_within: 1m,
    execute: {http: {method: POST, url: "http://127.0.0.1:9/mail"}}}
rules:
  - {id: send, match: {topics: [mail.send]}, decision: allow}
""",
)


class SlowService:
    """Answers nothing until it is told to, and counts who waits."""

    tag = 2
    name = "the slow service"
    remote = True

    def __init__(self) -> None:
        self._file = KeyFile(bytes(32))
        self._lock = threading.Lock()
        self.answers = threading.Event()
        self.waiting = self.most = self.asked = 0

    def _wait(self) -> None:
        with self._lock:
            self.asked += 1
            self.waiting += 1
            self.most = max(self.most, self.waiting)
        assert self.answers.wait(60)
        with self._lock:
            self.waiting -= 1

    def wrap(self, key: bytes, aad: bytes) -> bytes:
        self._wait()
        return self._file.wrap(key, aad)

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        self._wait()
        return self._file.unwrap(wrapped, aad)


@pytest.fixture
def service(house: House) -> Iterator[SlowService]:
    """Holds the keys of new subjects in the house; those of earlier ones are the keystore's."""
    found = SlowService()
    file = KeyFile(house.home.journal.vault.wrapping_key())
    house.home.journal.subjects = Subjects(found, file)
    yield found
    found.answers.set()


def proposed(house: House, principal: str, order: str, amount: str = "500.00") -> Any:
    args = {**REFUND, "order_id": order, "amount_usd": amount}
    return house.gate.propose_async(Proposal("pay.refund", args, principal=principal), agent())


async def asked(service: SlowService, count: int) -> None:
    while service.waiting < count:  # noqa: ASYNC110 (the service runs in threads)
        await asyncio.sleep(0.005)


def test_deadlines_and_known_subjects_do_not_wait_for_it(
    house: House, clock: Any, service: SlowService
) -> None:
    service.answers.set()
    expiring = house.held(principal="known")
    service.answers.clear()
    clock.forward(3600)

    async def story() -> None:
        flood = [asyncio.create_task(proposed(house, f"new{n}", f"A-{n}")) for n in range(OUTSTANDING)]
        await asked(service, AT_ONCE)
        assert await asyncio.to_thread(house.gate.sweep) > 0
        assert (await proposed(house, "known", "K-1")).created
        assert not any(task.done() for task in flood)
        service.answers.set()
        assert all(one.created for one in await asyncio.gather(*flood))

    asyncio.run(story())
    assert house.state(expiring) == "expired"
    assert service.most == AT_ONCE


def test_beyond_what_may_wait_a_new_subject_is_refused_and_nothing_is_recorded(
    house: House, service: SlowService
) -> None:
    async def story() -> list[Any]:
        flood = [asyncio.create_task(proposed(house, f"new{n}", f"A-{n}")) for n in range(OUTSTANDING + 9)]
        await asked(service, AT_ONCE)
        while sum(task.done() for task in flood) < 9:  # noqa: ASYNC110 (whichever they are)
            await asyncio.sleep(0.005)
        service.answers.set()
        return await asyncio.gather(*flood, return_exceptions=True)

    found = asyncio.run(story())
    refused = [one for one in found if isinstance(one, Exception)]
    assert [type(one) for one in refused] == [KeysUnavailable] * 9
    assert {(one.slug, one.status) for one in refused} == {("keys-unavailable", 503)}
    assert sum('"action.proposed"' in entry for entry in house.entries()) == OUTSTANDING


def test_proposals_about_one_new_subject_ask_once(house: House, service: SlowService) -> None:
    async def story() -> list[Any]:
        together = [asyncio.create_task(proposed(house, "new", f"A-{n}")) for n in range(OUTSTANDING * 2)]
        await asked(service, 1)
        await asyncio.sleep(0.05)
        together[0].cancel()
        service.answers.set()
        return await asyncio.gather(*together, return_exceptions=True)

    gone, *found = asyncio.run(story())
    assert isinstance(gone, asyncio.CancelledError)
    assert all(one.created for one in found)
    assert service.asked == 1


def test_deadlines_do_not_wait_for_claims_that_wait_for_it(
    house: House, clock: Any, service: SlowService
) -> None:
    service.answers.set()
    expiring = house.held(principal="known")
    house.activate(WITH_MAIL)
    allowed = [house.propose("mail.send", {"to": f"{n}"}, principal=f"p{n}").action.id for n in range(16)]
    service.answers.clear()
    house.home.journal.subjects = Subjects(service)  # as after a restart: no key is at hand
    clock.forward(1000)  # held requests are over, allowed actions are not

    async def story() -> None:
        dispatcher = Dispatcher(house.gate, house.home.connectors(), house.home.leases)
        runs = [asyncio.create_task(dispatcher.run(one)) for one in allowed]
        await asked(service, len(runs))
        assert await asyncio.wait_for(asyncio.to_thread(house.gate.sweep), 20) > 0
        service.answers.set()
        await asyncio.gather(*runs, return_exceptions=True)

    asyncio.run(story())
    house.home.journal.subjects = Subjects(service, KeyFile(house.home.journal.vault.wrapping_key()))
    assert house.state(expiring) == "expired"


def test_a_home_that_closes_does_not_wait_for_what_was_not_asked_yet(
    house: House, service: SlowService
) -> None:
    async def story() -> list[Any]:
        flood = [asyncio.create_task(proposed(house, f"new{n}", f"A-{n}")) for n in range(AT_ONCE + 5)]
        await asked(service, AT_ONCE)
        house.home.journal.close()
        service.answers.set()
        return await asyncio.gather(*flood, return_exceptions=True)

    assert all(isinstance(one, BaseException) for one in asyncio.run(story()))
    assert service.asked == AT_ONCE

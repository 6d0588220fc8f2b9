"""What a handler is given, and what the engine asks of whatever carries the work.

1. A backend takes segments over from the outbox in one step: afterwards a segment is in exactly one of the
   two. Where that cannot be one transaction it starts them under their id first, and a repeated start under
   one id is no second one.
2. It calls `deliver` once for each segment that it begins. Where the call returns, the segment has ended;
   where it raises, it has ended without success and is kept for people to see; where it is cancelled, or the
   process ends, the segment stays *begun*, under the name of its executor.
3. What stays begun stays so until somebody resumes it: then it is delivered again, to any executor.
4. A backend that takes over from dead executors by itself answers `begun` with nothing.
5. Of a kind that has a `share`, no more than that many that go `towards` one are begun by one executor at a
   time, however many wait; the others pass by. Whoever is slow makes nobody wait but those who want it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from interlock.engine.executors import fence
from interlock.journal import Tx

Ids = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt at a segment.

    Attributes:
        id: of the segment; the same for each attempt.
        ids: what it was enqueued with.
        attempt: counts the attempts that failed before this one, and this one. A delivery that a crash cut
            short is delivered again under the same number.
        last: no other attempt follows this one.
        executor, epoch: under which lease it was begun.
    """

    id: str
    segment: str
    ids: Ids
    attempt: int
    last: bool
    executor: str
    epoch: int

    def fence(self, tx: Tx) -> None:
        """Refuse a journal transaction of this delivery where its process was taken for dead meanwhile.

        Raises:
            Spent: the epoch is spent: the segment is, or will be, delivered to another process.
        """
        fence(tx, self.executor, self.epoch)


class GivenUp(Exception):
    """A segment failed at its last attempt, or was none of ours. Carries no text but the engine's own."""


Handler = Callable[[Delivery], Awaitable[None]]
"""Does the work. It may be called again for what it did already; an exception fails the attempt. It is
cancelled when its time is up, or its process drains: what blocks belongs into a thread."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failing segment is tried, and how long it rests in between; durable, and no thread waits.

    Attributes:
        attempts: at most so many. first_sec: rest after the first. factor: by which each rest grows.
        longest_sec: no rest is longer.
    """

    attempts: int = 5
    first_sec: float = 1.0
    factor: float = 2.0
    longest_sec: float = 60.0

    def rest_sec(self, attempt: int) -> float:
        """How long to rest after attempt number `attempt`, from 1, failed."""
        grown: float = self.first_sec * self.factor ** min(attempt - 1, 64)
        return min(self.longest_sec, grown)


@dataclass(frozen=True, slots=True)
class Share:
    """How many segments of a kind one executor runs at the same time that go towards one and the same.

    Attributes:
        most: fewer than the kind's `parallel`.
        towards: whom or what a segment is for, by its ids; quick, and raises nothing.
    """

    most: int
    towards: Callable[[Ids], str]


@dataclass(frozen=True, slots=True)
class Segment:
    """A kind of segment, as a process that can run it registers it.

    Attributes:
        name: lower case letters, digits and dashes, starting with a letter.
        timeout_sec: how long one attempt may take.
        parallel: how many of them one executor runs at the same time.
        poll_sec: how often at most the backend looks for one that may begin.
        share: rule 5; None where they all go to one.
        given_up: told, in a thread, of a delivery that nobody makes any more, and why. It is told again until
            it returns, and may be told twice.
    """

    name: str
    handler: Handler
    retry: Retry = field(default_factory=Retry)
    timeout_sec: float = 60.0
    parallel: int = 16
    poll_sec: float = 0.1
    share: Share | None = None
    given_up: Callable[[Delivery, str], None] | None = None


class Begun(NamedTuple):
    """A segment that an executor has begun and not ended.

    `key` is the backend's own name for it.
    """

    key: str
    segment: str
    executor: str


class Carried(NamedTuple):
    """What a segment's attempt was queued with."""

    id: str
    ids: Ids
    attempt: int


class Delivering(Protocol):
    """Runs one attempt; the engine's side of the port, called on an event loop of the backend's choice.

    `key` is the one of `Begun`.
    """

    async def __call__(self, key: str, id: str, segment: str, ids: Ids, attempt: int) -> None: ...


class Backend(Protocol):
    """A durable queue. Its methods are called from threads, and may wait for a database.

    `accept`, `again`, `begun`, `carried` and `resume` raise whatever the database's driver raises; they are
    then called again. They work while it is stopped too, from the first `start` to `close`.
    """

    def start(self, executor: str, segments: Collection[Segment], deliver: Delivering) -> None:
        """Begin to deliver segments of these kinds, and no others, as that executor.

        Raises:
            HomeUnusable: it cannot run here.
        """
        ...

    def accept(self, segments: Collection[Segment], limit: int) -> int:
        """Take committed segments of these kinds over from the outbox, the oldest first; how many."""
        ...

    def again(self, id: str, segment: str, ids: Ids, attempt: int, rest_sec: float) -> None:
        """Deliver a segment once more as attempt number `attempt`, not before `rest_sec` seconds have passed.

        Durable when it returns; repeating the call is no second delivery.
        """
        ...

    def begun(self, executor: str | None = None) -> list[Begun]:
        """What that executor, or any, has begun and not ended; of much, a part that is not empty."""
        ...

    def resume(self, begun: Collection[Begun]) -> None:
        """Deliver these again, to any executor. What has ended meanwhile stays as it is."""
        ...

    def carried(self, begun: Begun) -> Carried | None:
        """What that one carries; None where that cannot be read, or is nothing of ours."""
        ...

    def give_up(self, begun: Collection[Begun]) -> None:
        """End these without success, and keep them for people to see. Nobody runs them any more."""
        ...

    def forget(self) -> int:
        """Delete some of what ended well a while ago; how many."""
        ...

    def stop(self) -> None:
        """Begin nothing more, and cancel what runs. `start` may follow."""
        ...

    def close(self) -> None:
        """Release the database, after `stop`."""
        ...

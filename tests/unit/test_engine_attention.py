"""When the engine's queues are looked at."""

from __future__ import annotations

import threading

import pytest

from interlock.engine.attention import ASLEEP_SEC, AWAKE_SEC, Attention


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def asks(attention: Attention, name: str) -> threading.Thread:
    thread = threading.Thread(target=attention.wait, args=(name,), daemon=True)
    thread.start()
    return thread


def waits(attention: Attention, name: str) -> bool:
    """Whether a look now would wait; whoever waits is let go."""
    thread = asks(attention, name)
    thread.join(0.05)
    waiting = thread.is_alive()
    if waiting:
        attention.end()
        thread.join()
    return waiting


@pytest.fixture
def clock() -> Clock:
    return Clock()


def quiet(clock: Clock) -> Attention:
    """Looked at once, a long time after anybody rang."""
    attention = Attention({"calls": 0.1, "probes": 0.3}, clock)
    attention.wait("calls")
    attention.wait("probes")
    return attention


def test_a_queue_is_looked_at_when_it_is_new(clock: Clock) -> None:
    assert not waits(Attention({"calls": 0.1}, clock), "calls")


def test_a_quiet_queue_is_not_looked_at_before_a_second_has_passed(clock: Clock) -> None:
    attention = quiet(clock)
    clock.now += ASLEEP_SEC - 0.01
    assert waits(attention, "calls")


def test_a_quiet_queue_is_looked_at_after_a_second_whoever_rang(clock: Clock) -> None:
    attention = quiet(clock)
    clock.now += ASLEEP_SEC
    assert not waits(attention, "calls")


def test_who_is_rung_for_looks_at_once_and_nobody_else(clock: Clock) -> None:
    attention = quiet(clock)
    clock.now += 0.5
    waiting = asks(attention, "calls")
    attention.ring(["calls", "nobody's"])
    waiting.join(5)
    assert not waiting.is_alive()
    assert waits(attention, "probes")


def test_however_often_it_rings_a_queue_is_looked_at_once_in_its_interval(clock: Clock) -> None:
    attention = quiet(clock)
    clock.now += 0.09
    attention.ring(["calls"])
    attention.ring(["calls"])
    assert waits(attention, "calls")


def test_after_a_ring_it_is_looked_at_often_for_a_while(clock: Clock) -> None:
    attention = quiet(clock)
    clock.now += 0.5
    attention.ring(["calls"])
    looks = 0
    for _ in range(int(AWAKE_SEC / 0.1) - 1):
        clock.now += 0.1001
        attention.wait("calls")
        looks += 1
    assert looks == 9
    clock.now += 0.5
    assert waits(attention, "calls")


def test_a_ring_while_somebody_looks_is_not_lost(clock: Clock) -> None:
    attention = quiet(clock)
    clock.now += 5
    attention.wait("calls")
    attention.ring(["calls"])
    clock.now += AWAKE_SEC + 0.2
    assert not waits(attention, "calls")


def test_after_the_end_nobody_waits_and_who_waited_is_let_go(clock: Clock) -> None:
    attention = quiet(clock)
    waiting = asks(attention, "calls")
    attention.end()
    waiting.join(5)
    assert not waiting.is_alive()
    assert not waits(attention, "calls")


def test_a_queue_that_is_none_of_ours_is_never_waited_for(clock: Clock) -> None:
    assert not waits(quiet(clock), "theirs")

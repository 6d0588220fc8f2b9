"""What is stopped: kill switches, read inside every transaction that would let something run (P9).

1. A kill switch covers everything, one agent, or the topics of one pattern, from the transaction that engaged
   it until the one that lifts it. Transactions of a namespace come one after the other, so that whatever
   commits after the one that engaged it has seen it, in every process.
2. Which ones are on stands in the register: one row with a mark, read once in each transaction and shared by
   its members. Every change makes a new generation of it. A register that is missing, does not match the rows
   it names, or went back since this process saw it, was changed from outside: nothing runs. It covers those
   that were lifted by a digest: where one of them is missing, no deadline that it may have paused passes.
3. In a scope that is covered, whatever is proposed is denied. Nothing is approved, edited, claimed, or given
   or redeemed a permit, and no lease is renewed. Rejecting, withdrawing, revoking, reporting and reconciling
   go on. A permit that works offline ends by itself.
4. What is held is frozen and not lost: its deadlines pause. The time that passed while a kill switch covered
   it is added where a deadline is compared. What reviewers were shown, and signed, stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from interlock.journal import Prepared, Row, Tx, insert_into
from interlock.journal import tables as t
from interlock.model.canonical import Json
from interlock.model.errors import NotClaimable, NotFound, Tampered
from interlock.model.ids import iso
from interlock.model.text import visible
from interlock.model.topics import TopicPattern

_STATE, _HISTORY = "kill_register", "kill_history"

_k = t.kill_switches.c
_ADD = insert_into(t.kill_switches)
_ONE = Prepared(select(t.kill_switches).where(_k.namespace == bindparam("ns"), _k.id == bindparam("id_")))
_ALL = Prepared(select(t.kill_switches).where(_k.namespace == bindparam("ns")).order_by(_k.id))
_ON = Prepared(
    select(t.kill_switches).where(_k.namespace == bindparam("ns"), _k.rearmed_at.is_(None)).order_by(_k.id)
)
_LIFT = Prepared(
    update(t.kill_switches)
    .where(_k.namespace == bindparam("ns"), _k.id == bindparam("id_"), _k.rearmed_at.is_(None))
    .values(rearmed_at=bindparam("at_"), mac=bindparam("mac_"))
)
_r = t.kill_register.c
_REGISTER = Prepared(select(t.kill_register).where(_r.namespace == bindparam("ns")))
_ADD_REGISTER = insert_into(t.kill_register)
_SET_REGISTER = Prepared(
    update(t.kill_register)
    .where(_r.namespace == bindparam("ns"), _r.generation == bindparam("was_"))
    .values(
        generation=bindparam("generation_"),
        engaged=bindparam("engaged_"),
        lifted=bindparam("lifted_"),
        mac=bindparam("mac_"),
    )
)


class KillSwitchOn(NotClaimable):
    """A kill switch covers the action (promise P9)."""

    slug = "kill-switch-on"
    title = "A kill switch is on"
    advice = "Nothing to do for whoever proposed it. Two people lift the kill switch: interlock rearm."


class Scope(StrEnum):
    """What a kill switch stops."""

    ALL = "all"
    AGENT = "agent"
    TOPIC = "topic"


class Switch(NamedTuple):
    """One kill switch. Times are microseconds UTC.

    Attributes:
        target: the agent's name, or the pattern of topics; None where everything is stopped.
        by: the person's id, or who else engaged it.
        drill: 1 where it was engaged to measure how long stopping takes, and is lifted at once.
        rearmed_at: when it was lifted; None while it is on.
    """

    namespace: str
    id: str
    scope: str
    target: str | None
    reason: str
    by: str
    drill: int
    engaged_at: int
    rearmed_at: int | None
    mac: bytes = b""

    def marked(self, tx: Tx) -> Switch:
        return self._replace(mac=tx.vault.mac("kill_switch", *self[:-1]))

    def check(self, tx: Tx) -> Switch:
        """Raises `Tampered` unless this home wrote the row."""
        tx.vault.check(self.mac, "kill_switch", *self[:-1])
        return self

    def covers(self, agent: str, topic: str) -> bool:
        match Scope(self.scope):
            case Scope.ALL:
                return True
            case Scope.AGENT:
                return agent == self.target
            case Scope.TOPIC:
                return _pattern(self.target or "*").matches(topic)

    @property
    def words(self) -> str:
        """What it stops, inside a sentence."""
        match Scope(self.scope):
            case Scope.ALL:
                return "everything"
            case Scope.AGENT:
                return f"the agent {visible(self.target or '', 200)}"
            case Scope.TOPIC:
                return f"the topics {self.target}"


@lru_cache(maxsize=256)
def _pattern(text: str) -> TopicPattern:
    return TopicPattern.parse(text)


class _Register(NamedTuple):
    namespace: str
    generation: int
    engaged: str
    lifted: str
    mac: bytes = b""

    def marked(self, tx: Tx) -> _Register:
        return self._replace(mac=tx.vault.mac("kill_register", *self[:-1]))


@dataclass(frozen=True, slots=True)
class _State:
    """The register, and the switches that are on, in the order of their ids."""

    register: _Register
    on: tuple[Switch, ...]


# --- reading ---------------------------------------------------------------------------------------------


def engaged(tx: Tx) -> tuple[Switch, ...]:
    """The kill switches that are on. Raises `Tampered`."""
    return _state(tx).on


def covering(tx: Tx, agent: str, topic: str) -> Switch | None:
    """The kill switch that stops this agent's actions of this topic, a real one rather than a drill; None
    where none does. Raises `Tampered`."""
    found = [switch for switch in engaged(tx) if switch.covers(agent, topic)]
    return min(found, key=lambda switch: (switch.drill, switch.engaged_at), default=None)


def refuse_stopped(tx: Tx, what: str, agent: str, topic: str) -> None:
    """Raises `KillSwitchOn` where a kill switch covers `what`, an id; `Tampered`."""
    switch = covering(tx, agent, topic)
    if switch is not None:
        raise stopped_by(switch, what)


def stopped_by(switch: Switch, what: str) -> KillSwitchOn:
    """The refusal of `what`, an id, that a switch covers."""
    kind = "a drill of a kill switch" if switch.drill else "a kill switch"
    extra: dict[str, Json] = {"kill": switch.id, "scope": switch.scope, "since": iso(switch.engaged_at)}
    return KillSwitchOn(f"{what} is stopped: {kind} is on for {switch.words}.", extra=extra)


def everything(tx: Tx) -> bool:
    """Whether a kill switch covers everything."""
    return any(switch.scope == Scope.ALL for switch in engaged(tx))


def history(tx: Tx) -> tuple[Switch, ...]:
    """Every kill switch there ever was. Raises `Tampered`."""
    found: tuple[Switch, ...] | None = tx.memo.get(_HISTORY)
    if found is None:
        register = _state(tx).register
        known = tx.verified.get(_HISTORY)
        if known is not None and known[0] == register:
            found = known[1]
        else:
            found = tuple(Switch(*row).check(tx) for row in tx.all(_ALL)) if register.generation else ()
            if register.lifted != _digest(found):
                raise Tampered("The kill switches that were lifted are not those that the register names.")
            tx.verified[_HISTORY] = (register, found)
        tx.memo[_HISTORY] = found
    return found


def paused(tx: Tx, agent: str, topic: str, since: int) -> int:
    """For how long, from `since` until now, kill switches covered what is held: microseconds."""
    spans = [
        (max(switch.engaged_at, since), tx.now if switch.rearmed_at is None else switch.rearmed_at)
        for switch in history(tx)
        if switch.covers(agent, topic)
    ]
    return _together(spans)


def _together(spans: Iterable[tuple[int, int]]) -> int:
    """The length of what some spans cover together."""
    total, until = 0, 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, until))
        until = max(until, end)
    return total


def load_switch(tx: Tx, kill_id: str) -> Switch:
    """Raises `NotFound`, and `Tampered` where it was changed from outside."""
    row = tx.one(_ONE, id_=kill_id)
    if row is None:
        raise NotFound(f"There is no kill switch {visible(kill_id, 64)}.", fix="See: interlock rearm")
    return Switch(*row).check(tx)


def _state(tx: Tx) -> _State:
    found: _State | None = tx.memo.get(_STATE)
    if found is None:
        found = tx.memo[_STATE] = _read(tx)
    return found


def _read(tx: Tx) -> _State:
    """What is committed. A change leaves what it wrote in the memo: what is read here, and remembered from
    one transaction to the next, was never rolled back."""
    row = tx.one(_REGISTER)
    known = tx.verified.get(_STATE)
    if known is not None and known[0] == row:
        return _State(_Register(*known[0]), known[1])
    if row is None:
        if tx.reading and known is None:
            return _State(
                _Register(tx.namespace, 0, "", _digest(())), ()
            )  # before `begin`; whoever only reads lets nothing run
        raise Tampered("The row that says what is stopped is missing from the journal.")
    register = _Register(*row)
    tx.vault.check(register.mac, "kill_register", *register[:-1])
    on = tuple(Switch(*columns).check(tx) for columns in tx.all(_ON))
    if register.engaged != " ".join(switch.id for switch in on):
        raise Tampered("The kill switches that are on are not those that the journal's register names.")
    if not tx.reading:
        if known is not None and register.generation <= known[0][1]:
            raise Tampered("The row that says what is stopped was put back to an earlier one.")
        tx.verified[_STATE] = (row, on)
    return _State(register, on)


def forget(verified: dict[str, Row]) -> None:
    """Drop what a process remembers of the register: a recovery may have gone back behind it."""
    verified.pop(_STATE, None)
    verified.pop(_HISTORY, None)


# --- changing --------------------------------------------------------------------------------------------


def begun(tx: Tx) -> bool:
    """Whether this home has its register."""
    return tx.one(_REGISTER) is not None


def begin(tx: Tx) -> None:
    """Make the register of a home that has none.

    Raises:
        Tampered: there were kill switches, so somebody deleted it.
    """
    if begun(tx):
        return
    if tx.one(_ALL) is not None:
        raise Tampered("The row that says what is stopped is missing from the journal.")
    tx.insert(_ADD_REGISTER, _Register(tx.namespace, 0, "", _digest(())).marked(tx))


def put_on(tx: Tx, switch: Switch) -> Switch:
    """Write a new kill switch, which is on from this transaction on."""
    before = _state(tx)
    switch = switch.marked(tx)
    tx.insert(_ADD, switch)
    _write(tx, before, (*before.on, switch), before.register.lifted)
    return switch


def lift(tx: Tx, switch: Switch) -> Switch:
    """Write that a kill switch is off from this transaction on. Raises `Tampered` where it was not on."""
    before, known = _state(tx), history(tx)
    lifted = switch._replace(rearmed_at=tx.now).marked(tx)
    if tx.write(_LIFT, id_=switch.id, at_=tx.now, mac_=lifted.mac) != 1:
        raise Tampered(f"The kill switch {switch.id} is not on.")
    others = (other for other in before.on if other.id != switch.id)
    _write(tx, before, tuple(others), _digest(lifted if one.id == switch.id else one for one in known))
    return lifted


def _digest(switches: Iterable[Switch]) -> str:
    """Of those that were lifted, given in the order of their ids: over their marks, which cover the rest."""
    return hashlib.sha256(b"".join(one.mac for one in switches if one.rearmed_at is not None)).hexdigest()


def _write(tx: Tx, before: _State, on: tuple[Switch, ...], lifted: str) -> None:
    on = tuple(sorted(on, key=lambda switch: switch.id))
    was = before.register.generation
    register = _Register(tx.namespace, was + 1, " ".join(switch.id for switch in on), lifted).marked(tx)
    written = tx.write(
        _SET_REGISTER,
        was_=was,
        generation_=register.generation,
        engaged_=register.engaged,
        lifted_=register.lifted,
        mac_=register.mac,
    )
    if written != 1:
        raise Tampered("The row that says what is stopped changed while it was being written.")
    tx.memo[_STATE] = _State(register, on)
    tx.memo.pop(_HISTORY, None)

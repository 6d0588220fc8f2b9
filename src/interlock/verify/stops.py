"""Kill switches: while one is on, nothing that it covers is let run.

1. One covers everything, one agent, or the topics of one pattern, from the entry that engages it to the one
   that lifts it. It is engaged and lifted once.
2. A person who engages one is enrolled as operator or policy-admin. One is lifted by two people with one of
   these roles who are enrolled; by the only one, marked solo; by nobody where nobody is enrolled, also marked
   solo. A drill is lifted by what says how long it took, or by one person.
3. In between, no action in its scope is allowed, approved, edited, given a permit, or claimed. A run under a
   permit that works offline may be reported: nobody can stop that one before its permit ends.
4. What is held meanwhile is frozen: its request ends later, by the time for which kill switches covered it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from interlock.verify.authority import Authority
from interlock.verify.broken import Broken, Unfounded

_MAY_STOP = frozenset({"operator", "policy-admin"})


class _Switch(NamedTuple):
    scope: str
    target: str | None
    drill: bool
    since: int

    def covers(self, agent: str, topic: str) -> bool:
        if self.scope == "agent":
            return agent == self.target
        return self.scope == "all" or _matches(self.target or "", topic)


class Stops:
    """Follows the kill switches of one namespace through the entries, in order.

    Attributes:
        engaged: how many were engaged; drills: how many of these were drills.
    """

    __slots__ = ("_authority", "_off", "_on", "_over", "drills", "engaged")

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._on: dict[str, _Switch] = {}
        self._off: set[str] = set()
        self._over: list[tuple[_Switch, int]] = []
        self.engaged = self.drills = 0

    def put_on(self, entry: Mapping[str, Any]) -> None:
        kill, scope, target = entry["kill"], entry["scope"], entry.get("target")
        known = kill in self._on or kill in self._off
        drill = entry.get("drill") is True
        self._on[kill] = _Switch(scope, target, drill, entry["at"])
        self.engaged += 1
        self.drills += drill
        if known:
            raise Broken("this kill switch was engaged before")
        if scope not in ("all", "agent", "topic") or (scope == "all") != (target is None):
            raise Broken("it says what it stops in no form that is known")
        if entry["by"].startswith("per_"):
            self._check_person(entry["by"])

    def lifted(self, entry: Mapping[str, Any]) -> None:
        switch = self._take(entry)
        people, solo, enrolled = entry["people"], entry["solo"], self._authority.enrolled
        if not all(isinstance(person, str) for person in people) or len(set(people)) != len(people):
            raise Broken("it names people who are none, or one of them twice")
        for person in people:
            self._check_person(person)
        if solo:
            if len(people) > 1 or len(enrolled) > 1:
                raise Broken(
                    f"it is marked solo although {max(len(people), len(enrolled))} people were there"
                )
            if len(people) != len(enrolled):
                raise Unfounded("it was lifted by nobody although somebody is enrolled")
        elif len(people) < (1 if switch.drill else 2):
            raise Broken("fewer than two people lifted it, and it is not marked solo")

    def drilled(self, entry: Mapping[str, Any]) -> None:
        switch = self._take(entry)
        if not switch.drill:
            raise Broken("a kill switch that was no drill was lifted as if it were one")

    def check(self, about: tuple[str, str]) -> None:
        """Raises `Broken` where a kill switch covers this agent's actions of this topic."""
        for kill, switch in self._on.items():
            if switch.covers(*about):
                raise Broken(f"the kill switch {kill} covered it")

    def check_agent(self, kill: str, agent: str) -> None:
        """Raises `Broken` unless that kill switch is on, for this agent."""
        switch = self._on.get(kill)
        if switch is None or (switch.scope, switch.target, switch.drill) != ("agent", agent, False):
            raise Broken("the kill switch that it names is not on for its agent")

    def paused(self, about: tuple[str, str], since: int, now: int) -> int:
        """For how many microseconds of that time this agent's actions of this topic were covered."""
        total, end = 0, since
        spans = [*self._over, *((switch, now) for switch in self._on.values())]
        for switch, until in sorted(spans, key=lambda span: span[0].since):
            if switch.covers(*about) and until > end:
                total += until - max(switch.since, end)
                end = until
        return total

    def _take(self, entry: Mapping[str, Any]) -> _Switch:
        kill = entry["kill"]
        switch = self._on.pop(kill, None)
        before = kill in self._off
        self._off.add(kill)
        if before:
            raise Broken("the kill switch had been lifted before")
        if switch is None:
            raise Unfounded("the kill switch was never engaged")
        self._over.append((switch, entry["at"]))
        return switch

    def _check_person(self, person: str) -> None:
        self._authority.check_enrolled(person)
        if _MAY_STOP.isdisjoint(self._authority.enrolled[person]):
            raise Broken("it names a person who has no role for it")


def _matches(pattern: str, topic: str) -> bool:
    """Whether a pattern of topics covers one: ``*`` is a segment, a final ``**`` any number, the lone ``*``
    everything."""
    if pattern == "*":
        return True
    wanted, parts = pattern.split("."), topic.split(".")
    if wanted[-1] == "**":
        wanted = wanted[:-1]
        parts = parts[: len(wanted)]
    return len(wanted) == len(parts) and all(w in ("*", part) for w, part in zip(wanted, parts, strict=True))

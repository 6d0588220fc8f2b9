"""Rollbacks: what takes an action back, and when that one is rolled back.

1. What takes an action back is proposed after that one succeeded, and while no other that takes it back is
   open, in doubt, or has succeeded. Who asked is the agent's key, or a person who is enrolled as reviewer or
   operator then, with no key but their own.
2. Nobody approves what they asked for, but alone (`solo`), and nobody edits it.
3. An action is rolled back in the entry after the one by which what takes it back succeeded: there and
   nowhere else, and once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.verify.action import State
from interlock.verify.authority import Authority
from interlock.verify.broken import Broken, Unfounded
from interlock.verify.life import Life

_MAY_ASK = frozenset({"reviewer", "operator"})


class Rollbacks:
    """Follows the rollbacks of one namespace through the entries, in order.

    Attributes:
        due: a rollback that succeeded in the entry before, and the action that is rolled back by it.
    """

    __slots__ = ("_asked_by", "_authority", "_done", "_latest", "_life", "_undoes", "due")

    def __init__(self, authority: Authority, life: Life) -> None:
        self._authority = authority
        self._life = life
        self._undoes: dict[str, str] = {}
        self._asked_by: dict[str, str] = {}
        # The latest rollback of each action, and the actions that are rolled back.
        self._latest: dict[str, str] = {}
        self._done: set[str] = set()
        self.due: tuple[str, str] | None = None

    def proposed(self, entry: Mapping[str, Any]) -> None:
        original, person = entry.get("undoes"), entry.get("asked_by")
        if original is None:
            if person is not None:
                raise Broken("a person asked for what takes nothing back")
            return
        before = self._latest.get(original)
        self._undoes[entry["action"]] = original
        self._latest[original] = entry["action"]
        if person is not None:
            self._asked_by[entry["action"]] = person
        if original in self._done:
            raise Broken("it takes back what was rolled back before")
        if before is not None and not self._ended_without_effect(before):
            raise Broken("another rollback of the same action had not ended without effect")
        state, outcome = self._life.standing(original)
        if state is not State.SETTLED or outcome != "succeeded":
            raise Broken("it takes back what had not succeeded")
        if person is not None:
            self._authority.check_enrolled(person)
            if _MAY_ASK.isdisjoint(self._authority.enrolled[person]):
                raise Broken("a person asked for it who has no role for that")

    def edited(self, entry: Mapping[str, Any]) -> None:
        if entry["action"] in self._undoes:
            raise Broken("a rollback was edited")

    def decided(self, entry: Mapping[str, Any]) -> None:
        if entry["decision"] != "approve" or entry["solo"]:
            return
        if self._asked_by.get(entry["action"]) == entry["person"]:
            raise Broken("a rollback was approved by the person who asked for it")

    def settled(self, entry: Mapping[str, Any]) -> None:
        original = self._undoes.get(entry["action"])
        if original is None or entry["outcome"] != "succeeded" or entry.get("applied") is False:
            return
        self.due = entry["action"], original

    def passing(self, entry: Mapping[str, Any]) -> None:
        """The entry after the one that made a rollback due."""
        due = self.due
        if due is not None and (entry["kind"], entry.get("action")) != ("action.rolled_back", due[1]):
            self.due = None
            raise Broken("a rollback succeeded, and the next entry does not say what it took back")

    def rolled_back(self, entry: Mapping[str, Any]) -> None:
        original, undo = entry["action"], entry["rollback"]
        due, self.due = self.due, None
        again = original in self._done
        self._done.add(original)
        if again:
            raise Broken("the action was rolled back before")
        if due != (undo, original):
            if undo not in self._undoes:
                raise Unfounded("what it names as its rollback was never proposed as one")
            raise Broken("the rollback that it names had not succeeded in the entry before")
        del self._undoes[undo], self._latest[original]
        self._asked_by.pop(undo, None)
        self._life.check_revision(entry)

    def _ended_without_effect(self, undo: str) -> bool:
        state, outcome = self._life.standing(undo)
        return state is State.ENDED or (state is State.SETTLED and outcome == "failed")

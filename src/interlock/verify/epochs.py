"""The log's own entries: its keys, its epochs, and what was taken out of the database.

1. A rotation names the key before it and keeps the log's name. A new epoch names the log before it and has a
   name of its own, ``<name of the first epoch>/<number>``, with a higher number; the tree goes on from where
   its entry stands (`kept`).
2. An epoch is opened by two people who are operators or policy-admins; where there are not two of those,
   reviewers count as well, and where there are still not two, everybody who is enrolled. It is opened by one
   where nobody else is enrolled, by nobody where nobody is, and marked solo then.
3. What was open when an epoch was opened is put in doubt in the same moment, before anything else happens
   (`life.py` sees to it that nothing else becomes of it).
4. A recovery that nothing was lost for is dismissed by the same people, in the epoch that goes on.
5. What was pruned stays so: its end never moves back, nor beyond the entry that says so.

Whether the keys hand over to each other as the entries say is checked in `chain.py`.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Collection, Mapping, Set
from typing import Any

from interlock.verify.broken import Broken, Unfounded
from interlock.verify.note import BadNote, split_vkey
from interlock.verify.succession import Succession

_ROLES = (frozenset({"operator", "policy-admin"}), frozenset({"operator", "policy-admin", "reviewer"}))
"""Whose it is to open an epoch: of the first of these that two people have."""
_RECOVERING = frozenset({"action.in_doubt", "subject.erased"})


class Epochs:
    """Follows what the log says about itself.

    Attributes:
        number: of the epoch that the log is in.
        successions: every rotation and epoch, in order.
        pruned: entries before this number are said to be out of the database.
        erased: how many times a subject's key was destroyed.
        opening: number and time of the epoch that is being opened, if one is.
    """

    __slots__ = ("_origin", "_vkey", "erased", "number", "opening", "pruned", "successions")

    def __init__(self) -> None:
        self.successions: list[Succession] = []
        self.pruned = 0
        self.erased = 0
        self.number = 1
        self._origin: str | None = None
        self._vkey: str | None = None
        self.opening: tuple[int, int] | None = None

    def passing(self, entry: Mapping[str, Any]) -> None:
        """Take note of an entry that comes while an epoch is being opened, before it is judged."""
        if self.opening is not None and (entry["kind"] not in _RECOVERING or entry["at"] != self.opening[1]):
            self.opening = None

    def recovers(self, entry: Mapping[str, Any]) -> bool:
        """Whether an entry that puts an action in doubt belongs to the epoch that is being opened."""
        return self.opening is not None and self.opening[0] == entry["recovery"]

    def rotated(self, entry: Mapping[str, Any], number: int) -> None:
        vkey, previous = entry["vkey"], entry["previous"]
        name, before = _name(vkey), _name(previous)
        expected, self._vkey = self._vkey, vkey
        self.successions.append(Succession(number, entry["at"], vkey, previous, name, before))
        if name != before or self._origin not in (None, before):
            raise Broken("a new key keeps the name of the log")
        if expected not in (None, previous):
            raise Broken("it replaces another key than the one before")
        if vkey == previous:
            raise Broken("it replaces a key by itself")
        self._origin = name

    def opened(self, entry: Mapping[str, Any], number: int, check_people: Callable[[], None]) -> None:
        epoch, origin, before = entry["epoch"], entry["origin"], entry["previous"]
        expected, last = self._origin, self.number
        signed = _head(entry.get("signed"))
        self.opening, self.number = (epoch, entry["at"]), epoch
        self._origin, self._vkey = origin, entry["vkey"]
        self.successions.append(
            Succession(
                number,
                entry["at"],
                entry["vkey"],
                None,
                origin,
                before,
                epoch,
                entry["kept"],
                tuple(map(str, entry["people"])),
                entry["solo"],
                signed,
            )
        )
        if expected not in (None, before):
            raise Broken("it follows another log than the one before")
        if epoch <= last:
            raise Broken(f"epoch {epoch} does not follow epoch {last}")
        stem = origin.removesuffix(f"/{epoch}")
        if stem == origin or stem not in (before, before.removesuffix(f"/{last}"), _stem(before, expected)):
            raise Broken("the name of the log is not that of its epoch")
        if _name(entry["vkey"]) != origin:
            raise Broken("its key has another name than the log")
        if entry["kept"] != number:
            raise Broken(f"it says that it continues {entry['kept']} entries, and stands after {number}")
        check_people()

    def dismissed(self, entry: Mapping[str, Any], check_people: Callable[[], None]) -> None:
        """People found that nothing of this home's own was lost."""
        number, epoch = self.number, entry["epoch"]
        if epoch != number:
            wrong = f"it is said in epoch {epoch}, and the log is in epoch {number}"
            raise Broken(wrong) if self.successions or epoch < number else Unfounded(wrong)
        check_people()

    def prune(self, entry: Mapping[str, Any], number: int) -> None:
        before, pruned = entry["before"], self.pruned
        self.pruned = max(before, pruned)
        if before < pruned:
            raise Broken(f"entries before {pruned} were pruned already")
        if before > number:
            raise Broken("it prunes entries that were not there yet")

    def erase(self, _entry: Mapping[str, Any]) -> None:
        self.erased += 1


def check_openers(people: Collection[str], solo: bool, enrolled: Mapping[str, Set[str]]) -> None:
    """Whether these people may open an epoch while those are enrolled, with these roles. Raises `Broken`."""
    if not all(isinstance(person, str) for person in people):
        raise Broken("it names people who are none")
    if len(set(people)) != len(people):
        raise Broken("it counts a person twice")
    if any(person not in enrolled for person in people):
        raise Unfounded("it was opened by somebody who is not enrolled")
    if not entitled(enrolled).issuperset(people):
        raise Broken("it was opened by somebody who has no role for it")
    if solo and (len(people) > 1 or len(enrolled) > 1):
        raise Broken(f"it is marked solo although {max(len(people), len(enrolled))} people were there")
    if solo and len(people) != len(enrolled):
        raise Unfounded("it was opened by nobody although somebody is enrolled")
    if not solo and len(people) < 2:
        raise Broken("fewer than two people opened it, and it is not marked solo")


def entitled(enrolled: Mapping[str, Set[str]]) -> set[str]:
    """Of those who are enrolled, with these roles, the ones who may open an epoch."""
    for roles in _ROLES:
        found = {person for person, has in enrolled.items() if has & roles}
        if len(found) > 1:
            return found
    return set(enrolled)


def _name(vkey: str) -> str:
    try:
        return split_vkey(vkey)[0]
    except BadNote as error:
        raise Broken(f"it names no verifier key: {error}") from None


def _stem(before: str, expected: str | None) -> str:
    # Where the epochs before were not seen, the number of the one before is not known.
    return before.rpartition("/")[0] if expected is None else before


def _head(signed: Mapping[str, Any] | None) -> tuple[int, bytes] | None:
    if signed is None:
        return None
    size, root = signed.get("size"), signed.get("root")
    try:
        if type(size) is not int or size < 0 or type(root) is not str:
            raise ValueError(root)
        decoded = b64decode(root, validate=True)
        if len(decoded) != 32:
            raise ValueError(root)
    except ValueError:
        raise Broken("its `signed` is no size and root") from None
    return size, decoded

"""The auditor's trust policy: whose signature, and whose cosignatures, make a checkpoint good.

1. The file is read as octets. Space and tab alone separate words; tab and newline alone are allowed among
   control characters; a line whose first word begins with ``#`` is a comment. Names are octets, compared as
   such, so that no two that look alike are the same.
2. Whatever is not understood makes the whole file unusable. A policy half understood would be weaker than
   the one that was written.
3. Every name is defined once and before it is used, ``none`` is nobody's, each name is a member of one group
   at most, each public key stands once among the logs and once among the witnesses: one cosignature counts in
   one way only. There is exactly one quorum.
4. A key of an unknown algorithm is kept without being usable. What would hold only with it cannot be checked.

Source: c2sp.org/tlog-policy.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from interlock.verify.cosignature import WitnessKey
from interlock.verify.note import BadNote, Key, Note, UnknownAlgorithm, split_vkey
from interlock.verify.report import shown

MAX_POLICY = 1 << 20
_FORBIDDEN = frozenset(range(0x20)) - frozenset(b"\t\n") | {0x7F}
_NONE = b"none"


class BadPolicy(ValueError):
    """Not a trust policy. The message is a sentence that names the line."""


@dataclass(frozen=True, slots=True)
class Group:
    """Counts as having cosigned when `needed` of its members have."""

    needed: int
    members: tuple[bytes, ...]


@dataclass(slots=True)
class Trust:
    """A trust policy.

    Attributes:
        logs: keys that may sign the checkpoint; none where the policy does not say.
        unknown_logs: how many further keys are of an algorithm that is not known here.
        witnesses: keys by name; None for one of an unknown algorithm.
        groups: by name; members stand before the groups they are in.
        quorum: the witness or group that is needed, or `none`.
    """

    logs: list[Key] = field(default_factory=list)
    unknown_logs: int = 0
    witnesses: dict[bytes, WitnessKey | None] = field(default_factory=dict)
    groups: dict[bytes, Group] = field(default_factory=dict)
    quorum: bytes = b""

    @classmethod
    def parse(cls, raw: bytes) -> Trust:
        """Read a policy file. Raises `BadPolicy` where it is none."""
        if len(raw) > MAX_POLICY:
            raise BadPolicy(f"it has more than {MAX_POLICY} bytes")
        if not _FORBIDDEN.isdisjoint(raw):
            raise BadPolicy("it holds a control character")
        reader = _Reader()
        for number, line in enumerate(raw.split(b"\n"), 1):
            words = line.split()
            if words and not words[0].startswith(b"#"):
                try:
                    reader.read(words)
                except ValueError as error:
                    raise BadPolicy(f"line {number}: {error}") from None
        if not reader.trust.quorum:
            raise BadPolicy("it has no quorum line")
        return reader.trust

    def signer(self, note: Note, origin: str) -> Key | None:
        """The first of the policy's logs of that name that signed the note.

        Raises:
            BadNote: a signature in the name of one of them is false.
        """
        for key in self.logs:
            if key.name == origin and any(
                (name, key_id) == (key.name, key.id) for name, key_id, _ in note.signatures
            ):
                note.check_signed_by(key)
                return key
        return None

    def cosigned(self, note: Note) -> dict[bytes, int]:
        """Which witnesses cosigned the note, and when, in seconds since 1970.

        Raises:
            BadNote: a cosignature in the name of one of them is false.
        """
        times = {name: key.cosigned(note) for name, key in self.witnesses.items() if key is not None}
        return {name: at for name, at in times.items() if at is not None}

    def holds(self, cosigned: Set[bytes]) -> bool:
        """Whether these witnesses are a quorum; one of an unknown algorithm never counts."""
        return self._counts({name for name, key in self.witnesses.items() if name in cosigned and key})

    def could_hold(self, cosigned: Set[bytes]) -> bool:
        """Whether they would be one together with all whose keys are of an unknown algorithm."""
        return self._counts({name for name, key in self.witnesses.items() if name in cosigned or key is None})

    def _counts(self, counted: set[bytes]) -> bool:
        if self.quorum == _NONE:
            return True
        for name, group in self.groups.items():
            if len(counted.intersection(group.members)) >= group.needed:
                counted.add(name)
        return self.quorum in counted


class _Reader:
    """Reads line by line into `trust`."""

    def __init__(self) -> None:
        self.trust = Trust()
        self._members: set[bytes] = set()
        self._keys: set[tuple[bytes, bytes]] = set()

    def read(self, words: list[bytes]) -> None:
        keyword, rest = words[0], words[1:]
        if keyword == b"log" and len(rest) in (1, 2):
            self._log(rest[0])
        elif keyword == b"witness" and len(rest) in (2, 3):
            self._witness(rest[0], rest[1])
        elif keyword == b"group" and len(rest) >= 3:
            self._group(rest[0], rest[1], rest[2:])
        elif keyword == b"quorum" and len(rest) == 1:
            self._quorum(rest[0])
        else:
            raise BadPolicy("it is no log, witness, group or quorum line")

    def _log(self, vkey: bytes) -> None:
        text = self._vkey(b"log", vkey)
        try:
            self.trust.logs.append(Key.parse(text))
        except UnknownAlgorithm:
            self.trust.unknown_logs += 1

    def _witness(self, name: bytes, vkey: bytes) -> None:
        self._free(name)
        text = self._vkey(b"witness", vkey)
        try:
            self.trust.witnesses[name] = WitnessKey.parse(text)
        except UnknownAlgorithm:
            self.trust.witnesses[name] = None

    def _group(self, name: bytes, needed: bytes, members: list[bytes]) -> None:
        self._free(name)
        for member in members:
            self._known(member)
            if member in self._members:
                raise BadPolicy(f"{_told(member)} is a member a second time")
            self._members.add(member)
        self.trust.groups[name] = Group(_number(needed, len(members)), tuple(members))

    def _quorum(self, name: bytes) -> None:
        if self.trust.quorum:
            raise BadPolicy("there is a quorum already")
        if name != _NONE:
            self._known(name)
        self.trust.quorum = name

    def _vkey(self, kind: bytes, vkey: bytes) -> str:
        try:
            text = vkey.decode("utf-8")
        except UnicodeDecodeError:
            raise BadNote("a verifier key is not UTF-8") from None
        key = split_vkey(text)[2][1:]
        if (kind, key) in self._keys:
            raise BadPolicy("its key stands in the policy already")
        self._keys.add((kind, key))
        return text

    def _free(self, name: bytes) -> None:
        if name == _NONE or name in self.trust.witnesses or name in self.trust.groups:
            raise BadPolicy(f"the name {_told(name)} is taken")

    def _known(self, name: bytes) -> None:
        if name not in self.trust.witnesses and name not in self.trust.groups:
            raise BadPolicy(f"the name {_told(name)} is not defined before")


def _number(word: bytes, members: int) -> int:
    if word == b"all":
        return members
    if word == b"any":
        return 1
    if not word.isdigit() or word.startswith(b"0") or len(word) > 7 or int(word) > members:
        raise BadPolicy("a group needs all, any, or a number of its members")
    return int(word)


def _told(name: bytes) -> str:
    return shown(name.decode("utf-8", "backslashreplace"))

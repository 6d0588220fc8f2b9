"""Trust policies: which witnesses a log asks, and how many of them it needs.

1. A policy is a file of lines: ``log <vkey> [url]``, ``witness <name> <vkey> [url]``,
   ``group <name> all|any|<k> <member>…`` and, exactly once, ``quorum <name>|none``. Names are octets; ``#``
   begins a comment line; the only white space is space and tab.
2. A name is defined before it is used, once, and is a member of one group at most. A key stands once.
3. A line that is not understood makes the file unusable: a mistyped quorum must not become none.
4. A witness whose key is of an unknown algorithm is known by name and never counts.

Source: c2sp.org/tlog-policy.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Set
from dataclasses import dataclass

from interlock.ledger.cosignature import UnknownAlgorithm, Witness

MAX_POLICY = 1 << 20
"""Bytes of a policy file."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A witness of a policy. `key` None: of an algorithm that is not known here. `url`: where it is asked."""

    name: str
    key: Witness | None
    url: str | None


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A parsed policy.

    Attributes:
        logs: verifier keys of the logs it speaks of; empty where it does not say.
        witnesses: in the file's order.
        groups: name, how many of its members it needs, and their names; members before their groups.
        quorum: the name that has to be reached; None where no cosignature is needed.
    """

    logs: tuple[str, ...]
    witnesses: tuple[Listed, ...]
    groups: tuple[tuple[str, int, tuple[str, ...]], ...]
    quorum: str | None

    def reached(self, cosigned: Set[str]) -> bool:
        """Whether cosignatures of these witnesses, by their names in the policy, are a quorum."""
        if self.quorum is None:
            return True
        counting = {each.name for each in self.witnesses if each.name in cosigned and each.key is not None}
        for name, needed, members in self.groups:
            if sum(member in counting for member in members) >= needed:
                counting.add(name)
        return self.quorum in counting

    @classmethod
    def parse(cls, raw: bytes) -> TrustPolicy:
        """Read a policy file.

        Raises:
            ValueError: it is none; the message names the line.
        """
        if len(raw) > MAX_POLICY:
            raise ValueError(f"a policy has at most {MAX_POLICY} bytes")
        # Octets above 127 are opaque: this keeps them apart whatever they are, and gives them back unchanged.
        text = raw.decode("utf-8", "surrogateescape")
        if any((octet < 0x20 and octet not in b"\t\n") or octet == 0x7F for octet in raw):
            raise ValueError("the only control characters of a policy are tab and newline")
        reading = _Reading()
        for number, line in enumerate(text.split("\n"), 1):
            words = [word for word in line.replace("\t", " ").split(" ") if word]
            if words and not words[0].startswith("#"):
                try:
                    reading.line(words)
                except ValueError as error:
                    raise ValueError(f"line {number}: {error}") from None
        if not reading.quorums:
            raise ValueError("it has no quorum line")
        return cls(tuple(reading.logs), tuple(reading.witnesses), tuple(reading.groups), reading.quorums[0])


class _Reading:
    """What the lines so far have said."""

    def __init__(self) -> None:
        self.logs: list[str] = []
        self.witnesses: list[Listed] = []
        self.groups: list[tuple[str, int, tuple[str, ...]]] = []
        self.quorums: list[str | None] = []
        self._names: set[str] = set()
        self._members: set[str] = set()
        self._keys: set[tuple[str, bytes]] = set()

    def line(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._key("log", vkey)
                self.logs.append(vkey)
            case ["witness", name, vkey, *url] if len(url) <= 1:
                self._key("witness", vkey)
                try:
                    key = Witness.parse(vkey)
                except UnknownAlgorithm:
                    key = None
                self._define(name)
                self.witnesses.append(Listed(name, key, url[0] if url else None))
            case ["group", name, needed, *members] if members:
                for member in members:
                    self._use(member)
                    if member in self._members:
                        raise ValueError(f"{_shown(member)} is a member twice")
                    self._members.add(member)
                self._define(name)
                self.groups.append((name, _threshold(needed, len(members)), tuple(members)))
            case ["quorum", name]:
                if self.quorums:
                    raise ValueError("a second quorum line")
                if name != "none":
                    self._use(name)
                self.quorums.append(None if name == "none" else name)
            case _:
                raise ValueError(f"it is no complete log, witness, group or quorum: {_shown(words[0])}")

    def _define(self, name: str) -> None:
        if name == "none" or name in self._names:
            raise ValueError(f"{_shown(name)} is taken")
        self._names.add(name)

    def _use(self, name: str) -> None:
        if name not in self._names:
            raise ValueError(f"{_shown(name)} is not defined above")

    def _key(self, kind: str, vkey: str) -> None:
        _, _, encoded = vkey.partition("+")[2].partition("+")
        try:
            key = b64decode(encoded, validate=True)[1:]
        except ValueError:
            key = b""
        if not key:
            raise ValueError("a verifier key reads <name>+<8 hex digits>+<base64>")
        if (kind, key) in self._keys:
            raise ValueError(f"the key of this {kind} stands twice")
        self._keys.add((kind, key))


def _threshold(text: str, members: int) -> int:
    if text in ("all", "any"):
        return members if text == "all" else 1
    if text not in map(str, range(1, members + 1)):
        raise ValueError(f"of {members} members all, any, or 1 to {members} are needed, not {_shown(text)}")
    return int(text)


def _shown(name: str) -> str:
    return ascii(name[:60])

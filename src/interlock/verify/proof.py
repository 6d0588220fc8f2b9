"""Checking proofs: of one entry in a log, and of one checkpoint continuing another.

1. A tlog-proof file is a first line, perhaps ``extra <base64>``, ``index <number>``, hashes, an empty line
   and the signed checkpoint. Whatever ``extra`` holds is covered by no signature; here it is the entry, and
   it is believed only because its own hash leads to the signed root.
2. A file that begins with ``old <number>`` is what a witness is sent: hashes, an empty line, the newer signed
   checkpoint. It proves nothing without the older checkpoint, which whoever checks has kept.
3. A proof has exactly the hashes that the sizes call for. One more or one fewer is no proof.
4. The checks are those of RFC 9162, sections 2.1.3.2 and 2.1.4.2, which walk up from the leaf; who makes a
   proof walks down from the root.

Source: RFC 6962, section 2.1; RFC 9162; c2sp.org/tlog-proof, c2sp.org/tlog-witness.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from interlock.verify.tree import NOTHING

HEADER = b"c2sp.org/tlog-proof@v1"
MAX_HASHES = 63
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,18}")


class BadProof(ValueError):
    """Not a proof, or not of this. The message is a sentence."""


@dataclass(frozen=True, slots=True)
class Inclusion:
    """A tlog-proof file, read and not checked. `extra` may be absent. `note`: the checkpoint's bytes."""

    index: int
    hashes: tuple[bytes, ...]
    extra: bytes | None
    note: bytes


@dataclass(frozen=True, slots=True)
class Consistency:
    """An ``add-checkpoint`` body, read and not checked. `old`: a size. `note`: the newer checkpoint."""

    old: int
    hashes: tuple[bytes, ...]
    note: bytes


def read_inclusion(raw: bytes) -> Inclusion:
    """Raises `BadProof` where the bytes are not a tlog-proof file."""
    lines, note = _split(raw)
    if lines[0] != HEADER:
        raise BadProof(f"the first line is not {HEADER.decode()}")
    rest = lines[1:]
    extra: bytes | None = None
    if rest and rest[0].startswith(b"extra "):
        extra = _base64(rest[0].removeprefix(b"extra "))
        rest = rest[1:]
    if not rest or not rest[0].startswith(b"index "):
        raise BadProof("it does not say of which index")
    return Inclusion(_number(rest[0].removeprefix(b"index ")), _hashes(rest[1:]), extra, note)


def read_consistency(raw: bytes) -> Consistency:
    """Raises `BadProof` where the bytes are not a size, hashes and a checkpoint."""
    lines, note = _split(raw)
    if not lines[0].startswith(b"old "):
        raise BadProof("the first line is not an old size")
    return Consistency(_number(lines[0].removeprefix(b"old ")), _hashes(lines[1:]), note)


def check_inclusion(entry: bytes, index: int, size: int, hashes: Sequence[bytes], root: bytes) -> None:
    """Raises `BadProof` unless a tree of `size` with this root has this entry at this index."""
    if index >= size:
        raise BadProof(f"the log has {size} entries, and so none of index {index}")
    node, last = index, size - 1
    found = sha256(b"\x00" + entry).digest()
    for sibling in hashes:
        if last == 0:
            raise BadProof("it has more hashes than it needs")
        if node & 1 or node == last:
            found = _node(sibling, found)
            node, last = _risen(node, last)
        else:
            found = _node(found, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise BadProof("it has fewer hashes than it needs")
    if found != root:
        raise BadProof("the entry does not lead to the root that the checkpoint names")


def check_consistency(old: int, old_root: bytes, size: int, root: bytes, hashes: Sequence[bytes]) -> None:
    """Raises `BadProof` unless the tree of `size` with `root` begins with that of `old` with `old_root`."""
    if old > size:
        raise BadProof(f"a log of {size} entries cannot continue one of {old}")
    if old in (0, size):
        if hashes:
            raise BadProof("it has hashes where none are needed")
        if old == size and old_root != root:
            raise BadProof(f"two logs of {size} entries have two roots")
        if old == 0 and old_root != NOTHING:
            raise BadProof("the root of a log without entries is another")
        return
    path = list(hashes)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise BadProof("it has fewer hashes than it needs")
    node, last = old - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise BadProof("it has more hashes than it needs")
        if node & 1 or node == last:
            before, after = _node(sibling, before), _node(sibling, after)
            node, last = _risen(node, last)
        else:
            after = _node(after, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise BadProof("it has fewer hashes than it needs")
    if before != old_root:
        raise BadProof(f"its first {old} entries are not those of the older checkpoint")
    if after != root:
        raise BadProof("it does not lead to the root that the checkpoint names")


def _risen(node: int, last: int) -> tuple[int, int]:
    """Up past the levels on which this node is an odd last one, and so moves up unchanged."""
    while node and not node & 1:
        node, last = node >> 1, last >> 1
    return node, last


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _split(raw: bytes) -> tuple[list[bytes], bytes]:
    head, found, note = raw.partition(b"\n\n")
    if not found:
        raise BadProof("no empty line parts the proof from its checkpoint")
    return head.split(b"\n"), note


def _hashes(lines: Sequence[bytes]) -> tuple[bytes, ...]:
    if len(lines) > MAX_HASHES:
        raise BadProof(f"a proof has at most {MAX_HASHES} hashes")
    decoded = tuple(_base64(line) for line in lines)
    if any(len(each) != 32 for each in decoded):
        raise BadProof("a hash does not have 32 bytes")
    return decoded


def _number(text: bytes) -> int:
    if not _NUMBER.fullmatch(text) or int(text) >= 2**63:
        raise BadProof("a number is not plain and decimal")
    return int(text)


def _base64(text: bytes) -> bytes:
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        raise BadProof("a line is not base64") from None
    if b64encode(data) != text:
        raise BadProof("a line is not base64 as it has to be written")
    return data

"""The Merkle tree over the ledger's entries, held as its frontier.

1. Hashing is RFC 6962, section 2.1, with SHA-256: a leaf is ``SHA-256(0x00 ‖ entry)``, a node
   ``SHA-256(0x01 ‖ left ‖ right)``, the empty tree ``SHA-256("")``. The two prefixes keep a node from being
   passed off as an entry.
2. A tree that only grows needs no more than its frontier: the roots of its maximal complete subtrees, one
   for each bit set in its size, largest first. A tree of seven leaves is (four, two, one):

       frontier  [ a b c d ] [ e f ] [ g ]          7 = 0b111

   Appending a leaf merges subtrees of equal size from the right, as adding one carries bits.
3. A frontier is a value. `appended` returns another one and leaves this one usable, so a transaction that
   rolls back has nothing to undo.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """The 32-byte hash of one entry."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The 32-byte hash of an inner node over two 32-byte hashes."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree of `size` leaves as the roots of its maximal complete subtrees, largest first.

    Raises:
        ValueError: the hashes are not 32 bytes each, one for each bit set in `size`.
    """

    size: int
    hashes: tuple[bytes, ...]

    EMPTY: ClassVar[Frontier]

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("a tree has no negative size")
        if len(self.hashes) != self.size.bit_count():
            raise ValueError(
                f"a tree of {self.size} leaves has {self.size.bit_count()} complete subtrees, "
                f"not {len(self.hashes)}"
            )
        for each in self.hashes:
            if len(each) != HASH_BYTES:
                raise ValueError(f"a hash has {HASH_BYTES} bytes, not {len(each)}")

    def appended(self, leaves: Iterable[bytes]) -> Frontier:
        """The tree with these leaf hashes (of `leaf_hash`, not entries) after the ones it has.

        Raises:
            ValueError: a leaf hash is not 32 bytes long.
        """
        size = self.size
        stack = list(self.hashes)
        push, pop = stack.append, stack.pop
        for leaf in leaves:
            if len(leaf) != HASH_BYTES:
                raise ValueError(f"a leaf hash has {HASH_BYTES} bytes, not {len(leaf)}")
            root = leaf
            carry = size
            while carry & 1:
                root = sha256(b"\x01" + pop() + root).digest()
                carry >>= 1
            push(root)
            size += 1
        # What follows from a sound frontier by these steps is sound: it is not checked again at each commit.
        grown = object.__new__(Frontier)
        object.__setattr__(grown, "size", size)
        object.__setattr__(grown, "hashes", tuple(stack))
        return grown

    def root(self) -> bytes:
        """The Merkle tree hash, MTH in RFC 6962: what a checkpoint names."""
        if not self.hashes:
            return EMPTY_ROOT
        *larger, root = self.hashes
        for left in reversed(larger):
            root = node_hash(left, root)
        return root

    def to_bytes(self) -> bytes:
        """The hashes one after the other; `size` is kept beside them."""
        return b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Frontier:
        """The inverse of `to_bytes`.

        Raises:
            ValueError: `data` does not hold one hash for each bit set in `size`.
        """
        if len(data) % HASH_BYTES:
            raise ValueError(f"{len(data)} bytes are not a whole number of hashes")
        return cls(size, tuple(data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)))


Frontier.EMPTY = Frontier(0, ())

"""Proofs about the tree: that it holds an entry, and that it grew out of an older one.

1. A proof is a list of hashes of subtrees. Which subtrees, the sizes alone decide, by the recursions of
   RFC 6962, sections 2.1.1 (inclusion) and 2.1.2 (consistency); `inclusion_path` and `consistency_path` name
   them as spans of leaves, in the order in which a proof lists them.
2. The spans of one proof do not overlap, so their hashes come from one walk over the leaves (`subtrees`), and
   memory does not grow with the tree.
3. Each span of a consistency proof that lies in the older tree is one of its maximal complete subtrees, and
   their roots are its frontier. So the older frontier and the entries since are all that is needed:

       old  [ a b c d ] [ e f ]            6        frontier (abcd, ef)
       new  [ a b c d ] [ e f ] [ g ]      7        proof    (ef, g, abcd)

4. A proof of inclusion travels as a tlog-proof file, with its checkpoint; one of consistency as the body that
   a witness accepts. `docs/ledger.md` has both.

Source: RFC 6962; c2sp.org/tlog-proof, c2sp.org/tlog-witness.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

from interlock.ledger.merkle import Frontier

Span: TypeAlias = "tuple[int, int]"
"""Leaves from the first number to the second, exclusive."""


def inclusion_path(index: int, size: int) -> tuple[Span, ...]:
    """The subtrees that prove entry `index` to be in a tree of `size`, from its neighbour up to the root.

    Raises:
        ValueError: a tree of that size has no such entry.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} entries has no entry {index}")
    path: list[Span] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append((middle, stop))
            stop = middle
        else:
            path.append((start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_path(old: int, size: int) -> tuple[Span, ...]:
    """The subtrees that prove a tree of `size` to begin with the one of `old` entries.

    Nothing has to be proved, and so the path is empty, where `old` is 0 or the same as `size`.

    Raises:
        ValueError: `old` is not within 0 and `size`.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} entries never had {old}")
    if old in (0, size):
        return ()
    path: list[Span] = []
    start, stop = 0, size
    while stop != old:
        middle = start + _split(stop - start)
        if old <= middle:
            path.append((middle, stop))
            stop = middle
        else:
            path.append((start, middle))
            start = middle
    # Whoever checks knows the root of the older tree: where that is this subtree, they need not be told.
    if start > 0:
        path.append((start, stop))
    return tuple(reversed(path))


def subtrees(path: Sequence[Span], leaves: Iterable[bytes], known: Frontier = Frontier.EMPTY) -> list[bytes]:
    """The hash of each span of a path, in the path's order.

    Args:
        leaves: the leaf hashes from number `known.size` on, at least to the end of the last span.
        known: the tree before them; spans within it are to be its maximal complete subtrees.

    Raises:
        ValueError: a span within `known` is not one of those, or the leaves end too early.
    """
    roots = dict(_complete(known))
    at = known.size
    source = iter(leaves)
    for start, stop in sorted(span for span in path if span[1] > known.size):
        if start < at:
            raise ValueError(f"the hash of leaves {start} to {stop} does not follow from the frontier")
        skipped = sum(1 for _ in islice(source, start - at))
        tree = Frontier.EMPTY.appended(islice(source, stop - start))
        at += skipped + tree.size
        if at != stop:
            raise ValueError(f"the leaves end at {at}, before {stop}")
        roots[start, stop] = tree.root()
    try:
        return [roots[span] for span in path]
    except KeyError as error:
        start, stop = error.args[0]
        raise ValueError(f"leaves {start} to {stop} are no complete subtree of the frontier") from None


def _complete(tree: Frontier) -> Iterator[tuple[Span, bytes]]:
    start, left = 0, tree.size
    for root in tree.hashes:
        width = 1 << (left.bit_length() - 1)
        yield (start, start + width), root
        start, left = start + width, left - width


def _split(width: int) -> int:
    """The largest power of two smaller than `width`, which is at least two."""
    return 1 << ((width - 1).bit_length() - 1)


def inclusion_text(index: int, proof: Sequence[bytes], note: str, *, extra: bytes | None = None) -> str:
    """A tlog-proof file.

    Args:
        index: of the entry, from 0.
        proof: the hashes for `inclusion_path` of the index and the checkpoint's size.
        note: the signed checkpoint, with its cosignatures.
        extra: bytes that travel along and that no signature covers; here, the entry itself.
    """
    lines = ["c2sp.org/tlog-proof@v1"]
    if extra is not None:
        lines.append(f"extra {_base64(extra)}")
    return "\n".join([*lines, f"index {index}", *map(_base64, proof), "", note])


def consistency_text(old: int, proof: Sequence[bytes], note: str) -> str:
    """What ``add-checkpoint`` takes: the older size, the proof, and the newer checkpoint, signed."""
    return "\n".join([f"old {old}", *map(_base64, proof), "", note])


def _base64(data: bytes) -> str:
    return b64encode(data).decode()

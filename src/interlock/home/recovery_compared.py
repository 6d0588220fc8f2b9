"""Whether the entries of a database are those that were signed, for people who are to go on with them.

1. Every entry that the database holds is compared, from the least one on. Of what was pruned before it, the
   tiles stand, and lead to what was signed together with the entries.
2. The database's own tree, on which everything after it is built, is the tree of these entries.
3. What was there when another host was to sign it is compared as well.
4. Where the tiles do not lead to what was signed themselves, nothing is said about the entries.
"""

from __future__ import annotations

from interlock.home.publisher import Publisher
from interlock.home.publishing import NoTiles, begun_at, least
from interlock.journal import Journal
from interlock.ledger import Frontier, leaf_hash
from interlock.model.errors import Tampered


def same(journal: Journal, publisher: Publisher, kept: int, root: bytes) -> bool | None:
    """Whether they are; None where that cannot be told.

    Args:
        kept, root: of the database's own tree.
    """
    there = least(journal)
    if there is None and kept:
        return None  # a tree, and not one entry
    first = min(begun_at(there or 0), kept)
    try:
        return _leads(journal, publisher, first, kept, root)
    except NoTiles:
        return None
    except Tampered:
        return False  # entries are missing in between


def _leads(journal: Journal, publisher: Publisher, first: int, kept: int, root: bytes) -> bool | None:
    """As `same`, where the entries before `first` were pruned. Raises `NoTiles`, `Tampered`."""
    size, signed = publisher.signed()
    tiles = publisher.tiles
    if first > size:
        return None  # pruned beyond what was signed here
    before = tiles.tree(first) if first else Frontier.EMPTY
    if kept >= size:
        tree, noted = _read_on(journal, before, size), publisher.noted()
        if tree.root() == signed:
            if size < noted.size <= kept:
                tree = _read_on(journal, tree, noted.size)
                if tree != noted:
                    return False
            return _read_on(journal, tree, kept).root() == root
        tiled = not first or before.appended(tiles.leaves(first, size)).root() == signed
        return False if tiled else None
    tree = tiles.tree(kept)
    if tree.appended(tiles.leaves(kept, size)).root() != signed:
        return None
    if tree.root() != root:
        return False
    if _read_on(journal, before, kept) == tree:
        return True
    return False if before.appended(tiles.leaves(first, kept)) == tree else None


def _read_on(journal: Journal, tree: Frontier, size: int) -> Frontier:
    """The tree of `size` entries, from the database's own."""
    return tree.appended(map(leaf_hash, journal.entries(tree.size, size)))

"""The ledger's formats and its tree: an RFC 6962 Merkle log in the file formats of C2SP.

1. Pure: no I/O, no clock, no randomness. Time, keys and entries come in as arguments; whoever calls writes.
2. `entries` makes the bytes of an entry, `merkle` the tree over them, `note` the signed checkpoint that
   commits to the tree, `tiles` the files that strangers' readers understand, `proof` what convinces those who
   do not read it all. `cosignature` is a witness's line below a checkpoint, `trust` which witnesses count.
3. The `verify` room reads these formats and shares no code with this one: a mistake here must not be able to
   excuse itself there. `docs/ledger.md` is what both follow.
"""

from interlock.ledger.cosignature import Cosigner, Witness
from interlock.ledger.entries import KERNEL, MAX_ENTRY, VERSION, Kind, entry
from interlock.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash, node_hash
from interlock.ledger.note import Signer, checkpoint, signed_by
from interlock.ledger.proof import (
    consistency_path,
    consistency_text,
    inclusion_path,
    inclusion_text,
    subtrees,
)
from interlock.ledger.tiles import (
    TILE_WIDTH,
    TileFile,
    TileWriter,
    entries_path,
    levels_of,
    partial_width,
    tile_path,
)
from interlock.ledger.trust import TrustPolicy

__all__ = [
    "EMPTY_ROOT",
    "KERNEL",
    "MAX_ENTRY",
    "TILE_WIDTH",
    "VERSION",
    "Cosigner",
    "Frontier",
    "Kind",
    "Signer",
    "TileFile",
    "TileWriter",
    "TrustPolicy",
    "Witness",
    "checkpoint",
    "consistency_path",
    "consistency_text",
    "entries_path",
    "entry",
    "inclusion_path",
    "inclusion_text",
    "leaf_hash",
    "levels_of",
    "node_hash",
    "partial_width",
    "signed_by",
    "subtrees",
    "tile_path",
]

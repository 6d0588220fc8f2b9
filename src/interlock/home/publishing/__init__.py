"""The parts of the publisher: tiles on disk, the lease between hosts, the chain of keys, what was signed.

`interlock.home.publisher` puts them together. Nothing else writes to ``ledger/`` of a home, but for what
witnesses said and what recovery found.
"""

from interlock.home.publishing.chain import Chain, Link, renamed
from interlock.home.publishing.export import begun_at, export
from interlock.home.publishing.handover import OVERLAP_US, KeyMissing
from interlock.home.publishing.lease import LEASE_US, Lease
from interlock.home.publishing.rounds import ADVICE, Rounds, lost_tiles, rewritten, size_of
from interlock.home.publishing.rows import least, said_since, stored_policy, take_out
from interlock.home.publishing.tiles import NoTiles, TileFolder

__all__ = [
    "ADVICE",
    "LEASE_US",
    "OVERLAP_US",
    "Chain",
    "KeyMissing",
    "Lease",
    "Link",
    "NoTiles",
    "Rounds",
    "TileFolder",
    "begun_at",
    "export",
    "least",
    "lost_tiles",
    "renamed",
    "rewritten",
    "said_since",
    "size_of",
    "stored_policy",
    "take_out",
]

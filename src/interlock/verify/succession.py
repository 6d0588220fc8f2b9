"""What an entry says about the key of the log that comes next: by a rotation, or with a new epoch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Succession:
    """An entry that names the log's next key.

    Attributes:
        entry: its number.
        at: microseconds since 1970.
        vkey: the new verifier key.
        previous: the verifier key before; None where a new epoch names only the log before.
        origin: the name of the log from here on, and `before` it.
        epoch: the number of the epoch it opens, None for a rotation.
        kept: of an epoch, how many entries it continues.
        people, solo: of an epoch, who opened it.
        signed: of an epoch, size and root of the newest checkpoint known of the one before; None where
            none was known.
    """

    entry: int
    at: int
    vkey: str
    previous: str | None
    origin: str
    before: str
    epoch: int | None = None
    kept: int = 0
    people: tuple[str, ...] = ()
    solo: bool = False
    signed: tuple[int, bytes] | None = None

    @property
    def signed_size(self) -> int | None:
        """How many entries the newest checkpoint known of the epoch before counts."""
        return None if self.signed is None else self.signed[0]

"""What a witness answers to ``add-checkpoint``.

1. A body that is no old size, proof and signed checkpoint is 400; a log that is not known, 404; a checkpoint
   without a valid signature of that log's key, 403; an old size above the checkpoint's, 400.
2. An old size that is not what was cosigned last is 409, with the size that was. So is another root for the
   same size: the log has shown two histories, and the refusal is logged with both.
3. A proof that does not lead from the root cosigned last to the new one is 422.
4. Otherwise the checkpoint takes the other's place, and one cosignature with the present time is the answer.
   The comparison and the replacement are one turn of the store.

Source: c2sp.org/tlog-witness.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from interlock.ledger import EMPTY_ROOT, Cosigner
from interlock.verify.note import BadNote, Key, Note
from interlock.verify.proof import BadProof, check_consistency, read_consistency

SIZE = "text/x.tlog.size"
TEXT = "text/plain; charset=utf-8"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: str
    media_type: str = TEXT


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest checkpoint that was cosigned for a log: its size, its 32-byte root, and the whole note."""

    size: int
    root: bytes
    note: str


class Turn(Protocol):
    """Sole access to what was seen of one log."""

    @property
    def seen(self) -> Seen | None: ...

    def replace(self, seen: Seen) -> None:
        """Remember this instead; durable when the turn ends without an error."""


class Turns(Protocol):
    """Where a witness remembers. `turn` waits until no other turn is under way, in any process."""

    def turn(self, origin: str) -> AbstractContextManager[Turn]: ...


def add_checkpoint(
    raw: bytes,
    *,
    logs: Mapping[str, Sequence[Key]],
    store: Turns,
    cosigner: Cosigner,
    now: Callable[[], int],
) -> Answer:
    """Answer one request.

    Args:
        raw: the request's body.
        logs: by origin, the keys that may sign for it.
        now: the time in seconds since 1970.
    """
    try:
        read = read_consistency(raw)
        note = Note.parse(read.note)
        new = note.checkpoint()
    except (BadProof, BadNote) as error:
        return _refused(400, str(error))
    if new.origin not in logs:
        return _refused(404, "this log is not known here")
    if not any(_signed(note, key) for key in logs[new.origin]):
        return _refused(403, "it is not signed by a key of this log")
    if read.old > new.size:
        return _refused(400, "the old size is larger than the checkpoint's")
    with store.turn(new.origin) as turn:
        seen = turn.seen or Seen(0, EMPTY_ROOT, "")
        if read.old != seen.size:
            return Answer(409, f"{seen.size}\n", SIZE)
        if new.size == seen.size and new.root != seen.root:
            _log.warning(
                "%r signed two roots for %d entries: %s was cosigned, %s is refused; its note: %r",
                new.origin,
                new.size,
                seen.root.hex(),
                new.root.hex(),
                read.note,
            )
            return Answer(409, f"{seen.size}\n", SIZE)
        try:
            check_consistency(seen.size, seen.root, new.size, new.root, read.hashes)
        except BadProof as error:
            return _refused(422, str(error))
        turn.replace(Seen(new.size, new.root, read.note.decode("utf-8")))
        line = cosigner.cosign(note.text, now())
    return Answer(200, line)


def _signed(note: Note, key: Key) -> bool:
    try:
        note.check_signed_by(key)
    except BadNote:
        return False
    return True


def _refused(status: int, sentence: str) -> Answer:
    return Answer(status, f"{sentence}\n")

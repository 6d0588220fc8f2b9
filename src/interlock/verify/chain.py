"""Whose signature counts: from the key the auditor trusts to the one that signs now.

1. The log's entries name each next key (`epochs.py`). A handover note, a checkpoint of a tree that includes
   that entry, is signed by the key before and by the new one; nothing else makes a key the log's.
2. The auditor's key may be any of them. From there on every handover is needed. Keys before it are no
   authority, but the notes about them have to be true as well.
3. The checkpoint is signed by the newest key that was handed over to. Lines in the name of any key of the log
   have to verify.
4. A checkpoint the auditor kept may be signed by any of the keys, each for the log of its own name. Its tree
   is the beginning of this one, unless it counts entries that the opening of a later epoch gave up: then it
   fails, and who gave them up is said.

5. An epoch names what had been signed before it. As far as it continues that, the root is the tree's. To
   witnesses it is a new log, so that each is a warning.

What this cannot show: somebody who stole a key and rotates it first is followed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from interlock.verify.layout import BadFile, Unreadable
from interlock.verify.note import BadNote, Checkpoint, Key, Note, UnknownAlgorithm
from interlock.verify.report import Findings, shown
from interlock.verify.succession import Succession

HELD = "the checkpoint you hold"
RootOf = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Handover:
    """A handover note of the export, none of it verified yet."""

    where: str
    note: Note
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Chain:
    """The keys of a log, the oldest first; None for one that is not known.

    Attributes:
        successions: the entries that name them; the last so many keys are theirs.
        current: the place of the newest key that was handed over to.
    """

    keys: tuple[Key | None, ...]
    successions: tuple[Succession, ...]
    current: int

    @property
    def newest(self) -> Key | None:
        return self.keys[self.current]

    def signers(self, note: Note) -> list[tuple[int, Key]]:
        """The keys in whose name the note is signed, with their places, the newest first."""
        found = [(at, key) for at, key in enumerate(self.keys[: self.current + 1]) if key and note.names(key)]
        return found[::-1]

    def after(self, place: int) -> tuple[Succession, ...]:
        """The successions after the key at a place."""
        unknown = len(self.keys) - 1 - len(self.successions)
        return self.successions[max(0, place - unknown) :]


def find_chain(
    trusted: Sequence[Key],
    successions: Sequence[Succession],
    handovers: Sequence[Handover],
    note: Note,
    *,
    whole: bool,
    findings: Findings,
) -> Chain | None:
    """The keys of the log, if one that is trusted is among them; otherwise what is wrong is told.

    Args:
        trusted: the auditor's keys.
        note: the checkpoint.
        whole: whether the entries were seen from the first one on.
    """
    unseen = 0
    if not whole:
        start = successions[0].entry if successions else None
        unseen = sum(1 for each in handovers if start is None or each.checkpoint.size <= start)
    keys: list[Key | None] = [None] * (unseen + 1)
    try:
        if successions and successions[0].previous is not None:
            keys[unseen] = Key.parse(successions[0].previous)
        keys += [Key.parse(each.vkey) for each in successions]
    except BadNote as error:
        findings.failed("checkpoint", f"a key that the log names is none: {error}")
        return None
    except UnknownAlgorithm as error:
        findings.unchecked("checkpoint", str(error))
        return None
    place = max((at for at, key in enumerate(keys) if key in trusted), default=None)
    if place is None and keys[unseen] is None:
        # The first key stands in no entry: it is the auditor's, if the names agree.
        fits = [key for key in trusted if not successions or key.name == successions[0].before]
        signing = [key for key in fits if note.names(key)]
        if fits and (signing or not unseen):
            place, keys[unseen] = unseen, (signing or fits)[0]
    if place is None:
        _refuse(trusted, unseen=unseen, findings=findings)
        return None
    current = min(len(handovers), len(keys) - 1)
    if place > current:
        findings.failed(f"handovers/{current:03}", "it is missing: no key handed over to the one you gave")
    for at in range(len(keys) - 1, len(handovers)):
        findings.failed(handovers[at].where, "no entry names the key that it hands over to")
    for left in successions[current - unseen :]:
        findings.warn(
            f"Entry {left.entry} names a new key; the log was not handed over to it in this checkpoint."
        )
    return Chain(tuple(keys), tuple(successions), current)


def _refuse(trusted: Sequence[Key], *, unseen: int, findings: Findings) -> None:
    if unseen:
        findings.unchecked(
            "handovers/000",
            "the entries that name the keys after yours are not in this export; give its newest key",
        )
    elif len(trusted) == 1:
        told = trusted[0].told
        findings.failed(
            "checkpoint", f"it is not signed by the key {shown(told)}, nor by one that followed it"
        )
    else:
        findings.failed("checkpoint", "it is not signed by any log of the policy, nor by a key that followed")


def check_handovers(chain: Chain, handovers: Sequence[Handover], root_of: RootOf, findings: Findings) -> None:
    """Rule 1, for every handover whose entry was seen."""
    unseen = len(chain.keys) - 1 - len(chain.successions)
    for at, succession in enumerate(chain.successions[: max(0, chain.current - unseen)], unseen):
        handover, before, after = handovers[at], chain.keys[at], chain.keys[at + 1]
        checkpoint = handover.checkpoint
        try:
            for key in (before, after):
                if key is not None:
                    handover.note.check_signed_by(key)
            if checkpoint.origin != succession.origin:
                raise BadNote("its origin is not the name of the new key")
            if checkpoint.size <= succession.entry:
                raise BadNote(f"it does not include entry {succession.entry}, which names the new key")
            if root_of(checkpoint.size) != checkpoint.root:
                raise BadNote(f"its root is not that of the first {checkpoint.size} entries")
        except (BadNote, BadFile) as error:
            findings.failed(handover.where, str(error))
        except Unreadable as error:
            findings.unchecked(handover.where, str(error))


def is_signed(trusted: Sequence[Key], note: Note, handovers: Sequence[Handover]) -> bool:
    """Whether a key that is trusted signed the checkpoint, or a handover."""
    for key in trusted:
        for each in (note, *(handover.note for handover in handovers)):
            try:
                each.check_signed_by(key)
            except BadNote:
                continue
            return True
    return False


def check_epochs(chain: Chain, root_of: RootOf, findings: Findings) -> None:
    """Rule 5, for every epoch that was handed over to."""
    unseen = len(chain.keys) - 1 - len(chain.successions)
    for each in chain.successions[: max(0, chain.current - unseen)]:
        if each.epoch is None:
            continue
        where = f"entry {each.entry}"
        nothing = "" if each.signed else ", and names no checkpoint of that"
        findings.warn(
            f"Entry {each.entry} opens epoch {each.epoch}, a new log to whoever witnesses this one or kept "
            f"checkpoints of the one before{nothing}."
        )
        if each.signed is None or each.signed[0] > each.kept:
            continue
        size, root = each.signed
        try:
            if root_of(size) != root:
                findings.failed(where, f"the root it names is not that of the first {size} entries")
        except BadFile as error:
            findings.failed(where, str(error))
        except Unreadable as error:
            findings.unchecked(where, str(error))


def check_signed(chain: Chain, note: Note, checkpoint: Checkpoint, findings: Findings) -> None:
    """Rule 3."""
    newest = chain.newest
    if newest is None:
        findings.unchecked("checkpoint", "the key that signs it is not known")
        return
    try:
        note.check_signed_by(newest)
        for _, key in chain.signers(note):
            note.check_signed_by(key)
        if checkpoint.origin != newest.name:
            raise BadNote("its origin is not the name of the key")
    except BadNote as error:
        findings.failed("checkpoint", str(error))


def check_held(
    chain: Chain, raw: bytes, current: Checkpoint, root_of: RootOf, findings: Findings
) -> Checkpoint | None:
    """Rule 4: the auditor's older checkpoint, if the log continues it."""
    try:
        note = Note.parse(raw)
        held = note.checkpoint()
        signers = chain.signers(note)
        if not signers:
            raise BadNote("it is not signed by a key of this log")
        for _, key in signers:
            note.check_signed_by(key)
        if held.origin != signers[0][1].name:
            raise BadNote("it is of another log")
    except BadNote as error:
        findings.failed(HELD, str(error))
        return None
    for succession in chain.after(signers[0][0]):
        if succession.epoch is not None and held.size > succession.kept:
            findings.failed(HELD, _lost(succession, held))
            return None
    if held.size > current.size:
        findings.failed(
            "checkpoint",
            f"the log was truncated or rewritten: {HELD} counts {held.size} entries, this one {current.size}",
        )
        return None
    try:
        if root_of(held.size) == held.root:
            return held
    except BadFile as error:
        findings.failed(HELD, str(error))
        return None
    except Unreadable as error:
        findings.unchecked(HELD, str(error))
        return None
    findings.failed(
        "checkpoint", f"the log was rewritten: its first {held.size} entries are not those of {HELD}"
    )
    return None


def _lost(succession: Succession, held: Checkpoint) -> str:
    last = held.size - 1
    what = f"entry {last}" if last == succession.kept else f"entries {succession.kept} to {last}"
    whom = " and ".join(shown(person) for person in succession.people) or "somebody on its own machine"
    return (
        f"it counts {what}, declared lost by {whom} when epoch {succession.epoch} was opened "
        f"(entry {succession.entry}); what stood there is not in this log"
    )

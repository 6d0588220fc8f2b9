"""Verifying an export of the ledger, from the key to the meaning.

1. The key: one the auditor brings outranks the one that came with the export, which must be the log's newest.
   From the auditor's key, the log hands over to every later one (`chain.py`).
2. The checkpoint is read once, and everything is checked at its size, also of a log that grows meanwhile. It
   is signed by the newest key, with the key's name as its origin; and, where the auditor brings a trust
   policy, cosigned by its quorum of witnesses. Of a server no tile is asked for before a trusted key has
   signed the checkpoint or a handover: it could go on for ever.
3. The files: exactly those a log of that size has. Every entry is hashed anew, every tile of every level
   compared with what its entries give, and the root of all with the checkpoint.
4. An older checkpoint the auditor kept: signed by a key of this log, not larger, and the root of the first so
   many entries is the one it names. Otherwise the log was cut off or rewritten.
5. The entries: canonical, of known versions, in the order of time, telling lives that actions can have.
6. An export may begin later, where the entries before were left out or pruned. Its root is checked all the
   same; it is whole only for an auditor who says from where it is enough.
7. One pass; in memory are a few bundles, one row of hashes for each level, and a few words for each action.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from interlock.verify import layout
from interlock.verify.chain import (
    Chain,
    Handover,
    check_epochs,
    check_handovers,
    check_held,
    check_signed,
    find_chain,
    is_signed,
)
from interlock.verify.entry import BadEntry, NotKnown
from interlock.verify.layout import BadFile, Missing, Unreadable
from interlock.verify.meaning import Meaning
from interlock.verify.note import BadNote, Checkpoint, Key, Note, UnknownAlgorithm
from interlock.verify.passkeys import BadRoster, Roster, read_roster
from interlock.verify.policies import check_policies
from interlock.verify.quorum import check_listed, check_quorum, read_policy
from interlock.verify.reader import Reader
from interlock.verify.report import Findings, Report, shown
from interlock.verify.source import Folder, Source
from interlock.verify.tiles import Tiles
from interlock.verify.trust import Trust

_CHECKPOINT = "checkpoint"
_VKEY = "vkey"
_FIRST = "first"
_MAX_HANDOVERS = 1000

Progress = Callable[[int, int], None]


def verify_export(
    source: Path | Source,
    *,
    vkey: str | None = None,
    since: str | None = None,
    policy: bytes | None = None,
    roster: bytes | None = None,
    start: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check an export completely. Nothing that is wrong with the export raises; it is in the report.

    Args:
        source: a folder that holds `checkpoint`, `vkey` and `tile/`; or where else these are read from.
        vkey: the verifier key from a source the auditor trusts; without it, the export's own is used, which
            proves only that the export is consistent with itself, and a warning says so.
        since: the text of an older signed checkpoint.
        policy: a trust policy (tlog-policy): the checkpoint is signed by one of its logs, or a key that
            followed, which then need no other key, and cosigned by its quorum.
        roster: the passkeys that count (`passkeys.py`); all that the log enrols by default.
        start: that it is enough to have the entries from this one on.
        progress: called after every bundle with the number of entries read and of all.
    """
    check = _Check(Folder(source) if isinstance(source, Path) else source, progress)
    return check.run(vkey, since, policy, roster, start)


class _Check:
    """One verification under way."""

    def __init__(self, source: Source, progress: Progress | None) -> None:
        self._source = source
        self._progress = progress
        self._findings = Findings()
        self._first = 0
        self._size = 0
        self._at = 0
        self._understood = True
        self._kinds: Counter[str] = Counter()
        self._reader = Reader()

    def run(
        self,
        vkey: str | None,
        since: str | None,
        policy: bytes | None,
        roster: bytes | None,
        start: int | None,
    ) -> Report:
        findings = self._findings
        trust = read_policy(policy, findings)
        trusted = self._trusted(vkey, trust)
        pinned = None if roster is None else self._roster(roster)
        raw = self._checkpoint()
        note = None if raw is None else self._parsed(raw)
        cosigned = {} if trust is None or raw is None else check_quorum(trust, raw, findings, _CHECKPOINT)
        checkpoint, meaning, chain = None, Meaning(findings, roster=pinned, whole=True), None
        policies = 0
        if note is not None:
            checkpoint = note[1]
            self._size = checkpoint.size
            self._begin(start)
            meaning = Meaning(findings, roster=pinned, whole=self._first == 0)
            handovers = self._handovers()
            if self._source.endless and not is_signed(trusted, note[0], handovers):
                findings.failed(
                    _CHECKPOINT, "no key that you trust signed it, nor a handover; nothing else was read"
                )
                return self._report(checkpoint, meaning, None, cosigned, 0)
            self._strays()
            tiles = Tiles(self._source, checkpoint, self._first, findings)
            for start, entries, done in tiles.bundles():
                self._follow(start, entries, meaning)
                if self._progress is not None:
                    self._progress(done, checkpoint.size)
            chain = self._chain(trusted, meaning, handovers, note[0], checkpoint, tiles.root_of)
            if chain is not None and since is not None:
                check_held(chain, since.encode("utf-8", "replace"), checkpoint, tiles.root_of, findings)
            policies = check_policies(self._source, meaning.snapshots, findings)
        if meaning.assumed:
            findings.warn(
                f"{meaning.assumed} runs are assumed in the last entries, and not yet put in doubt."
            )
        if meaning.unenforced:
            findings.warn(
                f"{meaning.unenforced} actions were let run although the policy would not: it observed only."
            )
        return self._report(checkpoint, meaning, chain, cosigned, policies)

    def _report(
        self,
        checkpoint: Checkpoint | None,
        meaning: Meaning,
        chain: Chain | None,
        cosigned: dict[str, int],
        policies: int,
    ) -> Report:
        problems = self._findings.problems()
        newest = None if chain is None else chain.newest
        return Report(
            ok=not problems,
            size=checkpoint.size if checkpoint else 0,
            origin=shown(checkpoint.origin) if checkpoint else "",
            root=b64encode(checkpoint.root).decode() if checkpoint else "",
            problems=problems,
            warnings=self._findings.warnings(),
            kinds=dict(sorted(self._kinds.items())),
            cannot_check=self._findings.cannot_check,
            cosigned=cosigned,
            first=self._first,
            vkey="" if newest is None else newest.vkey,
            solo=tuple(meaning.solo),
            tightened=tuple(meaning.tightened),
            assertions=meaning.assertions,
            permits=meaning.permits(),
            successions=tuple(meaning.epochs.successions),
            erased=meaning.epochs.erased,
            pruned=meaning.epochs.pruned,
            policies=policies,
        )

    # --- what is trusted ----------------------------------------------------------------------------------

    def _trusted(self, given: str | None, trust: Trust | None) -> list[Key]:
        """The keys the auditor trusts; none where there is none that can be used, which is told."""
        if given is None and trust is not None and (trust.logs or trust.unknown_logs):
            if not trust.logs:
                self._findings.unchecked(
                    _CHECKPOINT, "a log of the policy has a key of an algorithm that is not known here"
                )
            return trust.logs
        where, text = "the key you gave", given
        if given is None:
            enclosed = self._read(_VKEY, layout.MAX_NOTE)
            where, text = _VKEY, None if enclosed is None else enclosed.decode("utf-8", "replace")
        if text is None:
            self._findings.unchecked(_VKEY, "without a verifier key no signature can be checked")
            return []
        try:
            key = Key.parse(text if given is None else given.strip())
        except BadNote as error:
            self._findings.failed(where, str(error))
            return []
        except UnknownAlgorithm as error:
            self._findings.unchecked(where, str(error))
            return []
        if given is None:
            self._findings.warn(
                "The key came with the export: whoever made the export could have made the key. "
                "Compare it with one you received another way."
            )
        if trust is not None:
            check_listed(trust, key, self._findings)
        return [key]

    def _roster(self, raw: bytes) -> Roster | None:
        try:
            return read_roster(raw)
        except BadRoster as error:
            self._findings.failed("the roster you gave", str(error))
            return None

    def _chain(
        self,
        trusted: list[Key],
        meaning: Meaning,
        handovers: list[Handover],
        note: Note,
        checkpoint: Checkpoint,
        root_of: Callable[[int], bytes],
    ) -> Chain | None:
        """The log's keys, with every signature of theirs checked; None where no trusted key is among them."""
        if not trusted:
            return None
        findings = self._findings
        chain = find_chain(
            trusted, meaning.epochs.successions, handovers, note, whole=self._first == 0, findings=findings
        )
        if chain is None:
            return None
        check_handovers(chain, handovers, root_of, findings)
        check_signed(chain, note, checkpoint, findings)
        check_epochs(chain, root_of, findings)
        try:
            enclosed = self._source.read(_VKEY, layout.MAX_NOTE)
            if chain.newest is not None and enclosed != f"{chain.newest.vkey}\n".encode():
                findings.failed(_VKEY, "the export carries another key than the one that signs it")
        except Missing:
            pass
        except BadFile as error:
            findings.failed(_VKEY, str(error))
        except Unreadable as error:
            findings.unchecked(_VKEY, str(error))
        return chain

    # --- what is read -------------------------------------------------------------------------------------

    def _checkpoint(self) -> bytes | None:
        try:
            return self._source.read(_CHECKPOINT, layout.MAX_NOTE)
        except (Missing, Unreadable) as error:
            self._findings.unchecked(_CHECKPOINT, str(error))
        except BadFile as error:
            self._findings.failed(_CHECKPOINT, str(error))
        return None

    def _parsed(self, raw: bytes) -> tuple[Note, Checkpoint] | None:
        """The export's checkpoint; read on even where its signature will fail, to tell what else does."""
        try:
            note = Note.parse(raw)
            return note, note.checkpoint()
        except BadNote as error:
            self._findings.failed(_CHECKPOINT, str(error))
            return None

    def _begin(self, enough: int | None) -> None:
        """Find out where the export begins, and whether that is enough."""
        try:
            raw = self._source.read(_FIRST, 32)
        except Missing:
            return
        except BadFile as error:
            self._findings.failed(_FIRST, str(error))
            return
        except Unreadable as error:
            self._findings.unchecked(_FIRST, str(error))
            return
        text = raw.removesuffix(b"\n")
        if not text.isdigit() or raw != b"%d\n" % int(text) or int(text) > self._size:
            self._findings.failed(_FIRST, f"it is no number of an entry of {self._size}")
            return
        self._first = int(text)
        if not self._first:
            return
        if enough is None or enough < self._first:
            self._findings.unchecked(
                _FIRST,
                f"the export begins with entry {self._first}; if that is enough, give --from {self._first}",
            )
        self._findings.warn(
            f"Of the entries before {self._first} only the hashes were there: what they say, and what began "
            "with them, was not checked."
        )

    def _handovers(self) -> list[Handover]:
        """The handover notes up to the checkpoint's size, in order."""
        found: list[Handover] = []
        try:
            listed = self._source.listed("handovers")
        except BadFile as error:
            self._findings.failed("handovers", str(error))
            return found
        except Unreadable as error:
            self._findings.unchecked("handovers", str(error))
            return found
        names = (f"{at:03}" for at in range(_MAX_HANDOVERS)) if listed is None else listed
        for at, name in enumerate(names):
            where = f"handovers/{name}"
            if name != f"{at:03}":
                self._findings.failed(where, "the handovers are numbered from 000, and there is nothing else")
                break
            try:
                note = Note.parse(self._source.read(where, layout.MAX_NOTE))
                checkpoint = note.checkpoint()
            except Missing:
                break
            except (BadFile, BadNote) as error:
                self._findings.failed(where, str(error))
                break
            except Unreadable as error:
                self._findings.unchecked(where, str(error))
                break
            if checkpoint.size > self._size:
                break  # Of a log that grew since its checkpoint was read, or is exported up to earlier.
            found.append(Handover(where, note, checkpoint))
        return found

    def _strays(self) -> None:
        try:
            for name in self._source.strays(self._size, self._first):
                self._findings.failed(name, f"an export of {self._size} entries has no such file")
        except Unreadable as error:
            self._findings.unchecked("tile", str(error))

    # --- entries ------------------------------------------------------------------------------------------

    def _follow(self, start: int, entries: list[bytes], meaning: Meaning) -> None:
        """Read the entries of one bundle, the first of them with this number, and follow what they say."""
        read, follow, kinds = self._reader.read, meaning.follow, self._kinds
        for number, raw in enumerate(entries, start):
            try:
                entry = read(raw)
            except NotKnown as error:
                if self._understood:
                    # From here on the life of actions has a gap, and judging it would accuse the innocent.
                    self._findings.unchecked(
                        f"entry {number}", f"{error}; what entries mean is not checked from here on"
                    )
                self._understood = False
                continue
            except BadEntry as error:
                self._findings.failed(f"entry {number}", str(error))
                continue
            kinds[entry["kind"]] += 1
            if entry["at"] < self._at:
                self._findings.failed(f"entry {number}", "it is older than the entry before it")
            else:
                self._at = entry["at"]
            if self._understood:
                follow(number, entry)
            else:
                meaning.note_key(number, entry)

    def _read(self, name: str, limit: int) -> bytes | None:
        try:
            return self._source.read(name, limit)
        except BadFile as error:
            self._findings.failed(name, str(error))
        except Unreadable as error:
            self._findings.unchecked(name, str(error))
        return None

"""Verifying an export of the ledger, from the key to the meaning.

1. The key: one the auditor brings outranks the one that came with the export, and the two must not differ.
2. The checkpoint: signed by that key, well-formed, with the key's name as its origin; and, where the auditor
   brings a trust policy, signed by one of its logs and cosigned by its quorum of witnesses.
3. The files: exactly those a log of that size has. Every entry is hashed anew, every tile of every level
   compared with what its entries give, and the root of all with the checkpoint.
4. An older checkpoint the auditor kept: signed by the same key for the same log, not larger, and the root of
   the first so many entries is the one it names. Otherwise the log was cut off or rewritten.
5. The entries: canonical, of known versions, in the order of time, telling lives that actions can have.
6. One pass; in memory are one bundle, one row of hashes for each level, and a few words for each action.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from interlock.verify import layout
from interlock.verify.authority import Authority
from interlock.verify.entry import BadEntry, NotKnown, read_entry
from interlock.verify.layout import BadFile, Unreadable, tile_name
from interlock.verify.life import Broken, Life
from interlock.verify.note import BadNote, Checkpoint, Key, Note, UnknownAlgorithm
from interlock.verify.quorum import check_listed, check_quorum, key_of, read_policy
from interlock.verify.report import Findings, Report, shown
from interlock.verify.tree import WIDTH, Rows, leaf_hashes
from interlock.verify.trust import Trust

_CHECKPOINT = "checkpoint"
_VKEY = "vkey"
_HELD = "the checkpoint you hold"


def verify_export(
    directory: Path,
    *,
    vkey: str | None = None,
    since: str | None = None,
    policy: bytes | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check an export completely. Nothing that is wrong with the export raises; it is in the report.

    Args:
        directory: holds `checkpoint`, `vkey` and `tile/`.
        vkey: the verifier key from a source the auditor trusts; without it, the export's own is used, which
            proves only that the export is consistent with itself, and a warning says so.
        since: the text of an older signed checkpoint.
        policy: a trust policy (tlog-policy): the checkpoint is signed by one of its logs, which then need no
            other key, and cosigned by its quorum.
        progress: called after every bundle with the number of entries read and of all.
    """
    findings = Findings()
    check = _Check(directory, findings, progress)
    trust = read_policy(policy, findings)
    key = check.key(vkey, trust)
    checkpoint = check.checkpoint(key)
    cosigned = check.cosigned(trust)
    if checkpoint is not None:
        held = None if since is None else check.held(since, key, checkpoint)
        check.files(checkpoint.size)
        check.entries(checkpoint, held)
    problems = findings.problems()
    return Report(
        ok=not problems,
        size=checkpoint.size if checkpoint else 0,
        origin=shown(checkpoint.origin) if checkpoint else "",
        root=b64encode(checkpoint.root).decode() if checkpoint else "",
        problems=problems,
        warnings=tuple(findings.warnings),
        kinds=dict(sorted(check.kinds.items())),
        cannot_check=findings.cannot_check,
        cosigned=cosigned,
    )


class _Check:
    """One verification under way."""

    def __init__(
        self, directory: Path, findings: Findings, progress: Callable[[int, int], None] | None
    ) -> None:
        self._directory = directory
        self._findings = findings
        self._progress = progress
        self._life = Life()
        self._authority = Authority()
        self._at = 0
        self._understood = True
        self.kinds: Counter[str] = Counter()

    def key(self, given: str | None, trust: Trust | None) -> Key | None:
        """The key to check with, or None where there is none that can be used."""
        if given is None and trust is not None and (trust.logs or trust.unknown_logs):
            raw = self._read(_CHECKPOINT, layout.MAX_NOTE)
            return None if raw is None else key_of(trust, raw, self._findings, _CHECKPOINT)
        where, text = "the key you gave", given
        if given is None or (self._directory / _VKEY).exists():
            enclosed = self._read(_VKEY, layout.MAX_NOTE)
            if given is None:
                where, text = _VKEY, None if enclosed is None else enclosed.decode("utf-8", "replace")
            elif enclosed != f"{given.strip()}\n".encode("utf-8", "replace"):
                self._findings.failed(_VKEY, "the export carries another key than the one you gave")
        if text is None:
            self._findings.unchecked(_VKEY, "without a verifier key no signature can be checked")
            return None
        try:
            key = Key.parse(text if given is None else given.strip())
        except BadNote as error:
            self._findings.failed(where, str(error))
            return None
        except UnknownAlgorithm as error:
            self._findings.unchecked(where, str(error))
            return None
        if given is None:
            self._findings.warnings.append(
                "The key came with the export: whoever made the export could have made the key. "
                "Compare it with one you received another way."
            )
        if trust is not None:
            check_listed(trust, key, self._findings)
        return key

    def cosigned(self, trust: Trust | None) -> dict[str, int]:
        """Which witnesses of the policy cosigned the checkpoint, and when."""
        raw = None if trust is None else self._read(_CHECKPOINT, layout.MAX_NOTE)
        if trust is None or raw is None:
            return {}
        return check_quorum(trust, raw, self._findings, _CHECKPOINT)

    def checkpoint(self, key: Key | None) -> Checkpoint | None:
        """The export's checkpoint; read on even where the signature fails, to tell what else does."""
        raw = self._read(_CHECKPOINT, layout.MAX_NOTE)
        return None if raw is None else self._signed(raw, key, _CHECKPOINT)

    def held(self, text: str, key: Key | None, current: Checkpoint) -> Checkpoint | None:
        """The auditor's older checkpoint, if the current one can continue it."""
        held = self._signed(text.encode("utf-8", "replace"), key, _HELD)
        if held is None:
            return None
        if held.origin != current.origin:
            self._findings.failed(_HELD, "it is of another log")
            return None
        if held.size > current.size:
            self._findings.failed(
                _CHECKPOINT,
                f"the log was truncated or rewritten: {_HELD} counts {held.size} entries, "
                f"this one {current.size}",
            )
            return None
        return held

    def _signed(self, raw: bytes, key: Key | None, where: str) -> Checkpoint | None:
        try:
            note = Note.parse(raw)
            checkpoint = note.checkpoint()
        except BadNote as error:
            self._findings.failed(where, str(error))
            return None
        if key is not None:
            try:
                note.check_signed_by(key)
            except BadNote as error:
                self._findings.failed(where, str(error))
            if checkpoint.origin != key.name:
                self._findings.failed(where, "its origin is not the name of the key")
        return checkpoint

    def files(self, size: int) -> None:
        try:
            for name in layout.strays(self._directory, size):
                self._findings.failed(name, f"a log of {size} entries has no such file")
        except Unreadable as error:
            self._findings.unchecked("tile", str(error))

    def entries(self, checkpoint: Checkpoint, held: Checkpoint | None) -> None:
        """Read all entries, recompute every tile and the root, and follow what the entries say."""
        rows = Rows()
        size = checkpoint.size
        hashes: list[bytes] = []
        if held is not None and held.size == 0:
            self._compare_root(held, rows.root([]))
        for start in range(0, size, WIDTH):
            index, width = start // WIDTH, min(WIDTH, size - start)
            name = tile_name(None, index, width)
            raw = self._read(name, layout.MAX_BUNDLE)
            if raw is None:
                return
            try:
                bundle = layout.split_bundle(raw, width)
            except BadFile as error:
                self._findings.failed(name, str(error))
                return
            hashes = leaf_hashes(bundle)
            self._compare_tile(0, index, b"".join(hashes))
            if held is not None and start < held.size <= start + width:
                self._compare_root(held, rows.root(hashes[: held.size - start]))
            for number, entry in enumerate(bundle, start):
                self._follow(number, entry)
            if width == WIDTH:
                for tile in rows.take(hashes):
                    self._compare_tile(*tile)
                hashes = []
            if self._progress is not None:
                self._progress(start + width, size)
        for tile in rows.unfinished():
            self._compare_tile(*tile)
        if rows.root(hashes) != checkpoint.root:
            self._findings.failed(_CHECKPOINT, "its root is not that of the entries")

    def _compare_root(self, held: Checkpoint, root: bytes) -> None:
        if root != held.root:
            self._findings.failed(
                _CHECKPOINT,
                f"the log was rewritten: its first {held.size} entries are not those of {_HELD}",
            )

    def _compare_tile(self, level: int, index: int, expected: bytes) -> None:
        name = tile_name(level, index, len(expected) // 32)
        content = self._read(name, layout.MAX_TILE)
        if content is None or content == expected:
            return
        if len(content) != len(expected):
            self._findings.failed(name, f"it has {len(content)} bytes and should have {len(expected)}")
            return
        at = next(i for i in range(len(expected)) if content[i] != expected[i]) // 32
        first = (index * WIDTH + at) * WIDTH**level
        what = f"entry {first}" if level == 0 else f"entries {first} to {first + WIDTH**level - 1}"
        self._findings.failed(name, f"hash {at} is not that of {what}")

    def _follow(self, number: int, raw: bytes) -> None:
        where = f"entry {number}"
        try:
            entry = read_entry(raw)
        except NotKnown as error:
            if self._understood:
                # From here on the life of actions has a gap, and judging it would accuse the innocent.
                self._findings.unchecked(where, f"{error}; what entries mean is not checked from here on")
            self._understood = False
            return
        except BadEntry as error:
            self._findings.failed(where, str(error))
            return
        self.kinds[entry["kind"]] += 1
        if entry["at"] < self._at:
            self._findings.failed(where, "it is older than the entry before it")
        self._at = max(self._at, entry["at"])
        if self._understood:
            try:
                self._authority.follow(entry)
                self._life.follow(entry)
            except Broken as error:
                self._findings.failed(where, f"{entry['kind']}: {error}")

    def _read(self, name: str, limit: int) -> bytes | None:
        try:
            return layout.read(self._directory, name, limit)
        except BadFile as error:
            self._findings.failed(name, str(error))
        except Unreadable as error:
            self._findings.unchecked(name, str(error))
        return None

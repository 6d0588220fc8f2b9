"""What an export carries beside the tree, so that verdicts can be decided anew: policies, and inputs.

1. ``policies/<hex>.json`` is the canonical document of each policy that was ever in force, as it was stored.
   A stored document that does not hash to its snapshot is not written; the export fails.
2. ``inputs.jsonl`` is written only where it is asked for, because it holds personal data: everything agents
   proposed, in plain text. Its mode is 600. It appears complete or not at all.
3. One line for each revision that the exported entries open, in their order: ``{action, revision, nonce,
   binding, inputs}``, rebuilt from what is sealed. What was erased says so. What does not open, or is not
   what was recorded, is left out and counted: for a replay it is as if nobody had handed it over.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import bindparam, select

from interlock.gate.package import Sealed
from interlock.gate.records import load_action
from interlock.journal import Journal, Prepared, Tx
from interlock.journal import tables as t
from interlock.journal.prepared import Row
from interlock.ledger import Kind
from interlock.model.canonical import canonical
from interlock.model.errors import Erased, HomeUnusable, NotFound, Tampered
from interlock.policy import document_of

INPUTS = "inputs.jsonl"
PAGE = 512
"""Ledger entries that are read at once."""
_OPENING = tuple(b'"kind":"%b"' % kind.value.encode() for kind in (Kind.ACTION_PROPOSED, Kind.ACTION_EDITED))
"""In canonical bytes these stand in entries of those kinds only: a quote inside a text is escaped."""
_SNAPSHOTS = Prepared(select(t.policies.c.snapshot).where(t.policies.c.namespace == bindparam("ns")))
_DOCUMENT = Prepared(
    select(t.policies.c.document).where(
        t.policies.c.namespace == bindparam("ns"), t.policies.c.snapshot == bindparam("snapshot_")
    )
)


@dataclass(frozen=True, slots=True)
class Inputs:
    """How many revisions an export has inputs of; of how many they were erased, or do not open."""

    written: int
    erased: int
    unreadable: int


def write_policies(journal: Journal, directory: Path) -> int:
    """Write every policy that was ever in force into ``policies/``; returns how many.

    Raises:
        HomeUnusable: a stored document does not hash to its snapshot. OSError: the folder cannot be written.
    """
    folder = directory / "policies"
    folder.mkdir(parents=True, exist_ok=True)
    snapshots = [snapshot for (snapshot,) in journal.look(lambda tx: tx.all(_SNAPSHOTS))]
    for snapshot in snapshots:
        row = journal.look(partial(_document, snapshot=snapshot))
        document = b"" if row is None else row[0]
        digest = hashlib.sha256(document).hexdigest()
        if snapshot != f"v1:{digest}":
            raise HomeUnusable(f"The stored policy {snapshot} hashes to v1:{digest}.")
        (folder / f"{digest}.json").write_bytes(document)
    return len(snapshots)


def write_inputs(
    journal: Journal,
    directory: Path,
    *,
    first: int = 0,
    size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Inputs:
    """Write ``inputs.jsonl`` for the entries `first` to `size` (exclusive; all of them by default).

    Args:
        progress: called after every page with the number of entries read and of all.

    Raises:
        OSError: the folder cannot be written. InterlockError: the keys that open payloads cannot be had.
    """
    end = journal.head()[0] if size is None else size
    counts = {"written": 0, "erased": 0, "unreadable": 0}
    with _whole(directory / INPUTS) as write:
        for start in range(first, end, PAGE):
            stop = min(start + PAGE, end)
            bodies = (body for body in journal.entries(start, stop) if any(k in body for k in _OPENING))
            opened = [orjson.loads(body) for body in bodies]
            for what, line in journal.look(partial(_lines, entries=opened)) if opened else ():
                counts[what] += 1
                write(line)
            if progress is not None:
                progress(stop, end)
    return Inputs(**counts)


def _document(tx: Tx, snapshot: str) -> Row | None:
    return tx.one(_DOCUMENT, snapshot_=snapshot)


def _lines(tx: Tx, entries: list[dict[str, Any]]) -> list[tuple[str, bytes]]:
    """What became of each of these entries' inputs, and the line about it, if there is one."""
    found = []
    for entry in entries:
        line: dict[str, Any] = {"action": entry["action"], "revision": entry["revision"]}
        try:
            row = load_action(tx, entry["action"], entry["revision"])
            sealed = Sealed.read(tx.unseal(row.payload), row.action_hash)
        except Erased:
            found.append(("erased", canonical({**line, "erased": True}) + b"\n"))
            continue
        except (NotFound, Tampered):
            found.append(("unreadable", b""))
            continue
        line["nonce"] = sealed.nonce.hex()
        line["binding"] = sealed.binding.to_json()
        line["inputs"] = document_of(sealed.question)
        found.append(("written", canonical(line) + b"\n"))
    return found


@contextmanager
def _whole(path: Path) -> Iterator[Callable[[bytes], object]]:
    """Writes a file beside its place, for its user alone, and puts it there once all is written."""
    temporary = path.with_name(path.name + ".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

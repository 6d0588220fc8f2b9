"""The policies that an export carries: each is what its name says.

1. ``policies/<64 hex>.json`` holds the canonical document of the policy ``v1:<64 hex>``: its SHA-256.
2. No other file stands there. A policy that was in force and is not there cannot be replayed: a warning.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from hashlib import sha256

from interlock.verify.layout import BadFile, Missing, Unreadable
from interlock.verify.report import Findings, shown
from interlock.verify.source import Source

MAX_POLICY = 16 << 20
_SNAPSHOT = re.compile(r"v1:([0-9a-f]{64})", re.ASCII)
_FILE = re.compile(r"([0-9a-f]{64})\.json", re.ASCII)


def check_policies(source: Source, snapshots: Collection[str], findings: Findings) -> int:
    """How many policy documents the source carries that hash to their names.

    Args:
        snapshots: every policy that was in force in the entries.
    """
    try:
        listed = source.listed("policies")
    except BadFile as error:
        findings.failed("policies", str(error))
        return 0
    except Unreadable as error:
        findings.unchecked("policies", str(error))
        return 0
    known = {found[1]: snapshot for snapshot in snapshots if (found := _SNAPSHOT.fullmatch(snapshot))}
    digests = set(known)
    if listed is not None:
        matches = [(name, _FILE.fullmatch(name)) for name in listed]
        for name, match in matches:
            if match is None:
                findings.failed(f"policies/{name}", "an export has no such file")
        digests = {match[1] for _, match in matches if match}
    good = {digest for digest in sorted(digests) if _check(source, digest, findings)}
    lacking = len(snapshots) - sum(1 for digest in known if digest in good)
    if lacking and (good or listed is not None):
        findings.warn(f"{lacking} of {len(snapshots)} policies are not there; --replay needs them.")
    return len(good)


def _check(source: Source, digest: str, findings: Findings) -> bool:
    where = f"policies/{digest}.json"
    try:
        content = source.read(where, MAX_POLICY)
    except Missing:
        return False
    except BadFile as error:
        findings.failed(where, str(error))
        return False
    except Unreadable as error:
        findings.warn(f"{shown(where)}: {error}.")
        return False
    if sha256(content).hexdigest() != digest:
        findings.failed(where, "its SHA-256 is not its name")
        return False
    return True

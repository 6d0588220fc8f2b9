"""What a trust policy says about one signed checkpoint.

1. The checkpoint is signed by a log of the policy, where the policy lists any. A verifier key that the
   auditor gives besides must be among them.
2. The witnesses that cosigned it are a quorum. Each cosignature in the name of a listed witness must verify.
3. Where only an unknown algorithm stands between the checkpoint and its quorum, it cannot be checked.
"""

from __future__ import annotations

from interlock.verify.note import BadNote, Key, Note
from interlock.verify.report import Findings, shown
from interlock.verify.trust import BadPolicy, Trust

_POLICY = "the policy you gave"


def read_policy(raw: bytes | None, findings: Findings) -> Trust | None:
    """The policy; None where none was given, or it is none, which is then a failure."""
    if raw is None:
        return None
    try:
        return Trust.parse(raw)
    except BadPolicy as error:
        findings.failed(_POLICY, str(error))
        return None


def key_of(trust: Trust, raw: bytes, findings: Findings, where: str) -> Key | None:
    """The key of the policy's log that signed these bytes, a signed checkpoint; None where none did."""
    try:
        note = Note.parse(raw)
        key = trust.signer(note, note.checkpoint().origin)
    except BadNote as error:
        findings.failed(where, str(error))
        return None
    if key is None:
        if trust.unknown_logs:
            findings.unchecked(where, "a log of the policy has a key of an algorithm that is not known here")
        else:
            findings.failed(where, "it is not signed by any log of the policy")
    return key


def check_listed(trust: Trust, key: Key, findings: Findings) -> None:
    """Fails where the policy lists logs, and this key is none of theirs."""
    if (trust.logs or trust.unknown_logs) and key not in trust.logs:
        findings.failed(_POLICY, f"it does not list the log's key {shown(key.name)}+{key.id.hex()}")


def check_quorum(trust: Trust, raw: bytes, findings: Findings, where: str) -> dict[str, int]:
    """Which witnesses cosigned, by their names in the policy, and when (seconds since 1970).

    Fails where they are no quorum.
    """
    try:
        cosigned = trust.cosigned(Note.parse(raw))
    except BadNote as error:
        findings.failed(where, str(error))
        return {}
    if not trust.holds(cosigned.keys()):
        if trust.could_hold(cosigned.keys()):
            findings.unchecked(
                where, "a witness of its quorum has a key of an algorithm that is not known here"
            )
        else:
            findings.failed(
                where,
                f"the witnesses that cosigned it are no quorum of the policy: {_list(cosigned)}",
            )
    return {_name(name): at for name, at in sorted(cosigned.items())}


def _list(names: dict[bytes, int]) -> str:
    return ", ".join(_name(name) for name in sorted(names)) or "nobody did"


def _name(name: bytes) -> str:
    return shown(name.decode("utf-8", "backslashreplace"))

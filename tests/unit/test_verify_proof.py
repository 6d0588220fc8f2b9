"""Proof files and quorums, as an auditor checks them: what holds passes, everything else fails or is open."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exports import of, written
from interlock.ledger import (
    Cosigner,
    Frontier,
    Signer,
    TileWriter,
    checkpoint,
    consistency_path,
    consistency_text,
    inclusion_path,
    inclusion_text,
    leaf_hash,
    subtrees,
)
from interlock.verify import Proven, Report, verify_export, verify_proof

ORIGIN = "example.com/log"


def key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


LOG, OTHER = Signer(ORIGIN, key(1)), Signer(ORIGIN, key(2))
W1, W2, W3 = (Cosigner(f"w.example/{number}", key(10 + number)) for number in (1, 2, 3))
ENTRIES = list(written([of("link.issued")] * 11))
LEAVES = [leaf_hash(each) for each in ENTRIES]
POLICY = f"""\
log {LOG.vkey}
witness one {W1.vkey}
witness two {W2.vkey}
group both all one two
quorum both
"""


def note(size: int, *cosigners: Cosigner, signer: Signer = LOG, entries: list[bytes] = LEAVES) -> str:
    text = checkpoint(ORIGIN, size, Frontier.EMPTY.appended(entries[:size]).root())
    return signer.sign(text) + "".join(each.cosign(text, 1_700_000_000) for each in cosigners)


def inclusion(index: int, signed: str, *, extra: bytes | None = None) -> bytes:
    size = int(signed.split("\n")[1])
    return inclusion_text(
        index,
        subtrees(inclusion_path(index, size), LEAVES[:size]),
        signed,
        extra=ENTRIES[index] if extra is None else extra,
    ).encode()


def growth(old: int, signed: str) -> bytes:
    size = int(signed.split("\n")[1])
    return consistency_text(old, subtrees(consistency_path(old, size), LEAVES[:size]), signed).encode()


def failed(found: Proven | Report) -> bool:
    return not found.ok and not found.cannot_check and bool(found.problems)


def told(found: Proven | Report) -> str:
    return " | ".join(f"{problem.where}: {problem.what}" for problem in found.problems)


# --- one entry ---------------------------------------------------------------------------------------------


def test_an_entry_of_the_log_is_proved_to_whoever_has_the_key() -> None:
    found = verify_proof(inclusion(3, note(11)), vkey=LOG.vkey)
    assert found.ok, told(found)
    assert (found.index, found.size, found.origin, found.old) == (3, 11, ORIGIN, None)
    assert found.entry is not None
    assert (found.entry["kind"], found.entry["at"]) == ("link.issued", 3)


def test_without_a_key_nothing_is_proved() -> None:
    found = verify_proof(inclusion(3, note(11)))
    assert found.cannot_check
    assert not found.ok


def test_another_entry_than_the_proof_is_of_fails() -> None:
    assert failed(verify_proof(inclusion(3, note(11), extra=ENTRIES[4]), vkey=LOG.vkey))
    assert failed(verify_proof(inclusion(3, note(11)), vkey=LOG.vkey, entry=ENTRIES[4]))
    assert verify_proof(inclusion(3, note(11), extra=ENTRIES[4]), vkey=LOG.vkey, entry=ENTRIES[3]).ok


def test_a_proof_without_its_entry_is_open_until_somebody_brings_it() -> None:
    signed = note(11)
    raw = inclusion_text(3, subtrees(inclusion_path(3, 11), LEAVES), signed).encode()
    assert verify_proof(raw, vkey=LOG.vkey).cannot_check
    assert verify_proof(raw, vkey=LOG.vkey, entry=ENTRIES[3]).ok


def test_a_proof_that_the_log_did_not_sign_fails() -> None:
    assert failed(verify_proof(inclusion(3, note(11, signer=OTHER)), vkey=LOG.vkey))
    other_name = Signer("example.com/elsewhere", key(1))
    text = checkpoint(ORIGIN, 11, Frontier.EMPTY.appended(LEAVES).root())
    assert failed(verify_proof(inclusion(3, other_name.sign(text)), vkey=other_name.vkey))
    signed = note(11).replace("\n11\n", "\n12\n")
    assert failed(
        verify_proof(inclusion(3, note(11)).replace(note(11).encode(), signed.encode()), vkey=LOG.vkey)
    )


def test_an_entry_of_a_later_version_is_included_but_not_understood() -> None:
    later = ENTRIES[3].replace(b'"v":1', b'"v":2')
    leaves = [*LEAVES[:3], leaf_hash(later), *LEAVES[4:]]
    signed = note(11, entries=leaves)
    raw = inclusion_text(3, subtrees(inclusion_path(3, 11), leaves), signed, extra=later).encode()
    assert verify_proof(raw, vkey=LOG.vkey).cannot_check


@pytest.mark.parametrize("vkey", ["nonsense", W1.vkey])
def test_what_is_no_key_of_a_log_proves_nothing(vkey: str) -> None:
    assert not verify_proof(inclusion(3, note(11)), vkey=vkey).ok


# --- growth ------------------------------------------------------------------------------------------------


def test_that_the_log_only_grew_is_proved_to_whoever_kept_the_older_checkpoint() -> None:
    for old in range(12):
        found = verify_proof(growth(old, note(11)), vkey=LOG.vkey, since=note(old))
        assert found.ok, told(found)
        assert (found.old, found.size, found.index) == (old, 11, None)


def test_a_proof_of_growth_says_nothing_without_the_older_checkpoint() -> None:
    assert verify_proof(growth(4, note(11)), vkey=LOG.vkey).cannot_check


def test_a_rewritten_log_fails_whatever_proof_it_brings() -> None:
    held = note(4, entries=[LEAVES[5], *LEAVES[1:]])
    assert failed(verify_proof(growth(4, note(11)), vkey=LOG.vkey, since=held))


@pytest.mark.parametrize(
    "since",
    ["nonsense", note(3), note(5), note(4, signer=OTHER), note(4).replace(ORIGIN, "example.com/elsewhere")],
)
def test_a_checkpoint_of_something_else_proves_no_growth(since: str) -> None:
    assert failed(verify_proof(growth(4, note(11)), vkey=LOG.vkey, since=since))


# --- quorum ------------------------------------------------------------------------------------------------


def test_a_policy_needs_its_quorum_and_no_other_key() -> None:
    found = verify_proof(inclusion(3, note(11, W1, W2, W3)), policy=POLICY.encode())
    assert found.ok, told(found)
    assert found.cosigned == {"one": 1_700_000_000, "two": 1_700_000_000}
    for cosigners in ((), (W1,), (W1, W3), (W1, W1)):
        found = verify_proof(inclusion(3, note(11, *cosigners)), policy=POLICY.encode())
        assert failed(found)
        assert "no quorum" in told(found)


def test_a_log_that_the_policy_does_not_list_fails_whoever_cosigned() -> None:
    signed = note(11, W1, W2, signer=OTHER)
    assert failed(verify_proof(inclusion(3, signed), policy=POLICY.encode()))
    assert failed(verify_proof(inclusion(3, signed), policy=POLICY.encode(), vkey=OTHER.vkey))
    assert verify_proof(inclusion(3, note(11, W1, W2)), policy=POLICY.encode(), vkey=LOG.vkey).ok


def test_a_false_cosignature_fails_even_where_a_quorum_is_left() -> None:
    false = W3.cosign(checkpoint(ORIGIN, 10, bytes(32)), 5)
    policy = f"{POLICY}witness three {W3.vkey}\n"
    assert verify_proof(inclusion(3, note(11, W1, W2)), policy=policy.encode()).ok
    assert failed(verify_proof(inclusion(3, note(11, W1, W2) + false), policy=policy.encode()))


def test_a_policy_that_is_none_fails() -> None:
    assert failed(verify_proof(inclusion(3, note(11, W1, W2)), policy=b"quorum\n", vkey=LOG.vkey))


def test_where_only_an_unknown_algorithm_is_missing_nobody_says_no_and_nobody_says_ok() -> None:
    data = b"\x06" + bytes(1312)
    label = sha256(b"pq\n" + data).digest()[:4].hex()
    unknown = f"pq+{label}+{b64encode(data).decode()}"
    policy = f"log {LOG.vkey}\nwitness one {W1.vkey}\nwitness pq {unknown}\ngroup g all one pq\nquorum g\n"
    assert verify_proof(inclusion(3, note(11, W1)), policy=policy.encode()).cannot_check
    assert failed(verify_proof(inclusion(3, note(11)), policy=policy.encode()))
    assert verify_proof(inclusion(3, note(11, W1)), policy=policy.replace("all", "any").encode()).ok
    no_log = f"log {unknown}\nquorum none\n"
    assert verify_proof(inclusion(3, note(11)), policy=no_log.encode()).cannot_check


# --- exports -----------------------------------------------------------------------------------------------


def export(directory: Path, signed: str) -> None:
    writer = TileWriter()
    files: dict[str, bytes] = {}
    for each in ENTRIES:
        files.update(writer.add(each))
    files.update(writer.partials())
    for path, content in {**files, "checkpoint": signed.encode(), "vkey": f"{LOG.vkey}\n".encode()}.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)


def test_an_export_with_its_quorum_passes_without_another_key_and_without_a_warning(tmp_path: Path) -> None:
    export(tmp_path, note(11, W1, W2))
    report = verify_export(tmp_path, policy=POLICY.encode())
    assert report.ok, told(report)
    assert report.warnings == ()
    assert report.cosigned == {"one": 1_700_000_000, "two": 1_700_000_000}
    assert verify_export(tmp_path).cosigned == {}


def test_an_export_without_its_quorum_fails_although_every_hash_is_right(tmp_path: Path) -> None:
    export(tmp_path, note(11, W1))
    assert verify_export(tmp_path, vkey=LOG.vkey).ok
    report = verify_export(tmp_path, vkey=LOG.vkey, policy=POLICY.encode())
    assert failed(report)
    assert "no quorum of the policy: one" in told(report)


def test_a_policy_without_logs_leaves_the_key_to_the_auditor(tmp_path: Path) -> None:
    export(tmp_path, note(11, W1))
    policy = f"witness one {W1.vkey}\nquorum one\n".encode()
    assert verify_export(tmp_path, vkey=LOG.vkey, policy=policy).ok
    assert "came with the export" in verify_export(tmp_path, policy=policy).warnings[0]
    assert failed(verify_export(tmp_path, vkey=OTHER.vkey, policy=policy))

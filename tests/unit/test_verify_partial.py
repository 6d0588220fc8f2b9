"""Exports that begin later: their root is checked, their beginning is not, and that is said."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from exports import SIGNER, SNAPSHOT, export, failed, lives, note_of, of, root_of, signer, told, written
from interlock.verify import verify_export

SIZE = 1000


def partial(folder: Path, first: int, size: int = SIZE) -> str:
    """An export of which only the entries from `first` on are there."""
    note = export(folder, lives(size))
    for index in range(first // 256):
        (folder / f"tile/entries/{index:03}").unlink()
    (folder / "first").write_text(f"{first}\n")
    return note


@pytest.mark.parametrize("first", [1, 256, 300, 767, 768, 999, 1000])
def test_a_beginning_that_is_not_there_cannot_be_checked_unless_that_is_enough(
    tmp_path: Path, first: int
) -> None:
    partial(tmp_path, first)
    report = verify_export(tmp_path, vkey=SIGNER.vkey)
    assert report.cannot_check, told(report)
    assert f"begins with entry {first}" in told(report)
    assert verify_export(tmp_path, vkey=SIGNER.vkey, start=first - 1).cannot_check
    report = verify_export(tmp_path, vkey=SIGNER.vkey, start=first)
    assert report.ok, told(report)
    assert f"before {first}" in report.warnings[0]
    assert report.first == first


def test_a_whole_export_may_say_that_it_begins_with_the_first_entry(tmp_path: Path) -> None:
    partial(tmp_path, 0)
    report = verify_export(tmp_path, vkey=SIGNER.vkey)
    assert report.ok, told(report)
    assert report.warnings == ()


@pytest.mark.parametrize("text", ["", "\n", "x\n", "-1\n", "0300\n", "300", "300\n\n", "1001\n", "9" * 40])
def test_a_beginning_that_is_no_number_of_an_entry_fails(tmp_path: Path, text: str) -> None:
    partial(tmp_path, 300)
    (tmp_path / "first").write_text(text)
    assert failed(verify_export(tmp_path, vkey=SIGNER.vkey, start=SIZE))


def test_every_hash_is_checked_where_the_entries_are_not_there(tmp_path: Path) -> None:
    partial(tmp_path, 600)
    for name in ("tile/0/000", "tile/0/001", "tile/1/000.p/3"):
        good = (tmp_path / name).read_bytes()
        for bad in (good[:40] + bytes([good[40] ^ 1]) + good[41:], good[:-1], good + b"x"):
            (tmp_path / name).write_bytes(bad)
            assert failed(verify_export(tmp_path, vkey=SIGNER.vkey, start=600)), name
        (tmp_path / name).unlink()
        assert failed(verify_export(tmp_path, vkey=SIGNER.vkey, start=600)), name
        (tmp_path / name).write_bytes(good)
    assert verify_export(tmp_path, vkey=SIGNER.vkey, start=600).ok


def test_entries_that_nobody_checks_do_not_travel_along(tmp_path: Path) -> None:
    partial(tmp_path, 600)
    (tmp_path / "tile/entries/000").write_bytes(b"")
    assert "has no such file" in told(verify_export(tmp_path, vkey=SIGNER.vkey, start=600))


def test_an_older_checkpoint_is_compared_where_the_entries_are_not_there(tmp_path: Path) -> None:
    partial(tmp_path, 600)
    older = note_of(*root_of(lives(123)), SIGNER)
    assert verify_export(tmp_path, vkey=SIGNER.vkey, start=600, since=older).ok
    other = note_of(123, bytes(32), SIGNER)
    assert "rewritten" in told(verify_export(tmp_path, vkey=SIGNER.vkey, start=600, since=other))


def test_keys_that_are_named_before_the_beginning_have_to_be_brought(tmp_path: Path) -> None:
    second, third = signer(2), signer(3)

    def rotated(to: object, before: object) -> dict[str, object]:
        return of("ledger.key_rotated", vkey=to.vkey, previous=before.vkey, by="test")  # type: ignore[attr-defined]

    rest = [of("link.issued")] * 300
    raw = list(written([*rest[:10], rotated(second, SIGNER), *rest, rotated(third, second), *rest]))
    export(tmp_path, raw, third)
    (tmp_path / "handovers").mkdir()
    for number, (size, before, after) in enumerate(((11, SIGNER, second), (312, second, third))):
        (tmp_path / f"handovers/{number:03}").write_text(note_of(*root_of(raw[:size]), after, before))
    (tmp_path / "tile/entries/000").unlink()
    (tmp_path / "first").write_text("256\n")
    for key in (second, third):
        report = verify_export(tmp_path, vkey=key.vkey, start=256)
        assert report.ok, told(report)
    report = verify_export(tmp_path, vkey=SIGNER.vkey, start=256)
    assert report.cannot_check
    assert "give its newest key" in told(report)
    (tmp_path / "tile/entries/001").unlink()
    (tmp_path / "first").write_text("512\n")
    report = verify_export(tmp_path, vkey=third.vkey, start=512)
    assert report.ok, told(report)
    assert verify_export(tmp_path, vkey=second.vkey, start=512).cannot_check


def test_what_was_pruned_stays_pruned(tmp_path: Path) -> None:
    def pruned(*before: int) -> str:
        export(tmp_path, written(of("ledger.pruned", before=number) for number in before))
        report = verify_export(tmp_path, vkey=SIGNER.vkey)
        assert report.ok == (not report.problems)
        return told(report)

    assert pruned(0, 1, 1, 3) == ""
    assert "were pruned already" in pruned(0, 1, 0)
    assert "not there yet" in pruned(1)


# --- policies ---------------------------------------------------------------------------------------------

DOCUMENT = b'{"interlock":1}'
DIGEST = sha256(DOCUMENT).hexdigest()


def with_policies(folder: Path, **files: bytes) -> None:
    entries = [
        of("policy.activated", snapshot=f"v1:{DIGEST}"),
        of("policy.activated", snapshot=SNAPSHOT, previous=f"v1:{DIGEST}"),
    ]
    export(folder, written(entries))
    (folder / "policies").mkdir()
    for name, content in files.items():
        (folder / f"policies/{name}.json").write_bytes(content)


def test_a_policy_is_what_its_name_says(tmp_path: Path) -> None:
    with_policies(tmp_path, **{DIGEST: DOCUMENT})
    report = verify_export(tmp_path, vkey=SIGNER.vkey)
    assert report.ok, told(report)
    assert report.policies == 1
    assert report.warnings == ("1 of 2 policies are not there; --replay needs them.",)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        (DIGEST, DOCUMENT + b" ", "its SHA-256 is not its name"),
        (DIGEST.upper(), DOCUMENT, "no such file"),
        ("notes", b"", "no such file"),
        ("00" * 32, b"", "its SHA-256 is not its name"),
    ],
)
def test_a_file_that_is_no_policy_fails(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    with_policies(tmp_path, **{name: content})
    report = verify_export(tmp_path, vkey=SIGNER.vkey)
    assert failed(report)
    assert why in told(report)

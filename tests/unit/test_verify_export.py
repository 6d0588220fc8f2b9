"""An export either is exactly what its signed checkpoint commits to, or does not pass."""

from __future__ import annotations

import os
import shutil
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from exports import ORIGIN, OTHER, SIGNER, export, failed, lives, of, told, written
from interlock.ledger import Signer, checkpoint
from interlock.verify import verify_export


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 1000, 66_000])
def test_an_untouched_export_passes(tmp_path: Path, size: int) -> None:
    note = export(tmp_path, lives(size))
    seen: list[tuple[int, int]] = []
    report = verify_export(tmp_path, vkey=SIGNER.vkey, progress=lambda done, of: seen.append((done, of)))
    assert report.ok, told(report)
    assert (report.size, report.origin, report.root) == (size, ORIGIN, note.split("\n")[2])
    assert (report.problems, report.warnings, report.cannot_check) == ((), (), False)
    assert sum(report.kinds.values()) == size
    assert [done for done, _ in seen] == [min(size, at + 256) for at in range(0, size, 256)]


def test_a_key_that_came_with_the_export_is_used_with_a_warning(tmp_path: Path) -> None:
    export(tmp_path, lives(3))
    report = verify_export(tmp_path)
    assert report.ok
    assert "came with the export" in report.warnings[0]


def test_an_export_signed_by_somebody_else_fails_against_the_auditors_key(tmp_path: Path) -> None:
    export(tmp_path, lives(3), OTHER)
    assert verify_export(tmp_path).ok
    report = verify_export(tmp_path, vkey=SIGNER.vkey)
    assert failed(report)
    assert "is not signed by" in told(report)
    assert "another key" in told(report)
    (tmp_path / "vkey").unlink()
    assert failed(verify_export(tmp_path, vkey=SIGNER.vkey))


def test_without_any_key_nothing_can_be_checked(tmp_path: Path) -> None:
    export(tmp_path, lives(3))
    (tmp_path / "vkey").unlink()
    assert not verify_export(tmp_path).ok
    assert verify_export(tmp_path, vkey=SIGNER.vkey).ok


def test_a_key_of_an_unknown_algorithm_cannot_be_checked(tmp_path: Path) -> None:
    export(tmp_path, lives(3))
    data = b"\x06" + bytes(32)
    key_id = sha256(ORIGIN.encode() + b"\n" + data).digest()[:4].hex()
    (tmp_path / "vkey").unlink()
    report = verify_export(tmp_path, vkey=f"{ORIGIN}+{key_id}+{b64encode(data).decode()}")
    assert report.cannot_check
    assert not report.ok


@pytest.mark.parametrize(
    "key",
    [
        "",
        "nonsense",
        SIGNER.vkey.replace("+", "", 1),
        SIGNER.vkey[:-4],
        SIGNER.vkey.replace(ORIGIN, "interlock.example/other"),
        SIGNER.vkey.replace(ORIGIN, "interlock.example/\u202eledger"),
    ],
)
def test_a_malformed_key_fails(tmp_path: Path, key: str) -> None:
    export(tmp_path, lives(3))
    (tmp_path / "vkey").unlink()
    assert failed(verify_export(tmp_path, vkey=key))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pristine")
    export(directory, lives(300))
    assert verify_export(directory).ok
    return directory


def files_of(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("vkey", [None, SIGNER.vkey])
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_any_changed_byte_in_any_file_fails(pristine: Path, vkey: str | None, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(files_of(pristine)))
    good = path.read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bad)
    try:
        report = verify_export(pristine, vkey=vkey)
    finally:
        path.write_bytes(good)
    assert not report.ok
    assert failed(report), told(report)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cut_or_lengthened_tile_fails(pristine: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(files_of(pristine / "tile")))
    good = path.read_bytes()
    bad = data.draw(
        st.one_of(
            st.integers(0, len(good) - 1).map(lambda end: good[:end]),
            st.binary(min_size=1, max_size=40).map(lambda more: good + more),
        )
    )
    path.write_bytes(bad)
    try:
        report = verify_export(pristine)
    finally:
        path.write_bytes(good)
    assert failed(report)


def test_every_file_is_needed(pristine: Path) -> None:
    for path in files_of(pristine):
        away = path.with_name("away")
        path.rename(away)
        try:
            report = verify_export(pristine)
        finally:
            away.rename(path)
        assert not report.ok, path
        assert any("missing" in problem.what for problem in report.problems)


@pytest.mark.parametrize(
    "name",
    [
        "tile/0/002",
        "tile/0/001.p/45",
        "tile/0/001",
        "tile/0/x000/000",
        "tile/00/000",
        "tile/2/000.p/1",
        "tile/entries/001.p/044",
        "tile/notes.txt",
        "tile/entries/.hidden",
        "tile/\x1b[31mred",
    ],
)
def test_a_file_too_many_fails(tmp_path: Path, pristine: Path, name: str) -> None:
    shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
    target = tmp_path / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"")
    report = verify_export(tmp_path)
    assert failed(report)
    assert "has no such file" in told(report)
    assert told(report).isprintable()


@pytest.mark.parametrize("trap", ["link", "pipe", "folder", "linked folder"])
def test_what_is_no_plain_file_fails_and_does_not_block(tmp_path: Path, pristine: Path, trap: str) -> None:
    shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
    target = tmp_path / "tile/0/000"
    if trap == "linked folder":
        (tmp_path / "tile").rename(tmp_path / "elsewhere")
        (tmp_path / "tile").symlink_to(tmp_path / "elsewhere")
    else:
        target.rename(tmp_path / "elsewhere")
        if trap == "link":
            target.symlink_to(tmp_path / "elsewhere")
        elif trap == "pipe":
            os.mkfifo(target)
        else:
            target.mkdir()
    assert failed(verify_export(tmp_path))


def test_an_edited_entry_fails_even_when_its_tile_is_made_to_match(tmp_path: Path) -> None:
    entries = list(lives(300))
    export(tmp_path, entries)
    note = (tmp_path / "checkpoint").read_bytes()
    entries[8] = entries[8].replace(b'"epoch":1', b'"epoch":2')
    export(tmp_path, entries)
    (tmp_path / "checkpoint").write_bytes(note)
    report = verify_export(tmp_path)
    assert "checkpoint: its root is not that of the entries" in told(report)
    assert failed(report)


def test_swapped_entries_fail(tmp_path: Path) -> None:
    entries = list(lives(30))
    note = export(tmp_path, entries)
    entries[3], entries[6] = entries[6], entries[3]
    export(tmp_path, entries)
    (tmp_path / "checkpoint").write_text(note)
    assert "its root is not that of the entries" in told(verify_export(tmp_path))


def test_the_report_names_the_entry_that_no_longer_matches(tmp_path: Path, pristine: Path) -> None:
    shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
    tile = tmp_path / "tile/0/001.p/44"
    content = bytearray(tile.read_bytes())
    content[5 * 32] ^= 1
    tile.write_bytes(content)
    assert "tile/0/001.p/44: hash 5 is not that of entry 261" in told(verify_export(tmp_path))


def test_tiles_above_the_leaves_are_recomputed_too(tmp_path: Path) -> None:
    export(tmp_path, lives(66_000))
    wrong = {
        "tile/1/000": "hash 3 is not that of entries 768 to 1023",
        "tile/2/000.p/1": "hash 0 is not that of entries 0 to 65535",
        "tile/1/001.p/1": "hash 0 is not that of entries 65536 to 65791",
    }
    for name in wrong:
        bad = bytearray((tmp_path / name).read_bytes())
        bad[3 * 32 if len(bad) > 32 else 0] ^= 1
        (tmp_path / name).write_bytes(bad)
    report = verify_export(tmp_path)
    assert {problem.where: problem.what for problem in report.problems} == wrong


@pytest.mark.parametrize("left", [0, 1, 20])
def test_a_bundle_cut_within_its_last_entry_says_so(tmp_path: Path, left: int) -> None:
    *_, last = lives(3)
    export(tmp_path, lives(3))
    bundle = tmp_path / "tile/entries/000.p/3"
    bundle.write_bytes(bundle.read_bytes()[: -len(last) - 2 + left])
    assert "it ends within entry 3 of 3" in told(verify_export(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "{origin}\n0{size}\n{root}\n",
        "{origin}\n+{size}\n{root}\n",
        "{origin}\n{size} \n{root}\n",
        "{origin}\n-3\n{root}\n",
        "{origin}\n٣\n{root}\n",
        "{origin}\n9223372036854775808\n{root}\n",
        "{origin}\n{size}\n{root}=\n",
        "{origin}\n{size}\n{short}\n",
        "{origin}\n{size}\n\n{root}\n",
        "{origin}\n{size}\n",
        "interlock.example/other\n{size}\n{root}\n",
    ],
)
def test_a_checkpoint_that_is_signed_but_not_well_formed_fails(tmp_path: Path, text: str) -> None:
    root = export(tmp_path, lives(3)).split("\n")[2]
    short = b64encode(b64decode(root)[:-1]).decode()
    note = SIGNER.sign(text.format(origin=ORIGIN, size=3, root=root, short=short))
    (tmp_path / "checkpoint").write_text(note)
    assert failed(verify_export(tmp_path))


def test_base64_with_another_spelling_of_the_same_root_fails(tmp_path: Path) -> None:
    root = export(tmp_path, lives(3)).split("\n")[2]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = root[:-2] + alphabet[alphabet.index(root[-2]) + 1] + "="
    assert b64decode(twin) == b64decode(root)
    (tmp_path / "checkpoint").write_text(SIGNER.sign(f"{ORIGIN}\n3\n{twin}\n"))
    assert failed(verify_export(tmp_path))


def test_signatures_of_strangers_are_ignored_and_false_ones_in_our_name_are_not(tmp_path: Path) -> None:
    note = export(tmp_path, lives(3))
    stranger = Signer("witness.example/w", Ed25519PrivateKey.generate()).sign("other\n").split("\n")[2]
    (tmp_path / "checkpoint").write_text(f"{note}{stranger}\n")
    assert verify_export(tmp_path).ok
    false = SIGNER.sign("something else\n").split("\n")[2]
    (tmp_path / "checkpoint").write_text(f"{note}{false}\n")
    assert "does not verify" in told(verify_export(tmp_path))


def test_a_checkpoint_of_a_size_nobody_could_store_is_answered_at_once(tmp_path: Path) -> None:
    export(tmp_path, lives(3))
    note = SIGNER.sign(checkpoint(ORIGIN, 2**62, bytes(32)))
    (tmp_path / "checkpoint").write_text(note)
    assert failed(verify_export(tmp_path))


@pytest.mark.parametrize("held", [0, 1, 2, 255, 256, 257, 512, 600])
def test_a_log_that_grew_continues_the_checkpoint_an_auditor_held(tmp_path: Path, held: int) -> None:
    older = export(tmp_path / "older", lives(held))
    export(tmp_path / "now", lives(600))
    report = verify_export(tmp_path / "now", vkey=SIGNER.vkey, since=older)
    assert report.ok, told(report)


@pytest.mark.parametrize("held", [1, 255, 256, 257, 599, 600])
def test_a_log_rewritten_and_signed_anew_fails_against_the_checkpoint_held(tmp_path: Path, held: int) -> None:
    older = export(tmp_path / "older", lives(held))
    entries = list(lives(600))
    entries[0] = entries[0].replace(b"start", b"other")
    export(tmp_path / "now", entries)
    assert verify_export(tmp_path / "now", vkey=SIGNER.vkey).ok
    report = verify_export(tmp_path / "now", vkey=SIGNER.vkey, since=older)
    assert failed(report)
    assert "rewritten" in told(report)


def test_a_log_cut_short_and_signed_anew_fails_against_the_checkpoint_held(tmp_path: Path) -> None:
    older = export(tmp_path / "older", lives(300))
    export(tmp_path / "now", lives(299))
    report = verify_export(tmp_path / "now", vkey=SIGNER.vkey, since=older)
    assert "truncated or rewritten" in told(report)
    assert failed(report)


@pytest.mark.parametrize("held", ["", "nonsense", "\ud800", OTHER.sign(checkpoint(ORIGIN, 0, bytes(32)))])
def test_a_held_checkpoint_that_the_key_did_not_sign_proves_nothing(tmp_path: Path, held: str) -> None:
    export(tmp_path, lives(3))
    assert failed(verify_export(tmp_path, vkey=SIGNER.vkey, since=held))


def test_a_held_checkpoint_of_an_empty_log_has_the_empty_root(tmp_path: Path) -> None:
    export(tmp_path, lives(3))
    held = SIGNER.sign(checkpoint(ORIGIN, 0, bytes(32)))
    assert failed(verify_export(tmp_path, vkey=SIGNER.vkey, since=held))


@pytest.mark.parametrize(
    "change", [(b'"v":1', b'"v":2'), (b'"kernel":1', b'"kernel":2'), (b"key.added", b"key.shown")]
)
def test_what_a_later_version_wrote_cannot_be_checked_and_is_not_ok(
    tmp_path: Path, change: tuple[bytes, bytes]
) -> None:
    later = list(written([of("key.added", at=3), of("action.claimed", action="act_9", at=4)]))
    # The last would fail if it were judged: nobody knows what happened in the entry before.
    entries = [*lives(3), later[0].replace(*change), later[1]]
    export(tmp_path, entries)
    report = verify_export(tmp_path)
    assert report.cannot_check, told(report)
    assert not report.ok
    (tmp_path / "tile/0/000.p/5").write_bytes(bytes(160))
    assert failed(verify_export(tmp_path))


def test_entries_that_go_back_in_time_fail(tmp_path: Path) -> None:
    entries = list(written(of("link.issued", at=at) for at in (5, 5, 4, 5)))
    export(tmp_path, entries)
    report = verify_export(tmp_path)
    assert told(report) == "entry 2: it is older than the entry before it"


def test_an_action_that_ran_without_permission_fails_in_a_sound_tree(tmp_path: Path) -> None:
    entries = list(lives(6))
    entries[1] = entries[1].replace(b'"decision":"allow"', b'"decision":"deny"')
    export(tmp_path, entries)
    report = verify_export(tmp_path)
    assert failed(report)
    assert "entry 2: action.claimed: the action was claimed without being allowed or approved" in told(report)


def test_a_thoroughly_broken_export_is_reported_in_bounds(tmp_path: Path) -> None:
    export(tmp_path, [b"x"] * 1000)
    report = verify_export(tmp_path)
    assert failed(report)
    assert len(report.problems) == 101
    assert report.problems[-1].what == "and 900 more"


def test_a_folder_without_an_export_fails(tmp_path: Path) -> None:
    assert not verify_export(tmp_path).ok
    assert not verify_export(tmp_path / "nowhere", vkey=SIGNER.vkey).ok


def test_a_pipe_in_the_place_of_a_checkpoint_is_no_file(tmp_path: Path) -> None:
    export(tmp_path, lives(3))
    (tmp_path / "checkpoint").unlink()
    os.mkfifo(tmp_path / "checkpoint")
    assert "checkpoint: it is not a regular file" in told(verify_export(tmp_path, vkey=SIGNER.vkey))


@pytest.mark.parametrize("name", ["handovers", "policies"])
def test_a_file_in_the_place_of_a_folder_fails(tmp_path: Path, name: str) -> None:
    export(tmp_path, lives(3))
    (tmp_path / name).write_bytes(b"")
    report = verify_export(tmp_path, vkey=SIGNER.vkey)
    assert failed(report)
    assert f"{name}: it is not a folder" in told(report)

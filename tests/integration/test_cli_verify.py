"""`interlock ledger verify` as an auditor runs it: what it prints, and what it ends with."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from cli_command import Result, run, spawn

from exports import (
    ANN,
    ORIGIN,
    REVIEW,
    SIGNER,
    apr,
    export,
    lives,
    note_of,
    of,
    root_of,
    signer,
    written,
)

EPOCH = signer(4, f"{ORIGIN}/2")
ALONE = [of("policy.activated"), of("person.added")]
HELD = of("action.proposed", decision="require_approval", approval=apr(), review_hash=REVIEW)


def verify(folder: Path, *options: str) -> Result:
    return run(folder, "ledger", "verify", str(folder / "export"), *options)


def test_a_log_with_everything_in_it_is_told_in_full(tmp_path: Path) -> None:
    lost = {"size": 40, "root": b64encode(bytes(32)).decode()}
    entries = [
        *ALONE,
        HELD,
        of("approval.decided", solo=True),
        of("action.claimed", approval=apr(), review_hash=REVIEW),
        of("action.settled"),
        of("action.proposed", action="act_" + "f" * 32, executor="permitted"),
        of("permit.minted", action="act_" + "f" * 32, expires_at=60_000_000),
        of("subject.erased"),
        of(
            "ledger.epoch_opened",
            epoch=2,
            origin=EPOCH.name,
            vkey=EPOCH.vkey,
            previous=ORIGIN,
            kept=9,
            people=[ANN],
            solo=True,
            reason="restored",
            signed=lost,
        ),
    ]
    raw = list(written(entries))
    export(tmp_path / "export", raw, EPOCH)
    (tmp_path / "export/handovers").mkdir()
    (tmp_path / "export/handovers/000").write_text(note_of(*root_of(raw), EPOCH, SIGNER))
    plain = verify(tmp_path, "--vkey", SIGNER.vkey)
    assert plain.code == 0, plain.out + plain.err
    for line in (
        "1 answers were given alone: entries 3",
        "Permits: 1 minted, 0 offline, 0 redeemed, 0 assumed",
        "1 times the key of a subject's content was destroyed",
        f"entry 9: epoch 2 was opened at 1970-01-01T00:00:00Z by {ANN} (solo)",
        "what had been signed beyond it was given up: entries 9 to 39",
        f"ok: 10 entries of {ORIGIN}/2",
    ):
        assert line in plain.out
    document = verify(tmp_path, "--vkey", SIGNER.vkey, "--json").json
    assert (document["solo"], document["erased"], document["vkey"]) == ([3], 1, EPOCH.vkey)
    assert document["permits"]["minted"] == 1
    (epoch,) = document["epochs"]
    assert (epoch["epoch"], epoch["kept"], epoch["signed"], epoch["people"]) == (2, 9, 40, [ANN])
    assert document["rotations"] == []


def test_the_three_answers_have_their_exit_codes(tmp_path: Path) -> None:
    export(tmp_path / "export", lives(600))
    assert verify(tmp_path, "--vkey", SIGNER.vkey).code == 0
    (tmp_path / "export/tile/entries/000").unlink()
    assert verify(tmp_path, "--vkey", SIGNER.vkey).code == 3
    (tmp_path / "export/first").write_text("256\n")
    partial = verify(tmp_path, "--vkey", SIGNER.vkey)
    assert (partial.code, "--from 256" in partial.out) == (6, True)
    enough = verify(tmp_path, "--vkey", SIGNER.vkey, "--from", "256")
    assert (enough.code, "Of the entries before 256" in enough.out) == (0, True)


def test_a_roster_is_read_from_a_file(tmp_path: Path) -> None:
    export(tmp_path / "export", lives(3))
    roster = tmp_path / "roster"
    roster.write_text("# nobody\n")
    assert verify(tmp_path, "--vkey", SIGNER.vkey, "--roster", str(roster)).code == 0
    roster.write_text("passkey nonsense\n")
    bad = verify(tmp_path, "--vkey", SIGNER.vkey, "--roster", str(roster))
    assert (bad.code, "the roster you gave: line 1" in bad.out) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nowhere",), 6),
        (("http://user:word@host/",), 2),
        (("http://127.0.0.1:1/ledger",), 6),
        (("http://127.0.0.1:1/ledger", "--replay"), 2),
        ((".", "--key-file", "key"), 2),
        ((".", "--allow-erased"), 2),
    ],
)
def test_what_cannot_be_read_or_makes_no_sense_is_said(
    tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    assert run(tmp_path, "ledger", "verify", *arguments).code == code


def test_nothing_is_replayed_of_a_log_that_does_not_verify(tmp_path: Path) -> None:
    export(tmp_path / "export", lives(3), signer(2))
    found = verify(tmp_path, "--vkey", SIGNER.vkey, "--replay", "--json")
    assert (found.code, "replay" in found.json) == (3, False)


def test_in_a_process_of_its_own_a_broken_export_leaves_no_traceback(tmp_path: Path) -> None:
    export(tmp_path / "export", [b"\x00" * 50, b"{}", b"[" * 40_000, b'{"kind":[]}'])
    found = spawn(tmp_path, "ledger", "verify", "export")
    assert (found.code, "entry 3" in found.out) == (3, True)

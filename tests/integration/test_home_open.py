"""Opening a home: keys apart from the database, nothing readable that should not be, and no going back."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from house import POLICY, REFUND, House, agent
from interlock.gate import Answer, Report
from interlock.home import Home, read_policy
from interlock.identity import KeyKind
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import HomeUnusable, InvalidInput, PolicyError, RecoveryRequired
from interlock.policy import parse
from interlock.verify import verify_export

SECRET = "Zweitschlüssel-4711-tiefes-Geheimnis"


def copy_of_database(house: House, to: Path) -> None:
    with sqlite3.connect(house.home.path / "journal.db") as source, sqlite3.connect(to) as target:
        source.backup(target)
    source.close()
    target.close()


def put_back(house: House, saved: Path) -> None:
    for suffix in ("-wal", "-shm"):
        (house.home.path / f"journal.db{suffix}").unlink(missing_ok=True)
    shutil.copy(saved, house.home.path / "journal.db")


# --- keys and files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["keystore/vault.json", "keystore/ledger.pem", "home.json"])
def test_a_database_without_its_keystore_is_refused_and_not_given_a_new_one(
    open_house: Callable[..., House], tmp_path: Path, lost: str
) -> None:
    open_house().home.close()
    (tmp_path / "home" / lost).unlink()
    with pytest.raises(HomeUnusable):
        open_house()
    assert not (tmp_path / "home" / lost).exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
@pytest.mark.parametrize("file", ["keystore/vault.json", "keystore/ledger.pem"])
def test_a_keystore_that_others_can_read_is_refused(
    open_house: Callable[..., House], tmp_path: Path, file: str, mode: int
) -> None:
    open_house().home.close()
    (tmp_path / "home" / file).chmod(mode)
    with pytest.raises(HomeUnusable) as caught:
        open_house()
    assert "chmod 600" in caught.value.fix


@pytest.mark.parametrize("folder", [".", "keystore"])
def test_a_folder_that_others_can_write_is_refused(
    open_house: Callable[..., House], tmp_path: Path, folder: str
) -> None:
    open_house().home.close()
    (tmp_path / "home" / folder).chmod(0o777)
    with pytest.raises(HomeUnusable):
        open_house()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"sealing": "AAAA", "mac": "AAAA"}', '{"sealing": 1}'])
def test_a_keystore_that_does_not_read_is_said_to_be_unusable(
    open_house: Callable[..., House], tmp_path: Path, content: str
) -> None:
    open_house().home.close()
    (tmp_path / "home" / "keystore" / "vault.json").write_text(content)
    with pytest.raises(HomeUnusable):
        open_house()


def test_another_homes_keys_open_nothing(open_house: Callable[..., House], tmp_path: Path) -> None:
    house = open_house()
    action = house.held()
    house.home.close()
    open_house(name="other").home.close()
    shutil.copy(tmp_path / "other" / "keystore" / "vault.json", tmp_path / "home" / "keystore" / "vault.json")
    with pytest.raises(HomeUnusable):
        House(Home.open(tmp_path / "home")).view(action)


@pytest.mark.parametrize("existing", [None, 0o755])
def test_nothing_in_a_home_can_be_read_or_written_by_others(
    open_house: Callable[..., House], tmp_path: Path, existing: int | None
) -> None:
    if existing is not None:
        (tmp_path / "home").mkdir()
        (tmp_path / "home").chmod(existing)
    before = os.umask(0o022)
    try:
        house = open_house()
        house.held()
        open_to_others = [
            str(path.relative_to(house.home.path))
            for path in house.home.path.rglob("*")
            if path.stat().st_mode & 0o077
            and not any(p.stat().st_mode & 0o077 == 0 for p in path.parents if house.home.path in p.parents)
            and ("journal" in path.name or "keystore" in str(path))
        ]
    finally:
        os.umask(before)
    assert open_to_others == []


@pytest.mark.parametrize("content", [b"garbage" * 2000, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_file_that_is_no_database_is_said_to_be_unusable(
    open_house: Callable[..., House], tmp_path: Path, content: bytes
) -> None:
    open_house().home.close()
    (tmp_path / "home" / "journal.db").write_bytes(content)
    with pytest.raises(HomeUnusable):
        open_house()


def test_a_home_that_is_a_file_is_said_to_be_unusable(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    (tmp_path / "home").write_text("x")
    with pytest.raises(HomeUnusable):
        open_house()


# --- secrets ----------------------------------------------------------------------------------------------


def test_no_argument_word_result_or_token_stands_in_any_file_or_log(
    open_house: Callable[..., House], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    house = open_house()
    ann = house.person("Ann")
    _, key = house.home.keyring.add(KeyKind.AGENT, "support", topics=["pay.**"], person=ann, by="test")
    link = house.home.roster.issue_link(ann)
    session, _ = house.home.roster.redeem(link)
    action = house.held(
        args={**REFUND, "recipient": SECRET},
        reasoning=f"because {SECRET}",
        alternatives=(SECRET,),
        session=SECRET[:20],
        principal=SECRET[:20],
        idempotency_key="k",
        call_id=SECRET[:20],
    )
    house.answer(
        action, house.person("Bob"), Answer.EDIT, args={**REFUND, "recipient": SECRET + "2"}, note=SECRET
    )
    house.answer(action, house.person("Cyd"), note=SECRET)
    claim = house.gate.claim(action, ExecutorKind.CALLER)
    house.gate.settle(claim, Report(ActionState.SUCCEEDED, f"note {SECRET}", {"paid to": SECRET}))
    house.home.publisher.publish()
    house.home.publisher.export(tmp_path / "export")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "journal.db-wal" for path in files)
    hidden = [SECRET.encode(), SECRET[:20].encode(), SECRET.encode("utf-16-le")]
    hidden += [token.partition(".")[2].encode() for token in (key, link, session)]
    for path in files:
        content = path.read_bytes()
        assert not any(secret in content for secret in hidden), path
    for secret in hidden:
        assert secret not in caplog.text.encode()
    assert SECRET not in repr(house.home.journal.vault)
    view = house.view(action)
    assert view["result"] == {"paid to": SECRET}


def test_the_key_of_a_request_is_not_kept_where_the_ledger_can_be_read(house: House) -> None:
    house.held(idempotency_key="customer Anna Schmidt, born 1970")
    assert not any("Schmidt" in entry for entry in house.entries())


# --- recovery ---------------------------------------------------------------------------------------------


def test_an_older_database_put_back_is_refused(open_house: Callable[..., House], tmp_path: Path) -> None:
    house = open_house()
    copy_of_database(house, tmp_path / "saved")
    house.held()
    house.home.close()
    put_back(house, tmp_path / "saved")
    with pytest.raises(RecoveryRequired):
        open_house()


def test_an_older_database_put_back_after_a_crash_is_refused_though_nothing_newer_was_signed(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    house = open_house()
    action = house.propose("notes.add", {}).action
    assert action is not None
    house.home.publisher.publish()
    copy_of_database(house, tmp_path / "saved")
    house.gate.claim(action.id, ExecutorKind.CALLER)
    house.home.journal.close()  # no signing: as a crash leaves it
    put_back(house, tmp_path / "saved")
    with pytest.raises(RecoveryRequired):
        open_house()


def test_a_lost_database_is_not_replaced_by_an_empty_one(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    house = open_house()
    house.home.close()
    (tmp_path / "home" / "journal.db").unlink()
    with pytest.raises(RecoveryRequired):
        open_house()
    assert not (tmp_path / "home" / "journal.db").exists()


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE head SET size = size - 1",
        "DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries)",
        "UPDATE entries SET body = CAST(replace(body, 'large', 'small') AS BLOB)",
        "UPDATE head SET frontier = zeroblob(length(frontier))",
    ],
)
def test_a_rewritten_tail_is_never_signed(house: House, edit: str) -> None:
    signed = house.home.publisher.publish()
    house.held()
    house.held(args={**REFUND, "order_id": "B"})
    house.sql(edit)
    with pytest.raises(HomeUnusable):
        house.home.publisher.publish()
    assert (house.home.path / "ledger" / "checkpoint").read_text() == signed


@pytest.mark.parametrize("content", ["", "{", "{}", '{"size": 1, "frontier": "zz", "checkpoint": ""}'])
def test_a_signed_state_that_does_not_read_is_an_error_of_ours(
    open_house: Callable[..., House], tmp_path: Path, content: str
) -> None:
    open_house().home.close()
    (tmp_path / "home" / "ledger" / "signed.json").write_text(content)
    with pytest.raises(HomeUnusable):
        open_house()


def test_an_export_verifies_and_an_entry_edited_in_the_database_is_found(
    house: House, tmp_path: Path
) -> None:
    action = house.held()
    house.answer(action, house.person("Ann"))
    house.gate.settle(
        house.gate.claim(action, ExecutorKind.CALLER), Report(ActionState.SUCCEEDED, "It returned.")
    )
    vkey = house.home.publisher.vkey
    assert house.home.publisher.export(tmp_path / "good") == len(house.entries())
    report = verify_export(tmp_path / "good", vkey=vkey)
    assert (report.ok, report.size, report.warnings) == (True, len(house.entries()), ())
    house.sql("UPDATE entries SET body = CAST(replace(body, 'succeeded', 'cancelled') AS BLOB)")
    house.home.publisher.export(tmp_path / "bad")
    assert not verify_export(tmp_path / "bad", vkey=vkey).ok


def test_a_life_with_everything_in_it_verifies(house: House, tmp_path: Path, clock: object) -> None:
    """Edit, drift, expiry, rejection, doubt and lateness: the independent reader agrees with the writer."""
    ann, bob = house.person("Ann"), house.person("Bob")
    edited, stale, rejected, expired, doubt, revoked = (
        house.held(args={**REFUND, "order_id": str(n)}) for n in range(6)
    )
    house.answer(edited, ann, Answer.EDIT, args={**REFUND, "recipient": "x"})
    house.answer(edited, bob)
    house.answer(stale, ann)
    house.answer(rejected, ann, Answer.REJECT)
    house.answer(doubt, ann)
    house.answer(revoked, ann)
    house.gate.revoke(revoked, ann.caller)
    late = house.gate.claim(doubt, ExecutorKind.CALLER)
    charge = house.propose("pay.charge", {"order_id": "A", "amount_usd": "1.00"}).action
    assert charge is not None
    house.gate.claim(charge.id, ExecutorKind.CALLER)
    house.activate(POLICY.replace("tier: 3", "tier: 4"))
    clock.forward(60)  # type: ignore[attr-defined]
    house.gate.sweep()
    house.gate.settle(late, Report(ActionState.FAILED, "Nothing was sent."))
    house.gate.settle(house.gate.claim(charge.id, ExecutorKind.CALLER), Report(ActionState.IN_DOUBT, "?"))
    house.gate.reconcile(charge.id, ann.caller, ActionState.SUCCEEDED, "I looked")
    house.answer(edited, bob)
    house.gate.settle(house.gate.claim(edited, ExecutorKind.CALLER), Report(ActionState.SUCCEEDED, "Done."))
    clock.forward(3600)  # type: ignore[attr-defined]
    house.gate.sweep()
    house.gate.withdraw(house.held(), agent())
    house.home.publisher.export(tmp_path / "export")
    report = verify_export(tmp_path / "export", vkey=house.home.publisher.vkey)
    assert report.problems == ()
    assert (house.state(expired), house.state(stale), house.state(edited)) == (
        "expired",
        "expired",
        "succeeded",
    )


def test_an_export_does_not_overwrite(house: House, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "mine").write_text("x")
    with pytest.raises(InvalidInput):
        house.home.publisher.export(tmp_path / "export")


# --- policy files and credentials -------------------------------------------------------------------------


def test_a_policy_file_that_is_missing_huge_or_not_text_is_a_policy_error(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"#" * ((1 << 20) + 1))
    (tmp_path / "latin.yaml").write_bytes(b"interlock: 1\nname: \xe9\n")
    (tmp_path / "empty").mkdir()
    for name in ("missing.yaml", "big.yaml", "latin.yaml", "empty"):
        with pytest.raises(PolicyError):
            read_policy(tmp_path / name)


def test_a_credential_others_can_read_is_refused_and_no_name_leaves_its_folder(house: House) -> None:
    folder = house.home.path / "credentials"
    folder.mkdir()
    (folder / "payments").write_text("Bearer x\n")
    (folder / "payments").chmod(0o644)
    with pytest.raises(HomeUnusable):
        house.home.connections.read("payments")
    (folder / "payments").chmod(0o600)
    assert house.home.connections.read("payments") == "Bearer x"
    for name in ("../home.json", "..", "", "a/b", "Payments", "payments\n", "unknown"):
        assert house.home.connections.read(name) is None


def test_opening_again_changes_nothing(open_house: Callable[..., House]) -> None:
    before = open_house().entries()
    assert open_house().entries() == before
    assert open_house(None).gate.active() == parse({"p": POLICY}).snapshot


def test_a_home_that_a_stopped_process_is_opening_is_refused_after_a_while_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.home.home.OPENING_SEC", 0.2)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with (home / "opening").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(HomeUnusable, match="Another process has been opening"):
            Home.open(home, by="test")

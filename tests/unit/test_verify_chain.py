"""The log's keys over time: each hands over to the next, and whoever trusts one can follow to the last."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from exports import (
    ANN,
    BOB,
    EVE,
    ORIGIN,
    REVIEW,
    START,
    act,
    apr,
    export,
    failed,
    note_of,
    of,
    prm,
    root_of,
    signer,
    told,
    written,
)
from interlock.ledger import Signer, checkpoint
from interlock.verify import Report, verify_export

Entry = dict[str, Any]
SECOND, THIRD, STRANGER = signer(2), signer(3), signer(9)
EPOCH = signer(4, f"{ORIGIN}/2")
LATER = signer(5, f"{ORIGIN}/3")
RUN = (of("action.proposed"), of("action.claimed"), of("action.settled"))


def rotated(to: Signer, before: Signer, **fields: Any) -> Entry:
    return of("ledger.key_rotated", **{"vkey": to.vkey, "previous": before.vkey, "by": ANN, **fields})


def opened(to: Signer, before: Signer, kept: int, **fields: Any) -> Entry:
    made: Entry = {
        "epoch": int(to.name.rsplit("/", 1)[1]),
        "origin": to.name,
        "vkey": to.vkey,
        "previous": before.name,
        "kept": kept,
        "people": [ANN, BOB],
        "solo": False,
        "reason": "restored",
        "signed": None,
    }
    return of("ledger.epoch_opened", **{**made, **fields})


def build(
    folder: Path, entries: list[Entry], by: Signer, *handovers: tuple[int, Signer, Signer]
) -> list[bytes]:
    """An export signed by the last key, with handover notes: (size, key before, key after)."""
    raw = list(written(entries))
    export(folder, raw, by)
    (folder / "handovers").mkdir(exist_ok=True)
    for number, (size, before, after) in enumerate(handovers):
        note = note_of(*root_of(raw[:size]), after, before)
        (folder / f"handovers/{number:03}").write_text(note)
    return raw


TWICE = [*START, rotated(SECOND, signer()), *RUN, rotated(THIRD, SECOND)]
HANDED = ((4, signer(), SECOND), (8, SECOND, THIRD))


@pytest.mark.parametrize("trusted", [signer(), SECOND, THIRD])
def test_an_auditor_with_any_of_the_keys_follows_the_rotations(tmp_path: Path, trusted: Signer) -> None:
    build(tmp_path, TWICE, THIRD, *HANDED)
    report = verify_export(tmp_path, vkey=trusted.vkey)
    assert report.ok, told(report)
    assert report.vkey == THIRD.vkey
    assert [each.entry for each in report.successions] == [3, 7]
    assert verify_export(tmp_path, policy=f"log {trusted.vkey}\nquorum none\n".encode()).ok


def test_both_keys_sign_while_they_overlap(tmp_path: Path) -> None:
    raw = build(tmp_path, TWICE[:6], SECOND, HANDED[0])
    for also in (signer(), STRANGER):
        (tmp_path / "checkpoint").write_text(note_of(*root_of(raw), SECOND, also))
        assert verify_export(tmp_path, vkey=signer().vkey).ok
    (tmp_path / "checkpoint").write_text(note_of(*root_of(raw), signer()))
    assert "is not signed by the key" in told(verify_export(tmp_path, vkey=signer().vkey))
    false = note_of(*root_of(raw[:2]), signer()).split("\n\n", 1)[1]
    (tmp_path / "checkpoint").write_text(note_of(*root_of(raw), SECOND) + false)
    assert "does not verify" in told(verify_export(tmp_path, vkey=SECOND.vkey))


def test_a_stranger_is_not_followed(tmp_path: Path) -> None:
    build(tmp_path, TWICE, THIRD, *HANDED)
    report = verify_export(tmp_path, vkey=STRANGER.vkey)
    assert failed(report)
    assert "nor by one that followed it" in told(report)
    assert "nor by a key that followed" in told(
        verify_export(tmp_path, policy=f"log {STRANGER.vkey}\nlog {signer(8).vkey}\nquorum none\n".encode())
    )


def _rewrite(name: str, size: int, *by: Signer) -> Callable[[Path, list[bytes]], None]:
    return lambda folder, raw: (folder / name).write_text(note_of(*root_of(raw[:size]), *by)) and None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_rewrite("handovers/000", 4, SECOND), "is not signed by the key"),
        (_rewrite("handovers/000", 4, signer()), "is not signed by the key"),
        (_rewrite("handovers/000", 4, SECOND, STRANGER), "is not signed by the key"),
        (_rewrite("handovers/000", 3, SECOND, signer()), "does not include entry 3"),
        (_rewrite("handovers/001", 8, THIRD, signer()), "is not signed by the key"),
        (lambda f, _: (f / "handovers/001").unlink(), "is not signed by the key"),
        (lambda f, _: (f / "handovers/000").unlink(), "numbered from 000"),
        (lambda f, _: (f / "handovers/000").write_text("nonsense") and None, "not a signed note"),
        (
            lambda f, _: (f / "handovers/002").write_bytes((f / "handovers/001").read_bytes()) and None,
            "no entry",
        ),
        (lambda f, _: (f / "handovers/notes").write_text("x") and None, "numbered from 000"),
        (
            lambda f, _: (f / "handovers/000").write_text(note_of(4, bytes(32), SECOND, signer())) and None,
            "its root is not that of the first 4 entries",
        ),
        (lambda f, _: (f / "vkey").write_text(f"{signer().vkey}\n") and None, "another key"),
    ],
)
@pytest.mark.parametrize("trusted", [signer(), None])
def test_a_handover_that_is_wrong_fails(
    tmp_path: Path, change: Callable[[Path, list[bytes]], None], why: str, trusted: Signer | None
) -> None:
    raw = build(tmp_path, TWICE, THIRD, *HANDED)
    change(tmp_path, raw)
    report = verify_export(tmp_path, vkey=(trusted or THIRD).vkey)
    assert failed(report), told(report)
    assert why in told(report) or trusted is None


def test_a_key_that_nobody_handed_over_to_is_not_used(tmp_path: Path) -> None:
    build(tmp_path, TWICE[:4], signer())
    report = verify_export(tmp_path, vkey=signer().vkey)
    assert report.ok, told(report)
    assert "Entry 3 names a new key" in report.warnings[0]
    build(tmp_path, TWICE[:4], SECOND)
    assert failed(verify_export(tmp_path, vkey=signer().vkey))


def test_keys_that_nobody_handed_over_to_are_told_up_to_a_bound(tmp_path: Path) -> None:
    keys = [signer(number) for number in range(1, 250)]
    entries = [rotated(after, before) for before, after in pairwise(keys)]
    build(tmp_path, entries, signer())
    report = verify_export(tmp_path, vkey=signer().vkey)
    assert report.ok, told(report)
    assert len(report.warnings) == 101
    assert report.warnings[-1] == "And 148 more warnings."
    assert "no key handed over to the one you gave" in told(verify_export(tmp_path, vkey=SECOND.vkey))


def test_handovers_of_a_log_that_grew_meanwhile_are_passed_over(tmp_path: Path) -> None:
    raw = build(tmp_path, TWICE, THIRD, *HANDED)
    export(tmp_path / "earlier", raw[:6], SECOND)
    (tmp_path / "handovers").rename(tmp_path / "earlier/handovers")
    report = verify_export(tmp_path / "earlier", vkey=signer().vkey)
    assert report.ok, told(report)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (rotated(signer(6, "another.example/log"), signer()), "keeps the name"),
        (rotated(signer(), signer()), "a key by itself"),
        (rotated(SECOND, signer(), vkey="nonsense"), "names no verifier key"),
    ],
)
def test_a_rotation_that_is_none_fails(tmp_path: Path, entry: Entry, why: str) -> None:
    build(tmp_path, [*START, entry], signer())
    assert why in told(verify_export(tmp_path, vkey=signer().vkey))


def test_a_rotation_that_skips_a_key_fails(tmp_path: Path) -> None:
    build(tmp_path, [*START, rotated(SECOND, signer()), rotated(THIRD, signer())], signer())
    assert "another key than the one before" in told(verify_export(tmp_path, vkey=signer().vkey))


# --- epochs -----------------------------------------------------------------------------------------------

DOUBT = of("action.in_doubt", recovery=2, epoch=0, at=4)
RESTORED = [*START, of("action.proposed"), opened(EPOCH, signer(), 4), DOUBT]
ENDS = ((6, signer(), EPOCH),)


@pytest.mark.parametrize("trusted", [signer(), EPOCH])
def test_a_new_epoch_is_followed_under_its_new_name(tmp_path: Path, trusted: Signer) -> None:
    build(tmp_path, RESTORED, EPOCH, *ENDS)
    report = verify_export(tmp_path, vkey=trusted.vkey)
    assert report.ok, told(report)
    assert report.origin == f"{ORIGIN}/2"
    (epoch,) = report.successions
    assert (epoch.epoch, epoch.kept, epoch.people) == (2, 4, (ANN, BOB))


def test_epochs_and_rotations_follow_each_other(tmp_path: Path) -> None:
    anew = signer(7, EPOCH.name)
    entries = [*RESTORED, rotated(anew, EPOCH), opened(LATER, anew, 7)]
    build(tmp_path, entries, LATER, *ENDS, (7, EPOCH, anew), (8, anew, LATER))
    for trusted in (signer(), EPOCH, anew, LATER):
        report = verify_export(tmp_path, vkey=trusted.vkey)
        assert report.ok, told(report)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (opened(EPOCH, signer(), 3), "continues 3 entries, and stands after 4"),
        (opened(EPOCH, signer(), 5), "continues 5 entries, and stands after 4"),
        (opened(EPOCH, signer(), 4, epoch=1), "does not follow epoch 1"),
        (opened(EPOCH, signer(), 4, epoch=3), "not that of its epoch"),
        (opened(EPOCH, signer(), 4, vkey=SECOND.vkey), "another name than the log"),
        (opened(EPOCH, signer(), 4, vkey="x"), "no verifier key"),
        (opened(EPOCH, signer(), 4, people=[ANN]), "fewer than two people"),
        (opened(EPOCH, signer(), 4, people=[ANN, ANN]), "counts a person twice"),
        (opened(EPOCH, signer(), 4, people=[ANN, EVE]), "not enrolled"),
        (opened(EPOCH, signer(), 4, people=[[], 7]), "people who are none"),
        (opened(EPOCH, signer(), 4, people=[ANN], solo=True), "marked solo although 2"),
        (opened(EPOCH, signer(), 4, people=[], solo=True), "marked solo although 2"),
        (opened(EPOCH, signer(), 4, signed={"size": -1, "root": ""}), "no size and root"),
        (opened(signer(4, "other/2"), signer(), 4), "not that of its epoch"),
    ],
)
def test_an_epoch_that_was_not_opened_properly_fails(tmp_path: Path, entry: Entry, why: str) -> None:
    build(tmp_path, [*START, of("action.proposed"), entry], signer())
    assert why in told(verify_export(tmp_path, vkey=signer().vkey))


@pytest.mark.parametrize(("people", "enrolled"), [([ANN], START[1:2]), ([], ())])
def test_one_person_or_nobody_opens_an_epoch_alone_and_says_so(
    tmp_path: Path, people: list[str], enrolled: tuple[Entry, ...]
) -> None:
    start = [START[0], *enrolled]
    entry = opened(EPOCH, signer(), len(start), people=people, solo=True)
    build(tmp_path, [*start, entry], EPOCH, (len(start) + 1, signer(), EPOCH))
    report = verify_export(tmp_path, vkey=signer().vkey)
    assert report.ok, told(report)
    assert report.successions[0].solo


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([of("action.proposed"), {**DOUBT, "at": ...}], "not being opened"),
        ([of("action.proposed"), opened(EPOCH, signer(), 4), {**DOUBT, "at": 5}], "not being opened"),
        ([of("action.proposed"), opened(EPOCH, signer(), 4), {**DOUBT, "recovery": 3}], "not being opened"),
        (
            [of("action.proposed"), opened(EPOCH, signer(), 4), of("link.issued", at=4), DOUBT],
            "not being opened",
        ),
        ([*RUN, opened(EPOCH, signer(), 6, at=4), {**DOUBT, "epoch": 1}], "what was not open"),
        ([*RUN[:2], opened(EPOCH, signer(), 5, at=4), DOUBT], "last claimed with epoch 1"),
        (
            [of("action.proposed"), opened(EPOCH, signer(), 4), DOUBT, of("action.claimed")],
            "after it had run",
        ),
        ([of("action.proposed"), opened(EPOCH, signer(), 4), DOUBT, DOUBT], "what was not open"),
        (
            [of("action.proposed"), opened(EPOCH, signer(), 4), DOUBT, of("action.late_report", epoch=0)],
            "holds",
        ),
    ],
)
def test_only_an_epoch_being_opened_puts_in_doubt_what_was_not_claimed(
    tmp_path: Path, entries: list[Entry], why: str
) -> None:
    plain = [{name: value for name, value in each.items() if value is not ...} for each in entries]
    build(tmp_path, [*START, *plain], signer())
    assert why in told(verify_export(tmp_path, vkey=signer().vkey))


CLAIMS = of("action.claimed", at=9)
HELD = of("action.proposed", decision="require_approval", approval=apr(), review_hash=REVIEW)
REQUESTED = of("action.proposed", executor="permitted")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([of("action.proposed")], CLAIMS),
        ([of("action.proposed")], of("action.expired", was="allowed")),
        ([of("action.proposed")], of("action.redecided", decision="allow")),
        ([of("action.proposed")], {**DOUBT, "at": 4, "recovery": None}),
        ([HELD], of("approval.decided", person=BOB)),
        ([HELD], of("action.withdrawn", at=9)),
        ([HELD, of("approval.decided", person=BOB)], {**CLAIMS, "approval": apr(), "review_hash": REVIEW}),
        ([REQUESTED], of("permit.minted", at=9, expires_at=10)),
        ([REQUESTED, of("permit.minted", expires_at=9)], {**CLAIMS, "at": 8, "permit": prm()}),
        (RUN[:2], of("action.settled", at=9)),
        (RUN[:2], of("action.claimed", epoch=2, at=20_000_000)),
        (RUN[:2], of("action.in_doubt", at=9)),
    ],
)
def test_nothing_that_was_open_goes_on_in_a_new_epoch_but_as_in_doubt(
    tmp_path: Path, before: list[Entry], after: Entry
) -> None:
    kept = len(START) + len(before)
    for later in ([], [after]):
        entries = [*START, *before, opened(EPOCH, signer(), kept), *later]
        build(tmp_path / f"{len(later)}", entries, EPOCH, (kept + 1, signer(), EPOCH))
        report = verify_export(tmp_path / f"{len(later)}", vkey=signer().vkey)
        assert report.ok is not bool(later), told(report)
    assert f"entry {kept + 1}: {after['kind']}: it was open when epoch 2 was opened" in told(report)


def test_what_had_ended_or_was_in_doubt_goes_on_in_a_new_epoch(tmp_path: Path) -> None:
    doubted = [of("action.proposed"), of("action.claimed"), of("action.in_doubt")]
    conflict = of("action.late_report", action=act(2), outcome="failed", applied=False, settled="succeeded")
    second = [{**each, "action": act(2)} for each in RUN]
    later = [of("action.proposed", action=act(3)), of("action.claimed", action=act(3))]
    entries = [*START, *doubted, *second, opened(EPOCH, signer(), 9)]
    build(tmp_path, [*entries, conflict, of("action.reconciled"), *later], EPOCH, (10, signer(), EPOCH))
    report = verify_export(tmp_path, vkey=signer().vkey)
    assert report.ok, told(report)


OPERATES, REVIEWS, READS = ["operator"], ["reviewer"], ["auditor"]


@pytest.mark.parametrize(
    ("roles", "good"),
    [
        ((OPERATES, ["policy-admin"], READS), True),
        ((READS, READS, OPERATES), True),
        ((OPERATES, READS, READS), True),
        ((READS, READS, READS), True),
        ((REVIEWS, REVIEWS, READS), True),
        ((OPERATES, REVIEWS, READS), True),
        ((REVIEWS, READS, OPERATES), False),
        ((OPERATES, READS, ["policy-admin"]), False),
        ((REVIEWS, REVIEWS, [*OPERATES, *REVIEWS]), True),
    ],
)
def test_people_open_an_epoch_whose_role_it_is(
    tmp_path: Path, roles: tuple[list[str], ...], good: bool
) -> None:
    people = [
        of("person.added", person=who, roles=has) for who, has in zip((ANN, BOB, EVE), roles, strict=True)
    ]
    build(tmp_path, [START[0], *people, opened(EPOCH, signer(), 4)], EPOCH, (5, signer(), EPOCH))
    report = verify_export(tmp_path, vkey=signer().vkey)
    assert report.ok is good, told(report)
    assert good or "opened by somebody who has no role for it" in told(report)


def head_of(raw: list[bytes], size: int, root: bytes | None = None) -> dict[str, object]:
    return {"size": size, "root": b64encode(root_of(raw[:size])[1] if root is None else root).decode()}


def test_what_an_epoch_continues_is_what_it_says_was_signed(tmp_path: Path) -> None:
    raw = list(written([*START, of("action.proposed")]))
    for name, signed, good in (
        ("all", head_of(raw, 4), True),
        ("less", head_of(raw, 3), True),
        ("beyond", {"size": 10**15, "root": b64encode(bytes(32)).decode()}, True),
        ("other", head_of(raw, 4, bytes(32)), False),
        ("earlier", head_of(raw, 3, bytes(32)), False),
        ("none", None, True),
    ):
        entries = [*START, of("action.proposed"), opened(EPOCH, signer(), 4, signed=signed), DOUBT]
        build(tmp_path / name, entries, EPOCH, *ENDS)
        report = verify_export(tmp_path / name, vkey=signer().vkey)
        assert report.ok is good, told(report)
        assert good or "entry 4: the root it names is not that of" in told(report)
        assert "Entry 4 opens epoch 2, a new log" in report.warnings[0]
        assert ("names no checkpoint" in report.warnings[0]) is (signed is None)


def test_an_epoch_that_stands_where_nobody_is_enrolled_fails(tmp_path: Path) -> None:
    for kind in (
        opened(EPOCH, signer(), 3, people=[], solo=True),
        rotated(SECOND, signer()),
        of("ledger.pruned"),
        of("ledger.recovery_dismissed", epoch=1, people=[], solo=True, reason="nothing", seen=9),
    ):
        build(tmp_path / kind["kind"], [*START, {**kind, "namespace": "other"}], signer())
        report = verify_export(tmp_path / kind["kind"], vkey=signer().vkey)
        assert f"entry 3: {kind['kind']}: it is about the log" in told(report)


DISMISSED: Entry = of(
    "ledger.recovery_dismissed", epoch=1, people=[ANN, BOB], solo=False, reason="nothing is lost", seen=9
)


def test_a_recovery_is_dismissed_by_two_people_and_what_was_open_goes_on(tmp_path: Path) -> None:
    build(tmp_path, [*START, of("action.proposed"), DISMISSED, of("action.claimed")], signer())
    report = verify_export(tmp_path, vkey=signer().vkey)
    assert report.ok, told(report)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"people": [ANN]}, "fewer than two people"),
        ({"people": [ANN, EVE]}, "not enrolled"),
        ({"people": [], "solo": True}, "marked solo although 2"),
        ({"epoch": 2}, "said in epoch 2, and the log is in epoch 1"),
    ],
)
def test_a_recovery_that_was_not_dismissed_properly_fails(
    tmp_path: Path, fields: dict[str, Any], why: str
) -> None:
    build(tmp_path, [*START, {**DISMISSED, **fields}], signer())
    assert why in told(verify_export(tmp_path, vkey=signer().vkey))


def test_what_was_erased_is_erased_again_while_an_epoch_is_opened(tmp_path: Path) -> None:
    entries = [*RESTORED[:5], of("subject.erased", at=4), DOUBT, of("action.reconciled", epoch=0)]
    build(tmp_path, entries, EPOCH, *ENDS)
    report = verify_export(tmp_path, vkey=signer().vkey)
    assert report.ok, told(report)
    assert report.erased == 1


# --- checkpoints from before ------------------------------------------------------------------------------


def held(raw: list[bytes], size: int, by: Signer) -> str:
    return note_of(*root_of(raw[:size]), by)


@pytest.mark.parametrize(("size", "by"), [(0, signer()), (3, signer()), (4, signer()), (6, EPOCH)])
def test_a_checkpoint_of_an_earlier_epoch_is_continued(tmp_path: Path, size: int, by: Signer) -> None:
    raw = build(tmp_path, RESTORED, EPOCH, *ENDS)
    report = verify_export(tmp_path, vkey=signer().vkey, since=held(raw, size, by))
    assert report.ok, told(report)


def test_a_checkpoint_that_counts_what_was_declared_lost_fails_and_says_by_whom(tmp_path: Path) -> None:
    lost = list(written([*START, of("action.proposed"), *RUN[1:], of("action.proposed", action=act(2))]))
    size, root = root_of(lost)
    head = {"size": size, "root": b64encode(root).decode()}
    build(
        tmp_path,
        [*START, of("action.proposed"), opened(EPOCH, signer(), 4, signed=head)],
        EPOCH,
        (5, signer(), EPOCH),
    )
    report = verify_export(tmp_path, vkey=signer().vkey, since=held(lost, size, signer()))
    assert failed(report)
    assert "entries 4 to 6, declared lost by " + f"{ANN} and {BOB} when epoch 2 was opened" in told(report)
    one = verify_export(tmp_path, vkey=signer().vkey, since=held(lost, 5, signer()))
    assert "it counts entry 4, declared lost" in told(one)


def test_a_checkpoint_of_a_stranger_of_another_name_or_of_other_entries_fails(tmp_path: Path) -> None:
    raw = build(tmp_path, RESTORED, EPOCH, *ENDS)

    def since(note: str) -> Report:
        return verify_export(tmp_path, vkey=signer().vkey, since=note)

    assert "not signed by a key of this log" in told(since(held(raw, 3, STRANGER)))
    elsewhere = signer().sign(checkpoint("another.example/log", *root_of(raw[:3])))
    assert "another log" in told(since(elsewhere))
    renamed = note_of(*root_of(raw[:3]), EPOCH).replace(f"{ORIGIN}/2\n", f"{ORIGIN}\n", 1)
    assert "does not verify" in told(since(renamed))
    assert "rewritten" in told(since(note_of(3, bytes(32), signer())))
    assert "truncated" in told(since(note_of(9, bytes(32), EPOCH)))


def test_keys_are_followed_past_an_entry_that_is_not_known_here(tmp_path: Path) -> None:
    raw = list(written(TWICE))
    raw[1] = raw[1].replace(b"person.added", b"person.hired")
    export(tmp_path, raw, THIRD)
    (tmp_path / "handovers").mkdir()
    for number, (size, before, after) in enumerate(HANDED):
        (tmp_path / f"handovers/{number:03}").write_text(note_of(*root_of(raw[:size]), after, before))
    report = verify_export(tmp_path, vkey=signer().vkey)
    assert report.cannot_check, told(report)
    assert [problem.where for problem in report.problems] == ["entry 1"]

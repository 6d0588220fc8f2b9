"""A home's own traffic replays; what somebody with the signing key writes instead does not."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cli_command import run

from exported_log import change, entries_of, lines_of, sign, write_lines
from house import BOTH, POLICY, REFUND, House, agent
from interlock.gate import Answer
from interlock.home import evidence
from interlock.home.evidence import Inputs, write_inputs, write_policies
from interlock.model.actions import ExecutorKind, Proposal
from interlock.model.errors import HomeUnusable
from interlock.replay import ReplayReport, replay
from interlock.verify import verify_export

DATABASES = BOTH

TIGHT = POLICY.replace("tier: 3", "tier: 4")
LOOSE = POLICY.replace("< 100", "< 10000").replace(">= 100", ">= 10000")
DENY = POLICY + "  - {id: no, match: {topics: [notes.add]}, decision: deny}\n"
CAPPED = POLICY + (
    "  - {id: cap, match: {topics: [notes.add]}, decision: allow_with_constraints,"
    " constraints: {max_runtime_sec: 5}}\n"
)
OBSERVE = POLICY.replace("name: shop", "name: shop\nmode: observe")


def told(report: ReplayReport) -> str:
    return " | ".join(f"{one.where}: {one.what}" for one in (*report.problems, *report.notes))


def traffic(house: House) -> None:
    """Everything that makes a policy decide: allowed, held, denied, edited, and decided again, four times."""
    ann, bob = house.person("Ann"), house.person("Bob")
    house.propose("orders.get", {"order_id": "A"})
    note = house.propose("notes.add", {"text": "ünïcode", "n": [1, 2.5, 5.0, {"a": None}]}).action
    assert note is not None
    house.propose(args={**REFUND, "amount_usd": "5.00"}, confidence=Decimal("0.25"), principal="cus_1")
    edited = house.held(reasoning="because")
    house.answer(edited, ann, Answer.EDIT, args={**REFUND, "amount_usd": "50.00"})
    house.answer(edited, bob)
    house.gate.claim(edited, ExecutorKind.CALLER)
    house.answer(house.held(args={**REFUND, "order_id": "B"}), ann, Answer.REJECT)
    house.answer(house.held(args={**REFUND, "order_id": "C"}), ann)
    twice = house.held(args={**REFUND, "order_id": "D"})
    house.answer(twice, ann, Answer.EDIT, args={**REFUND, "order_id": "E"})
    house.activate(CAPPED)
    house.activate(TIGHT)
    house.activate(LOOSE)
    house.answer(twice, bob, Answer.EDIT, args={**REFUND, "order_id": "F"})
    house.activate(DENY)
    house.propose("notes.add", {})
    house.activate(OBSERVE)
    house.propose("account.delete", {"account_id": "1"})


def export(house: House, directory: Path, *, inputs: bool = True) -> Inputs | None:
    house.home.publisher.export(directory)
    write_policies(house.home.journal, directory)
    return write_inputs(house.home.journal, directory) if inputs else None


@pytest.fixture
def exported(house: House, tmp_path: Path) -> Path:
    traffic(house)
    export(house, tmp_path / "export")
    return tmp_path / "export"


def test_a_homes_own_traffic_replays_to_the_last_verdict(house: House, tmp_path: Path) -> None:
    traffic(house)
    counts = export(house, tmp_path / "export")
    assert verify_export(tmp_path / "export").ok
    report = replay(tmp_path / "export")
    assert report.holds(), told(report)
    entries = entries_of(tmp_path / "export")
    kinds = [entry["kind"] for entry in entries]
    opened = kinds.count("action.proposed") + kinds.count("action.edited")
    assert counts == Inputs(opened, 0, 0)
    assert report.verdicts == opened + kinds.count("action.stale") + kinds.count("action.redecided")
    assert kinds.count("action.stale") >= 4
    assert {entry["kind"] for entry in entries if entry.get("held_by")} == {
        "action.edited",
        "action.redecided",
    }
    assert report.policies == 6


def test_every_verdict_says_what_it_was_decided_from(exported: Path) -> None:
    verdicts = ("action.proposed", "action.edited", "action.redecided", "action.stale")
    entries = [entry for entry in entries_of(exported) if entry["kind"] in verdicts]
    for entry in entries:
        assert {"inputs", "rule", "decision", "owner", "policy", "verdict"} <= entry.keys(), entry["kind"]
        assert "tier" in entry
    first = {(e["action"], e["revision"]): e["inputs"] for e in entries if e["kind"] in verdicts[:2]}
    assert all(e["inputs"] == first[e["action"], e["revision"]] for e in entries)
    assert len(set(first.values())) == len(first)


def test_a_verdict_changed_to_allow_and_signed_anew_verifies_and_does_not_replay(exported: Path) -> None:
    """Every hash and signature holds, and no life breaks a rule: only the policy contradicts."""

    def held(entry: dict[str, Any]) -> bool:
        return entry["kind"] == "action.proposed" and entry["decision"] == "require_approval"

    entries = entries_of(exported)
    last = max(number for number, entry in enumerate(entries) if held(entry))
    action = entries[last]["action"]
    about = [e for e in entries[last + 1 :] if e.get("action") == action or e.get("kind") == "x"]
    forged = {**entries[last], "decision": "allow", "approval": None, "review_hash": None}
    kept = [e for e in entries[last + 1 :] if e not in about]
    sign(exported, [*entries[:last], forged, *kept])
    write_lines(
        exported,
        [
            line
            for line in lines_of(exported)
            if line["action"] != action or line["revision"] == entries[last]["revision"]
        ],
    )
    assert verify_export(exported).ok
    report = replay(exported)
    assert (report.failed, report.differing) == (True, 1), told(report)
    assert f"entry {last}: action.proposed: decided anew, its `decision` is `require_approval`" in told(
        report
    )


def test_no_automatic_verdict_can_be_written_otherwise(exported: Path) -> None:
    honest = entries_of(exported)
    for kind in ("action.edited", "action.redecided", "action.stale"):
        for field in ("verdict", "rule", "owner"):
            sign(exported, honest)
            number = change(exported, lambda entry, kind=kind: entry["kind"] == kind, **{field: "00" * 32})
            assert verify_export(exported).ok
            report = replay(exported)
            assert report.failed
            assert f"entry {number}: {kind}: " in told(report)


def test_inputs_are_rebuilt_from_what_is_sealed_and_are_private(exported: Path) -> None:
    file = exported / "inputs.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not list(exported.glob("*.new"))
    lines = lines_of(exported)
    assert lines[1]["inputs"] == {
        "v": 1,
        "topic": "notes.add",
        "args": {"text": "ünïcode", "n": [1, 2.5, 5, {"a": None}]},
        "tags": None,
    }
    assert lines[2]["inputs"]["signals"] == {"confidence": "0.25"}
    assert lines[2]["binding"]["principal"] == "cus_1"
    assert set(lines[0]) == {"action", "revision", "nonce", "binding", "inputs"}
    assert "because" not in file.read_text(encoding="utf-8")


def test_without_inputs_an_export_is_logic_only_and_never_ok(house: House, tmp_path: Path) -> None:
    traffic(house)
    export(house, tmp_path / "export", inputs=False)
    report = replay(tmp_path / "export")
    assert (report.failed, report.replayed, report.holds(allow_erased=True)) == (False, 0, False), told(
        report
    )
    assert report.logic_only == report.verdicts


def test_what_does_not_open_is_left_out_and_counted(house: House, tmp_path: Path) -> None:
    traffic(house)
    house.sql("DELETE FROM payloads WHERE seq = (SELECT min(seq) FROM payloads)")
    counts = export(house, tmp_path / "export")
    assert counts is not None
    assert counts.unreadable == 1
    report = replay(tmp_path / "export")
    assert not report.failed, told(report)
    assert report.logic_only >= 1
    assert not report.holds(allow_erased=True)


def test_erased_inputs_are_exported_and_replayed_as_erased(house: House, tmp_path: Path) -> None:
    for principal in ("cus_1", "cus_2"):
        action = house.propose(args={**REFUND, "order_id": principal}, principal=principal).action
        assert action is not None
        house.gate.withdraw(action.id, agent())
    house.home.eraser.erase("cus_1", by="test")
    counts = export(house, tmp_path / "export")
    assert counts == Inputs(written=1, erased=1, unreadable=0)
    assert [set(line) for line in lines_of(tmp_path / "export")] == [
        {"action", "revision", "erased"},
        {"action", "revision", "nonce", "binding", "inputs"},
    ]
    assert "cus_1" not in (tmp_path / "export" / "inputs.jsonl").read_text(encoding="utf-8")
    assert verify_export(tmp_path / "export").ok
    report = replay(tmp_path / "export")
    assert (report.failed, report.erased, report.replayed) == (False, 1, 1), told(report)
    assert not report.holds()
    assert report.holds(allow_erased=True)


def test_a_policy_changed_in_the_database_is_not_exported(house: House, tmp_path: Path) -> None:
    house.sql("UPDATE policies SET document = x'7b7d'")
    with pytest.raises(HomeUnusable, match="hashes to"):
        write_policies(house.home.journal, tmp_path)
    assert not list((tmp_path / "policies").iterdir())


def test_a_crash_while_inputs_are_written_leaves_no_half_of_them(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic(house)
    monkeypatch.setattr(evidence, "PAGE", 4)

    def interrupt(done: int, total: int) -> None:
        if done >= total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_inputs(house.home.journal, tmp_path, progress=interrupt)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == []


@pytest.mark.parametrize("page", [1, 3])
def test_pages_lose_and_repeat_no_line(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    traffic(house)
    export(house, tmp_path / "whole")
    monkeypatch.setattr(evidence, "PAGE", page)
    (tmp_path / "paged").mkdir()
    write_inputs(house.home.journal, tmp_path / "paged")
    assert (tmp_path / "paged" / "inputs.jsonl").read_bytes() == (
        tmp_path / "whole" / "inputs.jsonl"
    ).read_bytes()


def test_inputs_of_a_range_are_those_of_its_entries(house: House, tmp_path: Path) -> None:
    traffic(house)
    size = len(house.entries())
    write_inputs(house.home.journal, tmp_path, first=5, size=size - 5)
    wanted = [json.loads(body) for body in house.entries()[5 : size - 5]]
    opened = [e for e in wanted if e["kind"] in ("action.proposed", "action.edited")]
    assert [(line["action"], line["revision"]) for line in lines_of(tmp_path)] == [
        (e["action"], e["revision"]) for e in opened
    ]


def test_a_registered_topics_tags_are_among_the_inputs(
    open_house: Callable[..., House], tmp_path: Path
) -> None:
    house = open_house()
    proposal = Proposal("tool.x.y", {"a": 1}, tags=("money", "delete"))
    house.gate.propose(proposal, agent(), registered=True)
    export(house, tmp_path / "export")
    assert lines_of(tmp_path / "export")[0]["inputs"]["tags"] == ["delete", "money"]
    report = replay(tmp_path / "export")
    assert report.holds(), told(report)


# --- the command line -------------------------------------------------------------------------------------


@pytest.fixture
def folder(house: House, tmp_path: Path) -> Path:
    """An export with inputs as the command writes it; one subject was erased."""
    traffic(house)
    action = house.propose(args={**REFUND, "order_id": "G"}, principal="cus_9").action
    assert action is not None
    house.gate.withdraw(action.id, agent())
    house.home.eraser.erase("cus_9", by="test")
    written = run(
        tmp_path, "ledger", "export", "export", "--inputs", "--home", str(house.home.path), "--json"
    )
    assert written.code == 0, written.out
    assert written.json["inputs"]["erased"] == 1
    return tmp_path / "export"


def test_erased_inputs_end_with_6_unless_they_are_accepted(folder: Path) -> None:
    refused = run(folder.parent, "ledger", "verify", "export", "--replay", "--json")
    assert refused.code == 6, refused.out
    counts = refused.json["replay"]
    assert (refused.json["ok"], counts["ok"], counts["erased"], counts["differing"]) == (True, False, 1, 0)
    assert counts["replayed"] == counts["verdicts"] - 1
    accepted = run(folder.parent, "ledger", "verify", "export", "--replay", "--allow-erased")
    assert accepted.code == 0, accepted.out
    verdicts = counts["verdicts"]
    assert f"replayed: {verdicts - 1} of {verdicts} verdicts, 1 accepted as erased" in accepted.out


def test_a_verdict_that_differs_ends_with_3_and_is_named(folder: Path) -> None:
    number = change(folder, lambda entry: entry["kind"] == "action.stale", rule="other")
    shutil.rmtree(folder / "handovers", ignore_errors=True)
    found = run(folder.parent, "ledger", "verify", "export", "--replay", "--allow-erased")
    assert found.code == 3, found.out
    assert f"entry {number}: action.stale: decided anew, its `rule` is" in found.out
    assert run(folder.parent, "ledger", "verify", "export").code == 0


def test_an_export_without_inputs_ends_with_6_even_if_erased_ones_are_accepted(folder: Path) -> None:
    (folder / "inputs.jsonl").unlink()
    found = run(folder.parent, "ledger", "verify", "export", "--replay", "--allow-erased")
    assert found.code == 6, found.out
    assert "their inputs are not at hand" in found.out
    assert "replayed:" not in found.out


def test_nothing_is_replayed_of_a_ledger_that_does_not_verify(folder: Path) -> None:
    bundle = next(file for file in (folder / "tile/entries").rglob("*") if file.is_file())
    raw = bytearray(bundle.read_bytes())
    raw[40] ^= 1
    bundle.write_bytes(raw)
    found = run(folder.parent, "ledger", "verify", "export", "--replay")
    assert found.code == 3
    assert "Nothing was replayed" in found.out

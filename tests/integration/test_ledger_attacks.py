"""Attacks on the ledger and on the rows that the gate trusts, and what detects each; undetected ones too.

1. Whoever reaches only an export, or only the database, is found out by what they cannot sign or mark.
2. Whoever holds the signing key too can make a log that verifies by itself. A checkpoint that somebody kept,
   a witness, or the meaning of the entries finds it out. Where nothing does, the test holds that it is so,
   and the documentation says it.
3. Every column of every row that carries a mark is changed in a real database, and what rests on it refuses.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from house import POLICY, REFUND, House, ManualClock, agent
from interlock.gate import Report
from interlock.gate.permit_rows import PermitRedeemed
from interlock.gate.records import (
    DecisionRow,
    add_decision,
    approval_of,
    load_action,
    move,
    save_approval,
)
from interlock.home import Home
from interlock.home.keystore import Keystore
from interlock.identity import Caller, KeyKind, Role
from interlock.journal import Tx, tables
from interlock.ledger import Kind, Signer, TileWriter, checkpoint, entry
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import HomeUnusable, InterlockError, RecoveryRequired
from interlock.model.topics import TopicPattern
from interlock.permit import SqliteStore, Verifier, WrongAction
from interlock.permit.errors import Replayed
from interlock.verify import Report as Verification
from interlock.verify import verify_export
from restored import Backup
from witness_process import WitnessProcess, policy

Entry = dict[str, Any]
Story = list[Entry]
DONE = Report(ActionState.SUCCEEDED, "done")


# --- a house with a history, and its log in the hands of a forger -----------------------------------------


@pytest.fixture
def lived(house: House) -> House:
    """A small refund that ran, a large one that Ann approved and that ran, and one that waits."""
    ann = house.person("Ann", Role.REVIEWER)
    house.person("Bob", Role.OPERATOR)
    small = house.propose(args={**REFUND, "order_id": "S", "amount_usd": "5.00"}).action
    assert small is not None
    run(house, small.id)
    large = house.held(args={**REFUND, "order_id": "L"})
    house.answer(large, ann)
    run(house, large)
    house.held(args={**REFUND, "order_id": "W"})
    return house


def run(house: House, action: str) -> None:
    house.gate.settle(house.gate.claim(action, ExecutorKind.CALLER), DONE)


def story(house: House) -> Story:
    return [json.loads(body) for body in house.entries()]


def place(told: Story, kind: str, nth: int = 0) -> int:
    """Where the entry of that kind stands."""
    return [number for number, each in enumerate(told) if each["kind"] == kind][nth]


def bytes_of(each: Entry) -> bytes:
    own = {
        name: value for name, value in each.items() if name not in ("v", "kernel", "kind", "at", "namespace")
    }
    return entry(Kind(each["kind"]), at=each["at"], namespace=each["namespace"], **own)


def signer(house: House) -> Signer:
    """The signing key, as somebody has it who copied the keystore."""
    return Keystore.open(house.home.path, fresh=False).signer


def export(told: Story, folder: Path, note: str | Signer) -> Path:
    """Write a story as an export in which every tile fits; `note` is a checkpoint, or whoever signs one."""
    writer = TileWriter()
    files = [file for each in told for file in writer.add(bytes_of(each))]
    for path, content in (*files, *writer.partials()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    if isinstance(note, Signer):
        head = writer.frontier()
        note = note.sign(checkpoint(note.name, head.size, head.root()))
    (folder / "checkpoint").write_text(note, encoding="utf-8")
    return folder


def told(report: Verification) -> str:
    return " | ".join(f"{problem.where}: {problem.what}" for problem in report.problems)


def caught(report: Verification, why: str) -> None:
    assert not report.ok
    assert not report.cannot_check, told(report)
    assert why in told(report)


def passes(report: Verification) -> None:
    assert report.ok, told(report)


def edited(story: Story) -> Story:
    changed = {**story[-1], "decision": "allow"}
    return [*story[:-1], changed]


def deleted(story: Story) -> Story:
    return [each for each in story if each["kind"] != "approval.decided"]


def inserted(story: Story) -> Story:
    return [*story[:3], story[2], *story[3:]]


def reordered(story: Story) -> Story:
    return [*story[:2], story[3], story[2], *story[4:]]


def truncated(story: Story) -> Story:
    return story[:-1]


CHANGES = [edited, deleted, inserted, reordered, truncated]


# --- an export, without the key ---------------------------------------------------------------------------


@pytest.mark.parametrize("change", CHANGES)
def test_an_export_changed_without_the_key_does_not_verify(
    change: Callable[[Story], Story], lived: House, tmp_path: Path
) -> None:
    note, vkey = lived.home.publisher.publish(), lived.home.publisher.vkey
    passes(verify_export(export(story(lived), tmp_path / "honest", note), vkey=vkey))
    report = verify_export(export(change(story(lived)), tmp_path / "changed", note), vkey=vkey)
    assert not report.ok
    assert not report.cannot_check
    assert "tile/" in told(report) or "root" in told(report)


def test_an_export_signed_with_a_key_of_the_forgers_own_does_not_verify(lived: House, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    own = Signer(lived.home.publisher.origin, Ed25519PrivateKey.generate())
    report = verify_export(export(story(lived), tmp_path / "x", own), vkey=lived.home.publisher.vkey)
    caught(report, "checkpoint")


# --- the database, without any key ------------------------------------------------------------------------

FIRST_ACTION = "(SELECT min(seq) FROM entries WHERE CAST(body AS TEXT) LIKE '%action.proposed%')"
SQL = {
    "edit": "UPDATE entries SET body = CAST(replace(body, 'support', 'sales!!') AS BLOB) "
    f"WHERE seq = {FIRST_ACTION}",
    "delete": f"DELETE FROM entries WHERE seq = {FIRST_ACTION}",
    "reorder": f"UPDATE entries SET body = (SELECT body FROM entries e WHERE e.seq = 1 + {FIRST_ACTION}) "
    f"WHERE seq = {FIRST_ACTION}",
    "truncate": "DELETE FROM entries WHERE seq >= (SELECT size - 2 FROM head)",
}


def outcome(house: House, folder: Path) -> str:
    """The error that refuses an export, or what an auditor says of it."""
    try:
        house.home.publisher.export(folder)
    except InterlockError as refused:
        return type(refused).__name__
    return "ok" if verify_export(folder, vkey=house.home.publisher.vkey).ok else "does not verify"


@pytest.mark.parametrize(
    ("attack", "signed", "unsigned"),
    [
        ("edit", "does not verify", "RecoveryRequired"),
        ("delete", "Tampered", "Tampered"),
        ("reorder", "does not verify", "RecoveryRequired"),
        ("truncate", "Tampered", "Tampered"),
    ],
)
@pytest.mark.parametrize("already", [True, False], ids=["signed", "not yet signed"])
def test_entries_changed_in_the_database_reach_no_export_that_verifies(
    attack: str, signed: str, unsigned: str, already: bool, lived: House, tmp_path: Path
) -> None:
    if already:
        lived.home.publisher.publish()
    lived.sql(SQL[attack])
    assert outcome(lived, tmp_path / "x") == (signed if already else unsigned)


def test_a_row_behind_the_last_entry_is_no_entry(lived: House, tmp_path: Path) -> None:
    size = len(story(lived))
    lived.sql("INSERT INTO entries SELECT seq + 9000, namespace, body FROM entries WHERE seq = 3")
    assert outcome(lived, tmp_path / "x") == "ok"
    assert verify_export(tmp_path / "x", vkey=lived.home.publisher.vkey).size == size
    lived.sql(f"UPDATE entries SET seq = {size} WHERE seq > 9000")
    with pytest.raises(HomeUnusable):
        lived.held(args={**REFUND, "order_id": "next"})


def test_the_head_put_back_with_its_entries_stops_whoever_saw_more(lived: House) -> None:
    before = lived.sql("SELECT size, frontier, sealed FROM head")[0]
    lived.held(args={**REFUND, "order_id": "later"})
    lived.sql("DELETE FROM entries WHERE seq >= ?", before[0])
    lived.sql("UPDATE head SET size = ?, frontier = ?, sealed = ?", *before)
    with pytest.raises(RecoveryRequired):
        lived.held(args={**REFUND, "order_id": "next"})
    with pytest.raises(RecoveryRequired):
        lived.home.publisher.publish()


# --- old states put back ----------------------------------------------------------------------------------


def test_an_old_database_put_back_is_refused_when_the_home_opens(
    lived: House, open_house: Any, clock: ManualClock, tmp_path: Path
) -> None:
    saved = Backup(lived, tmp_path)
    lived.held(args={**REFUND, "order_id": "later"})
    lived.home.close()
    saved.put_back()
    with pytest.raises(RecoveryRequired):
        open_house(clock=clock)


def test_a_whole_machine_put_back_shows_to_whoever_kept_a_checkpoint_and_to_nobody_else(
    lived: House, open_house: Any, clock: ManualClock, tmp_path: Path
) -> None:
    home = lived.home.path
    lived.home.close()
    shutil.copytree(home, tmp_path / "saved")
    again = open_house(clock=clock)
    again.held(args={**REFUND, "order_id": "later"})
    kept = again.home.publisher.publish()
    again.home.close()
    shutil.rmtree(home)
    shutil.copytree(tmp_path / "saved", home)
    back = open_house(clock=clock)  # nothing on this machine knows better
    back.held(args={**REFUND, "order_id": "other"})
    vkey = back.home.publisher.vkey
    back.home.publisher.export(tmp_path / "x")
    passes(verify_export(tmp_path / "x", vkey=vkey))
    caught(verify_export(tmp_path / "x", vkey=vkey, since=kept), "checkpoint you hold")


# --- with the signing key ---------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [edited, truncated])
def test_a_rewritten_and_signed_log_verifies_alone_and_shows_to_whoever_kept_a_checkpoint(
    change: Callable[[Story], Story], lived: House, tmp_path: Path
) -> None:
    kept, vkey = lived.home.publisher.publish(), lived.home.publisher.vkey
    told_otherwise = change(story(lived))
    if change is edited:
        told_otherwise = renamed(story(lived))
    folder = export(told_otherwise, tmp_path / "x", signer(lived))
    passes(verify_export(folder, vkey=vkey))  # the limit: the key can sign another history
    caught(verify_export(folder, vkey=vkey, since=kept), "checkpoint you hold")


def renamed(story: Story) -> Story:
    """Another agent did it: nothing in the entries contradicts that."""
    return [{**each, "agent": "sales"} if "agent" in each else each for each in story]


def test_a_rewritten_and_signed_log_gets_no_witness(lived: House, tmp_path: Path) -> None:
    vkey = lived.home.publisher.vkey
    with WitnessProcess(tmp_path / "w", "w.example/1", vkey) as witness:
        trust = policy(vkey, witness)
        (lived.home.path / "ledger" / "witnesses").write_bytes(trust)
        note = lived.home.witnesses.gather(patient=True)
        passes(verify_export(export(story(lived), tmp_path / "honest", note), policy=trust))
        size = int(note.split("\n")[1])
        folder = export(renamed(story(lived)), tmp_path / "x", signer(lived))
        forged = (folder / "checkpoint").read_text()
        answer = httpx.post(
            f"{witness.url}/add-checkpoint", content=f"old {size}\n\n{forged}", trust_env=False
        )
        assert answer.status_code == 409
        caught(verify_export(folder, policy=trust), "no quorum")


def test_two_histories_for_two_audiences_get_no_quorum_of_both_witnesses_and_pass_where_one_suffices(
    lived: House, tmp_path: Path
) -> None:
    vkey, key = lived.home.publisher.vkey, signer(lived)
    with (
        WitnessProcess(tmp_path / "w1", "w.example/1", vkey) as one,
        WitnessProcess(tmp_path / "w2", "w.example/2", vkey) as two,
    ):
        shown = {}
        for witness, told_to in ((one, story(lived)), (two, renamed(story(lived)))):
            folder = export(told_to, tmp_path / witness.name.replace("/", "-"), key)
            note = (folder / "checkpoint").read_text()
            answer = httpx.post(f"{witness.url}/add-checkpoint", content=f"old 0\n\n{note}", trust_env=False)
            assert answer.status_code == 200
            (folder / "checkpoint").write_text(note + answer.text, encoding="utf-8")
            shown[witness.name] = folder
        for folder in shown.values():
            caught(verify_export(folder, policy=policy(vkey, one, two)), "no quorum")
            # The limit: quorums that need not share a witness let both pass.
            passes(verify_export(folder, policy=policy(vkey, one, two, needed="any")))


def test_a_back_dated_entry_shows_among_its_neighbours(lived: House, tmp_path: Path) -> None:
    changed = story(lived)
    changed[-1] = {**changed[-1], "at": changed[-1]["at"] - 3_600_000_000}
    report = verify_export(export(changed, tmp_path / "x", signer(lived)), vkey=lived.home.publisher.vkey)
    caught(report, "older than the entry before")


def test_a_log_whose_whole_end_is_back_dated_passes(lived: House, tmp_path: Path) -> None:
    """The limit: times are those of the machine that wrote them; only a kept checkpoint bounds them."""
    changed = story(lived)
    earlier = [{**each, "at": each["at"] - 3_600_000_000} for each in changed]
    passes(verify_export(export(earlier, tmp_path / "x", signer(lived)), vkey=lived.home.publisher.vkey))


def verified(house: House, changed: Story, folder: Path) -> Verification:
    """What an auditor says of a story that was signed with the real key."""
    return verify_export(export(changed, folder, signer(house)), vkey=house.home.publisher.vkey)


def test_an_approval_by_somebody_who_was_never_enrolled_shows(lived: House, tmp_path: Path) -> None:
    changed = story(lived)
    number = place(changed, "approval.decided")
    changed[number] = {**changed[number], "person": f"per_{9:032x}"}
    caught(verified(lived, changed, tmp_path / "x"), "not enrolled")


def test_an_approval_forged_in_an_enrolled_persons_name_passes_unless_a_passkey_was_asked_for(
    lived: House, tmp_path: Path
) -> None:
    """The limit: whoever holds every key of the gate can say that a person agreed. Only the person's own
    signature, which no key of the gate makes, tells."""
    changed = story(lived)
    asked = place(changed, "action.proposed", -1)
    assert changed[asked]["decision"] == "require_approval"
    decided = changed[place(changed, "approval.decided")]
    forged = {
        **decided,
        **{
            name: changed[asked][name]
            for name in ("approval", "action", "revision", "action_hash", "review_hash")
        },
        "at": changed[-1]["at"],
    }
    passes(verified(lived, [*changed, forged], tmp_path / "x"))
    changed[asked] = {**changed[asked], "step_up": True}
    caught(verified(lived, [*changed, forged], tmp_path / "y"), "passkey")


def test_an_approval_written_with_the_gates_own_marks_runs_and_shows_in_the_log(
    lived: House, tmp_path: Path
) -> None:
    """Who holds the database and the key of its marks can make something run. The missing entry tells."""
    action, ann = lived.held(args={**REFUND, "order_id": "M"}), lived.home.roster.named("Ann")

    def forge(tx: Tx) -> None:
        row = load_action(tx, action)
        request = approval_of(tx, row)
        assert request is not None
        decision = ("default", f"dec_{7:032x}", request.id, ann.id, "approve", request.review_hash)
        add_decision(tx, DecisionRow(*decision, None, None, 0, tx.now))
        save_approval(tx, request, state="approved")
        move(tx, row, ActionState.APPROVED, expires_at=tx.now + 60_000_000)

    lived.home.journal.commit(forge)
    run(lived, action)
    lived.home.publisher.export(tmp_path / "x")
    report = verify_export(tmp_path / "x", vkey=lived.home.publisher.vkey)
    caught(report, "claimed without being allowed or approved")


def test_an_execution_without_a_claim_shows(lived: House, tmp_path: Path) -> None:
    changed = [each for each in story(lived) if each["kind"] != "action.claimed"]
    caught(verified(lived, changed, tmp_path / "x"), "nobody holds the action")


def test_a_claim_without_an_approval_shows(lived: House, tmp_path: Path) -> None:
    caught(verified(lived, deleted(story(lived)), tmp_path / "x"), "without being allowed or approved")


@pytest.mark.parametrize(
    ("kind", "field", "why"),
    [
        ("approval.decided", "action_hash", "the answer names another action hash than was requested"),
        ("approval.decided", "review_hash", "the answer names another review hash than was requested"),
        ("action.claimed", "action_hash", "the claim names another action hash than was allowed"),
        ("action.claimed", "review_hash", "the claim names another review hash than was approved"),
        ("action.settled", "action_hash", "the outcome names another action hash than was claimed"),
    ],
)
def test_a_hash_that_changed_between_request_approval_claim_and_outcome_shows(
    kind: str, field: str, why: str, lived: House, tmp_path: Path
) -> None:
    changed = story(lived)
    number = place(changed, kind, -1)
    changed[number] = {**changed[number], field: "ab" * 32}
    caught(verified(lived, changed, tmp_path / "x"), why)


# --- permits ----------------------------------------------------------------------------------------------

MOVES = """
interlock: 1
name: files
actions:
  files.move:
    tier: 2
    args: {name: string}
    execute: {permitted: {executor: mover, offline: true}}
    undo: files.back
    undo_within: 1m
  files.back: {tier: 2, undo: files.move, undo_within: 1m}
"""
MOVER = Caller(KeyKind.EXECUTOR, executor="mover", topics=(TopicPattern.parse("*"),))


@pytest.fixture
def moving(open_house: Any, clock: ManualClock) -> House:
    house: House = open_house(MOVES, name="moving", clock=clock)
    return house


def permitted(house: House, *, offline: bool = False) -> Any:
    action = house.propose("files.move", {"name": "a"}).action
    assert action is not None
    return house.home.permits.mint(action.id, agent(), offline=offline)


def test_a_permit_replayed_at_the_gate_runs_nothing(moving: House) -> None:
    issued = permitted(moving)
    moving.home.permits.redeem(issued.token, MOVER)
    with pytest.raises(PermitRedeemed):
        moving.home.permits.redeem(issued.token, MOVER)
    assert [each["kind"] for each in story(moving)].count("action.claimed") == 1


def tool(house: House, folder: Path, clock: ManualClock) -> Verifier:
    return Verifier(
        issuer=house.home.permits.issuer,
        audience="mover",
        keys=house.home.permits.key_set(),
        store=SqliteStore(folder / "permits.db"),
        clock=lambda: clock.now() / 1_000_000,
    )


def test_a_permit_replayed_at_a_tool_is_refused_after_a_restart_too(
    moving: House, tmp_path: Path, clock: ManualClock
) -> None:
    issued = permitted(moving, offline=True)
    tool(moving, tmp_path, clock).check(issued.token, "files.move", b'{"name":"a"}')
    with pytest.raises(Replayed):
        tool(moving, tmp_path, clock).check(issued.token, "files.move", b'{"name":"a"}')


def test_a_permit_used_for_other_bytes_is_refused(moving: House, tmp_path: Path, clock: ManualClock) -> None:
    issued = permitted(moving, offline=True)
    for topic, args in (
        ("files.move", b'{"name":"b"}'),
        ("files.back", b'{"name":"a"}'),
        ("files.move", b"{}"),
    ):
        with pytest.raises(WrongAction):
            tool(moving, tmp_path, clock).check(issued.token, topic, args)
    tool(moving, tmp_path, clock).check(issued.token, "files.move", b'{ "name" : "a" }')


def test_a_permit_redeemed_twice_shows_in_the_log(moving: House, tmp_path: Path) -> None:
    issued = permitted(moving)
    moving.home.permits.redeem(issued.token, MOVER)
    honest = story(moving)
    passes(verified(moving, honest, tmp_path / "honest"))
    again = {**honest[-1], "epoch": honest[-1]["epoch"] + 1}
    assert not verified(moving, [*honest, again], tmp_path / "x").ok


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("permit", f"prm_{9:032x}", "permit"),
        ("permit", None, "without a permit"),
    ],
)
def test_a_run_with_a_permit_that_was_never_minted_shows_in_the_log(
    field: str, value: Any, why: str, moving: House, tmp_path: Path
) -> None:
    issued = permitted(moving)
    moving.home.permits.redeem(issued.token, MOVER)
    changed = story(moving)
    changed[-1] = {**changed[-1], field: value}
    caught(verified(moving, changed, tmp_path / "x"), why)


# --- every row with a mark, every column ------------------------------------------------------------------

MARKED = {
    table.name: table for table in tables.metadata.sorted_tables if {"mac", "seal"} & set(table.c.keys())
}


def _key(house: House, clock: ManualClock) -> Callable[[], object]:
    _, token = house.home.keyring.add(KeyKind.AGENT, "support", topics=["*"], by="test")
    return lambda: house.home.keyring.authenticate(token)


def _person(house: House, clock: ManualClock) -> Callable[[], object]:
    _, token = house.home.keyring.add(KeyKind.PERSON, "laptop", person=house.person("Ann"), by="test")
    return lambda: house.home.keyring.authenticate(token)


def _link(house: House, clock: ManualClock) -> Callable[[], object]:
    token = house.home.roster.issue_link(house.person("Ann"))
    return lambda: house.home.roster.redeem(token)


def _session(house: House, clock: ManualClock) -> Callable[[], object]:
    session, _ = house.home.roster.redeem(house.home.roster.issue_link(house.person("Ann")))
    return lambda: house.home.roster.signed_in(session)


def _policy(house: House, clock: ManualClock) -> Callable[[], object]:
    return lambda: house.propose(args={**REFUND, "amount_usd": "5.00"})


def _approved(house: House, clock: ManualClock) -> Callable[[], object]:
    action = house.held()
    house.answer(action, house.person("Ann"), note="fine")
    return lambda: house.gate.claim(action, ExecutorKind.CALLER)


def _permit(house: House, clock: ManualClock) -> Callable[[], object]:
    house.activate(MOVES)
    issued = permitted(house)
    return lambda: house.home.permits.redeem(issued.token, MOVER)


def _head(house: House, clock: ManualClock) -> Callable[[], object]:
    house.home.close()
    return lambda: Home.open(house.home.path, clock=clock).close()


USES: dict[str, Callable[[House, ManualClock], Callable[[], object]]] = {
    "head": _head,
    "keys": _key,
    "people": _person,
    "links": _link,
    "console_sessions": _session,
    "active_policy": _policy,
    "actions": _approved,
    "approvals": _approved,
    "decisions": _approved,
    "permits": _permit,
}
ELSEWHERE = {
    "epochs": "test_recovery.py: a row of an epoch that this home did not write stops everything",
    "recovery_votes": "test_recovery.py: an agreement that nobody gave does not count",
    "kill_switches": "test_kill_switch.py: a kill switch that was tampered with stops all the more",
    "kill_register": "test_kill_switch.py: a kill switch that was tampered with stops all the more",
    "kill_votes": "test_kill_switch.py: an agreement that nobody gave does not count",
    "attended": "test_lanes.py: nobody makes silence count by saying that the home was swept",
    "dismissals": "test_recovery_dismissed.py: a dismissal that nobody gave ends nothing",
    "alarms": "test_recovery_dismissed.py: an alarm that nobody gave keeps nobody from going on",
    "erasures": "test_erasure.py: what was erased stays closed whatever is put back",
    "checkpoints": "test_checkpoints.py: a checkpoint that was swapped for another actions is refused",
    "before_states": "test_rollback_client.py: what another action found is not taken for what was there",
    "accepted_tools": "test_accepted_tools.py: a row that was put there from outside accepts nothing",
    "sessions": "test_sessions.py: a changed row is not believed",
    "session_records": "test_sessions.py: a changed row is not believed",
}
"""Tables whose rows are attacked in the tests of the room that writes them."""
UNMARKED = {
    ("head", "size"): "compared with what was signed, marked and seen",
    ("head", "frontier"): "compared with what was signed and seen",
    ("head", "sealed"): "a number that payloads are counted by; each opens only under its own",
    ("head", "at"): "the time of the last transaction: a later one only moves the log's time forward",
    ("head", "stopped"): "only a later epoch or dismissal in the tree ends a halt, whatever stands here",
    ("head", "epoch"): "a hint to look at the rows of `epochs`, which carry marks",
    ("approvals", "supersedes"): "a link for people to follow; nothing is decided by it",
    ("decisions", "note"): "the note opens only under its own number; nothing is decided by it",
}
"""Columns of marked rows that no claim rests on, and why that is enough."""


def columns() -> list[tuple[str, str]]:
    return [
        (name, column)
        for name, table in MARKED.items()
        for column in table.c.keys()  # noqa: SIM118 (a collection whose items are columns)
        if name in USES and (name, column) not in UNMARKED
    ]


def other(value: Any) -> Any:
    if isinstance(value, int):
        return value + 1
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    return f"{value}x" if isinstance(value, str) else 1


def test_every_table_whose_rows_carry_a_mark_is_attacked() -> None:
    assert MARKED.keys() == USES.keys() | ELSEWHERE.keys()
    assert all(column in MARKED[table].columns for table, column in UNMARKED)


@pytest.mark.parametrize(("table", "column"), columns())
def test_no_column_of_a_row_with_a_mark_can_be_changed_and_believed(
    table: str, column: str, open_house: Any, clock: ManualClock
) -> None:
    house = open_house(POLICY, clock=clock)
    use = USES[table](house, clock)
    entries = house.sql("SELECT count(*) FROM entries")
    rows = house.sql(f"SELECT rowid_, {column} FROM (SELECT *, 1 AS rowid_ FROM {table})")
    house.sql(f"UPDATE {table} SET {column} = ?", other(rows[-1][1]))
    with pytest.raises(InterlockError):
        use()
    assert house.sql("SELECT count(*) FROM entries") == entries

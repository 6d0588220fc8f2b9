"""Every automatic verdict is decided anew; what cannot be is never counted as if it had been."""

from __future__ import annotations

import os
import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from exported_log import Log, change, entries_of, lines_of, sign, without_tier, write_lines
from interlock.ledger import Kind
from interlock.model.actions import Signals
from interlock.model.canonical import canonical
from interlock.model.errors import CannotCheck
from interlock.policy import Policy, Question, commitment, parse
from interlock.replay import ReplayReport, replay
from interlock.verify import verify_export
from policies_at_random import Case, cases

TEXT = """
interlock: 1
actions:
  pay.refund:
    tier: 3
    raise_to: [{tier: 4, when: args.amount_usd >= 1000}]
    args: {amount_usd: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: amount_usd}
  notes.add: {tier: 2, undo: notes.drop, undo_within: 1m}
  notes.drop: {tier: 2, undo: notes.add, undo_within: 1m}
  disk.wipe: {tier: 4}
rules:
  - {id: small, match: {topics: [pay.refund]}, when: args.amount_usd < 100, decision: allow}
  - id: cap
    match: {topics: [notes.drop]}
    decision: allow_with_constraints
    constraints: {max_runtime_sec: 5}
  - {id: sweep, match: {topics: [other.**]}, decision: allow}
  - {id: tools, match: {topics: [tool.*]}, decision: allow}
  - {id: doubt, match: {topics: [notes.add], confidence_below: 0.3}, decision: deny}
"""
POLICY = parse({"p.yaml": TEXT})
TIGHT = parse({"p.yaml": TEXT.replace("< 100", "< 10")})
SHORT = parse({"p.yaml": TEXT.replace("max_runtime_sec: 5", "max_runtime_sec: 2")})
WATCH = parse({"p.yaml": TEXT.replace("interlock: 1", "interlock: 1\nmode: observe")})


def pay(amount: str, **rest: Any) -> Question:
    return Question("pay.refund", {"amount_usd": amount}, tags=None, **rest)


NOTE = Question("notes.add", {"text": "hello"}, tags=None)
DROP = Question("notes.drop", {}, tags=None)
LIVE = [pay("5.00"), pay("500.00"), pay("5000.00"), NOTE, DROP, Question("disk.wipe", {}, tags=None)]
LIVE += [Question("tool.x", {"n": 1.5}, tags=None), Question("other.x", {}, tags=frozenset({"money"}))]
LIVE += [replace(NOTE, signals=Signals(retry_count=9)), replace(pay("5.00"), stopped="kil_1")]


def told(report: ReplayReport) -> str:
    return " | ".join(f"{one.where}: {one.what}" for one in (*report.problems, *report.notes))


def checked(directory: Path) -> ReplayReport:
    """What replay says of an export that verifies."""
    verified = verify_export(directory)
    assert verified.ok, verified.problems
    report = replay(directory)
    counts = report.replayed, report.differing, report.erased, report.logic_only, report.unchecked
    assert sum(counts) == report.verdicts
    assert not report.failed or not report.holds(allow_erased=True)
    return report


def log(*questions: Question, policy: Policy = POLICY) -> Log:
    made = Log(policy)
    for question in questions:
        made.propose(question)
    return made


@pytest.fixture
def live(tmp_path: Path) -> Path:
    return log(*LIVE).write(tmp_path / "export")


def test_an_honest_export_is_replayed_completely(live: Path) -> None:
    report = checked(live)
    assert report.holds(), told(report)
    assert (report.verdicts, report.replayed, report.policies) == (len(LIVE), len(LIVE), 1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases(asked=6, full=True))
def test_whatever_a_policy_decides_replays(tmp_path: Path, case: Case) -> None:
    directory = log(*map(without_tier, case.questions), policy=case.policy).write(tmp_path / "any")
    assert replay(directory).holds(), told(replay(directory))
    (directory / "inputs.jsonl").unlink()
    bare = replay(directory)
    assert (bare.failed, bare.logic_only) == (False, 6), told(bare)


def test_a_held_action_that_the_entry_says_was_allowed_is_caught(tmp_path: Path) -> None:
    """The attack: whoever holds the signing key lets the policy say yes."""
    made = log(pay("5.00"))
    made.propose(pay("500.00"), decision="allow", rule="small")
    report = checked(made.write(tmp_path))
    assert (report.differing, report.replayed) == (1, 1)
    assert "entry 2: action.proposed: decided anew, its `decision` is `require_approval`" in told(report)


@pytest.mark.parametrize(
    ("forged", "says"),
    [
        ({"rule": "cap"}, "its `rule` is"),
        ({"tier": 2}, "its `tier` is"),
        ({"owner": "nobody"}, "its `owner` is"),
        ({"observed": "deny"}, "its `observed` is"),
        ({"verdict": "00" * 32}, "the digest of the verdict differs"),
        ({"verdict": None}, "the digest of the verdict differs"),
        ({"held_by": "gate"}, "the policy decides on it alone"),
        ({"policy": None}, "it names no policy"),
        ({"inputs": "00" * 32}, "do not hash to the commitment"),
        ({"action_hash": "00" * 32}, "does not hash to the action hash"),
        ({"topic": "notes.add"}, "differ in `topic`"),
        ({"agent": "other"}, "differ in `agent`"),
        ({"executor": "http"}, "differ in `executor`"),
    ],
)
def test_whatever_an_entry_says_otherwise_is_caught(
    tmp_path: Path, forged: dict[str, Any], says: str
) -> None:
    made = Log(POLICY)
    made.propose(pay("500.00"), **forged)
    report = replay(made.write(tmp_path))
    assert (report.failed, report.differing) == (True, 1)
    assert says in told(report)


def test_swapped_inputs_are_caught(live: Path) -> None:
    lines = lines_of(live)
    first, second = lines[0], lines[1]
    names = ("action", "revision")
    lines[0] = {**second, **{name: first[name] for name in names}}
    lines[1] = {**first, **{name: second[name] for name in names}}
    write_lines(live, lines)
    report = checked(live)
    assert report.differing == 2
    assert "does not hash to the action hash" in told(report)


def test_swapped_lines_are_caught(live: Path) -> None:
    lines = lines_of(live)
    write_lines(live, [lines[1], lines[0], *lines[2:]])
    report = checked(live)
    assert report.failed
    assert "inputs.jsonl: no entry asks for line 2" in told(report)


def test_a_wrong_nonce_is_caught(live: Path) -> None:
    lines = lines_of(live)
    for nonce, says in (
        ("00" * 32, "does not hash"),
        ("00" * 31, "cannot be hashed"),
        ("xy", "cannot be"),
        (1, "lack"),
    ):
        write_lines(live, [{**lines[0], "nonce": nonce}, *lines[1:]])
        report = checked(live)
        assert report.differing == 1
        assert says in told(report)


@pytest.mark.parametrize("name", ["binding", "inputs"])
def test_changed_inputs_are_caught(live: Path, name: str) -> None:
    lines = lines_of(live)
    lines[1][name]["args"]["amount_usd"] = "5.00"
    write_lines(live, lines)
    assert checked(live).differing == 1


@pytest.mark.parametrize("args", [{"amount_usd": "5.00"}, {"amount_usd": True}])
def test_a_gate_that_decides_on_other_arguments_than_it_binds_is_caught(
    tmp_path: Path, args: dict[str, Any]
) -> None:
    made = log(Question("tool.x", {"amount_usd": 1}, tags=None))
    line = made.lines[0]
    inputs = {**line["inputs"], "args": args}
    made.lines[0] = {**line, "inputs": inputs}
    directory = made.write(tmp_path)
    change(
        directory,
        lambda entry: entry["kind"] == "action.proposed",
        inputs=commitment(bytes.fromhex(line["nonce"]), inputs),
    )
    report = checked(directory)
    assert report.differing == 1
    assert "decided on another `args` than was bound" in told(report)


def test_signals_are_committed_to(tmp_path: Path) -> None:
    """An agent in doubt was denied; the entry cannot be passed off as one about a confident agent."""
    doubtful = replace(NOTE, signals=Signals(confidence=None))
    made = log(doubtful)
    directory = made.write(tmp_path)
    assert checked(directory).holds()
    line = made.lines[0]
    write_lines(directory, [{**line, "inputs": {**line["inputs"], "signals": {"confidence": "0.9"}}}])
    assert checked(directory).differing == 1


# --- without inputs ---------------------------------------------------------------------------------------


def test_without_inputs_only_the_logic_is_checked_and_it_is_said(live: Path) -> None:
    (live / "inputs.jsonl").unlink()
    report = checked(live)
    assert not report.failed, told(report)
    assert (report.replayed, report.logic_only) == (0, len(LIVE))
    assert not report.holds(allow_erased=True)


def test_a_missing_line_is_missing_for_its_own_revision_alone(live: Path) -> None:
    write_lines(live, lines_of(live)[:2] + lines_of(live)[3:])
    report = checked(live)
    assert (report.failed, report.logic_only, report.replayed) == (False, 1, len(LIVE) - 1)
    assert not report.holds(allow_erased=True)


@pytest.mark.parametrize(
    ("question", "forged", "says"),
    [
        (pay("5.00"), {"rule": "other"}, "no such rule"),
        (pay("5.00"), {"rule": "tools"}, "no such rule"),
        (pay("5.00"), {"tier": 2}, "no tier 2"),
        (pay("5.00"), {"tier": None}, "a tier"),
        (pay("5.00"), {"tier": 4}, "tier 4 never runs"),
        (pay("5.00"), {"decision": "deny"}, "cannot decide that"),
        (pay("5.00"), {"decision": "yes"}, "no decision"),
        (pay("5.00"), {"rule": None}, "no rule"),
        (pay("5.00"), {"observed": "allow"}, "the mode enforce"),
        (pay("5.00"), {"rule": "default:tier-3"}, "cannot decide that"),
        (pay("5.00"), {"rule": "default:tier-2"}, "no such rule"),
        (pay("5.00"), {"rule": "default:uncatalogued"}, "no such rule"),
        (pay("5.00"), {"rule": "floor:tier-4"}, "no such rule"),
        (pay("5.00"), {"rule": "kill-switch:kil_1"}, "cannot decide that"),
        (pay("5.00"), {"topic": "no topic"}, "its topic is none"),
        (Question("other.x", {}), {"decision": "allow"}, "cannot decide that"),
        (Question("other.x", {}), {"tier": 1}, "no tier 1"),
        (Question("other.x", {}), {"decision": "allow", "rule": "sweep"}, "no such rule"),
    ],
)
def test_what_the_policy_can_never_say_is_caught_even_without_inputs(
    tmp_path: Path, question: Question, forged: dict[str, Any], says: str
) -> None:
    made = Log(POLICY)
    made.propose(question, **forged)
    made.lines.clear()
    report = replay(made.write(tmp_path))
    assert report.differing == 1
    assert says in told(report)


def test_observed_verdicts_replay_with_and_without_inputs(tmp_path: Path) -> None:
    made = log(*LIVE, policy=WATCH)
    directory = made.write(tmp_path)
    assert checked(directory).holds()
    write_lines(directory, [])
    report = checked(directory)
    assert (report.failed, report.logic_only) == (False, len(LIVE)), told(report)


def test_an_entry_that_commits_to_no_inputs_is_logic_only_whatever_line_stands_there(tmp_path: Path) -> None:
    made = Log(POLICY)
    made.propose(pay("500.00"), inputs=None)
    report = checked(made.write(tmp_path))
    assert (report.failed, report.logic_only, report.holds()) == (False, 1, False)
    assert "commits to no inputs" in told(report)


# --- erased -----------------------------------------------------------------------------------------------


def erased(line: dict[str, Any]) -> dict[str, Any]:
    return {"action": line["action"], "revision": line["revision"], "erased": True}


def erase(made: Log, payloads: int, **revisions: int) -> None:
    made.add(Kind.SUBJECT_ERASED, subject="00" * 32, by="x", payloads=payloads, **revisions)


def test_erased_inputs_are_reported_as_erased_and_accepted_only_on_request(tmp_path: Path) -> None:
    made = log(*LIVE)
    made.lines[1] = erased(made.lines[1])
    erase(made, 3)
    report = checked(made.write(tmp_path))
    assert (report.failed, report.erased, report.replayed) == (False, 1, len(LIVE) - 1)
    assert report.notes == ()
    assert not report.holds()
    assert report.holds(allow_erased=True)


def test_an_erasure_that_the_ledger_does_not_have_is_withholding(tmp_path: Path) -> None:
    made = log(*LIVE[:3])
    erase(made, 9)
    made.propose(LIVE[3])
    made.lines = [erased(made.lines[0]), *made.lines[1:3], erased(made.lines[3])]
    report = checked(made.write(tmp_path))
    assert (report.failed, report.erased, report.unchecked) == (False, 1, 1)
    assert not report.holds(allow_erased=True)
    assert "no erasure follows" in told(report)


def test_each_erasure_accounts_for_the_revisions_it_destroyed_and_no_others(tmp_path: Path) -> None:
    """The attack: inputs that nobody erased are withheld under the erasure of others."""
    made = log(*LIVE[:4])
    erase(made, 8, revisions=2)
    for question in LIVE[4:6]:
        made.propose(question)
    erase(made, 9, revisions=1)
    made.lines = [*map(erased, made.lines[:2]), *made.lines[2:4], erased(made.lines[4]), made.lines[5]]
    report = checked(made.write(tmp_path / "honest"))
    assert (report.erased, report.unchecked) == (3, 0)
    assert report.holds(allow_erased=True)
    more = [*map(erased, made.lines[:3]), *made.lines[3:5], made.lines[5]]
    made.lines = more
    report = checked(made.write(tmp_path / "three"))
    assert (report.erased, report.unchecked) == (3, 1), told(report)
    made.lines = [*more[:4], erased(more[4]), erased(more[5])]
    report = checked(made.write(tmp_path / "five"))
    assert (report.erased, report.unchecked) == (3, 2), told(report)
    assert "no erasure follows that destroyed so many" in told(report)


def test_no_more_is_erased_than_payloads_were_destroyed(tmp_path: Path) -> None:
    made = log(*LIVE)
    made.lines = [erased(line) for line in made.lines]
    erase(made, 2)
    report = checked(made.write(tmp_path))
    assert (report.erased, report.unchecked) == (2, len(LIVE) - 2)
    assert not report.holds(allow_erased=True)


def test_an_erased_verdict_must_still_be_possible(tmp_path: Path) -> None:
    made = Log(POLICY)
    made.propose(pay("500.00"), decision="allow", rule="default:tier-2")
    made.lines = [erased(made.lines[0])]
    erase(made, 3)
    report = checked(made.write(tmp_path))
    assert (report.differing, report.erased) == (1, 0)


# --- policies and kernels ---------------------------------------------------------------------------------


def test_a_missing_policy_cannot_be_checked(live: Path) -> None:
    (live / "policies" / f"{POLICY.snapshot[3:]}.json").unlink()
    report = checked(live)
    assert (report.failed, report.unchecked) == (False, len(LIVE))
    assert not report.holds(allow_erased=True)
    assert "it is missing" in told(report)


def test_another_policy_under_the_name_is_caught(live: Path) -> None:
    (live / "policies" / f"{POLICY.snapshot[3:]}.json").write_bytes(WATCH.canonical())
    report = replay(live)
    assert report.differing == len(LIVE)
    assert "another policy than its name says" in told(report)


def test_a_policy_that_this_version_cannot_read_cannot_be_checked(tmp_path: Path) -> None:
    made = Log(POLICY)
    later = canonical({"interlock": 2})
    snapshot = "v1:" + sha256(later).hexdigest()
    made.policies[snapshot] = later
    made.add(Kind.POLICY_ACTIVATED, snapshot=snapshot, previous=POLICY.snapshot, by="x", reason="x")
    made.propose(pay("5.00"), policy=snapshot)
    report = checked(made.write(tmp_path))
    assert (report.failed, report.unchecked) == (False, 1)
    assert "does not read here" in told(report)


@pytest.mark.parametrize("snapshot", ["v2:" + "00" * 32, "v1:../../../etc/passwd", "v1:" + "AB" * 32])
def test_a_snapshot_of_another_form_is_no_path(tmp_path: Path, snapshot: str) -> None:
    made = Log(POLICY)
    made.propose(pay("5.00"), policy=snapshot)
    report = replay(made.write(tmp_path))
    assert (report.failed, report.unchecked) == (False, 1)


def test_an_unknown_kernel_cannot_be_checked(live: Path) -> None:
    entries = entries_of(live)
    entries[2]["kernel"] = 2
    sign(live, entries)
    assert verify_export(live).cannot_check
    report = replay(live)
    assert (report.failed, report.unchecked, report.replayed) == (False, 1, len(LIVE) - 1)
    assert "does not know the kernel 2" in told(report)
    assert not report.holds(allow_erased=True)


def test_inputs_of_another_version_cannot_be_checked(tmp_path: Path) -> None:
    made = log(pay("5.00"))
    line = made.lines[0]
    inputs = {**line["inputs"], "mood": "good"}
    made.lines[0] = {**line, "inputs": inputs}
    directory = made.write(tmp_path)
    nonce = bytes.fromhex(line["nonce"])
    change(directory, lambda e: e["kind"] == "action.proposed", inputs=commitment(nonce, inputs))
    report = checked(directory)
    assert (report.failed, report.unchecked) == (False, 1)
    assert "do not read here" in told(report)


# --- edits, and policies that change ----------------------------------------------------------------------


def test_an_edit_is_replayed_as_held_by_the_gate(tmp_path: Path) -> None:
    made = log()
    action = made.propose(pay("500.00"))
    made.edit(action, pay("50.00"))
    made.edit(action, pay("400.00"))
    directory = made.write(tmp_path)
    opened = [entry for entry in entries_of(directory) if entry["kind"].startswith("action.")]
    assert [entry.get("held_by") for entry in opened] == [None, "gate", None]
    report = checked(directory)
    assert report.holds(), told(report)
    assert report.replayed == 3


@pytest.mark.parametrize(
    ("forged", "says"),
    [
        ({"held_by": None}, "does not say that the gate holds it"),
        ({"owner": "nobody"}, "its `owner` is"),
        ({"decision": "allow", "rule": "small", "held_by": None}, "does not say that the gate holds it"),
        ({"decision": "allow", "rule": "small"}, "its `decision` is"),
    ],
)
def test_an_edit_that_is_not_held_as_it_should_be_is_caught(
    tmp_path: Path, forged: dict[str, Any], says: str
) -> None:
    made = log()
    made.edit(made.propose(pay("500.00")), pay("50.00"), **forged)
    report = checked(made.write(tmp_path))
    assert (report.differing, report.replayed) == (1, 1)
    assert says in told(report)


def test_an_edit_whose_verdict_before_is_not_known_is_not_called_replayed(tmp_path: Path) -> None:
    made = log()
    made.edit(made.propose(pay("500.00")), pay("50.00"))
    made.lines[0] = erased(made.lines[0])
    erase(made, 3)
    report = checked(made.write(tmp_path))
    assert (report.failed, report.erased, report.logic_only, report.replayed) == (False, 1, 1, 0)


def again(policy: Policy, question: Question, first: Policy = POLICY, **forged: Any) -> Log:
    made = Log(first)
    action = made.propose(question)
    made.activate(policy)
    made.again(action, **forged)
    return made


def kinds(directory: Path) -> list[str]:
    return [entry["kind"] for entry in entries_of(directory) if entry["kind"].startswith("action.")]


def test_a_policy_that_becomes_stricter_replays_as_stale_and_held_anew(tmp_path: Path) -> None:
    directory = again(TIGHT, pay("50.00")).write(tmp_path)
    assert kinds(directory) == ["action.proposed", "action.stale", "action.redecided"]
    report = checked(directory)
    assert (report.holds(), report.replayed, report.policies) == (True, 3, 2), told(report)


def test_narrower_limits_replay_as_held_by_the_gate(tmp_path: Path) -> None:
    directory = again(SHORT, DROP).write(tmp_path)
    assert kinds(directory) == ["action.proposed", "action.stale", "action.redecided"]
    assert entries_of(directory)[-1]["held_by"] == "gate"
    assert checked(directory).replayed == 3


def test_a_looser_policy_replays_and_leaves_the_verdict_in_force(tmp_path: Path) -> None:
    made = again(POLICY, pay("50.00"), first=TIGHT)
    made.activate(TIGHT)
    made.again("act_" + f"{1:032x}")
    directory = made.write(tmp_path)
    assert kinds(directory) == ["action.proposed", "action.redecided", "action.redecided"]
    assert checked(directory).replayed == 3


def test_a_stricter_policy_that_made_nothing_stale_is_caught(tmp_path: Path) -> None:
    made = again(SHORT, DROP)  # how long it may run is said in the verdict alone
    entries = [*made.entries[:-2]]
    directory = made.write(tmp_path)
    stale, _ = entries_of(directory)[-2:]
    sign(directory, [*entries, {**stale, "kind": "action.redecided"}])
    report = checked(directory)
    assert report.differing == 1
    assert "the action stayed as it was" in told(report)


def test_an_action_made_stale_without_a_reason_is_caught(tmp_path: Path) -> None:
    made = again(POLICY, pay("50.00"), first=TIGHT)
    directory = made.write(tmp_path)
    entries = entries_of(directory)
    entries[-1]["kind"] = "action.stale"
    sign(directory, entries)
    report = checked(directory)
    assert report.differing == 1
    assert "did not become stricter" in told(report)


@pytest.mark.parametrize("asked_again", [True, False])
def test_an_action_runs_only_under_a_policy_that_decided_about_it(tmp_path: Path, asked_again: bool) -> None:
    made = Log(POLICY)
    action = made.propose(DROP)
    made.activate(TIGHT)
    if asked_again:
        made.again(action)
    made.claim(action)
    directory = made.write(tmp_path)
    assert verify_export(directory).ok is asked_again
    report = replay(directory)
    assert report.holds() is asked_again
    assert ("its policy never decided about it" in told(report)) is not asked_again


EXECUTE = "execute: {caller: {idempotent: {retention: 10m}}}"
REMEMBERS = parse({"p.yaml": TEXT.replace("    raise_to", f"    {EXECUTE}\n    raise_to")})


@pytest.mark.parametrize(
    ("question", "later", "good"),
    [
        (pay("5.00"), 20_000_000, True),
        (pay("5.00"), 539_000_000, True),
        (pay("5.00"), 541_000_000, False),
        (DROP, 20_000_000, False),
        (Question("tool.x", {}, tags=None), 20_000_000, False),
    ],
)
def test_an_action_runs_again_only_while_its_executor_remembers_its_key(
    tmp_path: Path, question: Question, later: int, good: bool
) -> None:
    made = Log(REMEMBERS)
    action = made.propose(question)
    made.claim(action)
    made.claim(action, epoch=2, at=later)
    directory = made.write(tmp_path)
    assert checked(directory).holds() is good
    assert ("its executor remembers no key by then" in told(replay(directory))) is not good
    (directory / f"policies/{REMEMBERS.snapshot[3:]}.json").unlink()
    assert "remembers a repeated key is not known" in told(replay(directory))


def test_what_is_replayed_is_what_was_verified(live: Path, tmp_path: Path) -> None:
    """The attack: files are exchanged between the two readings."""
    verified = verify_export(live)
    held = (verified.size, b64decode(verified.root))
    assert replay(live, verified=held).holds()
    other = log(*LIVE[:-1]).write(tmp_path / "other")
    assert replay(other).holds()
    with pytest.raises(CannotCheck, match="not the one that was verified"):
        replay(other, verified=held)
    (bundle,) = (live / "tile/entries").rglob("*.p/*")
    bundle.write_bytes(bundle.read_bytes().replace(b"notes.add", b"notes.bad"))
    with pytest.raises(CannotCheck, match="hash 4 is not that of entry 4"):
        replay(live, verified=held)


def test_other_inputs_at_a_later_decision_are_caught(tmp_path: Path) -> None:
    report = checked(again(POLICY, pay("50.00"), first=TIGHT, inputs="00" * 32).write(tmp_path))
    assert (report.differing, report.replayed) == (1, 1)
    assert "other inputs than those the action was proposed with" in told(report)


def test_a_later_decision_without_inputs_is_logic_only(tmp_path: Path) -> None:
    made = again(TIGHT, pay("50.00"))
    made.lines.clear()
    report = checked(made.write(tmp_path))
    assert (report.failed, report.logic_only) == (False, 3), told(report)


def test_lines_are_found_again_between_others(tmp_path: Path) -> None:
    made = Log(POLICY)
    actions = [made.propose(pay(f"{n}.00")) for n in (5, 50, 500, 20, 2)]
    made.activate(TIGHT)
    for action in reversed(actions):
        made.again(action)
        made.propose(NOTE)
    report = checked(made.write(tmp_path))
    assert report.holds(), told(report)
    assert report.verdicts == 5 + 5 + 5 + 2


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"[]\n", b"{}", b"\xff\n", b"null\n", b'{"action":', b"\n", b"9" * 200 + b"\n"],
)
def test_garbage_for_inputs_is_a_failure_and_not_an_error(live: Path, content: bytes) -> None:
    (live / "inputs.jsonl").write_bytes(content)
    report = checked(live)
    assert report.failed
    assert (report.replayed, report.logic_only) == (0, len(LIVE))
    assert "inputs.jsonl: line 1 is not an object" in told(report)


def test_a_line_too_many_is_caught(live: Path) -> None:
    lines = lines_of(live)
    write_lines(live, [*lines, lines[0]])
    assert f"no entry asks for line {len(lines) + 1}" in told(checked(live))


def test_a_pipe_in_the_place_of_inputs_is_not_waited_for(live: Path) -> None:
    (live / "inputs.jsonl").unlink()
    os.mkfifo(live / "inputs.jsonl")
    with pytest.raises(CannotCheck, match="regular"):
        replay(live)


@pytest.mark.parametrize("first", [256, 300])
def test_a_partial_export_is_replayed_from_its_first_entry_on(tmp_path: Path, first: int) -> None:
    made = Log(POLICY)
    early = made.propose(pay("50.00"))
    for _ in range(300):
        made.propose(NOTE)
    made.activate(TIGHT)
    made.again(early)
    directory = made.write(tmp_path)
    assert checked(directory).holds()
    (directory / "tile/entries/000").unlink()
    (directory / "first").write_text(f"{first}\n", encoding="utf-8")
    write_lines(directory, made.lines[first - 1 :])
    report = replay(directory)
    assert (report.failed, report.replayed, report.logic_only) == (False, 302 - first, 2), told(report)
    assert "does not show where this revision began" in told(report)


@pytest.mark.parametrize("text", ["", "x\n", "-1\n", "999999\n", "1", "01\n"])
def test_a_first_that_is_no_number_of_an_entry_cannot_be_replayed(live: Path, text: str) -> None:
    (live / "first").write_text(text, encoding="utf-8")
    with pytest.raises(CannotCheck, match="first"):
        replay(live)


def test_a_missing_bundle_cannot_be_replayed(live: Path) -> None:
    next((live / "tile/entries").rglob("[0-9]*[0-9]")).rename(live / "away")
    with pytest.raises(CannotCheck, match="cannot be replayed"):
        replay(live)


def test_progress_is_told_bundle_by_bundle(tmp_path: Path) -> None:
    made = log(*[NOTE] * 600)
    seen: list[tuple[int, int]] = []
    assert replay(made.write(tmp_path), lambda done, of: seen.append((done, of))).holds()
    assert seen == [(256, 601), (512, 601), (601, 601)]


def test_all_findings_are_counted_and_a_hundred_told(tmp_path: Path) -> None:
    made = Log(POLICY)
    for _ in range(150):
        made.propose(NOTE, owner="nobody")
    report = checked(made.write(tmp_path))
    assert (report.differing, len(report.problems)) == (150, 101)
    assert report.problems[-1].what == "and 50 more"


def test_what_an_export_says_is_shown_in_plain_letters(tmp_path: Path) -> None:
    made = Log(POLICY)
    made.propose(NOTE, rule="\x1b[31m\u202e")
    report = checked(made.write(tmp_path))
    assert re.search(r"not `\\x1b\[31m\\u202e`", told(report))


@pytest.fixture(autouse=True)
def _nothing_open(tmp_path: Path) -> Iterator[None]:
    """Replay closes what it opens."""
    yield
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert not any(str(tmp_path) in str(link.readlink()) for link in links)

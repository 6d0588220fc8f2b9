"""`interlock policy test`, `lint`, `diff` and `simulate --actions`: what they print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_command import POLICY, Result, run, spawn, with_policy

TESTS = """
tests:
  - name: large refunds wait
    action: {topic: job.pay.refund, args: {order_id: A-1, amount_usd: 120, recipient: acme}}
    expect: {decision: require_approval, rule: large, lane: {window: 15m}}
  - name: circles are broken
    action: {topic: job.pay.refund, args: {order_id: A-1, amount_usd: 1, recipient: acme}, retry_count: 3}
    expect: {decision: deny, rule: circles}
"""
ARGS = {"order_id": "A-1", "amount_usd": "120.00", "recipient": "acme"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with_policy(tmp_path)
    return tmp_path


def policy(folder: Path, *arguments: str) -> Result:
    return run(folder, "policy", *arguments)


# --- test -------------------------------------------------------------------------------------------------


def test_the_tests_beside_a_policy_are_run_and_what_they_missed_is_listed(folder: Path) -> None:
    (folder / "policy.test.yaml").write_text(TESTS)
    found = policy(folder, "test", "policy.yaml", "--json")
    assert found.code == 0
    assert (found.json["ok"], found.json["passed"], found.json["failed"]) == (True, 2, 0)
    assert found.json["coverage"]["uncounted"] == ["prod"]
    assert [(t["name"], t["line"]) for t in found.json["tests"]] == [
        ("large refunds wait", 3),
        ("circles are broken", 6),
    ]
    words = policy(folder, "test", "policy.yaml").out
    assert "2 of 2 tests passed" in words
    assert "never counted: prod" in words
    assert "never true or false: tagged prod in rule prod" in words
    assert "never true: args.amount_usd >= 500 in raise_to of job.pay.refund" in words


def test_a_failed_test_ends_with_3_and_says_what_was_expected_and_found(folder: Path) -> None:
    (folder / "policy.test.yaml").write_text(
        TESTS.replace("decision: deny, rule: circles", "decision: allow")
    )
    found = policy(folder, "test", "policy.yaml")
    assert found.code == 3
    assert "failed: circles are broken (policy.test.yaml:6)" in found.out
    assert 'decision: expected "allow", found "deny"' in found.out
    assert "the policy says deny by circles: Going in circles" in found.out
    document = policy(folder, "test", "policy.yaml", "--json")
    assert document.code == 3
    assert document.json["tests"][1]["differences"] == [
        {"what": "decision", "expected": "allow", "found": "deny"}
    ]
    assert document.json["tests"][1]["verdict"]["rule"] == "circles"


def test_a_test_on_an_action_that_no_gate_accepts_fails_and_what_has_no_effect_is_noted(folder: Path) -> None:
    (folder / "policy.test.yaml").write_text("""
tests:
  - name: without arguments
    action: {topic: job.pay.refund}
    expect: {decision: require_approval}
  - name: with a tier
    action: {topic: job.pay.refund, args: {order_id: A-1, amount_usd: 120, recipient: acme}, tier: 1}
    expect: {decision: require_approval}
""")
    found = policy(folder, "test", "policy.yaml")
    assert found.code == 3
    assert "failed: without arguments (policy.test.yaml:3)" in found.out
    assert 'invalid: expected "an acceptable action", found "missing-field"' in found.out
    assert "note: with a tier (policy.test.yaml:6): tier 1 was given and is not used" in found.out
    tests = policy(folder, "test", "policy.yaml", "--json").json["tests"]
    assert [len(test["unused"]) for test in tests] == [0, 1]


def test_too_little_coverage_ends_with_3_although_every_test_passed(folder: Path) -> None:
    (folder / "policy.test.yaml").write_text(TESTS)
    percent = policy(folder, "test", "policy.yaml", "--json").json["coverage"]["percent"]
    assert 0 < percent < 100
    assert policy(folder, "test", "policy.yaml", "--coverage-below", str(percent)).code == 0
    short = policy(folder, "test", "policy.yaml", "--coverage-below", str(percent + 1))
    assert short.code == 3
    assert f"below {percent + 1} %" in short.out


def test_a_directory_s_tests_are_all_its_test_files_and_no_part_of_the_policy(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "a.yaml").write_text(POLICY)
    first, second = TESTS.split("  - name: circles")
    (folder / "one.test.yaml").write_text(first)
    (folder / "two.test.yml").write_text(f"tests:\n  - name: circles{second}")
    assert policy(tmp_path, "check", "policies").code == 0
    assert policy(tmp_path, "test", "policies", "--json").json["passed"] == 2
    assert (
        policy(tmp_path, "test", "policies", "--tests", "policies/one.test.yaml", "--json").json["passed"]
        == 1
    )


def test_a_policy_without_tests_and_a_test_file_with_a_mistake_are_different_errors(folder: Path) -> None:
    missing = policy(folder, "test", "policy.yaml")
    assert (missing.code, missing.out) == (5, "")
    assert "policy.test.yaml" in missing.err
    (folder / "policy.test.yaml").write_text("tests: [{name: a, action: {topc: a.b}, expect: {tier: 1}}]\n")
    broken = policy(folder, "test", "policy.yaml", "--json")
    assert broken.code == 2
    assert ("topc", "topic") in [
        (f["message"].split("'")[1], f["suggestion"]) for f in broken.json["findings"]
    ]
    assert "policy.test.yaml:1:28" in policy(folder, "test", "policy.yaml").err


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"tests: 7\n", b"tests: [*x]\n", b"[" * 100])
def test_garbage_in_a_test_file_is_an_error_and_never_a_traceback(folder: Path, content: bytes) -> None:
    (folder / "policy.test.yaml").write_bytes(content)
    assert policy(folder, "test", "policy.yaml", "--json").code == 2


# --- lint -------------------------------------------------------------------------------------------------


def test_lint_says_what_is_wrong_where_it_stands_and_ends_with_0(folder: Path) -> None:
    found = policy(folder, "lint", "policy.yaml", "--json")
    assert found.code == 0
    ids = {(advice["id"], advice["rule"]) for advice in found.json["found"]}
    assert ("no-tests", None) in ids
    assert ("unmatched", "prod") in ids
    unmatched = next(a for a in found.json["found"] if a["id"] == "unmatched")
    line = POLICY.splitlines().index("  - id: prod") + 1
    assert (unmatched["file"], unmatched["line"], unmatched["severity"]) == ("policy.yaml", line, "note")
    assert found.json["warnings"] + found.json["notes"] == len(found.json["found"])
    words = policy(folder, "lint", "policy.yaml").out
    assert f"policy.yaml:{line}:5: note: Nothing catalogued matches job.deploy.* of rule prod." in words


def test_strict_lint_ends_with_3_on_warnings_and_not_on_notes(folder: Path) -> None:
    assert policy(folder, "lint", "policy.yaml", "--strict").code == 3
    (folder / "policy.test.yaml").write_text(TESTS)
    assert policy(folder, "lint", "policy.yaml", "--json").json["notes"] > 0
    assert policy(folder, "lint", "policy.yaml", "--json").json["warnings"] == 0
    assert policy(folder, "lint", "policy.yaml", "--strict").code == 0


# --- diff -------------------------------------------------------------------------------------------------


def new(folder: Path, *replacements: tuple[str, str]) -> str:
    text = POLICY
    for old, replacement in replacements:
        assert old in text
        text = text.replace(old, replacement)
    (folder / "new.yaml").write_text(text)
    return "new.yaml"


def test_diff_shows_what_changed_and_an_action_that_explain_answers_in_the_same_way(folder: Path) -> None:
    new(folder, ("amount_usd_above: 100", "amount_usd_above: 300"), ("name: refunds", "name: r"),
        ("raise_to: [{tier: 4, when: args.amount_usd >= 500}]", ""))  # fmt: skip
    found = policy(folder, "diff", "policy.yaml", "new.yaml", "--json")
    assert found.code == 0
    assert found.json["loosens"] is True
    changes = {(c["kind"], c["what"], c["name"]): c["loosens"] for c in found.json["changes"]}
    assert changes["changed", "action", "job.pay.refund"] is True
    assert changes["changed", "rule", "large"] is True
    assert changes["changed", "setting", "name"] is False
    first = found.json["actions"][0]
    assert first["direction"] == "looser"
    for file, side in (("policy.yaml", "old"), ("new.yaml", "new")):
        asked = run(
            folder, "policy", "explain", file, "--action", "-", "--json", stdin=json.dumps(first["action"])
        )
        said = {**asked.json, "matched": [match["rule"] for match in asked.json["matched"]]}
        assert {key: said[key] for key in first[side]} == first[side]
    words = policy(folder, "diff", "policy.yaml", "new.yaml").out
    assert "~ rule large (an action becomes looser)" in words
    assert "Something becomes looser." in words
    assert policy(folder, "diff", "policy.yaml", "new.yaml", "--fail-on-looser").code == 3


def test_diff_of_a_stricter_policy_ends_with_0_also_where_looser_ones_fail(folder: Path) -> None:
    new(folder, ("retry_count_above: 2", "retry_count_above: 1"))
    found = policy(folder, "diff", "policy.yaml", "new.yaml", "--fail-on-looser")
    assert found.code == 0
    assert "Nothing was found that becomes looser." in found.out


def test_a_permission_that_no_tried_action_shows_fails_where_looser_ones_do(folder: Path) -> None:
    rule = """  - id: digest
    match: {topics: [job.pay.refund]}
    when: args.order_id.matches("^[a-f0-9]{32}$")
    decision: allow
"""
    (folder / "new.yaml").write_text(POLICY.replace("rules:\n", f"rules:\n{rule}"))
    found = policy(folder, "diff", "policy.yaml", "new.yaml", "--json")
    assert (found.code, found.json["loosens"]) == (0, False)
    assert found.json["untried"] == ["no tried action on job.pay.refund is a case of rule digest"]
    strict = policy(folder, "diff", "policy.yaml", "new.yaml", "--fail-on-looser")
    assert strict.code == 3
    assert "Unseen: no tried action on job.pay.refund is a case of rule digest" in strict.out
    assert "Nothing that was tried becomes looser, but not all that changed was tried." in strict.out


def test_diff_of_one_policy_written_twice_says_the_same(folder: Path) -> None:
    new(folder, ("people: solo", "people: solo   # the same"))
    found = policy(folder, "diff", "policy.yaml", "new.yaml")
    assert found.out == "The two policies say the same.\n"


def test_diff_needs_two_policies_or_one_and_a_home(folder: Path) -> None:
    assert policy(folder, "diff", "policy.yaml").code == 2
    assert policy(folder, "diff", "policy.yaml", "policy.yaml", "--home", "h").code == 2
    assert policy(folder, "diff", "policy.yaml", "--home", "nowhere").code == 7
    assert not (folder / "nowhere").exists()


# --- simulate --actions -----------------------------------------------------------------------------------


def traffic(folder: Path, *lines: Any) -> str:
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    (folder / "traffic.jsonl").write_text(text)
    return "traffic.jsonl"


def refund(amount: str, **rest: Any) -> dict[str, Any]:
    return {"topic": "job.pay.refund", "args": {**ARGS, "amount_usd": amount}, **rest}


def simulate(folder: Path, *options: str) -> Result:
    return policy(folder, "simulate", "policy.yaml", "--actions", "traffic.jsonl", *options)


def test_without_decisions_simulate_reports_the_share_that_would_be_held(folder: Path) -> None:
    read = {"topic": "job.pay.refund", "args": {**ARGS, "amount_usd": "1.00"}, "retry_count": 3}
    traffic(folder, refund("120.00"), "\n", refund("600.00"), read, read)
    found = simulate(folder, "--json")
    assert found.code == 0
    assert found.json["sentence"] == "Of the 4 actions in traffic.jsonl, 50.0 % would have been held."
    assert (found.json["known"], found.json["held_before"]) == (0, None)
    assert found.json["rules"] == [{"rule": "large", "before": None, "after": 2}]
    assert found.json["changed"] == []


def test_recorded_decisions_are_compared_and_a_looser_one_ends_with_3(folder: Path) -> None:
    held, run_ = {"decision": "require_approval"}, {"decision": "allow"}
    traffic(folder, refund("120.00", decided=run_, id="act-7"), refund("5.00", retry_count=3, decided=held))
    found = simulate(folder, "--json")
    assert found.code == 0
    assert (found.json["tightened"], found.json["loosened"]) == (2, 0)
    assert found.json["sentence"].endswith("50.0 % would have been held (now 50.0 %).")
    assert found.json["changed"][0]["title"] == "Refund $120.00 to acme for order A-1"
    words = simulate(folder).out
    assert "stricter: act-7  allow → require_approval by large" in words
    assert "stricter: line 2  require_approval → deny by circles" in words
    traffic(folder, refund("120.00", decided={"decision": "deny"}))
    assert simulate(folder).code == 3


def test_another_policy_s_answers_count_as_what_was_decided(folder: Path) -> None:
    (folder / "old.yaml").write_text(POLICY.replace("retry_count_above: 2", "retry_count_above: 5"))
    traffic(folder, refund("1.00", retry_count=3), refund("120.00"))
    found = simulate(folder, "--against", "old.yaml", "--json")
    assert (found.json["known"], found.json["tightened"], found.json["loosened"]) == (2, 1, 0)
    assert found.json["against"].startswith("v1:")
    back = policy(folder, "simulate", "old.yaml", "--actions", "traffic.jsonl", "--against", "policy.yaml")
    assert back.code == 3
    assert "looser: line 1  deny → require_approval" in back.out


def test_arguments_that_the_candidate_refuses_are_counted_and_are_not_bad_lines(folder: Path) -> None:
    odd = {"topic": "job.pay.refund", "args": {"order_id": "A-1"}, "decided": {"decision": "allow"}}
    traffic(folder, odd)
    found = simulate(folder, "--json")
    assert (found.code, found.json["refused"], found.json["tightened"]) == (0, 1, 1)
    assert found.json["changed"][0]["after"] == "refused"
    once = POLICY.replace("{type: decimal", "{optional: true, type: decimal")
    old = once.replace("recipient: string", "recipient: {type: string, optional: true}")
    (folder / "old.yaml").write_text(old)
    assert simulate(folder, "--against", "old.yaml", "--json").json["known"] == 1


def test_what_the_old_policy_refused_and_the_candidate_accepts_is_looser(folder: Path) -> None:
    (folder / "old.yaml").write_text(POLICY.replace("order_id: string", "order_id: integer"))
    traffic(folder, refund("5.00", decided={"decision": "allow"}))
    found = simulate(folder, "--against", "old.yaml", "--json")
    assert (found.code, found.json["loosened"]) == (3, 1)
    assert found.json["groups"][0]["before"] == "refused"
    assert "looser: line 1  refused as invalid → " in simulate(folder, "--against", "old.yaml").out


def test_a_lane_in_which_silence_now_allows_is_looser(folder: Path) -> None:
    text = """
interlock: 1
actions: {a.b: {tier: 1}}
rules:
  - {id: r, match: {topics: [a.b]}, decision: require_approval, lane: {window: 7d, on_timeout: deny}}
"""
    (folder / "old.yaml").write_text(text)
    (folder / "quiet.yaml").write_text(
        text.replace("window: 7d, on_timeout: deny", "window: 1s, on_timeout: allow")
    )
    traffic(folder, {"topic": "a.b", "args": {}})
    found = policy(folder, "simulate", "quiet.yaml", "--actions", "traffic.jsonl", "--against", "old.yaml")
    assert found.code == 3
    assert "require_approval (other limits, tier or lane) by r" in found.out
    assert policy(folder, "diff", "old.yaml", "quiet.yaml", "--fail-on-looser").code == 3


BAD = ["{\n", "[]\n", '{"topic": "a.b", "nonsense": 1}\n', "\x00\n", '{"topic": "x"}\n']


@pytest.mark.parametrize("line", BAD)
def test_a_bad_line_is_named_and_ends_with_2_unless_it_may_be_skipped(folder: Path, line: str) -> None:
    traffic(folder, refund("120.00"), line, refund("120.00"))
    found = simulate(folder)
    assert (found.code, found.out) == (2, "")
    assert "traffic.jsonl: line 2: " in found.err
    skipped = simulate(folder, "--skip-bad", "--json")
    assert (skipped.code, skipped.json["actions"], skipped.json["skipped"]) == (0, 2, 1)
    assert "1 line could not be read: 2" in simulate(folder, "--skip-bad").err


def test_a_line_of_many_megabytes_is_one_bad_line(folder: Path) -> None:
    long = json.dumps(refund("120.00", id="x" * 100))[:-1] + ', "more": "' + "y" * 5_000_000 + '"}\n'
    traffic(folder, refund("120.00"), long, refund("120.00"))
    assert simulate(folder, "--skip-bad", "--json").json["skipped"] == 1


def test_where_no_action_was_replayed_nothing_is_said_to_be_fine(folder: Path) -> None:
    traffic(folder)
    found = simulate(folder, "--json")
    assert (found.code, found.json["sentence"]) == (5, "There are no actions in traffic.jsonl.")
    traffic(folder, "{\n", "nothing\n")
    skipped = simulate(folder, "--skip-bad", "--json")
    assert (skipped.code, skipped.json["actions"], skipped.json["skipped"]) == (5, 0, 2)
    assert policy(folder, "simulate", "policy.yaml", "--actions", "nowhere.jsonl").code == 2


def test_only_so_many_changed_actions_are_shown_and_the_rest_is_counted(folder: Path) -> None:
    traffic(folder, *(refund("120.00", decided={"decision": "allow"}) for _ in range(30)))
    assert len(simulate(folder, "--json").json["changed"]) == 20
    found = simulate(folder, "--limit", "3")
    assert found.out.count("stricter: line") == 3
    assert "… and 27 more" in found.out


def test_options_that_belong_to_a_home_are_refused_with_a_file(folder: Path) -> None:
    traffic(folder, refund("1.00"))
    assert simulate(folder, "--since", "7d").code == 2
    assert simulate(folder, "--home", "h").code == 2
    assert policy(folder, "simulate", "policy.yaml", "--home", "h", "--skip-bad").code == 2


def test_the_real_command_prints_one_document_and_no_bar_where_nobody_watches(folder: Path) -> None:
    traffic(folder, refund("120.00", decided={"decision": "deny"}))
    found = spawn(folder, "policy", "simulate", "policy.yaml", "--actions", "traffic.jsonl", "--json")
    assert (found.code, found.err) == (3, "")
    assert found.json["loosens"] is True

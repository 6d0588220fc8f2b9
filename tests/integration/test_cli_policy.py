"""`interlock policy`: findings an author can act on, and explanations that say what they assume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_command import Result, run, with_policy

ARGS = {"order_id": "A-1", "amount_usd": "120.00", "recipient": "acme"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with_policy(tmp_path)
    return tmp_path


def explain(folder: Path, action: Any, *options: str) -> Result:
    text = action if isinstance(action, str | bytes) else json.dumps(action)
    return run(folder, "policy", "explain", "policy.yaml", "--action", "-", *options, stdin=text)


def explained(folder: Path, action: Any) -> dict[str, Any]:
    result = explain(folder, action, "--json")
    assert result.code == 0, result.out
    document: dict[str, Any] = result.json
    return document


# --- check ------------------------------------------------------------------------------------------------


def test_a_policy_that_loads_says_ok_its_snapshot_and_its_counts(folder: Path) -> None:
    checked = run(folder, "policy", "check", "policy.yaml", "--json")
    assert checked.code == 0
    assert checked.json["ok"] is True
    assert checked.json["snapshot"].startswith("v1:")
    assert (checked.json["topics"], checked.json["rules"], checked.json["findings"]) == (1, 3, [])
    words = run(folder, "policy", "check", "policy.yaml")
    assert "ok" in words.out.splitlines()
    assert checked.json["snapshot"] in words.out
    assert not (folder / ".interlock").exists()


def test_a_policy_that_does_not_load_ends_with_3_and_every_finding_at_its_line(folder: Path) -> None:
    (folder / "bad.yaml").write_text("interlock: 1\nruls: []\nactions: {a.b: {tier: 9}}\n")
    checked = run(folder, "policy", "check", "bad.yaml", "--json")
    assert checked.code == 3
    assert checked.json["ok"] is False
    assert [(f["line"], f["suggestion"]) for f in checked.json["findings"]] == [(2, "rules"), (3, None)]
    words = run(folder, "policy", "check", "bad.yaml")
    assert words.code == 3
    assert "bad.yaml:2:1: unknown key 'ruls' in the policy; did you mean 'rules'?" in words.out


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{", b"interlock: 1\nrules: 7\n"])
def test_garbage_is_a_finding_and_never_a_traceback(folder: Path, content: bytes) -> None:
    (folder / "bad.yaml").write_bytes(content)
    checked = run(folder, "policy", "check", "bad.yaml", "--json")
    assert checked.code == 3
    assert checked.json["findings"]


def test_a_missing_policy_is_a_finding_too(folder: Path) -> None:
    checked = run(folder, "policy", "check", "nowhere.yaml", "--json")
    assert checked.code == 3
    assert checked.json["ok"] is False
    assert "nowhere.yaml" in checked.json["findings"][0]["message"]


def test_check_says_whether_the_policy_is_in_force_in_a_named_home(folder: Path) -> None:
    missing = run(folder, "policy", "check", "policy.yaml", "--home", "nowhere", "--json")
    assert missing.code == 7
    assert not (folder / "nowhere").exists()
    run(folder, "keys", "add", "--kind", "agent", "--name", "a", "--topics", "a.b", "--home", "made")
    checked = run(folder, "policy", "check", "policy.yaml", "--home", "made", "--json")
    assert checked.json["in_force"] is False


# --- explain ----------------------------------------------------------------------------------------------


def test_explain_prints_the_verdict_and_why_each_rule_counts(folder: Path) -> None:
    found = explained(folder, {"topic": "job.pay.refund", "args": ARGS})
    assert found["decision"] == "require_approval"
    assert (found["rule"], found["tier"], found["owner"]) == ("large", 3, "finance-approvers")
    assert found["reason"] == "Large refunds need finance"
    assert found["lane"] == {"window_sec": 900, "on_timeout": "deny", "valid_sec": 3600}
    assert found["triggers"] == []
    assert found["constraints"] == {}
    assert [(m["rule"], m["proved"]) for m in found["matched"]] == [
        ("large", True),
        ("invariant:money", True),
    ]
    assert [(m["rule"], m["proved"]) for m in found["passed_over"]] == [("circles", True)]
    words = explain(folder, {"topic": "job.pay.refund", "args": ARGS}).out
    assert words.startswith("require_approval\n")
    assert "rule large" in words


def test_signals_that_are_not_given_are_at_their_baseline_and_explain_says_so(folder: Path) -> None:
    found = explained(folder, {"topic": "job.pay.refund", "args": ARGS})
    said = " ".join(found["assumptions"])
    assert "baseline: retry_count 0, anomaly_score 0, first_time_action false" in said
    assert "no confidence" in said


@pytest.mark.parametrize("action", [{"retry_count": 3}, {"signals": {"retry_count": 3}}])
def test_a_given_signal_decides_flat_or_in_signals(folder: Path, action: dict[str, Any]) -> None:
    found = explained(folder, {"topic": "job.pay.refund", "args": ARGS, **action})
    assert (found["decision"], found["rule"]) == ("deny", "circles")
    assert "retry_count 3, as given" in found["assumptions"]


def test_the_same_signal_in_both_places_is_refused(folder: Path) -> None:
    result = explain(folder, {"topic": "a.b", "retry_count": 3, "signals": {"retry_count": 1}}, "--json")
    assert result.code == 2
    assert result.json["path"] == "$.retry_count"


def test_a_flat_amount_stands_for_the_argument_and_never_overrides_it(folder: Path) -> None:
    assert explained(folder, {"topic": "job.pay.refund", "amount_usd": 700})["tier"] == 4
    both = {"topic": "job.pay.refund", "args": ARGS, "amount_usd": 1}
    assert explain(folder, both).code == 2
    partial = {key: ARGS[key] for key in ("order_id", "recipient")}
    found = explained(folder, {"topic": "job.pay.refund", "args": partial, "amount_usd": 120})
    assert found["rule"] == "large"


def test_without_arguments_conditions_on_them_are_unknown_and_restrict(folder: Path) -> None:
    found = explained(folder, {"topic": "job.pay.refund"})
    assert found["decision"] == "require_approval"
    assert found["tier"] == 4
    assert "amount_usd" in " ".join(found["missing"])
    assert any(sentence.startswith("args were not given") for sentence in found["assumptions"])


def test_assumed_tags_and_tier_count_outside_the_catalogue(folder: Path) -> None:
    bare = explained(folder, {"topic": "job.deploy.api", "risk_tags": ["dev"], "tier": 1})
    assert (bare["decision"], bare["rule"], bare["tier"]) == ("allow", "default:tier-1", 1)
    tagged = explained(folder, {"topic": "job.deploy.api", "risk_tags": ["prod"], "tier": 1})
    assert (tagged["decision"], tagged["rule"]) == ("deny", "prod")
    unknown = explained(folder, {"topic": "job.deploy.api", "tier": 1})
    assert unknown["decision"] == "deny"
    assert unknown["missing"] == ["tags"]


def test_on_a_catalogued_topic_the_catalogue_counts_and_explain_says_so(folder: Path) -> None:
    found = explained(folder, {"topic": "job.pay.refund", "args": ARGS, "tier": 1, "risk_tags": ["read"]})
    assert (found["tier"], found["tags"]) == (3, ["money"])
    assert sum("not used" in sentence for sentence in found["assumptions"]) == 2


def test_an_unregistered_topic_is_explained_with_what_was_probably_meant(folder: Path) -> None:
    found = explained(folder, {"topic": "job.pay.refnd"})
    assert (found["decision"], found["rule"]) == ("require_approval", "default:uncatalogued")
    assert any("did you mean job.pay.refund?" in sentence for sentence in found["assumptions"])


@pytest.mark.parametrize(
    ("action", "slug"),
    [
        (b"", "malformed-json"),
        (b"\xff", "malformed-json"),
        ("{", "malformed-json"),
        ("[]", "wrong-type"),
        ('{"topic": "a.b", "topic": "a.c"}', "duplicate-key"),
        ('{"topic": "a.b", "confidence": NaN}', "not-a-number"),
        ('{"topic": "a.b", "args": {"n": 9007199254740992}}', "number-out-of-range"),
        ('{"topic": "a.b", "args": {"n": "\\ud800"}}', "lone-surrogate"),
        ({"args": {}}, "missing-field"),
        ({"topic": "a.b", "retrycount": 1}, "unknown-field"),
        ({"topic": "a.b", "signals": {"retrycount": 1}}, "unknown-field"),
        ({"topic": "job.p\u0430y.refund"}, "bad-topic"),
        ({"topic": 7}, "bad-topic"),
        ({"topic": "a.b", "tier": 5}, "wrong-type"),
        ({"topic": "a.b", "tier": True}, "wrong-type"),
        ({"topic": "a.b", "risk_tags": "prod"}, "wrong-type"),
        ({"topic": "a.b", "risk_tags": ["Prod"]}, "wrong-type"),
        ({"topic": "a.b", "retry_count": None}, "wrong-type"),
        ({"topic": "a.b", "retry_count": 1.5}, "wrong-type"),
        ({"topic": "a.b", "confidence": "0.4"}, "wrong-type"),
        ({"topic": "a.b", "confidence": 1.5}, "wrong-type"),
        ({"topic": "a.b", "first_time_action": 1}, "wrong-type"),
        ({"topic": "a.b", "args": []}, "wrong-type"),
        ({"topic": "a.b", "amount_usd": "much"}, "wrong-type"),
        ({"topic": "a.b", "amount_usd": -1}, "number-out-of-range"),
        ({"topic": "job.pay.refund", "amount_usd": "1.005"}, "excess-digits"),
        ({"topic": "job.pay.refund", "args": {**ARGS, "more": 1}}, "unknown-field"),
        ({"topic": "job.pay.refund", "args": {"order_id": "A-1"}}, "missing-field"),
    ],
)
def test_an_unacceptable_action_is_one_named_error(folder: Path, action: Any, slug: str) -> None:
    result = explain(folder, action, "--json")
    assert result.code == 2
    assert result.json["type"] == f"urn:interlock:problem:{slug}"
    assert result.json["title"]


def test_an_unknown_key_says_what_was_probably_meant(folder: Path) -> None:
    result = explain(folder, {"topic": "a.b", "retrycount": 1})
    assert result.code == 2
    assert result.out == ""
    assert "did you mean 'retry_count'?" in result.err


def test_an_action_file_that_cannot_be_read_is_said(folder: Path) -> None:
    missing = run(folder, "policy", "explain", "policy.yaml", "--action", "nowhere.json")
    assert missing.code == 2
    assert "nowhere.json cannot be read" in missing.err
    assert run(folder, "policy", "explain", "policy.yaml", "--action", "/").code == 2


def test_what_an_argument_hides_is_written_out_in_an_explanation(folder: Path) -> None:
    with_policy(
        folder,
        "interlock: 1\nactions: {a.b: {tier: 1, args: {x: string}}}\n"
        "rules: [{id: r, when: args.x != 'y', decision: deny}]\n",
    )
    words = explain(folder, {"topic": "a.b", "args": {"x": "\u001b[2J\u202e"}}).out
    assert "\u001b" not in words
    assert "⟨U+001B⟩[2J⟨U+202E⟩" in words

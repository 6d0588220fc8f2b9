"""Drafting from ESCALATE.md: every trigger asks, silence approves nothing, and other files are refused."""

from __future__ import annotations

import pytest

from authored import sound
from interlock.authoring.draft import write_policy
from interlock.authoring.import_escalate import draft_from_escalate
from interlock.model.errors import PolicyError
from interlock.model.verdicts import Decision, OnTimeout
from interlock.policy import Question

FILE = """# ESCALATE

> When this repository's agent asks somebody.
> always_escalate: [nothing]

---

## TRIGGERS
# Ask before any of these: it never goes ahead by itself.

always_escalate:
  - deploy_to_production        # going live
  - send_external_communication
  - financial_transaction
  - delete_data
  - privilege_change
  - new_third_party_integration
  - cost_exceeds_usd: 100.00

auto_approve:
  - read_only_operations

---

## CHANNELS

channels:
  - type: email
    address: desk@shop.example
    timeout_minutes: 15

  - type: slack
    channel: "#desk"
    timeout_minutes: 10

  - type: sms
    timeout_minutes: 5
    condition: no_response_from_above

---

## APPROVAL

approval_methods:
  - slack_reaction      # ✅ or ❌
  - api_endpoint: /approve

approval_timeout_minutes: 30
on_timeout: escalate_to_killswitch  # nobody answered
on_denial: halt_and_log
require_reason_on_denial: false

---

## METADATA

owner: shop
last_reviewed: 2026-03-10
"""
TAGS = {
    "deploy-to-production": {"deploy", "prod"},
    "send-external-communication": {"external-comms"},
    "financial-transaction": {"money"},
    "delete-data": {"delete"},
    "privilege-change": {"privilege"},
    "new-third-party-integration": {"integration"},
}


def refused(text: str) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        draft_from_escalate("ESCALATE.md", text)
    return caught.value


def test_the_seven_triggers_become_rules_that_ask() -> None:
    policy = sound(draft_from_escalate("ESCALATE.md", FILE))
    assert [rule.id for rule in policy.rules] == [*TAGS, "cost-exceeds-usd"]
    for rule, tags in TAGS.items():
        verdict = policy.decide(Question("shop.something", {"amount_usd": 5}, tags=frozenset(tags)))
        assert verdict.decision is Decision.REQUIRE_APPROVAL
        assert verdict.rule == rule
        assert verdict.lane is not None
        assert (verdict.lane.window_sec, verdict.lane.on_timeout) == (1_800, OnTimeout.KILL_SWITCH)


def test_a_cost_above_the_limit_asks_and_an_unknown_one_too() -> None:
    policy = sound(draft_from_escalate("ESCALATE.md", FILE))
    for args, asks in (({"amount_usd": 101}, True), ({}, True), ({"amount_usd": 100}, False)):
        matched = policy.decide(Question("shop.order", args, tags=frozenset())).matched
        assert ("cost-exceeds-usd" in matched) is asks


def test_tags_that_nobody_declared_match_every_trigger() -> None:
    policy = sound(draft_from_escalate("ESCALATE.md", FILE))
    verdict = policy.decide(Question("shop.something", {}, tags=None))
    assert set(verdict.matched) >= set(TAGS)


def test_what_is_configured_elsewhere_is_told_in_comments() -> None:
    text = write_policy(draft_from_escalate("docs/ESCALATE.md", FILE))
    assert "email for 15 minutes; slack for 10 minutes; sms for 5 minutes" in text.replace("\n# ", " ")
    assert "read_only_operations" in text
    assert "name: escalate" in text


def test_auto_approval_permits_nothing() -> None:
    policy = sound(draft_from_escalate("ESCALATE.md", FILE))
    assert all(rule.restrictive for rule in policy.rules)


@pytest.mark.parametrize(
    ("stated", "becomes", "told"),
    [
        ("escalate_to_killswitch", OnTimeout.KILL_SWITCH, False),
        ("halt_and_log", OnTimeout.DENY, False),
        ("proceed_and_log", OnTimeout.DENY, True),
        ("approve", OnTimeout.DENY, True),
        ("[7]", OnTimeout.DENY, True),
    ],
)
def test_silence_never_approves(stated: str, becomes: OnTimeout, told: bool) -> None:
    draft = draft_from_escalate("ESCALATE.md", FILE.replace("escalate_to_killswitch", stated))
    lane = sound(draft).rules[0].lane
    assert lane is not None
    assert lane.on_timeout is becomes
    assert bool(draft.remarks) is told


def test_a_mark_that_would_waive_a_trigger_is_not_followed() -> None:
    draft = draft_from_escalate("E.md", FILE.replace("- delete_data", "- delete_data: {auto_approve: true}"))
    policy = sound(draft)
    assert "delete-data" in [rule.id for rule in policy.rules]
    assert any("delete_data" in remark for remark in draft.remarks)


def test_a_trigger_nobody_knows_becomes_a_rule_on_a_tag_of_its_name() -> None:
    draft = draft_from_escalate("E.md", FILE.replace("delete_data", "publishPackage"))
    policy = sound(draft)
    verdict = policy.decide(Question("a.b", {"amount_usd": 1}, tags=frozenset({"publish-package"})))
    assert verdict.rule == "publish-package"


@pytest.mark.parametrize("name", ["Delete_Data", "deleteData", "delete-data", "DELETE_DATA", "'delete data'"])
def test_a_trigger_is_known_however_its_words_are_joined(name: str) -> None:
    policy = sound(draft_from_escalate("E.md", FILE.replace("delete_data", name)))
    verdict = policy.decide(Question("a.b", {"amount_usd": 1}, tags=frozenset({"delete"})))
    assert verdict.rule == "delete-data"


def test_a_cost_is_known_however_its_words_are_joined() -> None:
    draft = draft_from_escalate("E.md", FILE.replace("cost_exceeds_usd", "Cost-Exceeds_USD"))
    verdict = sound(draft).decide(Question("a.b", {"amount_usd": 101}, tags=frozenset()))
    assert "cost-exceeds-usd" in verdict.matched


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  - cost_exceeds_usd: 100.00", "cost_exceeds_usd: 100.00"),
        ("  - cost_exceeds_usd: 100.00", "tokens_exceed: 9"),
        ("on_denial: halt_and_log", "Cost_Exceeds_USD: 100.00"),
        ("owner: shop", "delete_data: true"),
    ],
)
def test_a_trigger_that_slipped_out_of_the_list_is_refused_at_its_line(before: str, after: str) -> None:
    text = FILE.replace(before, after)
    (finding,) = refused(text).extra["findings"]
    assert "asks nobody; list it there" in finding["message"]
    assert finding["line"] == text.splitlines().index(after) + 1


def test_a_setting_that_nobody_knows_is_named_and_not_dropped_in_silence() -> None:
    told = FILE.replace("approval_timeout_minutes", "approval_timeout_minute")
    (remark,) = draft_from_escalate("E.md", told).remarks
    assert "'approval_timeout_minute' is not followed" in remark
    assert "did you mean approval_timeout_minutes?" in remark
    assert "approval_timeout_minute'" in write_policy(draft_from_escalate("E.md", told)).replace("\n# ", " ")


def test_quoted_lines_are_left_aside_inside_a_section_too() -> None:
    noted = FILE.replace("\nauto_approve:", "\n> on_timeout: proceed [and\nauto_approve:")
    assert write_policy(draft_from_escalate("E.md", noted)) == write_policy(draft_from_escalate("E.md", FILE))


def test_fences_and_windows_line_ends_are_no_matter() -> None:
    plain = write_policy(draft_from_escalate("E.md", FILE))
    fenced = FILE.replace("always_escalate:\n", "```yaml\nalways_escalate:\n").replace("\nauto", "```\nauto")
    assert write_policy(draft_from_escalate("E.md", fenced)) == plain
    assert write_policy(draft_from_escalate("E.md", "\ufeff" + FILE.replace("\n", "\r\n"))) == plain


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# ESCALATE\n",
        "## CHANNELS\nchannels: [x]\n",
        "always_escalate: [delete_data]\n",
        "## OTHER\nalways_escalate: [delete_data]\n",
        "## TRIGGERS\nnever_escalate: [delete_data]\n",
        "## TRIGGERS\ndelete_data: true\n",
    ],
)
def test_a_file_that_is_not_one_of_these_is_refused(text: str) -> None:
    assert "is no ESCALATE.md" in refused(text).detail


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ("- delete_data", "- *delete", 15, "aliases"),
        ("- delete_data", "- deploy_to_production", 11, "listed twice"),
        ("- delete_data", "- {a: 1, b: 2}", 11, "a trigger is a word"),
        ("100.00", "lots", 11, "an amount in dollars"),
        ("100.00", "-1", 11, "an amount in dollars"),
        ("  - type: email", "  Send an email", 29, "this is not YAML"),
        ("approval_timeout_minutes: 30", "approval_timeout_minutes: soon", 48, "whole number"),
        ("approval_timeout_minutes: 30", "approval_timeout_minutes: 0", 48, "whole number"),
        ("on_denial:", "on_timeout:", 50, "stands twice"),
        ("require_reason_on_denial: false", "channels: [x]", 51, "stands twice"),
    ],
)
def test_what_is_wrong_is_found_at_its_line(before: str, after: str, line: int, said: str) -> None:
    assert before in FILE
    error = refused(FILE.replace(before, after))
    findings = error.extra["findings"]
    assert any(said in finding["message"] for finding in findings), findings
    assert findings[0]["file"] == "ESCALATE.md"
    assert findings[0]["line"] == line, findings


def test_triggers_that_are_no_list_are_refused() -> None:
    assert "lists at least one" in refused("## TRIGGERS\nalways_escalate: delete_data\n").detail
    assert "lists at least one" in refused("## TRIGGERS\nalways_escalate: []\n").detail

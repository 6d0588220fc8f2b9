"""Policies that exist: the two published examples verbatim, and the demonstration's own file."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from interlock.model.actions import Signals
from interlock.model.verdicts import Constraints, Decision, Lane, OnTimeout, Tier, Trigger, Verdict
from interlock.policy import Policy, Question, parse

SAFETY = """
version: v1
rules:
  - id: approve-prod-deploys
    match:
      topics: ["job.deploy.*", "job.migrate.*"]
      risk_tags: [prod, write]
    decision: require_approval
    reason: "Production deploys require human sign-off"
    constraints:
      max_runtime_sec: 900
  - id: constrain-external-calls
    match:
      risk_tags: [egress]
      topics: ["job.*.external-api"]
    decision: allow_with_constraints
    constraints:
      network_allowlist: ["api.slack.com", "api.github.com"]
      max_runtime_sec: 60
    reason: "External API calls limited to approved endpoints"
  - id: allow-reads
    match:
      topics: ["job.*.read", "job.*.list"]
    decision: allow
    reason: "Read-only operations pass without gates"
"""

ESCALATION = """
version: v1
rules:
  - id: low-confidence-escalation
    match:
      confidence_below: 0.7
      topics: ["job.support.*"]
    decision: require_approval
    reason: "Agent confidence below threshold"
  - id: anomaly-escalation
    match:
      anomaly_score_above: 0.8
    decision: require_approval
    reason: "Anomalous behavior detected"
  - id: retry-escalation
    match:
      retry_count_above: 2
    decision: require_approval
    reason: "Multiple retries suggest human judgment needed"
"""

DEMO = Path(__file__).parents[2] / "policies" / "demo-support" / "policy.yaml"


@pytest.fixture(scope="module")
def safety() -> Policy:
    return parse({"safety-policy.yaml": SAFETY})


@pytest.fixture(scope="module")
def escalation() -> Policy:
    return parse({"escalation-policy.yaml": ESCALATION})


@pytest.fixture(scope="module")
def demo() -> Policy:
    return parse({"policy.yaml": DEMO.read_text("utf-8")})


# --- safety-policy.yaml -----------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", ["job.deploy.api", "job.migrate.users"])
@pytest.mark.parametrize("tags", [{"prod"}, {"write"}, {"prod", "write", "x"}])
def test_production_deploys_require_sign_off(safety: Policy, topic: str, tags: set[str]) -> None:
    verdict = safety.decide(Question(topic, {}, tags=frozenset(tags)))
    assert (verdict.decision, verdict.rule) == (Decision.REQUIRE_APPROVAL, "approve-prod-deploys")
    assert verdict.reason == "Production deploys require human sign-off"
    assert verdict.constraints == Constraints(max_runtime_sec=900)
    assert verdict.missing == ()


def test_a_deploy_with_unknown_tags_is_held_all_the_same(safety: Policy) -> None:
    verdict = safety.decide(Question("job.deploy.api", {}, tags=None))
    assert (verdict.decision, verdict.matched) == (Decision.REQUIRE_APPROVAL, ("approve-prod-deploys",))
    assert verdict.missing == ("tags",)


def test_a_deploy_elsewhere_is_held_because_nobody_catalogued_it(safety: Policy) -> None:
    assert (
        safety.decide(Question("job.deploy.api", {}, tags=frozenset({"dev"}))).rule == "default:uncatalogued"
    )


def test_external_calls_are_limited_to_approved_endpoints(safety: Policy) -> None:
    verdict = safety.decide(Question("job.chat.external-api", {}, tags=frozenset({"egress"})))
    assert (verdict.decision, verdict.rule) == (Decision.ALLOW_WITH_CONSTRAINTS, "constrain-external-calls")
    assert verdict.constraints == Constraints(60, ("api.github.com", "api.slack.com"))
    assert safety.decide(Question("job.chat.external-api", {}, tags=None)).held


@pytest.mark.parametrize(
    ("topic", "runs"),
    [("job.users.read", True), ("job.users.list", True), ("job.a.b.evil.read", False), ("job.read", False)],
)
def test_reads_pass_and_what_only_looks_like_one_does_not(safety: Policy, topic: str, runs: bool) -> None:
    assert safety.decide(Question(topic, {})).allowed is runs


def test_limits_without_an_executor_are_warnings(safety: Policy) -> None:
    assert safety.warnings == (
        "rule approve-prod-deploys: max_runtime_sec has no executor yet; no catalogued topic matches",
        "rule constrain-external-calls: max_runtime_sec has no executor yet; no catalogued topic matches",
        "rule constrain-external-calls: network_allowlist has no executor yet; no catalogued topic matches",
    )


# --- escalation-policy.yaml: the default is autonomy, escalation is the exception -------------------------


def escalated(policy: Policy, topic: str = "job.support.reply", **signals: Any) -> Verdict:
    return policy.explain(Question(topic, {}, Signals(**signals), tier=Tier.REVERSIBLE)).verdict


@pytest.mark.parametrize(
    ("signals", "rule", "trigger"),
    [
        ({"confidence": Decimal("0.69")}, "low-confidence-escalation", Trigger.CONFIDENCE),
        ({}, "low-confidence-escalation", Trigger.CONFIDENCE),
        ({"confidence": Decimal(1), "anomaly_score": Decimal("0.81")}, "anomaly-escalation", Trigger.ANOMALY),
        ({"confidence": Decimal(1), "retry_count": 3}, "retry-escalation", Trigger.FRUSTRATION),
    ],
)
def test_an_exception_asks_a_person(
    escalation: Policy, signals: dict[str, Any], rule: str, trigger: Trigger
) -> None:
    verdict = escalated(escalation, **signals)
    assert (verdict.decision, verdict.rule, verdict.triggers) == (Decision.REQUIRE_APPROVAL, rule, (trigger,))


@pytest.mark.parametrize(
    "signals",
    [
        {"confidence": Decimal("0.7")},
        {"confidence": Decimal("0.95"), "anomaly_score": Decimal("0.8"), "retry_count": 2},
    ],
)
def test_the_routine_runs(escalation: Policy, signals: dict[str, Any]) -> None:
    assert escalated(escalation, **signals).decision is Decision.ALLOW


def test_confidence_counts_where_the_rule_says_so_only(escalation: Policy) -> None:
    assert escalated(escalation, "job.billing.reply", confidence=Decimal("0.1")).decision is Decision.ALLOW


def test_without_a_catalogue_high_confidence_lets_nothing_run(escalation: Policy) -> None:
    assert escalation.decide(Question("job.support.reply", {}, Signals(confidence=Decimal(1)))).held


# --- policies/demo-support --------------------------------------------------------------------------------


def demo_verdict(policy: Policy, topic: str, **args: Any) -> Verdict:
    return policy.decide(Question(topic, policy.check_args(topic, args)))


def refund(policy: Policy, amount: str) -> Verdict:
    return demo_verdict(policy, "support.refunds.create", order_id="A-12", amount_usd=amount, recipient="ada")


def test_the_demo_loads_without_a_warning(demo: Policy) -> None:
    assert (demo.name, demo.people, demo.warnings) == ("demo-support", "solo", ())
    assert all(entry.summary and entry.worst_case for entry in demo.catalogue.entries)


def test_the_demo_lets_lookups_and_drafts_run(demo: Policy) -> None:
    assert demo_verdict(demo, "support.orders.get", order_id="A-12").rule == "default:tier-1"
    assert demo_verdict(demo, "support.replies.draft", ticket_id="T-1", text="Hello").rule == "default:tier-2"
    draft = demo.entry("support.replies.draft")
    assert draft is not None
    assert (draft.undo, draft.undo_within_sec) == ("support.replies.discard", 300)


@pytest.mark.parametrize(
    ("amount", "rule", "tier"),
    [
        ("99.99", "small-refunds", 3),
        ("100.00", "large-refunds", 3),
        ("499.99", "large-refunds", 3),
        ("500.00", "large-refunds", 4),
    ],
)
def test_the_demo_asks_finance_from_a_hundred_dollars_on(
    demo: Policy, amount: str, rule: str, tier: int
) -> None:
    verdict = refund(demo, amount)
    assert (verdict.rule, verdict.tier, verdict.held) == (rule, tier, rule == "large-refunds")
    if verdict.held:
        assert (verdict.owner, verdict.lane) == ("finance-approvers", Lane(900, OnTimeout.DENY))
    else:
        assert verdict.constraints == Constraints(max_amount_usd=Decimal(100))


def test_the_demo_always_asks_before_what_cannot_be_taken_back(demo: Policy) -> None:
    email = demo_verdict(demo, "support.emails.send", to="a@example.com", subject="Hi", body="x")
    gone = demo_verdict(demo, "support.accounts.delete", account_id="C-7")
    assert (email.rule, email.tier, email.owner, email.lane) == (
        "outside-emails",
        4,
        "ops-approvers",
        Lane(1_800, OnTimeout.DENY),
    )
    assert (gone.rule, gone.tier, gone.owner, gone.lane) == (
        "account-deletion",
        4,
        "security-approvers",
        Lane(120, OnTimeout.DENY),
    )

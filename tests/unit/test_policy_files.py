"""Policies that exist: the six published examples verbatim, and the demonstration's own file."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from interlock.home import read_policy
from interlock.model.actions import Signals
from interlock.model.errors import PolicyError
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

AUTONOMY = """
version: v1
autonomy_levels:
  level_0:
    name: "supervised"
    rules:
      - match: { topics: ["*"] }
        decision: require_approval
  level_1:
    name: "assisted"
    rules:
      - match: { topics: ["job.*.read", "job.*.list"] }
        decision: allow
      - match: { topics: ["*"] }
        decision: require_approval
  level_2:
    name: "semi-autonomous"
    rules:
      - match: { risk_tags: [prod, delete, secrets] }
        decision: require_approval
      - match: { topics: ["*"] }
        decision: allow_with_constraints
  level_3:
    name: "autonomous"
    rules:
      - match: { risk_tags: [delete, secrets] }
        decision: require_approval
      - match: { topics: ["*"] }
        decision: allow
promotion_criteria:
  min_successful_actions: 50
  max_error_rate: 0.02
  review_period_days: 7
  requires_human_sign_off: true
demotion_triggers:
  - policy_violation
  - safety_incident
  - error_rate_above: 0.05
"""

AUDIT = """
version: v1
audit:
  sampling:
    rate: 0.10
    strategy: stratified
    weights:
      risk_tags:
        prod: 3.0
        write: 2.0
        read: 0.5
  mandatory:
    - match: { amount_usd_above: 5000 }
    - match: { affected_users_above: 100 }
    - match: { first_time_action: true }
  routing:
    security_actions: security-team
    financial_actions: finance-approvers
    default: ops-review
"""

DESK = """
{
  "approval_queue_policy": {
    "target_median_wait_sec": 900,
    "target_p95_wait_sec": 1800,
    "max_open_requests_per_reviewer": 40,
    "escalate_after_sec": 1200
  },
  "routing": {
    "financial_actions": "finance-approvers",
    "security_actions": "security-approvers",
    "default": "ops-approvers"
  },
  "fatigue_controls": {
    "auto_rebalance": true,
    "cooldown_after_approvals": 80,
    "sampled_second_review_rate": 0.1
  },
  "evidence_contract": {
    "required_fields": ["policy_snapshot", "job_hash", "approver_id", "decision_ts"],
    "reject_if_incomplete": true
  }
}
"""

WORKFLOW = """
name: customer-refund
trigger: support.refund.requested
steps:
  analyze:
    type: action
    topic: job.support.analyze-refund
    timeout_sec: 30
  decide:
    type: condition
    depends_on: [analyze]
    branches:
      auto_approve:
        when: "result.amount < 100 AND result.prior_refunds < 3"
        next: process
      needs_review:
        when: "result.amount >= 100 OR result.prior_refunds >= 3"
        next: human-review
  human-review:
    type: approval
    reason: "Refund exceeds auto-approval threshold"
    timeout_sec: 14400
    on_timeout: escalate
  process:
    type: action
    topic: job.support.process-refund
    depends_on: [decide]
    constraints:
      max_amount_usd: 10000
"""

PUBLISHED = {
    "audit-policy.yaml": AUDIT,
    "escalation-policy.yaml": ESCALATION,
    "graduated-autonomy.yaml": AUTONOMY,
    "refund-workflow.yaml": WORKFLOW,
    "reviewer-ops-contract.json": DESK,
    "safety-policy.yaml": SAFETY,
}

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


# --- graduated-autonomy.yaml: more is allowed to whoever has earned it ------------------------------------


@pytest.fixture(scope="module")
def autonomy() -> Policy:
    return parse({"graduated-autonomy.yaml": AUTONOMY})


ALLOW, LIMITED, HELD = Decision.ALLOW, Decision.ALLOW_WITH_CONSTRAINTS, Decision.REQUIRE_APPROVAL


@pytest.mark.parametrize(
    ("level", "read", "write", "prod", "delete", "secrets"),
    [
        (0, HELD, HELD, HELD, HELD, HELD),
        (1, ALLOW, HELD, HELD, HELD, HELD),
        (2, LIMITED, LIMITED, HELD, HELD, HELD),
        (3, ALLOW, ALLOW, ALLOW, HELD, HELD),
    ],
)
def test_a_level_allows_what_its_list_says(
    autonomy: Policy,
    level: int,
    read: Decision,
    write: Decision,
    prod: Decision,
    delete: Decision,
    secrets: Decision,
) -> None:
    def decided(topic: str, *tags: str) -> Decision:
        question = Question(topic, {}, tags=frozenset(tags), tier=Tier.EXTERNAL, level=level)
        return autonomy.explain(question).verdict.decision

    assert decided("job.users.read") is read
    assert decided("job.users.write") is write
    assert decided("job.users.write", "prod") is prod
    assert decided("job.users.write", "delete") is delete
    assert decided("job.users.write", "secrets") is secrets


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_no_level_lets_tier_4_or_an_uncatalogued_topic_run(autonomy: Policy, level: int) -> None:
    read = Question("job.users.read", {}, tags=frozenset(), tier=Tier.IRREVERSIBLE, level=level)
    assert autonomy.explain(read).verdict.held
    assert autonomy.decide(Question("job.users.read", {}, level=level)).held


@pytest.mark.parametrize("level", [None, 7])
def test_whoever_has_no_level_starts_at_the_lowest(autonomy: Policy, level: int | None) -> None:
    question = Question("job.users.read", {}, tags=frozenset(), tier=Tier.READ_ONLY, level=level)
    assert autonomy.explain(question).verdict.rule == "level:0"


# --- reviewer-ops-contract.json ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "owner"),
    [({"money"}, "finance-approvers"), ({"secrets"}, "security-approvers"), (set(), "ops-approvers")],
)
def test_the_desk_routes_by_what_an_action_is_about(tags: set[str], owner: str) -> None:
    desk = parse({"reviewer-ops-contract.json": DESK})
    question = Question("job.users.pay", {}, tags=frozenset(tags), tier=Tier.EXTERNAL)
    assert desk.explain(question).verdict.owner == owner


# --- audit-policy.yaml and refund-workflow.yaml -----------------------------------------------------------


def test_the_audit_policy_is_typed_as_it_stands() -> None:
    audit = parse({"audit-policy.yaml": AUDIT}).document.audit
    assert audit is not None
    assert audit.sampling is not None
    assert audit.sampling.weights is not None
    assert (audit.sampling.rate, audit.sampling.strategy) == (Decimal("0.10"), "stratified")
    assert audit.sampling.weights.risk_tags == {"prod": 3, "write": 2, "read": Decimal("0.5")}
    assert [always.match.amount_usd_above for always in audit.mandatory or ()] == [5_000, None, None]
    assert audit.routing is not None
    assert audit.routing.security_actions == "security-team"


def test_the_refund_workflow_is_typed_as_it_stands() -> None:
    policy = parse({"refund-workflow.yaml": WORKFLOW})
    workflow = policy.document.workflows["customer-refund"]
    assert (policy.name, workflow.trigger) == ("policy", "support.refund.requested")
    assert [(name, step.type) for name, step in workflow.steps.items()] == [
        ("analyze", "action"),
        ("decide", "condition"),
        ("human-review", "approval"),
        ("process", "action"),
    ]
    branches = workflow.steps["decide"].branches or {}
    assert branches["auto_approve"].when == "result.amount < 100 AND result.prior_refunds < 3"
    assert branches["needs_review"].next == "human-review"


# --- all six ----------------------------------------------------------------------------------------------


def test_the_published_files_load_alone_and_as_one_policy(tmp_path: Path) -> None:
    for name, text in PUBLISHED.items():
        (tmp_path / name).write_text(text)
        assert read_policy(tmp_path / name).snapshot == parse({name: text}).snapshot
    together = read_policy(tmp_path)
    assert together.snapshot == parse(PUBLISHED).snapshot
    assert len(together.rules) == 6
    assert len(together.document.autonomy_levels) == 4
    assert set(together.warnings) == {w for name in PUBLISHED for w in read_policy(tmp_path / name).warnings}
    assert Policy.from_canonical(together.canonical()).warnings == together.warnings


@pytest.mark.parametrize(
    ("name", "later"),
    [
        ("audit-policy.yaml", {"audit"}),
        ("escalation-policy.yaml", set()),
        ("graduated-autonomy.yaml", {"promotion_criteria", "demotion_triggers"}),
        ("refund-workflow.yaml", {"workflows"}),
        ("reviewer-ops-contract.json", {"approval_queue_policy", "fatigue_controls", "evidence_contract"}),
        ("safety-policy.yaml", set()),
    ],
)
def test_what_a_published_file_asks_for_later_is_accepted_not_yet_enforced(
    name: str, later: set[str]
) -> None:
    said = {
        text
        for text in parse({name: PUBLISHED[name]}).warnings
        if text.endswith("accepted, not yet enforced")
    }
    assert said == {f"{section}: accepted, not yet enforced" for section in later}


# --- files and directories --------------------------------------------------------------------------------


def test_a_directory_is_its_yaml_and_json_files_without_the_tests(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("interlock: 1\nname: acme\n")
    (tmp_path / "b.yml").write_text("interlock: 1\nactions: {a.b: {tier: 1}}\n")
    (tmp_path / "c.json").write_text('{"interlock": 1, "actions": {"a.c": {"tier": 1}}}')
    for ignored in ("a.test.yaml", "a.test.yml", "notes.md", "d.yaml.bak"):
        (tmp_path / ignored).write_text("[")
    policy = read_policy(tmp_path)
    assert (policy.name, policy.knows("a.b"), policy.knows("a.c")) == ("acme", True, True)


def test_a_single_file_may_have_any_name(tmp_path: Path) -> None:
    for name in ("policy", "policy.txt", "x.test.yaml"):
        (tmp_path / name).write_text("interlock: 1\nname: acme\n")
        assert read_policy(tmp_path / name).name == "acme"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("interlock: 1\n".encode("utf-16"), "is UTF-16"),
        ("interlock: 1\n".encode("utf-16-be"), "misleads readers"),
        (b"\xfe\xff\x00i", "is UTF-16"),
        (b"\xef\xbb\xbfinterlock: 1\n", "byte order mark"),
        (b"interlock: 1\nname: \xff\n", "is not UTF-8 at byte 19"),
        (b"interlock: 1\nname: \xed\xa0\x80\n", "is not UTF-8"),
        (b"interlock: 1\nname: a\x00b\n", "U+0000"),
        (b"#" * (10 << 20), "more than 4194304 bytes"),
        (b"", "the file is empty"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "policy.yaml").write_bytes(data)
    with pytest.raises(PolicyError) as caught:
        read_policy(tmp_path / "policy.yaml")
    assert words in caught.value.detail


def test_a_directory_is_bounded_as_one_file_is(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml", "c.yaml"):
        (tmp_path / name).write_bytes(b"interlock: 1\n" + b"#" * (2 << 20))
    with pytest.raises(PolicyError) as caught:
        read_policy(tmp_path)
    assert "b.yaml is where that is exceeded" in caught.value.detail


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="There is no policy file"):
        read_policy(tmp_path / "nowhere.yaml")
    with pytest.raises(PolicyError, match=r"holds no \.yaml, \.yml or \.json file"):
        read_policy(tmp_path)


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

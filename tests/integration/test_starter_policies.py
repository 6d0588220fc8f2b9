"""The starter policies: they load, their tests pass, people can live with them, and they keep their word."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cli_command import Result, run
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.model.actions import Signals
from interlock.model.money import decimal_of
from interlock.model.verdicts import Decision, Lane, OnTimeout
from interlock.policy import Policy, Question, parse

ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "policies"
STARTERS = (
    "support-refunds",
    "devops-deploys",
    "data-deletion",
    "customer-email",
    "finance-payments",
    "coding-agent",
)
ACCEPTED = {
    "support-refunds": {"rule same-refund-again: duplicate_of is accepted, not yet observed"},
    "devops-deploys": set(),
    "data-deletion": {"every agent is at level_2 until one is promoted; promotion is not available yet"},
    "customer-email": {"output: accepted, not yet enforced"},
    "finance-payments": {
        "rule same-payment-again: duplicate_of is accepted, not yet observed",
        "rule new-payees: first_time_recipient is accepted, not yet observed",
        "audit: accepted, not yet enforced",
    },
    "coding-agent": set(),
}
"""How each warning starts that a starter loads with; its README names what they are about."""
RUNS = (Decision.ALLOW, Decision.ALLOW_WITH_CONSTRAINTS)

every_starter = pytest.mark.parametrize("name", STARTERS)


def text(name: str, file: str = "policy.yaml") -> str:
    return (POLICIES / name / file).read_text(encoding="utf-8")


def load(name: str) -> Policy:
    return parse({f"{name}/policy.yaml": text(name)})


def command(name: str, *words: str) -> Result:
    """`interlock policy … policies/<name> …` in the repository's folder, with --json."""
    verb, *rest = words
    return run(ROOT, "policy", verb, f"policies/{name}", *rest, "--json")


def ask(policy: Policy, topic: str, args: dict[str, Any], **rest: Any) -> Question:
    return Question(topic, policy.check_args(topic, args), **rest)


@pytest.fixture(scope="module")
def traffic() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(POLICIES))
        yield importlib.import_module("traffic")


# --- each of them, through the real command ---------------------------------------------------------------


@every_starter
def test_it_loads_and_warns_of_nothing_but_what_its_readme_names(name: str) -> None:
    checked = command(name, "check")
    assert checked.code == 0, checked.out
    warnings = checked.json["warnings"]
    assert len(warnings) == len(ACCEPTED[name])
    readme = text(name, "README.md")
    for start in ACCEPTED[name]:
        assert any(warning.startswith(start) for warning in warnings), (start, warnings)
        subject = re.search(r"(\w+)(?: is|:) accepted", start)
        assert (f"`{subject[1]}`" if subject else start) in readme
    assert ("warns of nothing" in readme) == (not warnings)


@every_starter
def test_its_tests_pass_and_exercise_every_rule_and_every_branch(name: str) -> None:
    tested = command(name, "test", "--coverage-below", "100")
    assert tested.code == 0, tested.out
    assert tested.json["failed"] == 0
    assert tested.json["coverage"]["percent"] == 100
    assert tested.json["coverage"]["uncounted"] == []


@every_starter
def test_lint_finds_nothing_to_change(name: str) -> None:
    linted = command(name, "lint", "--strict")
    assert linted.code == 0, linted.out
    assert linted.json["warnings"] == 0


@every_starter
def test_people_can_live_with_the_share_it_holds_and_the_readmes_say_it(name: str) -> None:
    simulated = command(name, "simulate", "--actions", f"policies/{name}/traffic.jsonl")
    assert simulated.code == 0, simulated.out
    report = simulated.json
    counts = {group["after"]: group["count"] for group in report["groups"]}
    held, actions = counts["require_approval"], report["actions"]
    assert 200 <= actions <= 400
    assert report["refused"] == report["skipped"] == 0
    assert held == report["held"]
    assert (held + counts.get("deny", 0)) / actions <= 0.10
    share = f"{held / actions:.1%}".replace("%", " %")
    assert f"**{held} of {actions} actions ({share}) wait for a person**" in text(name, "README.md")
    row = next(line for line in text(".", "README.md").splitlines() if f"({name}/)" in line)
    assert row.endswith(f"| {share} |")


@every_starter
def test_its_sample_week_is_the_one_that_is_generated(name: str, traffic: ModuleType) -> None:
    assert tuple(traffic.WEEKS) == STARTERS
    assert text(name, "traffic.jsonl") == traffic.week(name)


@every_starter
def test_each_rule_says_why_it_exists_in_the_file_and_in_the_readme(name: str) -> None:
    rules = text(name).split("\nrules:\n")[1]
    readme = text(name, "README.md")
    blocks = re.findall(r"((?:^  #.*\n)+)  - id: (\S+)$", rules, re.MULTILINE)
    assert [rule for _, rule in blocks] == [rule.id for rule in load(name).rules]
    for comment, rule in blocks:
        assert "# Why: " in comment, rule
        assert f"| `{rule}` |" in readme, rule


@every_starter
def test_what_an_agent_says_about_itself_changes_nothing(name: str) -> None:
    policy = load(name)
    for line in text(name, "traffic.jsonl").splitlines():
        action = json.loads(line)
        question = ask(policy, action["topic"], action["args"])
        answers = {
            policy.decision(
                Question(
                    question.topic,
                    question.args,
                    Signals(confidence=None if said is None else decimal_of(said)),
                )
            )
            for said in (None, 0, 1)
        }
        assert len(answers) == 1, line


# --- what some of them must never do ----------------------------------------------------------------------


_SUPPORT, _FINANCE, _CODE = load("support-refunds"), load("finance-payments"), load("coding-agent")
_PAYMENT = {"invoice_id": "I-1", "payee_id": "P-1"}
_PAYMENTS = (
    (_SUPPORT, "support.refunds.create", {"order_id": "A-1"}, "amount_usd"),
    (_FINANCE, "finance.payments.send", _PAYMENT, "amount"),
    (_FINANCE, "finance.payments.send-sepa", _PAYMENT, "amount"),
)


@pytest.mark.parametrize("name", ["support-refunds", "finance-payments"])
def test_requests_about_money_wait_a_quarter_of_an_hour_and_then_end(name: str) -> None:
    policy = load(name)
    lanes = {rule.lane for rule in policy.rules if rule.lane and (rule.owner or "").startswith("finance")}
    assert lanes == {Lane(900, OnTimeout.DENY)}


def test_requests_about_peoples_data_wait_two_minutes_and_then_end() -> None:
    policy = load("data-deletion")
    lanes = {rule.lane for rule in policy.rules if rule.owner == "privacy-approvers"}
    assert lanes == {Lane(120, OnTimeout.DENY)}


@given(cents=st.integers(0, 10**9))
@settings(max_examples=150, deadline=None)
def test_no_amount_from_a_hundred_on_leaves_without_a_person(cents: int) -> None:
    amount = f"{cents // 100}.{cents % 100:02}"
    for policy, topic, args, name in _PAYMENTS:
        decision = policy.decision(ask(policy, topic, {**args, name: amount}))
        assert (decision in RUNS) == (cents < 10_000), (topic, amount)


LAYERS = {
    "rule": (
        '    match: {topics: ["data.**"], risk_tags: [delete]}',
        "    match: {topics: [data.none.here]}",
    ),
    "levels": ("      - match: {risk_tags: [delete]}", "      - match: {topics: [data.none.here]}"),
    "invariant": ("\nlanes:\n", "\ninvariants: {disabled: [delete]}\nlanes:\n"),
    "tier": ("    tier: 4\n    risk_tags: [delete", "    tier: 1\n    risk_tags: [delete"),
}
"""By layer that holds deletions, what to replace by what so that it no longer does."""


def without(*layers: str) -> Policy:
    policy = text("data-deletion")
    for layer in layers:
        old, new = LAYERS[layer]
        assert old in policy
        policy = policy.replace(old, new)
    return parse({"policy.yaml": policy})


@pytest.mark.parametrize("level", [None, 0, 1, 2, 3])
@pytest.mark.parametrize("removed", list(combinations(LAYERS, 3)))
def test_deleting_waits_at_every_level_even_without_three_of_its_four_guards(
    removed: tuple[str, ...], level: int | None
) -> None:
    policy = without(*removed)
    question = ask(policy, "data.records.delete", {"record_ids": ["r-1"]}, level=level)
    assert policy.decide(question).held


def test_deleting_runs_once_all_four_are_gone_so_the_test_above_tests_something() -> None:
    policy = without(*LAYERS)
    assert policy.decide(ask(policy, "data.records.delete", {"record_ids": ["r-1"]}, level=3)).allowed


def test_the_words_of_law_are_the_same_in_the_catalogue_and_in_the_rule() -> None:
    document = load("customer-email").document
    raised = (document.actions["mail.customers.reply"].raise_to or ())[0]
    rule = next(rule for rule in document.rules if rule.id == "legal-words")
    assert raised.when == rule.when


def test_a_rollback_of_the_last_deploy_has_no_version_and_every_other_waits() -> None:
    policy = load("devops-deploys")
    entry = policy.entry("ops.production.rollback")
    assert entry is not None
    assert set(entry.args or ()) == {"service"}
    explained = policy.explain(ask(policy, "ops.production.rollback", {"service": "checkout"}))
    assert (explained.verdict.decision, explained.verdict.rule) == (
        Decision.ALLOW_WITH_CONSTRAINTS,
        "rollback-of-the-last-deploy",
    )
    other = {"service": "checkout", "version": "4.1.0"}
    assert policy.decide(ask(policy, "ops.production.restore-version", other)).held


# --- the coding agent against an attacker -----------------------------------------------------------------


def _known_commands() -> list[str]:
    entry = _CODE.entry("code.shell.run")
    assert entry is not None
    return re.findall(r"'(\[.*?\])'", entry.raise_to[0].when)


def test_the_known_commands_are_lists_in_the_one_form_there_is() -> None:
    known = _known_commands()
    assert len(known) >= 10
    for argv in known:
        assert json.dumps(json.loads(argv), separators=(",", ":")) == argv
        assert _CODE.decision(ask(_CODE, "code.shell.run", {"argv": argv})) is Decision.ALLOW


@given(
    data=st.data(),
    more=st.text(min_size=1, max_size=6) | st.sampled_from(["; rm -rf /", " && x", "\n", "\x00", '"]']),
)
@settings(max_examples=200, deadline=None)
def test_nothing_but_a_known_command_runs_however_close_it_is(data: st.DataObject, more: str) -> None:
    known = _known_commands()
    command = data.draw(st.sampled_from(known))
    at = data.draw(st.integers(0, len(command)))
    changed = command[:at] + more + command[at:]
    if changed not in known:
        question = Question("code.shell.run", {"argv": changed})
        assert _CODE.decision(question) not in RUNS


@given(
    start=st.sampled_from(["", "agent/", "agent/fix", "+agent/", "refs/heads/agent/", "Agent/"]),
    rest=st.text(alphabet="ab/:+*~^.\n -@{", max_size=12),
)
@settings(max_examples=200, deadline=None)
def test_only_plain_branches_of_its_own_are_pushed_to(start: str, rest: str) -> None:
    branch = start + rest
    decision = _CODE.decision(Question("code.git.push", {"branch": branch}))
    own = re.fullmatch(r"agent/[a-z0-9][a-z0-9._-]{0,80}", branch) is not None
    assert (decision is Decision.ALLOW) == own


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "~/.bashrc",
        "../other/x",
        "a/../../x",
        "a\\b",
        "C:/x",
        "a//b",
        "./a",
        "a/./b",
        "a/..",
        "",
        ".g\u200cit/config",
        "a\x00b",
        "a\nb",
        "GIT~1/config",
    ],
)
def test_a_path_that_is_not_plain_is_no_path(path: str) -> None:
    assert _CODE.decision(Question("code.files.read", {"path": path})) is Decision.DENY
    assert _CODE.decision(Question("code.files.edit", {"path": path, "content": ""})) is Decision.DENY


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "a/.env.local",
        "ID_RSA",
        "k/server.PEM",
        ".git/config",
        ".aws/credentials",
        "secrets.yaml",
        ".npmrc",
    ],
)
def test_secrets_are_neither_read_nor_written(path: str) -> None:
    for topic, args in (("read", {}), ("edit", {"content": ""}), ("remove", {}), ("restore", {})):
        question = Question(f"code.files.{topic}", {"path": path, **args})
        assert _CODE.decision(question) is Decision.DENY


@pytest.mark.parametrize(
    "url",
    [
        "https://docs.python.org.example.com/",
        "https://docs.python.org@example.com/",
        "https://docs.python.org",
        "https://docs.python.org:8443/x",
        "HTTPS://docs.python.org/",
        "https://169.254.169.254/latest",
        "https://user@localhost/",
        "https://[::1]/",
        "file:///etc/passwd",
    ],
)
def test_no_other_host_is_fetched_for_looking_like_documentation(url: str) -> None:
    assert _CODE.decision(Question("code.web.fetch", {"url": url})) not in RUNS


# --- the command that explains ----------------------------------------------------------------------------


def test_explain_says_who_decides_on_a_large_payment_and_why() -> None:
    action = {"topic": "finance.payments.send", "args": {**_PAYMENT, "amount": "7200.00"}}
    explained = run(
        ROOT,
        "policy",
        "explain",
        "policies/finance-payments",
        "--action",
        "-",
        "--json",
        stdin=json.dumps(action),
    )
    assert explained.code == 0, explained.out
    verdict = explained.json
    assert (verdict["decision"], verdict["tier"]) == ("require_approval", 4)
    assert (verdict["owner"], verdict["informed"]) == ("finance-controllers", ["finance-approvers"])
    assert verdict["lane"] == {"window_sec": 900, "on_timeout": "deny", "valid_sec": 3600}
    matched = {match["rule"] for match in verdict["matched"]}
    assert {"payments", "large-payments", "invariant:money"} <= matched


def test_explain_names_the_words_that_made_an_answer_wait() -> None:
    policy = load("customer-email")
    explained = policy.explain(ask(policy, "mail.customers.reply", {"body": "We are not liable."}))
    assert explained.verdict.held
    why = next(match.why for match in explained.matches if match.rule == "legal-words")
    assert "liable" in why

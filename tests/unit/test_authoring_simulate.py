"""Simulate: what is counted, what is called looser, and which lines of a log are actions."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

import policies_at_random as at_random
from interlock.authoring import REFUSED, Group, Held, Replay, compared, read_line, simulate
from interlock.model.errors import InvalidInput
from interlock.model.verdicts import Decision, Verdict
from interlock.policy import Policy, Question, parse

ALLOW, WITHIN, ASK, DENY = Decision
POLICY = """
interlock: 1
name: shop
actions:
  pay.refund: {tier: 3, args: {n: integer}, execute: {http: {method: POST, url: "https://pay.example/r"}}}
  pay.read: {tier: 1, args: {n: {type: integer, optional: true}}}
rules:
  - {id: small, match: {topics: [pay.refund]}, when: args.n < 50, decision: allow_with_constraints,
     constraints: {max_runtime_sec: 60}}
  - {id: huge, match: {topics: [pay.refund]}, when: args.n > 900, decision: deny}
"""


def policy(*replacements: tuple[str, str]) -> Policy:
    text = POLICY
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return parse({"p.yaml": text})


def refund(n: int) -> Question:
    return Question("pay.refund", {"n": n})


READ = Question("pay.read", {})


def test_without_a_decision_before_only_the_share_is_known() -> None:
    found = simulate([(refund(10), None), (refund(100), None), (refund(1000), None), (READ, None)], policy())
    assert (found.actions, found.known, found.held, found.held_before) == (4, 0, 1, 0)
    assert (found.loosened, found.tightened, found.loosens) == (0, 0, False)
    assert found.rules == (Held("default:tier-3", None, 1),)
    assert set(found.groups) == {Group(None, d, 1) for d in (ALLOW, WITHIN, ASK, DENY)}


def test_a_recorded_decision_is_compared_by_severity() -> None:
    found = simulate(
        [(refund(10), ASK), (refund(100), WITHIN), (READ, ALLOW), (refund(1000), DENY)], policy()
    )
    assert (found.known, found.loosened, found.tightened, found.held, found.held_before) == (4, 1, 1, 1, 1)
    assert found.loosens


def test_another_policy_counts_as_what_was_decided_before() -> None:
    old = policy(("args.n < 50", "args.n < 20"))
    replay = Replay(policy(), against=old)
    assert replay.add(refund(10)) is None
    flip = replay.add(refund(30))
    assert flip is not None
    assert (flip.direction, flip.before, flip.after, flip.limits) == ("looser", ASK, WITHIN, False)
    assert replay.result().rules == (Held("default:tier-3", 1, 0),)


def test_the_same_decision_within_wider_limits_is_looser() -> None:
    old = policy(("max_runtime_sec: 60", "max_runtime_sec: 30"))
    flip = Replay(policy(), against=old).add(refund(10))
    assert flip is not None
    assert (flip.direction, flip.limits) == ("looser", True)
    found = simulate([(refund(10), old.decide(refund(10)))], policy())
    assert (found.loosened, found.limits) == (1, 1)
    assert simulate([(refund(10), WITHIN)], policy()).limits == 0


def test_a_hold_at_a_lower_tier_is_looser() -> None:
    old = policy(("tier: 3", "tier: 4"))
    flip = Replay(policy(), against=old).add(refund(100))
    assert flip is not None
    assert (flip.direction, flip.before, flip.after) == ("looser", ASK, ASK)


def test_arguments_that_are_refused_are_stricter_than_any_decision() -> None:
    replay = Replay(policy())
    assert replay.refuse() is None
    flip = replay.refuse(DENY)
    assert flip is not None
    assert (flip.direction, flip.after) == ("stricter", REFUSED)
    assert replay.refuse(REFUSED) is None
    assert (replay.result().refused, replay.result().tightened, replay.result().known) == (3, 1, 2)


def test_arguments_that_were_refused_and_are_accepted_now_are_looser() -> None:
    flip = Replay(policy(), against=policy()).add(refund(100), REFUSED)
    assert flip is not None
    assert (flip.direction, flip.before, flip.after) == ("looser", REFUSED, ASK)
    replay = Replay(policy())
    assert replay.add(refund(10), REFUSED) is not None
    assert replay.result().groups == (Group(REFUSED, WITHIN, 1),)
    assert (replay.result().loosened, replay.result().known) == (1, 1)


LIMITED = "pay.look: {tier: 1, execute: {http: {method: GET, url: 'https://pay.example/l'}}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"  {LIMITED}, constraints: {{max_runtime_sec: 5}}}}", f"  {LIMITED}}}"),
        (f"  {LIMITED}, constraints: {{max_runtime_sec: 5}}}}\nmode: enforce", f"  {LIMITED}, "
         "constraints: {max_runtime_sec: 5}}\nmode: observe"),
        ("  pay.look: {tier: 2, undo: pay.undo, undo_within: 1m}", "  pay.look: {tier: 1}"),
        (f"  {LIMITED}}}\nrules: [{{id: r, match: {{topics: [pay.look]}}, decision: allow, constraints: "
         "{max_runtime_sec: 5}}]",
         f"  {LIMITED}}}\nrules: [{{id: r, match: {{topics: [pay.look]}}, decision: allow}}]"),
    ],
)  # fmt: skip
def test_what_was_allowed_and_still_is_may_be_looser_in_its_limits_or_its_tier(old: str, new: str) -> None:
    before, after = (parse({"p": f"interlock: 1\nactions:\n{text}\n"}) for text in (old, new))
    question = Question("pay.look", {})
    assert before.decide(question).decision is after.decide(question).decision is ALLOW
    found = simulate([(question, None)], after, against=before)
    assert (found.loosened, found.limits) == (1, 1)
    assert simulate([(question, before.decide(question))], after).loosened == 1
    assert simulate([(question, None)], before, against=after).tightened == 1


def held(lane: str) -> Policy:
    rule = f"{{id: r, match: {{topics: [a.b]}}, decision: require_approval, lane: {lane}}}"
    return parse({"p": f"interlock: 1\nactions: {{a.b: {{tier: 1}}}}\nrules: [{rule}]\n"})


@pytest.mark.parametrize(
    ("strict", "loose"),
    [
        ("{window: 7d, on_timeout: deny}", "{window: 1s, on_timeout: allow}"),
        ("{window: 1m, on_timeout: escalate}", "{window: 7d, on_timeout: allow}"),
        ("{window: 1m, on_timeout: deny}", "{window: 1m, on_timeout: escalate}"),
        ("{window: 1m, on_timeout: kill_switch}", "{window: 1m, on_timeout: deny}"),
        ("{window: 1h, on_timeout: allow}", "{window: 1s, on_timeout: allow}"),
    ],
)
def test_a_milder_end_to_silence_and_less_time_before_silence_allows_are_looser(
    strict: str, loose: str
) -> None:
    question = Question("a.b", {})
    flip = Replay(held(loose), against=held(strict)).add(question)
    assert flip is not None
    assert (flip.direction, flip.limits) == ("looser", True)
    back = Replay(held(strict), against=held(loose)).add(question)
    assert back is not None
    assert back.direction == "stricter"
    assert compared(held(strict).decide(question), held(loose).decide(question)) == "looser"


def test_more_or_less_time_alone_is_neither_looser_nor_stricter() -> None:
    short, long = held("{window: 1m, on_timeout: deny}"), held("{window: 7d, on_timeout: deny}")
    assert Replay(short, against=long).add(Question("a.b", {})) is None
    assert Replay(long, against=short).add(Question("a.b", {})) is None


def test_groups_add_up_and_the_largest_comes_first() -> None:
    pairs = [(READ, ALLOW)] * 3 + [(refund(100), ASK)] * 2 + [(refund(100), ALLOW)]
    found = simulate(pairs, policy())
    assert found.groups == (Group(ALLOW, ALLOW, 3), Group(ASK, ASK, 2), Group(ALLOW, ASK, 1))


@settings(max_examples=40, deadline=None)
@given(at_random.cases(asked=30))
def test_a_policy_replayed_against_itself_changes_nothing(case: at_random.Case) -> None:
    again = at_random.build({**case.document, "name": "again"})
    found = simulate([(question, None) for question in case.questions], again, against=case.policy)
    assert (found.loosened, found.tightened) == (0, 0)
    assert found.held == found.held_before == sum(case.policy.decide(q).held for q in case.questions)
    recorded = simulate([(q, case.policy.decide(q)) for q in case.questions], again)
    assert (recorded.loosened, recorded.tightened, recorded.known) == (0, 0, 30)


@settings(max_examples=40, deadline=None)
@given(at_random.cases(asked=30), at_random.documents())
def test_what_is_looser_one_way_is_stricter_the_other(case: at_random.Case, other: at_random.Json) -> None:
    pairs = [(question, None) for question in case.questions]
    there = simulate(pairs, at_random.build(other), against=case.policy)
    back = simulate(pairs, case.policy, against=at_random.build(other))
    assert there.loosened + there.tightened == back.loosened + back.tightened
    decided = there.loosened - there.limits, there.tightened - there.limits
    if there.limits == 0:
        assert decided == (back.tightened, back.loosened)


def test_what_both_allow_alike_is_not_decided_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    decide = Policy.decide

    def counted(self: Policy, question: Question) -> Verdict:
        asked.append(question.topic)
        return decide(self, question)

    monkeypatch.setattr(Policy, "decide", counted)
    changed = policy(("args.n > 900", "args.n > 800"))
    simulate([(READ, None)] * 100 + [(refund(1000), None)] * 100, changed, against=policy())
    assert asked == []
    simulate([(refund(100), None)] * 3, changed, against=policy())
    assert asked == ["pay.refund"] * 6


# --- lines of a log ---------------------------------------------------------------------------------------


def line(**content: Any) -> str:
    return json.dumps({"topic": "pay.refund", "args": {"n": 5}, **content})


def test_a_line_is_an_action_file_with_what_was_decided() -> None:
    found = read_line(line(id="a-1", decided={"decision": "deny", "rule": "anything", "more": [1]}), policy())
    assert (found.id, found.topic, found.decided) == ("a-1", "pay.refund", DENY)
    assert found.question == replace(refund(5), tags=None)
    assert read_line(line(), policy()).decided is None


def test_arguments_that_the_policy_refuses_are_no_bad_line() -> None:
    found = read_line(line(args={"n": "many"}), policy())
    assert found.question is None
    assert found.refusal is not None
    assert found.refusal.slug == "wrong-type"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"args": {}}',
        '{"topic": 7}',
        line(decided={"decision": "perhaps"}),
        line(decided="deny"),
        line(decided={}),
        line(nonsense=1),
        line(confidence=2),
        line(topic="one"),
        '{"topic": "a.b", "topic": "a.c"}',
    ],
)
def test_what_is_no_action_file_is_an_error(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_line(text, policy())

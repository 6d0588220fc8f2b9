"""Coverage: what tests have to do before a rule or a branch counts as exercised."""

from __future__ import annotations

from interlock.authoring import Coverage, coverage, read_cases, run_cases
from interlock.policy import parse

POLICY = parse(
    {
        "policy.yaml": """
interlock: 1
actions:
  pay.refund:
    tier: 3
    raise_to: [{tier: 4, when: args.n >= 500}]
    args: {n: {type: integer, optional: true}, kind: {type: string, optional: true}}
  pay.read: {tier: 1}
rules:
  - {id: small, match: {topics: [pay.refund]}, decision: allow, when: args.n < 50 && !(args.kind == "gift")}
  - {id: often, match: {topics: [pay.refund], retry_count_above: 2}, decision: deny}
  - {id: mercy, match: {topics: [pay.*]}, decision: allow, overrides: [often], when: args.kind == "mercy"}
autonomy_levels:
  level_0: {rules: [{match: {topics: [pay.read]}, decision: allow}]}
  level_1: {rules: [{match: {topics: [pay.read]}, when: signals.retry_count > 1, decision: deny}]}
"""
    }
)


def covered(*actions: str) -> Coverage:
    text = "tests:\n" + "".join(
        f"- {{name: t{index}, action: {{{action}}}, expect: {{decision: deny}}}}\n"
        for index, action in enumerate(actions)
    )
    return coverage(POLICY, run_cases(read_cases({"p.test.yaml": text}), POLICY))


def seen(found: Coverage) -> dict[tuple[str, str], tuple[bool, bool]]:
    return {(branch.where, branch.text): (branch.true, branch.false) for branch in found.branches}


def test_nothing_is_covered_by_no_tests() -> None:
    found = coverage(POLICY, ())
    assert (found.counted, found.uncounted) == ((), ("small", "often", "mercy"))
    assert (found.seen, found.possible, found.percent) == (0, 12, 0)


def test_each_atom_is_a_branch_also_under_a_negation_and_in_match_and_in_raise_to() -> None:
    assert set(seen(coverage(POLICY, ()))) == {
        ("rule small", "args.n < 50"),
        ("rule small", 'args.kind == "gift"'),
        ("rule often", "signals.retry_count > 2"),
        ("rule mercy", 'args.kind == "mercy"'),
        ("raise_to of pay.refund", "args.n >= 500"),
        ("rule 1 of level_1", "signals.retry_count > 1"),
    }


def test_a_branch_is_seen_only_with_a_value_and_unknown_is_neither() -> None:
    found = seen(covered("topic: pay.refund, args: {n: 20}"))
    assert found["rule small", "args.n < 50"] == (True, False)
    assert found["rule small", 'args.kind == "gift"'] == (False, False)
    assert found["raise_to of pay.refund", "args.n >= 500"] == (False, True)


def test_all_atoms_are_asked_even_where_one_has_settled_the_matter() -> None:
    found = seen(covered("topic: pay.refund, args: {n: 900, kind: gift}"))
    assert found["rule small", 'args.kind == "gift"'] == (True, False)


def test_tests_about_other_topics_show_nothing_about_a_rule() -> None:
    found = seen(covered("topic: pay.read, retry_count: 9"))
    assert found["rule often", "signals.retry_count > 2"] == (False, False)


def test_the_rules_of_a_level_are_asked_only_where_it_is_in_force() -> None:
    name = ("rule 1 of level_1", "signals.retry_count > 1")
    assert seen(covered("topic: pay.read, retry_count: 9"))[name] == (False, False)
    assert seen(covered("topic: pay.read, retry_count: 9, level: 1"))[name] == (True, False)


def test_a_rule_that_was_set_aside_did_not_count() -> None:
    assert covered("topic: pay.refund, args: {n: 60, kind: x}, retry_count: 3").counted == ("often",)
    assert covered("topic: pay.refund, args: {n: 60, kind: mercy}, retry_count: 3").counted == ("mercy",)


def test_an_action_that_is_refused_covers_nothing() -> None:
    assert covered("topic: pay.refund, args: {n: many}").percent == 0


def test_percent_counts_rules_and_branches_and_is_full_only_when_all_were_seen() -> None:
    tests = (
        "topic: pay.refund, args: {n: 20, kind: x}",
        "topic: pay.refund, args: {n: 900, kind: gift}, retry_count: 3",
        "topic: pay.refund, args: {n: 60, kind: mercy}, retry_count: 3",
        "topic: pay.read, level: 1",
    )
    assert covered(*tests).percent == 93
    assert covered(*tests, "topic: pay.read, level: 1, retry_count: 3").percent == 100

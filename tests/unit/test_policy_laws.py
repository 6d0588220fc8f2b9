"""The promises about deciding, as laws: what must not happen to any verdict, on random policies.

In observe mode nothing is enforced; the laws then hold of what would have been decided (`said`).
"""

from __future__ import annotations

import copy
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import policies_at_random as at_random
from interlock.model.actions import Signals
from interlock.model.verdicts import Decision, OnTimeout, Tier, Verdict
from interlock.policy import Policy, Question
from policies_at_random import Case, Json, build, cases

LONG = os.environ.get("INTERLOCK_LONG") == "1"
pytestmark = pytest.mark.timeout(3_600 if LONG else 300)
LAWS = settings(max_examples=4_000 if LONG else 200, deadline=None)


# --- what looser means ------------------------------------------------------------------------------------


def said(verdict: Verdict) -> Decision:
    return verdict.observed or verdict.decision


def no_looser(one: Verdict, other: Verdict) -> bool:
    """Whether `one` lets nothing happen that `other` does not, and nothing in wider limits."""
    return (
        said(one).severity >= said(other).severity
        and (one.tier or 0) >= (other.tier or 0)
        and one.constraints.conjoin(other.constraints) == one.constraints
    )


def waits_no_looser(one: Verdict, other: Verdict) -> bool:
    """Whether silence does nothing milder in `one`, and nothing strict later or mild sooner."""
    mine, theirs = one.lane, other.lane
    if mine is None or theirs is None:
        return True
    if mine.on_timeout.severity < theirs.on_timeout.severity:
        return False
    if theirs.on_timeout is OnTimeout.ALLOW:
        return mine.on_timeout is not OnTimeout.ALLOW or mine.window_sec >= theirs.window_sec
    return mine.window_sec <= theirs.window_sec


def with_rules(document: Json, rules: Iterable[Json]) -> Json:
    return {**document, "rules": list(rules)}


# --- 1: adding a restriction ------------------------------------------------------------------------------


def a_lane_is_settled(policy: Policy, question: Question, document: Json) -> bool:
    """Whether a proved rule that reads nothing reported already names how long to wait."""
    naming = {rule["id"] for rule in document["rules"] if "lane" in rule and not at_random.reads_doubt(rule)}
    return any(match.found == "proved" and match.rule in naming for match in policy.explain(question).matches)


@LAWS
@given(cases(asked=4))
def test_adding_a_restrictive_rule_loosens_nothing(case: Case) -> None:
    r, rules = case.random, case.document["rules"]
    added = {"id": "added", **at_random.rule(r, decisions=at_random.RESTRICTIVE)}
    if "lane" in added:
        added["lane"] = {
            "window": r.choice(["1m", "3h", "60d"]),
            "on_timeout": r.choice(["deny", "escalate"]),
        }
    place = r.randint(0, len(rules))
    more = build(with_rules(case.document, [*rules[:place], added, *rules[place:]]))
    for question in case.questions:
        before, after = case.policy.decide(question), more.decide(question)
        assert no_looser(after, before)
        if "lane" not in added or a_lane_is_settled(case.policy, question, case.document):
            assert waits_no_looser(after, before)


# --- 2 and 5: order and names -----------------------------------------------------------------------------


@LAWS
@given(cases(asked=4))
def test_the_order_of_rules_changes_only_which_of_them_is_named(case: Case) -> None:
    shuffled = list(case.document["rules"])
    case.random.shuffle(shuffled)
    other = build(with_rules(case.document, shuffled))
    for question in case.questions:
        one, two = case.policy.decide(question), other.decide(question)
        same = (
            "decision",
            "observed",
            "tier",
            "triggers",
            "constraints",
            "owner",
            "informed",
            "lane",
            "handoff",
        )
        assert [getattr(one, name) for name in same] == [getattr(two, name) for name in same]
        assert set(one.matched) == set(two.matched)
        assert set(one.overridden) == set(two.overridden)


def renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, list | tuple):
        return [renamed(each, names) for each in value]
    return names.get(value, value)


@LAWS
@given(cases(asked=4))
def test_renaming_rules_changes_nothing_but_names(case: Case) -> None:
    ids = [rule["id"] for rule in case.document["rules"]]
    names = dict(zip(ids, case.random.sample(["zz", "a9", "Mid.dle", "0", "x-1"], len(ids)), strict=True))
    rules = copy.deepcopy(case.document["rules"])
    for rule in rules:
        rule["id"] = names[rule["id"]]
        if "overrides" in rule:
            rule["overrides"] = renamed(rule["overrides"], names)
    other = build(with_rules(case.document, rules))
    for question in case.questions:
        one, two = case.policy.decide(question).to_json(), other.decide(question).to_json()
        for verdict in (one, two):
            del verdict["snapshot"]
        for key in ("rule", "matched", "overridden"):
            one[key] = renamed(one[key], names)
        for verdict in (one, two):
            verdict["overridden"] = set(verdict["overridden"])
            if verdict["lane"] is not None:
                verdict["lane"].pop("name", None)  # a lane that has none is called as its rule
        assert one == two


# --- 3 and 4: what an agent reports -----------------------------------------------------------------------

CORRUPT: list[Any] = [
    None,
    "NaN",
    "1",
    float("nan"),
    Decimal("NaN"),
    Decimal(2),
    -1,
    True,
    [],
    Decimal("1e400"),
]


def reporting(question: Question, confidence: Any) -> Question:
    return replace(question, signals=replace(question.signals, confidence=confidence))


@LAWS
@given(cases(asked=3))
def test_no_reported_signal_loosens_what_the_best_ones_give(case: Case) -> None:
    decide = case.policy.decide
    for question in case.questions:
        best = decide(reporting(question, Decimal(1)))
        worst = decide(reporting(question, None))
        for share in at_random.SHARES:
            actual = decide(reporting(question, share))
            assert no_looser(actual, best)
            assert no_looser(worst, actual)
            if not (best.overridden or actual.overridden):
                assert waits_no_looser(actual, best)
                assert waits_no_looser(worst, actual)


@LAWS
@given(cases(asked=3))
def test_removing_or_corrupting_a_reported_signal_loosens_nothing(case: Case) -> None:
    for question in case.questions:
        intact = case.policy.decide(reporting(question, case.random.choice(at_random.SHARES)))
        for value in CORRUPT:
            assert no_looser(case.policy.decide(reporting(question, value)), intact)


def without_doubt(document: Json) -> Json:
    """The same policy, had nobody thought of asking agents how sure they are."""
    found = copy.deepcopy(document)
    found["triggers"].pop("confidence", None)
    for entry in found["actions"].values():
        entry["raise_to"] = [r for r in entry.get("raise_to", ()) if "signals.confidence" not in r["when"]]
        if not entry["raise_to"]:
            del entry["raise_to"]
    found["rules"] = [rule for rule in found["rules"] if not at_random.reads_doubt(rule)]
    left = {rule["id"] for rule in found["rules"]}
    for rule in found["rules"]:
        if "overrides" in rule:
            rule["overrides"] = [other for other in rule["overrides"] if other in left]
            if not rule["overrides"]:
                del rule["overrides"]
    return found


@LAWS
@given(cases(asked=3))
def test_confidence_at_its_best_buys_nothing_that_a_policy_without_it_would_not_give(case: Case) -> None:
    deaf = build(without_doubt(case.document))
    for question in case.questions:
        assert no_looser(case.policy.decide(reporting(question, Decimal(1))), deaf.decide(question))


# --- 6: the same inputs, the same bytes -------------------------------------------------------------------

BATCH = 2_000 if LONG else 200


def digests(seed: int) -> list[str]:
    """What a batch of random questions is answered, byte for byte.

    Each policy was asked before, in another order every time, so that what it remembers differs.
    """
    r, found = Random(seed), []
    order = Random()
    for _ in range(BATCH):
        document = at_random.document(r)
        asked = [at_random.question(r) for _ in range(4)]
        policy = build(document)
        for question in order.sample(asked, len(asked)):
            policy.decide(question)
        found += [hashlib.sha256(policy.decide(question).canonical()).hexdigest() for question in asked]
    return found


def test_two_processes_answer_the_same_questions_with_the_same_bytes() -> None:
    seed = Random().randrange(2**32)
    elsewhere = subprocess.run(
        [sys.executable, "-c", f"from test_policy_laws import digests; print(*digests({seed}))"],
        env={
            **os.environ,
            "PYTHONHASHSEED": str(seed),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert elsewhere.stdout.split() == digests(seed), f"seed {seed}"


# --- 7: what is certain -----------------------------------------------------------------------------------


@LAWS
@given(cases(asked=4))
def test_tier_four_never_runs_and_nothing_runs_that_nobody_named(case: Case) -> None:
    policy = case.policy
    for question in case.questions:
        verdict = policy.decide(question)
        assert verdict.tier is not Tier.IRREVERSIBLE or said(verdict).restrictive
        assert verdict.tier is not None or said(verdict).restrictive or policy.knows(question.topic)
        stopped = policy.decide(replace(question, stopped="ks_everything"))
        assert (stopped.decision, stopped.rule) == (Decision.DENY, "kill-switch:ks_everything")


@LAWS
@given(cases(asked=4))
def test_silence_approves_only_what_rules_alone_ask_about_on_the_lower_tiers(case: Case) -> None:
    for question in case.questions:
        verdict = case.policy.decide(question)
        if verdict.lane is not None and verdict.lane.on_timeout is OnTimeout.ALLOW:
            assert verdict.tier in (Tier.READ_ONLY, Tier.REVERSIBLE)
            assert not any(":" in name for name in verdict.matched)


@LAWS
@given(cases(asked=4))
def test_the_canonical_form_the_explanation_and_the_fast_path_decide_alike(case: Case) -> None:
    policy = case.policy
    again = Policy.from_canonical(policy.canonical())
    assert again.snapshot == policy.snapshot
    for question in case.questions:
        for each in (question, replace(question, stopped="ks_1"), replace(question, signals=Signals())):
            assert policy.decision(each) is policy.decide(each).decision
        verdict = policy.decide(question)
        assert again.decide(question) == verdict
        assert Verdict.from_json(verdict.to_json()) == verdict
        explained = policy.explain(question)
        assert explained.verdict == verdict
        assert tuple(match.rule for match in explained.matches) == verdict.matched


@LAWS
@given(cases(asked=4, modes=["observe"]))
def test_observe_mode_says_what_enforcing_would_have_done(case: Case) -> None:
    enforcing = build({**case.document, "mode": "enforce"})
    for question in case.questions:
        seen, enforced = case.policy.decide(question), enforcing.decide(question)
        assert (seen.decision, seen.observed) == (Decision.ALLOW, enforced.decision)
        assert enforced.observed is None
        assert (seen.rule, seen.tier, seen.matched) == (enforced.rule, enforced.tier, enforced.matched)
        assert seen.reason.startswith("Observe mode, not enforced: ")


@LAWS
@given(cases(asked=4))
def test_an_autonomy_level_loosens_nothing_but_the_default_of_a_tier(case: Case) -> None:
    unlevelled = build({key: value for key, value in case.document.items() if key != "autonomy_levels"})
    for question in case.questions:
        with_level, without = case.policy.decide(question), unlevelled.decide(question)
        if without.rule != "default:tier-3":
            assert said(with_level).severity >= said(without).severity


# --- 8: what is missing or garbled ------------------------------------------------------------------------

NO_NUMBER: list[Any] = ["x", "NaN", float("nan"), Decimal("NaN"), True, {}]
WRONG: dict[str, list[Any]] = {
    "amount_usd": [None, "NaN", "1e3", float("nan"), Decimal("NaN"), True, [], {}],
    "sum": [None, "NaN", "1e3", float("nan"), True, [], {}],
    "kind": [None, {}, Decimal("NaN")],
    "n": [None, [], *NO_NUMBER[1:]],
    "flag": [None, 1, "true", [], {}],
    "items": [None, True, {}, float("nan")],
    "meta": [None, "x", 5, []],
    "prior": [None, [], *NO_NUMBER],
    "vip": [None, 1, "true"],
    "region": [None, 5, True, []],
    "recipient": [None, "zzz", 5, ""],
    "retry_count": [None, -1, *NO_NUMBER],
    "anomaly_score": [None, -1, 2, *NO_NUMBER],
    "injection_score": [None, Decimal("-0.1"), 2, *NO_NUMBER],
    "sentiment": [None, -2, 2, *NO_NUMBER],
    "affected_users": [-1, *NO_NUMBER],  # None is an answer: nobody counted
    "deadline_sec": NO_NUMBER,  # None is an answer: nothing was promised
    "first_time_action": [None, 0, "x"],
    "first_time_recipient": [None, 0, "x"],
    "duplicate_of": [None, 5, True],
}
"""What no input of that name can be."""


def damaged(r: Random, values: dict[str, Any], *, kept: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The values without some, and with nonsense for others; those `kept` are not left out."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        fate = r.choice(["keep", "keep", "drop", "garble"])
        if fate == "keep":
            found[name] = value
        elif fate == "garble" or name in kept:
            found[name] = r.choice(WRONG[name])
    return found


@LAWS
@given(cases(asked=3, full=True, presence=False))
def test_nothing_that_is_missing_or_garbled_loosens_anything(case: Case) -> None:
    r, policy = case.random, case.policy
    for question in case.questions:
        entry = policy.entry(question.topic)
        undeclared = entry is None or entry.args is None
        signals = {name: getattr(question.signals, name) for name in at_random.OBSERVED}
        for name in r.sample(sorted(signals), r.randint(0, 3)):
            signals[name] = r.choice(WRONG[name])
        all_off = set(case.document.get("invariants", {}).get("disabled", ())) == set(at_random.INVARIANTS)
        less = replace(
            question,
            # Where nobody declared arguments, one that is not there moves no money.
            args=damaged(r, dict(question.args), kept=frozenset({"amount_usd"} if undeclared else ())),
            signals=Signals(confidence=Decimal(1), **signals),
            facts=damaged(r, dict(question.facts)),
            provenance=damaged(r, dict(question.provenance)),
            # Unknown tags are none for built-in invariants: those read what people declared.
            tags=None if all_off and r.random() < 0.5 else question.tags,
        )
        whole, partial = policy.decide(question), policy.decide(less)
        assert no_looser(partial, whole), less
        if not whole.overridden:
            assert waits_no_looser(partial, whole), less


@LAWS
@given(st.sampled_from(at_random.TOPICS), cases(asked=1, full=True))
def test_a_policy_that_says_nothing_about_a_topic_asks_or_denies(topic: str, case: Case) -> None:
    silent = {**case.document, "actions": {}, "rules": [], "autonomy_levels": {}}
    verdict = build(silent).decide(replace(case.questions[0], topic=topic, tier=None))
    assert said(verdict).restrictive

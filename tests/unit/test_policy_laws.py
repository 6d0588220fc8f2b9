"""The promises about deciding, on random policies and random questions."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.model.actions import Signals
from interlock.model.canonical import parse_json
from interlock.model.verdicts import Decision, Tier, Verdict
from interlock.policy import Policy, Question
from interlock.policy.document import Document
from interlock.policy.findings import Place, Places

TOPICS = ["a.one", "a.two", "b.one", "b.two"]
PATTERNS = ["*", "a.**", "a.*", "*.one", *TOPICS]
TAGS = ["money", "prod"]
LAWS = settings(max_examples=200, deadline=None)

numbers = st.sampled_from([0, 1, 5, 100])
shares = st.sampled_from(["0", "0.3", "0.7", "1"])
comparisons = st.one_of(
    st.builds("args.amount_usd {} {}".format, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), numbers),
    st.builds("args.kind {} '{}'".format, st.sampled_from(["==", "!="]), st.sampled_from(["x", "y"])),
    st.builds("signals.retry_count {} {}".format, st.sampled_from(["<", ">="]), numbers),
)
tiers = st.builds("tier {} {}".format, st.sampled_from(["<", ">", "==", "!="]), st.integers(1, 4))
doubts = st.builds("signals.confidence {} {}".format, st.sampled_from(["<", "<="]), shares)


def conditions(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(parts, min_size=1, max_size=2).map(" && ".join)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    decision = draw(st.sampled_from([d.value for d in Decision]))
    restrictive = decision in ("require_approval", "deny")
    match: dict[str, Any] = {"topics": draw(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2))}
    optional = {
        "risk_tags": st.lists(st.sampled_from(TAGS), min_size=1),
        "all_risk_tags": st.lists(st.sampled_from(TAGS), min_size=1),
        "amount_usd_above": numbers,
        "affected_users_above": numbers,
        "anomaly_score_above": st.sampled_from([0.3, 0.7]),
        "first_time_action": st.booleans(),
    }
    if restrictive:
        optional["confidence_below"] = st.sampled_from([0.3, 0.7, 1])
    for key in draw(st.lists(st.sampled_from(sorted(optional)), max_size=2, unique=True)):
        match[key] = draw(optional[key])
    rule: dict[str, Any] = {"match": match, "decision": decision}
    if draw(st.booleans()):
        rule["when"] = draw(conditions(st.one_of(comparisons, tiers, *([doubts] if restrictive else []))))
    if decision == "require_approval" and draw(st.booleans()):
        window = draw(st.sampled_from(["2m", "1h", "2d", "30d"]))
        rule["lane"] = {"window": window, "on_timeout": draw(st.sampled_from(["deny", "escalate"]))}
    return rule


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    tier = draw(st.integers(1, 4))
    entry: dict[str, Any] = {
        "tier": tier,
        "args": {
            "amount_usd": {"type": "decimal", "scale": 2, "currency": "USD", "optional": True},
            "kind": {"type": "string", "optional": True},
        },
    }
    if draw(st.booleans()):
        entry["roles"] = {"amount": "amount_usd"}
    if draw(st.booleans()):
        entry["risk_tags"] = draw(st.lists(st.sampled_from(TAGS), min_size=1, unique=True))
    if tier < 4 and draw(st.booleans()):
        condition = draw(conditions(st.one_of(comparisons, doubts)))
        entry["raise_to"] = [{"tier": draw(st.integers(tier + 1, 4)), "when": condition}]
    return entry


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    document = {
        "interlock": 1,
        "default_decision": draw(st.sampled_from(["require_approval", "deny"])),
        "actions": draw(st.dictionaries(st.sampled_from(["a.one", "a.*", "b.two"]), entries(), max_size=3)),
        "rules": draw(st.lists(rules(), max_size=5)),
    }
    # Straight to the document: reading YAML has its own tests, and takes longer than everything else here.
    return Policy.build(Document.model_validate(parse_json(json.dumps(document))), Places(Place("p", 1, 1)))


amounts = st.sampled_from(["0.00", "1.00", "5.00", "99.99", "100.00", "250.00"])
kinds = st.sampled_from(["x", "y", "z"])
observed = {
    "retry_count": numbers,
    "anomaly_score": shares.map(Decimal),
    "affected_users": numbers,
    "first_time_action": st.booleans(),
}
tag_sets = st.frozensets(st.sampled_from(TAGS))


def no_looser(one: Verdict, other: Verdict) -> bool:
    """Whether `one` lets happen nothing that `other` does not, and waits no longer."""
    if one.lane is not None and other.lane is not None and one.lane.window_sec > other.lane.window_sec:
        return False
    return one.decision.severity >= other.decision.severity and (one.tier or 0) >= (other.tier or 0)


@LAWS
@given(
    policies(),
    st.sampled_from(TOPICS),
    amounts,
    kinds,
    st.fixed_dictionaries(observed),
    tag_sets,
    st.one_of(st.none(), shares),
)
def test_no_reported_confidence_loosens_anything(
    policy: Policy,
    topic: str,
    amount: str,
    kind: str,
    signals: dict[str, Any],
    tags: frozenset[str],
    said: str | None,
) -> None:
    args = {"amount_usd": amount, "kind": kind}
    best = policy.decide(Question(topic, args, Signals(confidence=Decimal(1), **signals), tags))
    reported = Signals(confidence=None if said is None else Decimal(said), **signals)
    actual = policy.decide(Question(topic, args, reported, tags))
    assert no_looser(actual, best)
    worst = policy.decide(Question(topic, args, Signals(confidence=None, **signals), tags))
    assert no_looser(worst, actual)


@LAWS
@given(
    st.data(), policies(), st.sampled_from(TOPICS), amounts, kinds, st.fixed_dictionaries(observed), tag_sets
)
def test_nothing_that_is_missing_or_garbled_loosens_anything(
    data: st.DataObject,
    policy: Policy,
    topic: str,
    amount: str,
    kind: str,
    signals: dict[str, Any],
    tags: frozenset[str],
) -> None:
    confidence = Decimal(1)
    full = policy.decide(
        Question(topic, {"amount_usd": amount, "kind": kind}, Signals(confidence=confidence, **signals), tags)
    )
    garbage: Any = st.sampled_from([None, "NaN", float("nan"), Decimal("NaN"), True, [], {}])
    args: dict[str, Any] = {}
    for name, value in (("amount_usd", amount), ("kind", kind)):
        fate = data.draw(st.sampled_from(["keep", "drop", "garble"]))
        if fate == "keep":
            args[name] = value
        elif fate == "garble":
            args[name] = data.draw(garbage if name == "amount_usd" else st.sampled_from([None, 5, True, []]))
    for name in data.draw(st.lists(st.sampled_from(["retry_count", "anomaly_score", "first_time_action"]))):
        signals = {**signals, name: data.draw(st.sampled_from([None, Decimal("NaN"), -1, "x"]))}
    known = tags if data.draw(st.booleans()) else None
    partial = policy.decide(Question(topic, args, Signals(confidence=confidence, **signals), known))
    assert no_looser(partial, full)


@LAWS
@given(st.data(), policies(), st.sampled_from(TOPICS), tag_sets)
def test_tier_four_never_runs_and_the_canonical_form_decides_alike(
    data: st.DataObject, policy: Policy, topic: str, tags: frozenset[str]
) -> None:
    args = data.draw(st.fixed_dictionaries({}, optional={"amount_usd": amounts, "kind": kinds}))
    signals = Signals(confidence=Decimal(data.draw(shares)), **data.draw(st.fixed_dictionaries(observed)))
    question = Question(topic, args, signals, tags)
    verdict = policy.decide(question)
    assert verdict.tier is not Tier.IRREVERSIBLE or not verdict.allowed
    assert verdict.tier is not None or not verdict.allowed or policy.knows(topic)
    again = Policy.from_canonical(policy.canonical())
    assert again.snapshot == policy.snapshot
    assert again.decide(question) == verdict
    assert policy.explain(question).verdict == verdict
    assert tuple(match.rule for match in policy.explain(question).matches) == verdict.matched

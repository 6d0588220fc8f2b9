"""What must hold of any text at all, as functions of a text: for atheris and for Hypothesis alike.

1. `condition`: a text is a condition or an `ExpressionError` that points into it. A condition prints as one
   that means the same, costs steps linear in the text, and answers True, False or None about anything.
2. `policy`: a text is a policy or a `PolicyError`. A policy that loads keeps the promises: nothing outside
   the catalogue that no rule names is looser than the default, tier 4 never runs without a person, a kill
   switch stops everything, silence is as good as the worst confidence, and the same question has the same
   verdict.
3. `SEEDS` are texts that load; `mutated` damages one of them in ways that texts are damaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

from interlock.model.actions import Signals
from interlock.model.errors import PolicyError
from interlock.model.verdicts import Decision, Tier
from interlock.policy import ArgType, CatalogueEntry, Policy, Question, parse
from interlock.policy.closures import compile_expression
from interlock.policy.expressions import ExpressionError, Parser, parse_expression
from interlock.policy.fields import WORKFLOW_ROOTS, Inputs
from interlock.policy.syntax import Expr, Not, show
from interlock.policy.typecheck import Scope, check_types, only_tightens

# --- conditions -------------------------------------------------------------------------------------------

CONDITIONS = (
    "args.amount_usd >= 99.50 && tier == 3",
    "args.n < 100 AND facts.n < 3 && provenance.recipient in ['user', \"known\"]",
    "NOT args.n == 1 OR !(args.flag || has(args.o.p)) and",
    "args.items.exists(item, item.p > 4 && item.k in args.names) || 'prod' in tags",
    "args.items.all(x, !has(x.p) || x.p <= args.n)",
    "args.s.startsWith('a') && args.s.endsWith(\"z\") && args.s.contains('\\'\\\\\\n')",
    "args.s.matches('^(a|b)*[a-z]+$') || size(args.s) > 3 || args.names.size() == 0",
    "signals.confidence < 0.7 || signals.deadline_sec <= 60 || signals.sentiment < -0.5",
    "topic == 'a.b' && result.x.y != args.o.p && tags.exists(t, t > 'm')",
    "((((args.flag)))) && true != false && -0.000000000000000001 < args.n",
)
_SCOPE = Scope(
    (
        CatalogueEntry(
            "a.b",
            Tier(3),
            args={
                "amount_usd": ArgType("decimal", scale=2, currency="USD"),
                "n": ArgType("number", optional=True),
                "flag": ArgType("boolean", optional=True),
                "s": ArgType("string", optional=True),
                "names": ArgType("array", optional=True),
                "items": ArgType("array", optional=True),
                "o": ArgType("object", optional=True),
            },
        ),
    ),
    {"n": "number"},
    WORKFLOW_ROOTS,
)


def _inputs(tags: frozenset[str] | None, tiers: tuple[int, ...], signals: Any, **args: Any) -> Inputs:
    facts, provenance, result = {"n": 2}, {"recipient": "user"}, {"x": {"y": 1}}
    return Inputs(
        "a.b", args, signals, None, tags, tiers, facts, provenance, result, frozenset({"amount_usd"})
    )


_WORST: Any = Signals(confidence=Decimal("NaN"), retry_count=-1, affected_users=True)
QUESTIONS = (
    _inputs(None, (), Signals()),
    _inputs(
        frozenset({"prod"}),
        (3,),
        Signals(confidence=Decimal("0.5"), deadline_sec=30),
        amount_usd="99.50",
        n=Decimal("1.5"),
        flag=True,
        s="abz",
        names=["a", "é"],
        items=[{"p": 5, "k": "a"}, {"p": None}, {}],
        o={"p": 1},
    ),
    _inputs(
        frozenset(), (3, 4), _WORST, n=float("nan"), flag=1, s=[], names={"a": 1}, items=[0] * 1_001, o="x"
    ),
    _inputs(
        frozenset(), (1,), Signals(), amount_usd=5, n="1", s="\ud800", names=[None, True, 1], items=["x"]
    ),
)


def condition(text: str) -> None:
    parser = Parser(text)
    tree = _read(parser)
    assert parser.steps <= 3 * len(text) + 3, "reading is linear"
    if isinstance(tree, ExpressionError):
        assert 1 <= tree.at <= len(text) + 1, "an error points into the text"
        return
    assert parse_expression(show(tree)) == tree, "printing changes nothing"
    only_tightens(tree)
    if check_types(tree, _SCOPE):
        check_types(tree, Scope())
        return
    check, negated = compile_expression(tree), compile_expression(Not(tree))
    for question in QUESTIONS:
        answer = check(question)
        assert answer is True or answer is False or answer is None, "there are three answers"
        assert negated(question) is (None if answer is None else not answer), "and two opposites"


def _read(parser: Parser) -> Expr | ExpressionError:
    try:
        return parser.parse()
    except ExpressionError as error:
        return error


# --- policies ---------------------------------------------------------------------------------------------

POLICIES = (
    """\
interlock: 1
name: shop
owners: [security-approvers, finance-approvers]
facts: {prior: number}
actions:
  pay.refund:
    tier: 3
    raise_to: [{tier: 4, when: args.amount_usd >= 100}]
    risk_tags: [money, write]
    args: {order_id: string, amount_usd: {type: decimal, scale: 2, currency: USD}, recipient: string}
    roles: {amount: amount_usd, recipient: recipient}
    summary: Refund ${args.amount_usd} to {args.recipient}
    worst_case: The money is gone
  job.wipe: {tier: 4}
  files.*: {tier: 1}
rules:
  - id: small
    match: {topics: [pay.refund]}
    when: args.amount_usd < 100 && facts.prior < 3 && provenance.recipient in ["user"]
    decision: allow
    constraints: {max_runtime_sec: 30, network_allowlist: [pay.internal], max_amount_usd: 100}
  - id: unsure
    match: {risk_tags: [money], confidence_below: 0.7, amount_usd_above: 20}
    decision: require_approval
    owner: finance-approvers
    lane: {window: 15m, on_timeout: deny}
  - id: wipes
    match: {topics: [job.wipe, "files.**"], retry_count_above: 2}
    decision: allow
""",
    """\
interlock: 1
default_decision: deny
actions:
  a.b: {tier: 2, undo: a.c, undo_within: 5m}
  a.c: {tier: 4}
  "a.*": {tier: 3}
rules:
  - {id: all, match: {topics: ["*"]}, decision: allow}
  - {id: named, match: {topics: [b.c]}, decision: allow, overrides: [held]}
  - {id: held, match: {topics: [b.*]}, decision: require_approval}
  - {id: broad, match: {topics: ["zz.**"]}, decision: allow}
  - {id: tagged, match: {all_risk_tags: [prod, deploy]}, decision: deny, locked: true}
""",
    """\
interlock: 1
mode: observe
triggers:
  confidence: {floor: 0.7, discount: 0.1}
  frustration: {retry_count_above: 2, sentiment_below: -0.5}
  sla: {within: 15m}
  anomaly: {above: 0.8, owner: security-approvers}
invariants: {disabled: [delete], money_above_usd: 50}
actions: {x.y: {tier: 1}, x.z: {tier: 4}}
""",
    """\
interlock: 1
actions: {x.y: {tier: 2}, x.z: {tier: 4}, x.w: {tier: 3}}
autonomy_levels:
  level_1:
    name: careful
    rules: [{match: {topics: ["*"]}, decision: require_approval}]
  level_2:
    name: bold
    rules:
      - {match: {risk_tags: [write]}, decision: require_approval}
      - {decision: allow, when: tier < 4, constraints: {max_runtime_sec: 5}}
rules:
  - {id: r, when: "NOT tier == 2 OR signals.anomaly_score > 0.3", decision: require_approval}
""",
    '{"interlock": 1, "actions": {"x.z": {"tier": 4}}, "rules": '
    '[{"match": {"topics": ["*"]}, "decision": "allow"}]}',
)

_TOPICS = ("zz.nobody.knows", "b.c", "a.b", "files.read", "x.y")
_BEST = Signals(confidence=Decimal(1))
_OBSERVED = Signals(
    confidence=Decimal("0.2"), retry_count=9, anomaly_score=Decimal(1), sentiment=Decimal(-1), deadline_sec=1
)
_ARGUMENTS: tuple[dict[str, Any], ...] = (
    {},
    {"amount_usd": "5.00", "order_id": "A", "recipient": "r"},
    {"amount_usd": 1_000_000, "n": None, "items": [{}], "o": {"p": []}},
)


def policy(text: str) -> None:
    for name in ("p.yaml", "p.json") if text[:1] == "{" else ("p.yaml",):
        loaded = _load(name, text)
        if loaded is not None:
            _keeps_its_promises(loaded)


def _load(name: str, text: str) -> Policy | None:
    try:
        return parse({name: text})
    except PolicyError:
        return None


def _keeps_its_promises(loaded: Policy) -> None:
    again = Policy.from_canonical(loaded.canonical())
    assert again.snapshot == loaded.snapshot
    for topic in dict.fromkeys((*_TOPICS, *loaded.catalogue.topics[:20])):
        for args in _ARGUMENTS:
            for tags in (None, frozenset({"money", "prod", "deploy"})):
                _decides(loaded, again, Question(topic, args, _BEST, tags))


def _decides(loaded: Policy, again: Policy, best: Question) -> None:
    verdict = loaded.decide(best)
    assert verdict == again.decide(best), "the same question has the same verdict"
    assert loaded.decision(best) == verdict.decision
    loaded.explain(best)
    stopped = loaded.decide(_with(best, stopped="kill_1"))
    assert stopped.decision is Decision.DENY, "stop means stop"
    if loaded.mode == "observe":
        return
    if not loaded.knows(best.topic):
        assert verdict.decision.severity >= loaded.default_decision.severity, "outside nothing is looser"
    for signals in (_BEST, Signals(), _OBSERVED):
        found = loaded.decide(_with(best, signals=signals))
        assert loaded.decision(_with(best, signals=signals)) == found.decision
        if found.tier == Tier.IRREVERSIBLE:
            assert found.decision.restrictive, "tier 4 never runs without a person"
    silent = loaded.decide(_with(best, signals=Signals()))
    assert silent.decision.severity >= verdict.decision.severity, "silence gains nothing"
    worst = loaded.decide(_with(best, signals=Signals(confidence=Decimal(0))))
    assert silent.decision.severity >= worst.decision.severity, "silence is as good as the worst"


def _with(question: Question, **changes: Any) -> Question:
    known = {
        "topic": question.topic,
        "args": question.args,
        "signals": question.signals,
        "tags": question.tags,
    }
    return Question(**{**known, **changes})


# --- damage -----------------------------------------------------------------------------------------------

_WORDS = """
    && || ! ( ) [ ] , . == != < <= > >= in AND OR NOT has( size( .exists(x, .all(x, .matches(' true null
    args. facts. signals.confidence tier tags topic 0 1 -1 99.5 1e9 'x' " ' \\ # : - { } * ** & &a *a <<:
    tier: 4 decision: allow deny require_approval when: match: topics: overrides: mode: observe é
"""
_SIGNS = (
    "\n",
    "\n  ",
    "\n  - ",
    "\t",
    "\ufeff",
    "\u202e",
    "\0",
    "\x85",
    "\ud800",
    "%YAML 1.1\n",
    "---\n",
    "<<:",
)
WORDS = (*_WORDS.split(), *_SIGNS)


def mutated(random: Random, seeds: Sequence[str]) -> str:
    """A seed, damaged up to five times."""
    text = random.choice(seeds)
    for _ in range(random.randrange(6)):
        start = random.randrange(len(text) + 1)
        stop = min(len(text), start + random.choice((0, 1, 1, 2, 5, 20)))
        match random.randrange(5):
            case 0:
                text = text[:start] + text[stop:]
            case 1:
                text = text[:start] + random.choice(WORDS) + text[stop:]
            case 2:
                text = text[:start] + text[start:stop] * random.choice((2, 3, 50)) + text[stop:]
            case 3:
                other = random.choice(seeds)
                cut = random.randrange(len(other) + 1)
                text = text[:start] + other[cut : cut + 30] + text[stop:]
            case _:
                text = text[:start] + chr(random.choice((9, 32, 34, 39, 45, 58, 123, 0x202E))) + text[stop:]
    return text

"""Random policies and random questions about them: what the laws of deciding are tested on.

1. A policy is drawn as a JSON document that loads; `build` makes the policy without reading YAML, which has
   its own tests and takes longer than everything else.
2. Names, thresholds and arguments come from small sets, so that rules meet: several speak about each topic,
   thresholds are hit exactly, tags and owners are shared.
3. Every argument is declared by every entry that declares any, and every fact is declared: a condition can be
   drawn without knowing where it will stand.
4. Everything is drawn from one `random.Random`, which Hypothesis seeds: a hundred policies take a tenth of a
   second. With INTERLOCK_SHRINK=1 Hypothesis makes each choice itself, and reduces what fails; that takes
   twenty times as long.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st

from interlock.model.actions import Signals
from interlock.model.canonical import parse_json
from interlock.model.verdicts import Tier
from interlock.policy import Policy, Question
from interlock.policy.document import Document
from interlock.policy.findings import Place, Places

Json = dict[str, Any]
T = TypeVar("T")

TOPICS = ["a.one", "a.two", "b.one", "b.two", "a.one.deep"]
PATTERNS = ["*", "a.**", "a.one.**", "a.*", "*.one", "*.*", *TOPICS]
KEYS = ["a.one", "a.*", "*.one", "a.**", "*.one.**", "b.two"]
TAGS = ["money", "prod", "deploy", "delete", "secrets"]
OWNERS = ["finance-approvers", "ops-approvers", "security-approvers", "legal", "wardens"]
DECISIONS = ("allow", "allow_with_constraints", "require_approval", "deny")
RESTRICTIVE = DECISIONS[2:]
HANDOFFS = [
    "async_review",
    "approval",
    "priority_escalation",
    "mandatory_approval",
    "human_takeover",
    "session_block",
]
INVARIANTS = ["deploy", "external-comms", "money", "delete", "privilege"]
ARGS: Json = {
    "amount_usd": {"type": "decimal", "scale": 2, "currency": "USD", "optional": True},
    "sum": {"type": "decimal", "scale": 2, "currency": "EUR", "optional": True},
    "kind": {"type": "string", "optional": True},
    "n": {"type": "integer", "optional": True},
    "flag": {"type": "boolean", "optional": True},
    "items": {"type": "array", "optional": True},
    "meta": {"type": "object", "optional": True},
}
FACTS: Json = {"prior": "integer", "vip": "boolean", "region": "string"}


@lru_cache(maxsize=256)
def _built(text: str) -> Policy:
    return Policy.build(Document.model_validate(parse_json(text)), Places(Place("p", 1, 1)))


def build(document: Json) -> Policy:
    """The policy of a document, which may be used again."""
    return _built(json.dumps(document))


# --- chance ------------------------------------------------------------------------------------------------

SHRINK = os.environ.get("INTERLOCK_SHRINK") == "1"
# What Hypothesis hands out records every call; a Random of our own, with its seed, is much faster.
randoms: st.SearchStrategy[Random] = st.randoms(use_true_random=not SHRINK)
if not SHRINK:
    randoms = randoms.map(lambda r: Random(r.getrandbits(64)))


def one_in(r: Random, n: int) -> bool:
    return r.randrange(n) == n - 1


def some(r: Random, values: Sequence[T], least: int, most: int) -> list[T]:
    """Between `least` and `most` of the values, each at most once."""
    return r.sample(list(values), min(r.randint(least, most), len(values)))


# --- conditions --------------------------------------------------------------------------------------------

_ORDER = ["<", "<=", ">", ">=", "==", "!="]
_PLAIN = [
    *(f"args.amount_usd {op} {n}" for op in _ORDER for n in (0, 5, 100)),
    "100 <= args.amount_usd",
    *(f"args.n {op} {n}" for op in _ORDER for n in (0, 1, 5)),
    *(f"args.kind {op} 'x'" for op in _ORDER),
    "args.kind in ['x', 'y']",
    "args.kind.startsWith('x')",
    "args.kind.endsWith('y')",
    "args.kind.contains('z')",
    "args.kind.matches('^[xy]$')",
    "size(args.kind) > 1",
    "args.n in [0, 1]",
    "args.flag",
    "args.flag == false",
    "args.n < facts.prior",
    "args.amount_usd > args.sum",
    "'x' in args.items",
    "args.kind in args.items",
    "size(args.items) < 2",
    "args.items.exists(i, i == 'x')",
    "args.items.all(i, i != 'x' || args.flag)",
    "args.meta.level >= 2",
    "args.meta.kind == 'x'",
    *(f"facts.prior {op} {n}" for op in ("<", ">=") for n in (1, 5)),
    "facts.vip",
    "facts.region != 'eu'",
    "provenance.recipient in ['user', 'known']",
    "provenance.recipient == 'untrusted'",
    *(f"signals.retry_count {op} {n}" for op in ("<", ">=") for n in (1, 5)),
    "signals.anomaly_score > 0.3",
    "signals.sentiment < 0",
    "signals.injection_score >= 0.3",
    "signals.deadline_sec < 3600",
    "signals.affected_users > 1",
    "signals.first_time_recipient",
    "signals.duplicate_of == 'act_1'",
    "'money' in tags",
    "size(tags) > 1",
    "topic == 'a.one'",
    "topic.startsWith('a.')",
]
_PRESENCE = [
    "has(args.kind)",
    "has(args.meta.level)",
    "has(facts.vip)",
    "has(provenance.recipient)",
    "has(signals.deadline_sec)",
    "has(signals.duplicate_of)",
]
_TIERS = [f"tier {op} {n}" for op in _ORDER for n in (1, 2, 3, 4)] + ["tier in [2, 3]", "3 > tier"]
_DOUBTS = [
    *(f"signals.confidence {op} {n}" for op in ("<", "<=") for n in (0, 0.3, 0.7, 1)),
    "0.7 > signals.confidence",
    "!(signals.confidence >= 0.7)",
]


def condition(r: Random, *, doubt: bool = False, tier: bool = True, presence: bool = True) -> str:
    """A condition. `presence`: whether it may ask with has(), for which missing is an answer."""
    atoms = [*_PLAIN, *(_PRESENCE if presence else ()), *(_TIERS * 2 if tier else ())]

    def atom() -> str:
        if doubt and one_in(r, 4):
            return r.choice(_DOUBTS)
        found = r.choice(atoms)
        return f"!({found})" if one_in(r, 6) else found

    if one_in(r, 2):
        return atom()
    join, other = r.choice([("&&", "||"), ("||", "&&"), ("AND", "OR")])
    parts = [atom(), atom()]
    if sum("(i, " in part for part in parts) > 1:  # one macro a condition
        parts.pop()
    if one_in(r, 2):
        return f" {join} ".join(parts)
    return f"({f' {join} '.join(parts)}) {other} {r.choice(_TIERS if tier else _PLAIN[:20])}"


# --- rules -------------------------------------------------------------------------------------------------

_OFTEN = {"allow": 4, "allow_with_constraints": 2, "require_approval": 2, "deny": 1}
_LIMITS: list[Json] = [
    {"max_runtime_sec": 60},
    {"max_runtime_sec": 900},
    {"network_allowlist": ["a.example", "b.example"]},
    {"network_allowlist": ["b.example", "c.example"]},
    {"network_allowlist": []},
    {"max_runtime_sec": 60, "network_allowlist": ["a.example"]},
]
_THRESHOLDS: dict[str, Callable[[Random], Any]] = {
    "risk_tags": lambda r: some(r, TAGS, 1, 2),
    "all_risk_tags": lambda r: some(r, TAGS, 1, 2),
    "amount_usd_above": lambda r: r.choice([0, 5, 100]),
    "affected_users_above": lambda r: r.choice([0, 1, 5]),
    "anomaly_score_above": lambda r: r.choice([0.3, 0.7]),
    "retry_count_above": lambda r: r.choice([0, 1, 5]),
    "first_time_action": lambda r: r.choice([True, False]),
}
ASKED = ["security-approvers", "finance-approvers"]
"""Whom lanes escalate to; a document that ranks owners names them too."""
LANES: Json = {
    "quick": {"window": "2m", "on_timeout": "deny", "valid": "5m"},
    "slow": {"window": "30d", "on_timeout": "escalate", "valid": "2h"},
    "silent": {"window": "1h", "on_timeout": "allow"},
}
_LANES: list[Any] = [
    *LANES,
    {"window": "1h", "on_timeout": "kill_switch"},
    {"window": "1h", "on_timeout": "deny", "valid": "1m"},
    {"window": "2m", "on_timeout": "allow"},
    {"window": "3m", "on_timeout": "allow", "valid": "2m"},
    {"window": "2d", "on_timeout": "escalate", "valid": "3h"},
    {"window": "1h", "on_timeout": "escalate", "escalate_to": ASKED},
    {
        "window": "5h",
        "on_timeout": "escalate",
        "escalate_to": [{"owner": "finance-approvers", "window": "2m"}, "security-approvers"],
    },
]


def rule(
    r: Random,
    *,
    decisions: Sequence[str] = DECISIONS,
    doubt: bool = True,
    presence: bool = True,
    in_level: bool = False,
) -> Json:
    """A rule without an id. `in_level`: one of a level, which says less and reads less."""
    decision = r.choice([each for each in decisions for _ in range(_OFTEN[each])])
    doubt = doubt and decision in RESTRICTIVE and not in_level
    match: Json = {}
    if not one_in(r, 5):
        match["topics"] = some(r, PATTERNS, 1, 2)
    if one_in(r, 2):
        key = r.choice([*_THRESHOLDS, "confidence_below"] if doubt else [*_THRESHOLDS])
        match[key] = r.choice([0.3, 0.7, 1]) if key == "confidence_below" else _THRESHOLDS[key](r)
    found: Json = {"match": match or {"topics": ["*"]}, "decision": decision}
    if one_in(r, 2):
        found["when"] = condition(r, doubt=doubt, presence=presence)
    if one_in(r, 4):
        found["constraints"] = r.choice(_LIMITS)
    if one_in(r, 3) and not in_level:
        found["owner"] = r.choice(OWNERS)
    if decision == "require_approval" and one_in(r, 2) and not in_level:
        found["lane"] = copy.copy(r.choice(_LANES))
    return found


def reads_doubt(rule: Json) -> bool:
    """Whether a rule reads what the agent reports."""
    return "confidence_below" in rule.get("match", {}) or "signals.confidence" in rule.get("when", "")


def _related(r: Random, found: list[Json]) -> None:
    """Some rules are locked, and some set others aside: none of those is set aside itself."""
    for index, each in enumerate(found):
        each["id"] = f"r{index}"
        if one_in(r, 6):
            each["locked"] = True
    above = [each for each in found if not reads_doubt(each) and one_in(r, 4)]
    below = [each["id"] for each in found if each not in above and not each.get("locked")]
    for each in above if below else ():
        each["overrides"] = some(r, below, 1, 2)


# --- the catalogue -----------------------------------------------------------------------------------------


def entry(r: Random, *, presence: bool = True, top: int = 4) -> Json:
    tier = r.choice([1, 2, 2, 3, 3, 4][: 2 * top - 2])
    found: Json = {"tier": tier}
    if not one_in(r, 5):
        found["args"] = ARGS
        found["roles"] = r.choice(
            [{}, {"amount": "amount_usd"}, {"amount": "sum"}, {"people": "n"}, {"people": "items"}]
        )
    if one_in(r, 2):
        found["risk_tags"] = some(r, TAGS, 1, 2)
    if tier < top and one_in(r, 2):
        found["raise_to"] = [
            {
                "tier": r.randint(tier + 1, top),
                "when": condition(r, doubt=True, tier=False, presence=presence),
            }
            for _ in range(r.choice([1, 1, 2]))
        ]
    if one_in(r, 4):
        found["constraints"] = r.choice(_LIMITS)
    if not one_in(r, 4):
        found["undo"] = "b.one"
        found.update(r.choice([*[{"undo_within": "5m"}] * 4, {"undo_within": "6m"}, {}]))
    return found


# --- triggers, invariants and the rest ---------------------------------------------------------------------


def _section(r: Random, name: str) -> Json:
    if name == "confidence":
        section: Json = {"floor": r.choice([0.3, 0.7, 1])}
        if one_in(r, 2):
            section["discount"] = r.choice([0, 0.3, 0.7])
    elif name == "risk_tier":
        return {"tiers": r.choice([[3, 4], [2, 4], [4], [1, 3, 4]])}
    else:
        section = {
            "frustration": {"sentiment_below": r.choice([-1, 0, 0.5]), "retry_count_above": r.choice([0, 5])},
            "sla": {"within": r.choice(["1m", "2h"])},
            "irreversibility": {},
            "anomaly": {"above": r.choice([0.3, 1]), "injection_above": r.choice([0.3, 1])},
        }[name]
    if one_in(r, 3):
        section["match"] = r.choice(
            [{"topics": ["a.**"]}, {"risk_tags": ["money"]}, {"all_risk_tags": ["prod"]}]
        )
    if one_in(r, 3):
        section["enabled"] = False
    return section


_SECTIONS = ["confidence", "risk_tier", "frustration", "sla", "irreversibility", "anomaly"]


def trigger_sections(r: Random) -> Json:
    found: Json = {}
    for name in some(r, _SECTIONS, 0, 3):
        found[name] = _section(r, name)
        if one_in(r, 3):
            found[name]["owner"] = r.choice(OWNERS)
        if one_in(r, 3):
            found[name]["handoff"] = r.choice(HANDOFFS)
    return found


def document(
    r: Random,
    *,
    presence: bool = True,
    modes: Sequence[str] = ("enforce", "enforce", "enforce", "observe"),
    most_rules: int = 5,
) -> Json:
    """A policy document that loads, with every section that decides something."""
    top = r.choice([2, 4, 4])
    found = [rule(r, presence=presence) for _ in range(r.randint(0, most_rules))]
    if top == 2 and found and one_in(r, 2):
        found[-1] = {"match": {}, "decision": "require_approval", "lane": "silent"}
    _related(r, found)
    document: Json = {
        "interlock": 1,
        "mode": r.choice(modes),
        "default_decision": r.choice(["require_approval", "require_approval", "deny"]),
        "actions": {key: entry(r, presence=presence, top=top) for key in some(r, KEYS, 0, 4)},
        "facts": FACTS,
        "rules": found,
        "triggers": trigger_sections(r),
        "autonomy_levels": {
            f"level_{level}": {
                "rules": [rule(r, presence=presence, in_level=True) for _ in range(r.randint(1, 3))]
            }
            for level in r.choice([(), (), (0,), (1, 2), (0, 1, 3)])
        },
    }
    if one_in(r, 2):
        document["owners"] = [*some(r, OWNERS, 1, 3)]
        if any("escalate_to" in each["lane"] for each in document["rules"] if "lane" in each):
            document["owners"] += [name for name in ASKED if name not in document["owners"]]
    if not one_in(r, 4):
        document["invariants"] = r.choice(
            [
                {"money_above_usd": 5},
                {"money_above": {"EUR": 50}},
                {"disabled": ["money", "delete"]},
                *[{"disabled": INVARIANTS}] * 4,
            ]
        )
    if one_in(r, 3):
        document["routing"] = r.choice(
            [
                {"default": "desk"},
                {"financial_actions": "cfo", "default": "desk"},
                {"security_actions": "ciso", "financial_actions": "cfo"},
            ]
        )
    _speak_up(r, document, top)
    return document


def _speak_up(r: Random, document: Json, top: int) -> None:
    """A lane may end in silence that allows only where everything that it is about is catalogued, below 3."""
    known = [key for key in document["actions"] if "**" not in key]
    document["lanes"] = LANES if top == 2 else {**LANES, "silent": {"window": "1h", "on_timeout": "deny"}}
    for each in document["rules"]:
        lane = each.get("lane")
        if lane == "silent" or (isinstance(lane, dict) and lane["on_timeout"] == "allow"):
            if top == 2 and known:
                each["match"]["topics"] = some(r, known, 1, 2)
            else:
                each["lane"] = "slow"
                each["match"] = each["match"] or {"topics": ["a.**"]}


# --- questions ---------------------------------------------------------------------------------------------

SHARES = [Decimal(share) for share in ("0", "0.3", "0.5", "0.7", "0.9", "1")]
ARGUMENTS: dict[str, list[Any]] = {
    "amount_usd": ["0.00", "1.00", "5.00", "99.99", "100.00", "250.00"],
    "sum": ["0.00", "7.00", "100.00"],
    "kind": ["x", "y", "z", "xyz", ""],
    "n": [0, 1, 2, 5, 6],
    "flag": [True, False],
    "items": [[], ["x"], ["y", "z"], ["x", 5], [None, True]],
    "meta": [{}, {"level": 1}, {"level": 2, "kind": "x"}, {"level": "2"}],
}
OBSERVED: dict[str, list[Any]] = {
    "retry_count": [0, 1, 2, 3, 6],
    "anomaly_score": [Decimal(score) for score in ("0", "0.3", "0.5", "0.9")],
    "affected_users": [None, 0, 1, 2, 6],
    "first_time_action": [True, False],
    "first_time_recipient": [True, False],
    "sentiment": [Decimal(mood) for mood in ("0", "1", "-0.5", "-0.7")],
    "injection_score": [Decimal(score) for score in ("0", "0.3", "0.5", "0.6")],
    "deadline_sec": [None, 59, 900, 5_000, -1],
    "duplicate_of": [None, None, "act_1", "act_2"],
}
CALM: Json = {
    "retry_count": 0,
    "anomaly_score": Decimal(0),
    "sentiment": Decimal(0),
    "injection_score": Decimal(0),
    "deadline_sec": None,
}
"""No trigger fires."""
AT_REST: Json = {
    **CALM,
    "affected_users": None,
    "first_time_action": False,
    "first_time_recipient": False,
    "duplicate_of": None,
}
"""Nobody observed anything."""
KNOWN: dict[str, list[Any]] = {"prior": [0, 1, 4, 5], "vip": [True, False], "region": ["eu", "us"]}
CAME_FROM = ["user", "known", "record", "untrusted", "unseen"]
GARBAGE: list[Any] = [
    None,
    "NaN",
    "x",
    "1e3",
    -7,
    2.5,
    float("nan"),
    Decimal("NaN"),
    True,
    [],
    {},
    ["x", None],
]
"""What is no value of most inputs; some are wrong for one and right for another."""


def question(r: Random, *, full: bool = False) -> Question:
    """A question. `full`: nothing is missing or garbled, and confidence is reported at its best."""
    calm = r.choice([{}, CALM, CALM, AT_REST])
    signals = {name: calm[name] if name in calm else r.choice(OBSERVED[name]) for name in OBSERVED}
    signals["confidence"] = Decimal(1) if full else r.choice([None, *SHARES])
    args = {name: r.choice(values) for name, values in ARGUMENTS.items() if full or not one_in(r, 3)}
    facts = {name: r.choice(values) for name, values in KNOWN.items() if full or not one_in(r, 3)}
    if not full and one_in(r, 4):
        args[r.choice(list(ARGUMENTS))] = r.choice(GARBAGE)
        signals[r.choice(list(signals))] = r.choice(GARBAGE)
    asked = Question(
        r.choice(TOPICS),
        args,
        tags=frozenset(some(r, TAGS, 0, 2)) if full or not one_in(r, 4) else None,
        tier=r.choice([None, None, None, None, *Tier]),
        level=r.choice([None, 0, 1, 2, 3, 7]),
        facts=facts,
        provenance={"recipient": r.choice(CAME_FROM)} if full or one_in(r, 2) else {},
    )
    said = Signals(**signals)
    return asked if said == Signals() else replace(asked, signals=said)


# --- strategies --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A policy, and questions about it. `random` continues to draw from the same seed."""

    document: Json
    questions: tuple[Question, ...]
    random: Random

    @property
    def policy(self) -> Policy:
        return build(self.document)

    def __repr__(self) -> str:
        return f"Case({json.dumps(self.document)}, {self.questions})"


def documents(**how: Any) -> st.SearchStrategy[Json]:
    return randoms.map(lambda r: document(r, **how))


def questions(*, full: bool = False, **given: Any) -> st.SearchStrategy[Question]:
    """Questions, some parts of which may be given."""
    return randoms.map(lambda r: replace(question(r, full=full), **given))


def cases(*, asked: int = 5, full: bool = False, **how: Any) -> st.SearchStrategy[Case]:
    """A policy with as many questions as `asked` says."""

    def draw(r: Random) -> Case:
        drawn = document(r, **how)
        return Case(drawn, tuple(question(r, full=full) for _ in range(asked)), r)

    return randoms.map(draw)

"""One random policy and the actions it is asked about, in a form that every engine can be given.

1. A topic is ``job.<domain>.<object>.<verb>``. The catalogue says by domain and verb which tier (1, 3 or 4)
   and which tags an action has; the vocabulary of objects grows with the number of rules, as it does in
   an organisation that writes them. Up to eight rules sweep over everything; one rule in two names one topic,
   one in four everything below an object, the others have a ``*`` in the middle.
2. One rule in two asks for tags. Every rule compares arguments, with *and*, *or* and *not*; `recipients` and
   `age_days` may be missing.
3. What is missing never skips a restriction: a rule that denies or asks for a person counts unless it is
   refuted, one that permits only if it is proved. `Rule.counts` writes both out over plain comparisons, for
   engines with two truth values. A rule that permits within limits reads only what is never missing, for
   its limits bind even unproved, which two truth values cannot say.
4. The strictest rule that counts decides. Tier 4 always asks for a person; where no rule counts, tier 3
   asks and tier 1 is allowed. The tags are none that our built-in invariants watch, so those stay on.
5. Amounts are dollars with two decimals for us, and whole cents for the others, which have no exact decimals
   in this form. The same seed gives the same policy everywhere.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias, TypeVar

DENY, ASK, WITHIN, ALLOW = DECISIONS = ("deny", "require_approval", "allow_with_constraints", "allow")
"""Strictest first."""
DOMAINS = ("payments", "email", "db", "k8s", "crm", "files", "iam", "billing", "ads", "chat")
VERBS = ("read", "list", "write", "update", "create", "send", "refund", "export", "grant", "purge")
TAGS = ("pii", "write", "bulk", "legal", "phi", "internal", "batch", "partner", "audit", "beta")
BELOW = {"amount_usd": 200_000, "rows": 5_000, "recipients": 500, "age_days": 400}
"""The arguments, all whole numbers of zero or more, and what they stay below; the amount in cents."""
OPTIONAL = frozenset({"recipients", "age_days"})
SWEEPING = 8
RULES_PER_OBJECT = 40
RULES_PER_FILE = 1_000
_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">"}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Compare:
    field: str
    op: str
    value: int


@dataclass(frozen=True, slots=True)
class Not:
    part: Condition


@dataclass(frozen=True, slots=True)
class Every:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    parts: tuple[Condition, ...]


Condition: TypeAlias = Compare | Not | Every | Some


@dataclass(frozen=True, slots=True)
class Rule:
    """`any_tags`, `all_tags`: empty where it asks for none."""

    id: str
    pattern: str
    any_tags: tuple[str, ...]
    all_tags: tuple[str, ...]
    when: Condition
    decision: str

    @property
    def restrictive(self) -> bool:
        return self.decision in (DENY, ASK)

    @property
    def exact(self) -> bool:
        """Whether it speaks about one topic only."""
        return "*" not in self.pattern

    @property
    def segments(self) -> tuple[tuple[int, str], ...]:
        """What its pattern asks of a topic: (which segment, which word); every topic's first is the same."""
        return tuple((n, s) for n, s in enumerate(self.pattern.split(".")) if n and s not in ("*", "**"))

    def counts(
        self,
        compare: Callable[[Compare], T],
        absent: Callable[[str], T],
        present: Callable[[str], T],
        every: Callable[[list[T]], T],
        some: Callable[[list[T]], T],
    ) -> T:
        """When it counts, without *not* and without a third truth value (rule 3).

        *Not refuted* is: each comparison holds or its argument is absent; *proved*: it holds and is present.
        """

        def rendered(part: Condition, wanted: bool) -> T:
            if isinstance(part, Not):
                return rendered(part.part, not wanted)
            if isinstance(part, Compare):
                holds = compare(part if wanted else Compare(part.field, _OPPOSITE[part.op], part.value))
                if part.field not in OPTIONAL:
                    return holds
                if self.restrictive:
                    return some([absent(part.field), holds])
                return every([present(part.field), holds])
            parts = [rendered(inner, wanted) for inner in part.parts]
            return every(parts) if isinstance(part, Every) is wanted else some(parts)

        return rendered(self.when, True)


@dataclass(frozen=True, slots=True)
class Action:
    """What is proposed, and what the catalogue says about its topic. The amount is in cents."""

    topic: str
    args: dict[str, int]
    tier: int
    tags: tuple[str, ...]

    @property
    def decoded(self) -> dict[str, Any]:
        """The arguments as they come out of JSON with exact decimals."""
        return {**self.args, "amount_usd": Decimal(self.args["amount_usd"]).scaleb(-2)}


@dataclass(frozen=True, slots=True)
class Shape:
    """`catalogue`: (tier, tags) by domain and verb."""

    rules: tuple[Rule, ...]
    objects: tuple[str, ...]
    catalogue: dict[tuple[str, str], tuple[int, tuple[str, ...]]]

    def actions(self, count: int, seed: int) -> list[Action]:
        """Actions over the whole vocabulary; one optional argument in five is missing."""
        draw = random.Random(seed)
        found = []
        for _ in range(count):
            domain, thing, verb = draw.choice(DOMAINS), draw.choice(self.objects), draw.choice(VERBS)
            found.append(
                Action(f"job.{domain}.{thing}.{verb}", _arguments(draw), *self.catalogue[domain, verb])
            )
        return found

    def sources(self) -> dict[str, str]:
        """The policy as our files: the catalogue, and rules in files of a thousand."""
        lines = ["interlock: 1", "name: benchmark", "actions:"]
        for (domain, verb), (tier, tags) in self.catalogue.items():
            lines += [f"  job.{domain}.*.{verb}:", f"    tier: {tier}"]
            lines += [f"    risk_tags: [{', '.join(tags)}]"] if tags else []
            lines += ["    args:", "      amount_usd: {type: decimal, scale: 2, currency: USD}"]
            lines += [f"      {name}: {_declared(name)}" for name in BELOW if name != "amount_usd"]
        files = {"catalogue.yaml": "\n".join(lines) + "\n"}
        for start in range(0, len(self.rules), RULES_PER_FILE):
            lines = ["interlock: 1", "rules:"]
            for rule in self.rules[start : start + RULES_PER_FILE]:
                lines += [f"  - id: {rule.id}", "    match:", f"      topics: [{rule.pattern}]"]
                lines += [f"      risk_tags: [{', '.join(rule.any_tags)}]"] if rule.any_tags else []
                lines += [f"      all_risk_tags: [{', '.join(rule.all_tags)}]"] if rule.all_tags else []
                lines += [f"    when: {json.dumps(_text(rule.when))}", f"    decision: {rule.decision}"]
                lines += ["    constraints: {max_runtime_sec: 60}"] if rule.decision == WITHIN else []
            files[f"rules-{start // RULES_PER_FILE:03}.yaml"] = "\n".join(lines) + "\n"
        return files


def again(actions: Sequence[Action], seed: int) -> list[Action]:
    """The same topics with new arguments."""
    draw = random.Random(seed)
    return [Action(a.topic, _arguments(draw), a.tier, a.tags) for a in actions]


def shape(rules: int, seed: int = 1) -> Shape:
    """A random policy of so many rules."""
    draw = random.Random(seed)
    objects = tuple(f"o{n}" for n in range(max(1, rules // RULES_PER_OBJECT)))
    catalogue = {
        (domain, verb): (draw.choices((1, 3, 4), (45, 45, 10))[0], _some_tags(draw, draw.randrange(5)))
        for domain in DOMAINS
        for verb in VERBS
    }
    sweeping = min(SWEEPING, rules * 8 // 100)
    drawn = []
    for number in range(rules):
        decision = draw.choices(DECISIONS, (2, 3, 3, 2))[0]
        any_tags: tuple[str, ...] = ()
        all_tags: tuple[str, ...] = ()
        if number < sweeping:
            pattern, all_tags = "job.**", _some_tags(draw, 2)
        else:
            pattern = _pattern(draw, objects, few=rules <= 100)
            kind = draw.randrange(4)
            if kind == 0:
                any_tags = _some_tags(draw, 2)
            elif kind == 1:
                all_tags = _some_tags(draw, draw.choice((1, 1, 2)))
        drawn.append((pattern, any_tags, all_tags, _condition(draw, decision != WITHIN), decision))
    draw.shuffle(drawn)
    return Shape(tuple(Rule(f"r{n}", *parts) for n, parts in enumerate(drawn)), objects, catalogue)


def _some_tags(draw: random.Random, count: int) -> tuple[str, ...]:
    return tuple(sorted(draw.sample(TAGS, count)))


def _arguments(draw: random.Random) -> dict[str, int]:
    return {
        name: draw.randrange(below)
        for name, below in BELOW.items()
        if name not in OPTIONAL or draw.random() < 0.8
    }


def _pattern(draw: random.Random, objects: tuple[str, ...], *, few: bool) -> str:
    domain, thing, verb = draw.choice(DOMAINS), draw.choice(objects), draw.choice(VERBS)
    kind = draw.random()
    if kind < 0.55:
        return f"job.{domain}.{thing}.{verb}"
    if kind < 0.8:
        return f"job.{domain}.{thing}.**"
    return f"job.{domain}.*.{verb}" if few else f"job.*.{thing}.{verb}"


def _condition(draw: random.Random, optional: bool) -> Condition:
    fields = [name for name in BELOW if optional or name not in OPTIONAL]

    def compare() -> Compare:
        name = draw.choice(fields)
        return Compare(name, draw.choice(("<", "<=", ">", ">=")), draw.randrange(1, BELOW[name]))

    kind = draw.random()
    if kind < 0.2:
        return compare()
    if kind < 0.6:
        return Every((compare(), compare()))
    if kind < 0.8:
        return Some((compare(), compare()))
    return Every((compare(), Some((compare(), Not(compare())))))


def _declared(name: str) -> str:
    return "{type: integer, optional: true}" if name in OPTIONAL else "integer"


def _text(part: Condition) -> str:
    if isinstance(part, Compare):
        value = f"{Decimal(part.value).scaleb(-2):f}" if part.field == "amount_usd" else part.value
        return f"args.{part.field} {part.op} {value}"
    if isinstance(part, Not):
        return f"!({_text(part.part)})"
    if isinstance(part, Every):
        return " && ".join(f"({_text(p)})" if isinstance(p, Some) else _text(p) for p in part.parts)
    return " || ".join(_text(p) for p in part.parts)

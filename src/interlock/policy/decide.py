"""Deciding: one question, one verdict, from reviewed rules alone.

1. The strictest matching decision wins. Among rules of one decision a proved match outranks an unproved
   one, then the order in the files counts.
2. Where no rule matched, the tier's default counts: 1 and 2 run, 3 and 4 ask a person. Outside the
   catalogue the policy's `default_decision` counts, and a rule that permits must name the topic.
3. Tier 4 never runs without a person: a floor after everything else (promise P3).
4. What several rules say adds up and never cancels: the tier is the highest, constraints conjoin, triggers
   unite, the window and the validity are the shortest, and the owner is the one ranked highest.
5. A reported signal can only tighten. Nothing permissive reads one, and a missing one counts as its worst
   (promise P1).
6. A match that is not proved, or that rests on what the agent reported, comes on top of what would be said
   without it and never in its place: it does not displace a stricter default or a shorter window.
7. A rule that permits within limits permits only if proved, but its limits hold unless it is refuted: where
   the action would run anyway, it runs within them.

>>> from interlock.policy import Question, parse
>>> policy = parse({"p.yaml": "interlock: 1\\nactions: {files.read: {tier: 1}, files.wipe: {tier: 4}}\\n"})
>>> policy.decide(Question("files.read", {})).decision.value
'allow'
>>> policy.decide(Question("files.wipe", {})).rule
'default:tier-4'
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from interlock.model.actions import Signals
from interlock.model.binding import catalogue_digest
from interlock.model.canonical import Json, canonical, parse_json
from interlock.model.errors import InvalidInput, PolicyError
from interlock.model.topics import parse_topic
from interlock.model.verdicts import (
    DEFAULT_OWNER,
    NO_CONSTRAINTS,
    Decision,
    Lane,
    OnTimeout,
    Tier,
    Trigger,
    Verdict,
)
from interlock.policy.catalogue import Catalogue, CatalogueEntry, undeclared_args
from interlock.policy.check import check
from interlock.policy.compiling import compile_entry, compile_rule
from interlock.policy.conditions import Inputs, conjunction
from interlock.policy.document import Document
from interlock.policy.explain import Explanation, Match, once, shown, why, why_not
from interlock.policy.findings import Place, Places, nearest, raise_for
from interlock.policy.rules import Rule

BASELINE = Signals()
REMEMBERED_TOPICS = 4_096
REMEMBERED_VERDICTS = 256
MAX_CANONICAL = 8 << 20
_DAY = 86_400
_NOBODY_HURRIES = Lane(7 * _DAY, OnTimeout.ESCALATE)
_SILENCE_DENIES = Lane(_DAY, OnTimeout.DENY)


@dataclass(frozen=True, slots=True)
class Question:
    """What is decided on.

    Attributes:
        args: canonical, as `Policy.check_args` returns them.
        tags: the trusted registration's, read outside the catalogue only; None where nobody knows them.
        tier: an assumption of `explain` that stands for a catalogue entry; never set for a live action, and
            without effect on a catalogued topic.
    """

    topic: str
    args: Mapping[str, Json]
    signals: Signals = BASELINE
    tags: frozenset[str] | None = frozenset()
    tier: Tier | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a topic always needs: its entry, and the rules that can match it."""

    entry: CatalogueEntry | None
    digest: str
    tags: frozenset[str]
    rules: tuple[Rule, ...]
    named: frozenset[str]
    verdicts: dict[object, Verdict]
    """Verdicts given so far, by all they depend on: what matched and how, tiers, tags, what was missing."""


_Found = tuple[Rule, bool]
"""A rule that matched, and whether that is proved."""


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """An immutable policy. Two policies are the same if and only if their snapshots are.

    Attributes:
        snapshot: ``v1:`` and the hex SHA-256 of `canonical`.
        people: whether more than one person decides (`solo` marks every decision as such).
        warnings: what loaded although somebody should look at it.
    """

    snapshot: str
    name: str
    people: Literal["team", "solo"]
    warnings: tuple[str, ...]
    catalogue: Catalogue
    rules: tuple[Rule, ...]
    default_decision: Decision
    owners: tuple[str, ...]
    _canonical: bytes = field(repr=False)
    _plans: dict[str, _Plan] = field(default_factory=dict, repr=False)

    # --- from and to documents

    @classmethod
    def build(cls, document: Document, places: Places) -> Policy:
        """Raises `PolicyError` with every finding of `check`."""
        findings, warnings = check(document, places)
        raise_for(findings)
        data = canonical(document.normal())
        return cls(
            snapshot="v1:" + hashlib.sha256(data).hexdigest(),
            name=document.name,
            people=document.people,
            warnings=tuple(warnings),
            catalogue=Catalogue(compile_entry(key, spec) for key, spec in sorted(document.actions.items())),
            rules=tuple(
                compile_rule(document.rule_id(index), index, spec)
                for index, spec in enumerate(document.rules)
            ),
            default_decision=Decision(document.default_decision),
            owners=document.owners,
            _canonical=data,
        )

    def canonical(self) -> bytes:
        """The normalised document in RFC 8785 form: no positions, no defaults; itself a policy document."""
        return self._canonical

    @classmethod
    def from_canonical(cls, data: bytes) -> Policy:
        """The policy these canonical bytes came from: same snapshot, same behaviour.

        Raises:
            PolicyError: the bytes are not the canonical form of a policy that this version reads.
        """
        places = Places(Place("canonical form", 1, 1))
        try:
            policy = cls.build(Document.model_validate(parse_json(data, max_bytes=MAX_CANONICAL)), places)
        except (InvalidInput, ValidationError) as error:
            raise PolicyError("the stored form of the policy cannot be read") from error
        if policy.canonical() != data:
            raise PolicyError("the stored form of the policy is not canonical")
        return policy

    # --- the catalogue

    def entry(self, topic: str) -> CatalogueEntry | None:
        """What people reviewed about a topic; None outside the catalogue. Raises `BadTopic`."""
        return self._plan(topic).entry

    def entry_digest(self, topic: str) -> str:
        """Hash of what people reviewed about a topic, as the review hash covers it. Raises `BadTopic`."""
        return self._plan(topic).digest

    def knows(self, topic: str) -> bool:
        """Whether the topic is catalogued, or named by a rule; ``*`` and a final ``**`` name none."""
        plan = self._plan(topic)
        return plan.entry is not None or bool(plan.named)

    def suggest(self, topic: str) -> str | None:
        """The known topic that this one was probably meant to be."""
        named = (p.text for rule in self.rules for p in rule.patterns or () if p.exact)
        return nearest(topic, {*self.catalogue.topics, *named})

    def check_args(self, topic: str, args: Mapping[str, Any]) -> dict[str, Json]:
        """The arguments in canonical form; outside the catalogue as they are, if JSON can carry them.

        Raises:
            InvalidInput: (a subclass of it) with the path to the argument, ``$.args.amount_usd``.
        """
        entry = self.entry(topic)
        return undeclared_args(args) if entry is None else entry.check_args(args)

    # --- deciding

    def decide(self, question: Question) -> Verdict:
        """The verdict. Pure: the same question and policy give the same verdict."""
        plan = self._plan(question.topic)
        inputs, missing = _inputs(plan, question)
        found: list[_Found] = []
        limiting: list[_Found] = []
        for rule in plan.rules:
            truth = conjunction(rule.tests, inputs)
            if truth is False or not (rule.restrictive or inputs.tiers or rule.id in plan.named):
                continue
            if truth is True or rule.restrictive:
                found.append((rule, truth is True))
                if truth is None:
                    missing += rule.unknown(inputs)
            elif rule.limits:
                limiting.append((rule, False))
        if len(found) > 1:
            found.sort(key=_strictness)
        basis = (
            tuple([(rule.index, proved) for rule, proved in found]),
            tuple([rule.index for rule, _ in limiting]),
            inputs.tiers,
            inputs.tags,
            tuple(missing),
        )
        verdict = plan.verdicts.get(basis)
        if verdict is None:
            if len(plan.verdicts) >= REMEMBERED_VERDICTS:
                plan.verdicts.clear()
            verdict = plan.verdicts[basis] = self._verdict(plan, inputs, found, limiting, missing)
        return verdict

    def explain(self, question: Question) -> Explanation:
        """The same verdict as `decide`, with every rule that was asked and what it read."""
        plan = self._plan(question.topic)
        inputs, _ = _inputs(plan, question)
        verdict = self.decide(question)
        truths = {rule.id: (rule, conjunction(rule.tests, inputs)) for rule in plan.rules}
        matching = [truths.pop(rule_id) for rule_id in verdict.matched]
        raised = [test for entry in (plan.entry,) if entry for r in entry.raise_to for test in r.tests]
        tests = [*raised, *(test for rule in plan.rules for test in rule.tests)]
        return Explanation(
            verdict=verdict,
            matches=tuple(
                Match(rule.id, rule.decision, truth is True, why(rule, inputs)) for rule, truth in matching
            ),
            passed_over=tuple(
                Match(rule.id, rule.decision, truth is False, why_not(rule, truth, inputs))
                for rule, truth in truths.values()
            ),
            values={test.input: shown(test.read(inputs)) for test in tests},
            missing=once(test.input for test in tests if test.check(inputs) is None),
        )

    def _plan(self, topic: str) -> _Plan:
        plan = self._plans.get(topic)
        if plan is None:
            entry = self.catalogue.entry(parse_topic(topic))
            rules = tuple(rule for rule in self.rules if rule.speaks_about(topic))
            named = frozenset(rule.id for rule in rules if rule.names(topic))
            digest = catalogue_digest(None if entry is None else entry.to_json())
            plan = _Plan(entry, digest, frozenset(entry.risk_tags if entry else ()), rules, named, {})
            if len(self._plans) >= REMEMBERED_TOPICS:
                self._plans.clear()
            self._plans[topic] = plan
        return plan

    def _verdict(
        self, plan: _Plan, inputs: Inputs, found: list[_Found], limiting: list[_Found], missing: list[str]
    ) -> Verdict:
        tier = Tier(inputs.tiers[-1]) if inputs.tiers else None
        winner = found[0][0] if found else None
        if winner is not None:
            decision, rule, reason = winner.decision, winner.id, winner.reason or _REASONS[winner.decision]
        if winner is None or not any(map(_settles, found)):
            default = self._default(tier)
            if winner is None or default[0].severity > winner.decision.severity:
                winner, (decision, rule, reason) = None, default
        if tier is Tier.IRREVERSIBLE and not decision.restrictive:
            decision, rule, reason = Decision.REQUIRE_APPROVAL, "floor:tier-4", _ALWAYS_A_PERSON
        if limiting and not decision.restrictive:
            found = sorted([*found, *limiting], key=_strictness)
            if decision is Decision.ALLOW:
                winner = limiting[0][0]
                decision, rule = Decision.ALLOW_WITH_CONSTRAINTS, winner.id
                reason = winner.reason or _REASONS[decision]
        asking = [pair for pair in found if pair[0].decision is Decision.REQUIRE_APPROVAL]
        triggers = {trigger for r, _ in found for trigger in r.triggers}
        if tier is Tier.IRREVERSIBLE or rule == "default:tier-3":
            triggers.add(Trigger.RISK_TIER)
        constraints = plan.entry.constraints if plan.entry else NO_CONSTRAINTS
        for matched, _ in found:
            if matched.constraints is not NO_CONSTRAINTS:
                constraints = constraints.conjoin(matched.constraints)
        return Verdict(
            decision=decision,
            rule=rule,
            tier=tier,
            triggers=tuple(trigger for trigger in Trigger if trigger in triggers) if triggers else (),
            constraints=constraints,
            owner=self._owner(asking, winner),
            lane=_lane(asking, tier) if decision is Decision.REQUIRE_APPROVAL else None,
            reason=reason,
            snapshot=self.snapshot,
            tags=tuple(sorted(inputs.tags or ())),
            matched=tuple(r.id for r, _ in found),
            missing=once(missing),
        )

    def _default(self, tier: Tier | None) -> tuple[Decision, str, str]:
        if tier is None:
            held = self.default_decision is Decision.REQUIRE_APPROVAL
            follows = "a person decides" if held else "it is denied"
            reason = f"Nobody catalogued this topic, so {follows}"
            return self.default_decision, "default:uncatalogued", reason
        decision = Decision.REQUIRE_APPROVAL if tier >= Tier.EXTERNAL else Decision.ALLOW
        return decision, f"default:tier-{int(tier)}", _TIER_REASONS[tier]

    def _owner(self, asking: list[_Found], winner: Rule | None) -> str:
        """The highest-ranked owner among the rules that ask; else the deciding rule's; else the default."""
        named = [(self._rank(rule.owner), rule.index, rule.owner) for rule, _ in asking if rule.owner]
        owner = min(named)[2] if named else winner.owner if winner else None
        return owner or DEFAULT_OWNER

    def _rank(self, owner: str) -> int:
        return self.owners.index(owner) if owner in self.owners else len(self.owners)


_ALWAYS_A_PERSON = "Tier 4 (irreversible or high risk) always needs a person"
_TIER_REASONS = {
    Tier.READ_ONLY: "Tier 1 (read-only) runs without a person",
    Tier.REVERSIBLE: "Tier 2 (reversible) runs and is logged",
    Tier.EXTERNAL: "Tier 3 (external) waits for a person unless a rule allows it",
    Tier.IRREVERSIBLE: _ALWAYS_A_PERSON,
}
_REASONS = {
    Decision.ALLOW: "A rule allows this",
    Decision.ALLOW_WITH_CONSTRAINTS: "A rule allows this within limits",
    Decision.REQUIRE_APPROVAL: "A rule asks for a person",
    Decision.DENY: "A rule denies this",
}


def _inputs(plan: _Plan, question: Question) -> tuple[Inputs, list[str]]:
    """What the rules read, and which inputs `raise_to` lacked."""
    entry = plan.entry
    if entry is None:
        assumed = () if question.tier is None else (int(question.tier),)
        return Inputs(question.args, question.signals, None, question.tags, assumed), []
    missing: list[str] = []
    base, unsure = int(entry.tier), set[int]()
    if entry.raise_to:
        inputs = Inputs(question.args, question.signals, entry, plan.tags)
        for raised in entry.raise_to:
            truth = conjunction(raised.tests, inputs)
            if truth is True and not raised.reported:
                base = max(base, int(raised.tier))
            elif truth is not False:
                unsure.add(int(raised.tier))
                missing += [test.input for test in raised.tests if test.check(inputs) is None]
    tiers = (base, *sorted(tier for tier in unsure if tier > base)) if unsure else (base,)
    return Inputs(question.args, question.signals, entry, plan.tags, tiers), missing


def _strictness(found: _Found) -> tuple[int, bool, int]:
    rule, proved = found
    return -rule.decision.severity, not proved, rule.index


def _settles(found: _Found) -> bool:
    """Whether a match may stand in for the default (rule 6)."""
    rule, proved = found
    return proved and not rule.reported


def _lane(asking: list[_Found], tier: Tier | None) -> Lane:
    """The shortest window, denial before escalation where two are equal; the shortest validity."""
    lanes = [rule.lane for rule, _ in asking if rule.lane is not None]
    if not any(pair[0].lane is not None and _settles(pair) for pair in asking):
        lanes.append(_SILENCE_DENIES if tier is None or tier is Tier.IRREVERSIBLE else _NOBODY_HURRIES)
    if len(lanes) == 1:
        return lanes[0]
    first = min(lanes, key=lambda lane: (lane.window_sec, lane.on_timeout is not OnTimeout.DENY))
    return Lane(first.window_sec, first.on_timeout, min(lane.valid_sec for lane in lanes))

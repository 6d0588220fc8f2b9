"""Deciding: one question, one verdict, from reviewed rules alone.

1. The verdict is the strictest of kill switch, rules, level or default, triggers and invariants. Of two that
   are equally strict the earlier of these is named; among rules a proved match before an unproved one, then
   the order in the files.
2. Where no rule that permits counted, the tier's default counts: 1 and 2 run, 3 and 4 ask a person. An
   autonomy level in force stands in for it on tiers 1 to 3, and caps what rules permit. Outside the catalogue
   the policy's `default_decision` counts, and only a rule that names the topic permits anything.
3. Tier 4 never runs without a person: a floor after everything else (promise P3).
4. What several say adds up and never cancels: the tier is the highest, constraints conjoin, triggers unite,
   the window and the validity are the shortest, and the owner is the one ranked highest. The one exception is
   stated: a proved rule sets aside those it `overrides`, and the verdict lists them.
5. A reported signal can only tighten. Nothing permissive reads one, and a missing one counts as its worst
   (promise P1).
6. A rule that permits within limits permits only if proved, but its limits hold unless it is refuted: where
   the action would run anyway, it runs within them.
7. `decision` is the decision of `decide` and nothing else, for those who ask millions of times. It stops at
   the first restriction that counts.

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
from types import MappingProxyType
from typing import Any, Literal

from pydantic import ValidationError

from interlock.model.actions import Signals
from interlock.model.binding import catalogue_digest
from interlock.model.canonical import Json, canonical, parse_json
from interlock.model.errors import InvalidInput, PolicyError
from interlock.model.verdicts import Decision, Tier, Verdict
from interlock.policy import builtin
from interlock.policy.catalogue import Catalogue, CatalogueEntry, undeclared_args
from interlock.policy.check import check
from interlock.policy.collecting import collector_waits
from interlock.policy.combine import Combining, Counted, Seen, set_aside
from interlock.policy.compiling import compile_entry, compile_levels, compile_rules
from interlock.policy.conditions import conjunction
from interlock.policy.document import Document
from interlock.policy.explain import Explanation, explained
from interlock.policy.fields import Inputs
from interlock.policy.findings import Finding, Place, Places, nearest, raise_for
from interlock.policy.levels import Level, Outcome, outcome
from interlock.policy.plans import Ground, Plan, Plans
from interlock.policy.rules import BASELINE, Rule, at_rest

REMEMBERED_VERDICTS = 4_096
MAX_CANONICAL = 8 << 20
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return _NOTHING


_TOP = int(Tier.IRREVERSIBLE)
_ALLOW, _WITHIN, _ASK, _DENY = Decision
_PERMITS, _DENIES = _WITHIN.severity, _DENY.severity


@dataclass(frozen=True, slots=True)
class Question:
    """What is decided on.

    Attributes:
        args: canonical, as `Policy.check_args` returns them.
        tags: the trusted registration's, read outside the catalogue only; None where nobody knows them.
        tier: an assumption of `explain` that stands for a catalogue entry; never set for a live action, and
            without effect on a catalogued topic.
        level: the autonomy level in force for this agent and scope; None where nobody says, which is the
            lowest that the policy declares.
        facts, provenance: by name, from trusted code; what is missing is unknown.
        stopped: id of the kill switch that covers this action.
    """

    topic: str
    args: Mapping[str, Json]
    signals: Signals = BASELINE
    tags: frozenset[str] | None = frozenset()
    tier: Tier | None = None
    level: int | None = None
    facts: Mapping[str, Json] = field(default_factory=_nothing)
    provenance: Mapping[str, str] = field(default_factory=_nothing)
    stopped: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """An immutable policy. Two policies are the same if and only if their snapshots are.

    Attributes:
        snapshot: ``v1:`` and the hex SHA-256 of `canonical`.
        document: what it was compiled from.
        mode: `observe` records what would have been decided and stops nothing but for a kill switch.
        people: whether more than one person decides (`solo` marks every decision as such).
        warnings: what loaded although somebody should look at it.
        rules: the author's, in file order.
        triggers, invariants: the built-in ones that are on.
        unindexed: how many rules are asked about every topic.
    """

    snapshot: str
    document: Document = field(repr=False)
    name: str
    mode: Literal["enforce", "observe"]
    people: Literal["team", "solo"]
    warnings: tuple[str, ...]
    catalogue: Catalogue
    rules: tuple[Rule, ...]
    triggers: tuple[Rule, ...]
    invariants: tuple[Rule, ...]
    levels: tuple[Level, ...]
    default_decision: Decision
    owners: tuple[str, ...]
    _plans: Plans = field(repr=False)
    _combining: Combining = field(repr=False)
    _canonical: bytes = field(repr=False)

    # --- from and to documents

    @classmethod
    def build(cls, document: Document, places: Places) -> Policy:
        """Raises `PolicyError` with every finding of `check`."""
        findings, warnings = check(document, places)
        raise_for(findings)
        data = canonical(document.normal())
        if len(data) > MAX_CANONICAL:
            too_long = f"written out, the policy has {len(data)} bytes; at most {MAX_CANONICAL} are kept"
            raise_for([Finding(places.fallback, too_long)])
        snapshot = "v1:" + hashlib.sha256(data).hexdigest()
        rules = compile_rules(document)
        triggers, invariants = builtin.triggers(document.triggers), builtin.invariants(document.invariants)
        catalogue = Catalogue(compile_entry(key, spec) for key, spec in sorted(document.actions.items()))
        return cls(
            snapshot=snapshot,
            document=document,
            name=document.name,
            mode=document.mode,
            people=document.people,
            warnings=tuple(warnings),
            catalogue=catalogue,
            rules=rules,
            triggers=triggers,
            invariants=invariants,
            levels=compile_levels(document),
            default_decision=Decision(document.default_decision),
            owners=document.owners,
            _plans=Plans(catalogue, (*rules, *triggers, *invariants)),
            _combining=Combining.of(document, snapshot),
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
            with collector_waits():
                document = Document.model_validate(parse_json(data, max_bytes=MAX_CANONICAL))
                policy = cls.build(document, places)
        except (InvalidInput, ValidationError) as error:
            raise PolicyError("the stored form of the policy cannot be read") from error
        if policy.canonical() != data:
            raise PolicyError("the stored form of the policy is not canonical")
        return policy

    # --- the catalogue

    def entry(self, topic: str) -> CatalogueEntry | None:
        """What people reviewed about a topic; None outside the catalogue. Raises `BadTopic`."""
        return self._plans.entry(topic)

    def entry_digest(self, topic: str) -> str:
        """Hash of what people reviewed about a topic, as the review hash covers it. Raises `BadTopic`."""
        entry = self._plans.entry(topic)
        return _UNCATALOGUED if entry is None else self.catalogue.digest(entry)

    def knows(self, topic: str) -> bool:
        """Whether the topic is catalogued, or named by a rule; ``*`` and a final ``**`` name none."""
        plan = self._plans.of(topic, None)
        return plan.ground.entry is not None or bool(plan.named)

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

    @property
    def unindexed(self) -> int:
        """How many rules are asked about every topic."""
        return self._plans.unindexed

    # --- deciding

    def decide(self, question: Question) -> Verdict:
        """The verdict. Pure: the same question and policy give the same verdict."""
        plan = self._plans.of(question.topic, question.tags)
        inputs, missing = _inputs(plan.ground, question)
        counted: list[Counted] = []
        limiting: list[Rule] = []
        for _, _, ask, rule in plan.at_rest if at_rest(question.signals) else plan.rules:
            truth = True if ask is None else ask(inputs)
            if truth is False:
                continue
            if rule.restrictive:
                counted.append((rule, truth is True))
            elif inputs.tiers or rule.id in plan.named:
                if truth is True:
                    counted.append((rule, True))
                elif rule.limits:
                    limiting.append(rule)
        settled = any(not rule.restrictive for rule, _ in counted)
        overridden: tuple[str, ...] = ()
        if plan.overriding:
            counted, limiting, overridden = set_aside(counted, limiting)
        for rule, proved in counted:
            if not proved:
                missing += rule.unknown(inputs)
        level, said = self._level(plan, question.level, inputs)
        basis = (
            question.topic,
            inputs.tags,
            tuple([(rule.layer, rule.index, proved) for rule, proved in counted]),
            tuple([rule.index for rule in limiting]),
            inputs.tiers,
            level,
            None if said is None else (tuple([rule.index for rule in said.possible]), said.settled),
            settled,
            question.stopped,
            overridden,
            tuple(missing),
        )
        verdicts = self._plans.verdicts
        verdict = verdicts.get(basis)
        if verdict is None:
            if len(verdicts) >= REMEMBERED_VERDICTS:
                verdicts.clear()
            seen = Seen(
                inputs,
                counted,
                limiting,
                settled,
                overridden,
                level,
                said,
                question.stopped,
                tuple(missing),
            )
            verdict = verdicts[basis] = self._combining.verdict(seen)
        return verdict

    def decision(self, question: Question) -> Decision:
        """What `decide` decides, without the verdict around it."""
        plan = self._plans.of(question.topic, question.tags)
        if plan.overriding or question.stopped is not None or self.mode == "observe":
            return self.decide(question).decision
        inputs = _inputs(plan.ground, question)[0]
        tiers, named = inputs.tiers, plan.named
        level = self._level(plan, question.level, inputs)[1] if self.levels else None
        says = None if level is None else level.rule.decision
        if says is _DENY:
            return _DENY
        asks, settled, limited = says is _ASK, False, False
        signals = question.signals
        for _, strict, ask, rule in plan.at_rest if signals is BASELINE or at_rest(signals) else plan.rules:
            if strict > _PERMITS:
                if asks and strict < _DENIES:
                    continue
                if ask is None or ask(inputs) is not False:
                    if strict == _DENIES or tiers or self.default_decision is not _DENY:
                        return _DENY if strict == _DENIES else _ASK
                    asks = True
            elif asks and (tiers or settled):
                break
            elif tiers or rule.id in named:
                truth = True if ask is None else ask(inputs)
                if truth is True:
                    settled = True
                    limited = limited or strict == _PERMITS
                elif truth is None:
                    limited = limited or rule.limits
        if not tiers:
            return self.default_decision if not settled else _ASK if asks else _WITHIN if limited else _ALLOW
        if asks or tiers[-1] == _TOP:
            return _ASK
        if not settled and not (level is not None and level.settled) and tiers[-1] >= Tier.EXTERNAL:
            return _ASK
        return _WITHIN if limited or says is _WITHIN else _ALLOW

    def explain(self, question: Question) -> Explanation:
        """The same verdict as `decide`, with every rule that was asked and what it read."""
        plan = self._plans.of(question.topic, question.tags)
        inputs, _ = _inputs(plan.ground, question)
        _, said = self._level(plan, question.level, inputs)
        rules, _ = self.speaking(question.topic)
        return explained(self.decide(question), plan.ground.entry, rules, said, inputs)

    def speaking(self, topic: str) -> tuple[list[Rule], frozenset[str]]:
        """Every rule that speaks about a topic, built-in ones too, and the ids of those that name it."""
        return self._plans.about(topic)

    def inputs(self, question: Question) -> Inputs:
        """What conditions read about a question. Raises `BadTopic`."""
        return _inputs(self._plans.of(question.topic, question.tags).ground, question)[0]

    def _level(self, plan: Plan, asked: int | None, inputs: Inputs) -> tuple[int | None, Outcome | None]:
        """The level in force, and what it says about this topic, if anything."""
        if not self.levels:
            return None, None
        level = next((level for level in self.levels if level.number == asked), self.levels[0])
        if plan.levels is None:
            plan.levels = {}
        rules = plan.levels.get(level.number)
        if rules is None:
            rules = plan.levels[level.number] = level.about(inputs.topic)
        said = outcome(rules, inputs)
        if said is not None and not said.rule.restrictive and not inputs.tiers:
            said = None  # outside the catalogue a level permits nothing
        return level.number, said


_UNCATALOGUED = catalogue_digest(None)


def _inputs(ground: Ground, question: Question) -> tuple[Inputs, list[str]]:
    """What the rules read, and which inputs `raise_to` lacked."""
    entry = ground.entry
    tiers = ground.tiers
    if entry is None and question.tier is not None:
        tiers = (int(question.tier),)
    inputs = Inputs(
        question.topic,
        question.args,
        question.signals,
        entry,
        ground.tags,
        tiers,
        question.facts,
        question.provenance,
        _NOTHING,
        ground.decimals,
    )
    missing: list[str] = []
    if entry is not None and entry.raise_to:
        base, unsure = int(entry.tier), set[int]()
        inputs.tiers = ()
        for raised in entry.raise_to:
            truth = conjunction(raised.tests, inputs)
            if truth is True and not raised.reported:
                base = max(base, int(raised.tier))
            elif truth is not False:
                unsure.add(int(raised.tier))
                missing += [name for test in raised.tests for name in test.missing(inputs)]
        inputs.tiers = (base, *sorted(tier for tier in unsure if tier > base)) if unsure else (base,)
    return inputs, missing

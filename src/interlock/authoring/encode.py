"""From a policy to terms: what it decides about every action of one class of topics.

1. The layers are those of `interlock.policy.decide` and `interlock.policy.combine`, in the same order: what
   counts, what is set aside, the level or the default, the floor, and mode observe after all of it.
2. A restrictive rule counts unless it is refuted, a permissive one only where it is proved and, outside the
   catalogue, names the topic.
3. Silence counts too: a request that a lane approves when nobody answers has run without a person.
4. Exact but for questions about the elements of a list, where more is possible here than there
   (`encode_inputs`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from interlock.authoring.encode_conditions import Conditions, parsed
from interlock.authoring.encode_inputs import Inputs
from interlock.authoring.encode_logic import Term, Truth, both, compared, either, no, some
from interlock.authoring.encode_rules import TAGGED, Matching, Tiers, all_tags, literals_of, numbers_of
from interlock.authoring.encode_values import Number, digits_of
from interlock.authoring.topic_classes import TopicClass, Topics
from interlock.model.verdicts import Decision, OnTimeout, Tier
from interlock.policy import Policy
from interlock.policy.document import MatchSpec
from interlock.policy.rules import Layer, Rule
from interlock.policy.syntax import Expr

_TOP = int(Tier.IRREVERSIBLE)
_ASK, _DENY, _WITHIN = Decision.REQUIRE_APPROVAL, Decision.DENY, Decision.ALLOW_WITH_CONSTRAINTS


@dataclass(frozen=True, slots=True)
class Decided:
    """What the policy decides, as terms.

    Attributes:
        within, asks, denies: whether the decision is at least as strict as that.
        silent: whether it asks, and runs where nobody answers.
        tiers: which tiers the action may have.
        unheeded: whether a locked rule counts and the decision is looser than the rule's.
    """

    within: Term
    asks: Term
    denies: Term
    silent: Term
    tiers: Tiers
    unheeded: Term

    @property
    def runs(self) -> Term:
        """Whether it may run without a person."""
        return either(no(self.asks), self.silent)

    def looser_than(self, other: Decided) -> Term:
        return some(
            (
                both(other.within, no(self.within)),
                both(other.asks, no(self.asks)),
                both(other.denies, no(self.denies)),
                both(self.runs, no(other.runs)),
            )
        )


@dataclass(frozen=True, slots=True)
class _Counted:
    rule: Rule
    truth: Truth
    counts: Term
    limits: Term = False
    """Whether it is one whose limits hold although it is not proved."""


class Encoder:
    """Encodes one policy, class by class.

    Args:
        claims: conditions of the caller's own, which will be asked about the same actions.
    """

    def __init__(self, policy: Policy, claims: tuple[Expr, ...] = ()) -> None:
        self.policy = policy
        self.topics = Topics(policy)
        self._facts = {name: spec.type for name, spec in policy.document.facts.items()}
        self._digits = digits_of((*numbers_of(policy), *(n for each in claims for n in literals_of(each))))

    def inputs(self, one: TopicClass) -> Inputs:
        return Inputs(one, self.topics, self._facts, self._digits)

    def decided(self, inputs: Inputs, *, confidence: Number | None = None, stopped: bool = False) -> Decided:
        """What is decided about the actions of a class.

        Args:
            confidence: what the agent reports; None: anything, or nothing.
        """
        return _Encoding(self.policy, inputs, confidence).decided(stopped=stopped)

    def tiers(self, inputs: Inputs) -> Tiers:
        return _Encoding(self.policy, inputs, None).tiers()

    def truth(self, inputs: Inputs, expr: Expr) -> Truth:
        """What a condition of the caller's says."""
        return Conditions(inputs, None, self.tiers(inputs)).truth(expr)

    def moves_money(self, inputs: Inputs) -> Truth:
        """The invariant about money, whether or not it is switched on."""
        return Matching(self.policy, inputs, {}).moves_money()

    def tagged(self, inputs: Inputs, kind: str) -> Term:
        """Whether people declared all the tags of an invariant."""
        return all_tags(inputs, TAGGED[kind]).yes

    def locks(self, one: TopicClass) -> bool:
        """Whether a locked rule speaks about these topics."""
        specs = self.policy.document.rules
        return any(rule.layer is Layer.RULE and specs[rule.index].locked for rule in one.rules)

    def doubts(self, one: TopicClass) -> bool:
        """Whether anything about these topics reads what the agent reports."""
        raised = () if one.entry is None else one.entry.raise_to
        return any(rule.reported for rule in one.rules) or any(each.reported for each in raised)


class _Encoding:
    """One class, looked at once."""

    def __init__(self, policy: Policy, inputs: Inputs, confidence: Number | None) -> None:
        self.policy, self.inputs, self.confidence = policy, inputs, confidence
        self.mark = "" if confidence is None else "@1"

    # --- combining

    def decided(self, *, stopped: bool) -> Decided:
        tiers = self.tiers()
        matching = Matching(self.policy, self.inputs, tiers, self.confidence, self.mark)
        if stopped:
            return Decided(True, True, True, False, tiers, False)
        if self.policy.mode == "observe":
            return Decided(False, False, False, False, tiers, self._unheeded_at_all(matching))
        counted = list(self._counted(matching))
        settled = some(each.counts for each in counted if not each.rule.restrictive)
        gone = {
            name: some(both(each.counts, each.truth.yes) for each in counted if name in each.rule.overrides)
            for name in {name for each in counted for name in each.rule.overrides}
        }
        left = [(each, both(each.counts, no(gone.get(each.rule.id, False)))) for each in counted]
        level = self._level(matching)
        default = no(either(settled, level.replaces))
        external = some(term for tier, term in tiers.items() if tier >= Tier.EXTERNAL)
        outside = self.inputs.entry is None
        denies = some(
            (
                *(counts for each, counts in left if each.rule.decision is _DENY),
                level.denies,
                both(default, outside, self.policy.default_decision is _DENY),
            )
        )
        asks = some(
            (
                denies,
                *(counts for each, counts in left if each.rule.decision is _ASK),
                level.asks,
                both(default, either(outside, external)),
                tiers.get(_TOP, False),
            )
        )
        within = some(
            (
                asks,
                *(counts for each, counts in left if each.rule.decision is _WITHIN),
                *(both(each.limits, no(gone.get(each.rule.id, False))) for each in counted),
                level.within,
            )
        )
        silent = both(asks, no(denies), self._silent(left, tiers), no(level.asks))
        at_least = {_DENY: denies, _ASK: asks, _WITHIN: within}
        unheeded = some(
            both(each.counts, no(at_least.get(each.rule.decision, True)))
            for each in counted
            if self._locked(each.rule)
        )
        return Decided(within, asks, denies, silent, tiers, unheeded)

    def _counted(self, matching: Matching) -> Iterator[_Counted]:
        one = self.inputs.one
        for rule in one.rules:
            truth = matching.rule(rule)
            if rule.restrictive:
                yield _Counted(rule, truth, no(truth.no))
            elif matching.tiers or rule.id in one.named:
                limits = truth.unknown if rule.limits else False
                yield _Counted(rule, truth, truth.yes, limits)

    def _locked(self, rule: Rule) -> bool:
        return rule.layer is Layer.RULE and self.policy.document.rules[rule.index].locked

    def _unheeded_at_all(self, matching: Matching) -> Term:
        """Where everything runs: whether a locked rule counts that says otherwise."""
        return some(
            each.counts
            for each in self._counted(matching)
            if self._locked(each.rule) and each.rule.decision is not Decision.ALLOW
        )

    def _silent(self, left: list[tuple[_Counted, Term]], tiers: Tiers) -> Term:
        """Whether a lane lets it run when nobody answers: only where everybody who asks says so."""
        asking = [(each, counts) for each, counts in left if each.rule.decision is _ASK]
        willing = [each.rule for each, _ in asking if _approves_silence(each.rule)]
        if not willing:
            return False
        return both(
            either(tiers.get(1, False), tiers.get(2, False)),
            *(no(tiers.get(tier, False)) for tier in (3, 4)),
            *(no(counts) for each, counts in asking if not _approves_silence(each.rule)),
            some(both(counts, each.truth.yes) for each, counts in asking if not each.rule.reported),
        )

    # --- tiers, levels

    def tiers(self) -> Tiers:
        entry = self.inputs.entry
        if entry is None:
            return {}
        if not entry.raise_to:
            return {int(entry.tier): True}
        proved: list[tuple[int, Term]] = []
        unsure: list[tuple[int, Term]] = []
        blind = Conditions(self.inputs, self.confidence, {}, self.mark)
        for raised in entry.raise_to:
            truth = blind.truth(parsed(raised.when))
            sure = False if raised.reported else truth.yes
            proved.append((int(raised.tier), sure))
            unsure.append((int(raised.tier), both(no(truth.no), no(sure))))
        found: dict[int, Term] = {}
        reaches = [
            either(entry.tier >= tier, some(term for high, term in proved if high >= tier))
            for tier in range(1, _TOP + 2)
        ]
        for tier in range(int(entry.tier), _TOP + 1):
            lowest = both(reaches[tier - 1], no(reaches[tier]))
            perhaps = both(some(term for high, term in unsure if high == tier), no(reaches[tier - 1]))
            term = either(lowest, perhaps)
            if term is not False:
                found[tier] = term
        return found

    def _level(self, matching: Matching) -> _Level:
        levels = self.inputs.one.levels
        if not levels:
            return _Level(False, False, False, False)
        chosen = self.inputs.level
        found = [
            (True if chosen is None else compared("==", chosen, number), self._said(number, rules, matching))
            for number, rules in levels
        ]
        return _Level(
            some(both(here, said.denies) for here, said in found),
            some(both(here, said.asks) for here, said in found),
            some(both(here, said.within) for here, said in found),
            some(both(here, said.replaces) for here, said in found),
        )

    def _said(self, number: int, rules: tuple[Rule, ...], matching: Matching) -> _Level:
        specs = self.policy.document.autonomy_levels[f"level_{number}"].rules
        tiers = matching.tiers
        reached: Term = True
        possible: dict[Decision, list[Term]] = {decision: [] for decision in Decision}
        settled = []
        for rule in rules:
            spec = specs[rule.index]
            truth = matching.spec(spec.match or MatchSpec(), spec.when)
            possible[rule.decision].append(both(reached, no(truth.no)))
            settled.append(both(reached, truth.yes))
            reached = both(reached, no(truth.yes))
        denies, asks = some(possible[_DENY]), some(possible[_ASK])
        levelled = both(bool(tiers), no(tiers.get(_TOP, False)))
        permits = both(levelled, no(denies), no(asks))
        within = both(permits, some(possible[_WITHIN]))
        says = some((denies, asks, within, both(permits, some(possible[Decision.ALLOW]))))
        return _Level(denies, both(asks, no(denies)), within, both(says, some(settled), levelled))


@dataclass(frozen=True, slots=True)
class _Level:
    """What an autonomy level says; `replaces`: whether it stands in for the default of the tier."""

    denies: Term
    asks: Term
    within: Term
    replaces: Term


def _approves_silence(rule: Rule) -> bool:
    return rule.layer is Layer.RULE and rule.lane is not None and rule.lane.on_timeout is OnTimeout.ALLOW

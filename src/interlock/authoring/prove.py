"""Proving: whatever an action says, a policy keeps its promises; or here is an action that shows otherwise.

1. A claim is proved for all actions at once, by a solver (`proof`), one class of topics after the other. What
   the solver is told is what can happen, or more than that, never less.
2. A claim is refuted by an action, and an action is shown only once the kernel itself has decided about it as
   the solver said. Where the two disagree one of them is wrong, and `Disagreement` says so.
3. What was settled neither way is undecided, with the reason: time, or questions about lists or texts to
   which nobody found an answer.
4. To run without a person is a decision that permits, or a request that a lane approves when nobody
   answers.
5. In observe mode nothing is enforced. Every claim but the one about kill switches fails then, those for
   which there is no action to show as well.

The solver is the extra ``prove`` (``pip install 'interlock[prove]'``); only `prove` loads it.

>>> from interlock.authoring.prove import prove
>>> from interlock.policy import parse
>>> text = "interlock: 1\\nactions: {a.b: {tier: 1, risk_tags: [delete]}}\\ninvariants: {disabled: [delete]}"
>>> [r.counterexamples[0].action for r in prove(parse({"p.yaml": text})).results if r.counterexamples]
[{'topic': 'a.b', 'args': {}}]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, TypeAlias

from interlock.model.canonical import Json
from interlock.model.errors import InterlockError, InvalidInput
from interlock.model.verdicts import Decision, OnTimeout, Tier, Verdict
from interlock.policy import Policy, Question, builtin
from interlock.policy.closures import compile_expression
from interlock.policy.document import FactSpec, InvariantsSpec
from interlock.policy.expressions import Expr, ExpressionError, Field, fields_of, parse_expression, show
from interlock.policy.fields import Kind
from interlock.policy.rules import Rule
from interlock.policy.typecheck import Problem, Scope, check_types

Action: TypeAlias = dict[str, Json]
_CORRECT = "Correct the condition; docs/policy-language.md says what conditions can be."
OBSERVED = "observe mode: nothing is enforced"


class SolverMissing(InterlockError):
    """The solver is not installed."""

    exit_code: ClassVar[int] = 2
    title: ClassVar[str] = "A part that is not installed is needed"
    advice: ClassVar[str] = "Run: pip install 'interlock[prove]'"


class Disagreement(InterlockError):
    """The solver and the kernel decide differently about one action: one of the two is wrong."""

    exit_code: ClassVar[int] = 70
    title: ClassVar[str] = "The prover and the kernel disagree"
    advice: ClassVar[str] = "Nothing has been proved. Please report this, with the policy and the action."


def runs(verdict: Verdict) -> bool:
    """Whether an action may run without a person (rule 4)."""
    return verdict.allowed or (verdict.lane is not None and verdict.lane.on_timeout is OnTimeout.ALLOW)


# --- claims -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TierFour:
    """An action that may be of tier 4."""

    name = "tier-4"
    sentence = "Tier 4 never runs without a person"


@dataclass(frozen=True, slots=True)
class Uncatalogued:
    """A topic that stands in no catalogue and that no rule of the author's names."""

    name = "uncatalogued"
    sentence = "A topic that nobody catalogued and no rule names never runs without a person"


@dataclass(frozen=True, slots=True)
class Invariant:
    """One of the built-in invariants, as a property of the whole policy: also where it is switched off."""

    kind: str
    limit: Decimal

    @property
    def name(self) -> str:
        return f"invariant:{self.kind}"

    @property
    def sentence(self) -> str:
        said = {
            "deploy": "A deploy to production",
            "external-comms": "What is said to the outside",
            "money": f"Money that is not proved to be at most ${self.limit.normalize():f}",
            "delete": "Deleting",
            "privilege": "Changing privileges",
        }
        return f"{said[self.kind]} never runs without a person"


@dataclass(frozen=True, slots=True)
class Confidence:
    """What an agent reports about itself, against the best it can report (promise P1)."""

    name = "confidence"
    sentence = "No reported confidence, and none at all, loosens a decision"


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """An action that a kill switch covers."""

    name = "kill-switch"
    sentence = "A kill switch stops everything it covers"


@dataclass(frozen=True, slots=True)
class Locked:
    """A locked rule that matches."""

    name = "locked"
    sentence = "Where a locked rule matches, the decision is at least as strict as the rule's"


@dataclass(frozen=True, slots=True)
class Never:
    """A condition of the author's: what it is true of never runs without a person."""

    expr: Expr

    @property
    def name(self) -> str:
        return f"never:{show(self.expr)}"

    @property
    def sentence(self) -> str:
        return f"What {show(self.expr)} is true of never runs without a person"


Claim: TypeAlias = TierFour | Uncatalogued | Invariant | Confidence | KillSwitch | Locked | Never


def claims_about(policy: Policy, never: Iterable[str] = ()) -> tuple[Claim, ...]:
    """The claims that are made of every policy, and the caller's own.

    Raises:
        InvalidInput: one of the caller's conditions cannot be read, or can be true of no action.
    """
    limit = policy.document.invariants.money_above_usd
    kinds = ("deploy", "external-comms", "money", "delete", "privilege")
    return (
        TierFour(),
        Uncatalogued(),
        *(Invariant(kind, limit) for kind in kinds),
        Confidence(),
        KillSwitch(),
        Locked(),
        *(Never(_condition(text, policy)) for text in dict.fromkeys(never)),
    )


def broken(claim: Claim, policy: Policy, question: Question, verdict: Verdict) -> bool:
    """Whether an action breaks a claim, as the kernel sees it."""
    match claim:
        case TierFour():
            return verdict.tier is Tier.IRREVERSIBLE and runs(verdict)
        case Uncatalogued():
            named = any(names(rule, question.topic) for rule in policy.rules)
            return policy.entry(question.topic) is None and not named and runs(verdict)
        case Invariant():
            spec = policy.document.invariants
            all_on = InvariantsSpec(money_above_usd=spec.money_above_usd, money_above=spec.money_above)
            rule = next(rule for rule in builtin.invariants(all_on) if rule.id == claim.name)
            return counts(rule, policy, question) and runs(verdict)
        case Confidence():
            best = policy.decide(certain(question))
            looser = verdict.decision.severity < best.decision.severity
            return looser or (runs(verdict) and not runs(best))
        case KillSwitch():
            return question.stopped is not None and verdict.decision is not Decision.DENY
        case Locked():
            return bool(unheeded(policy, question, verdict))
        case Never(expr):
            return compile_expression(expr)(policy.inputs(question)) is True and runs(verdict)


def unheeded(policy: Policy, question: Question, verdict: Verdict) -> list[str]:
    """The locked rules that count, and than which a verdict is looser."""
    return [
        rule.id
        for rule in policy.rules
        if policy.document.rules[rule.index].locked
        and verdict.decision.severity < rule.decision.severity
        and counts(rule, policy, question)
    ]


def certain(question: Question) -> Question:
    """The same action of an agent that reports full confidence."""
    return replace(question, signals=replace(question.signals, confidence=Decimal(1)))


def names(rule: Rule, topic: str) -> bool:
    """Whether one of a rule's patterns names the topic."""
    return any(pattern.names and pattern.matches(topic) for pattern in rule.patterns or ())


def counts(rule: Rule, policy: Policy, question: Question) -> bool:
    """Whether a rule counts, were it not set aside."""
    inputs = policy.inputs(question)
    if not rule.speaks_about(question.topic) or (rule.applies and not rule.applies(inputs.entry)):
        return False
    truth = rule.truth(inputs)
    if rule.restrictive:
        return truth is not False
    return truth is True and (bool(inputs.tiers) or names(rule, question.topic))


_KINDS: dict[str, Kind] = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean"}


def _condition(text: str, policy: Policy) -> Expr:
    """A condition that some action can meet: a word that nothing knows would be true of none, and proved."""
    try:
        expr = parse_expression(text)
    except ExpressionError as error:
        raise InvalidInput(str(error), path="--never", fix=_CORRECT) from None
    facts = {name: _kind(spec) for name, spec in policy.document.facts.items()}
    _refuse(check_types(expr, Scope((), facts)))
    if not {field for field in fields_of(expr) if field.root == "args"} <= _read_by_rules(policy):
        found = [check_types(expr, Scope((entry,), facts)) for entry in policy.catalogue.entries]
        if found and all(found):
            _refuse(min(found, key=lambda problems: (problems[0].suggestion is None, len(problems))))
    return expr


def _read_by_rules(policy: Policy) -> set[Field]:
    """The fields that the author's rules read, also of topics that nobody catalogued."""
    read = (parse_expression(rule.when) for rule in policy.document.rules if rule.when is not None)
    return {field for expr in read for field in fields_of(expr)}


def _kind(spec: FactSpec) -> Kind:
    return _KINDS[spec.type]


def _refuse(problems: list[Problem]) -> None:
    if problems:
        first = problems[0]
        hint = f"; did you mean {first.suggestion}?" if first.suggestion else ""
        message = f"{first.message} (at character {first.at}){hint}"
        raise InvalidInput(message, path="--never", fix=_CORRECT)


# --- what comes of them -----------------------------------------------------------------------------------


class Outcome(StrEnum):
    PROVED = "proved"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Counterexample:
    """An action that breaks a claim, and what the kernel decides about it.

    Attributes:
        action: as an action file.
        best: of the claim about confidence, what is decided where the agent reports full confidence.
    """

    action: Action
    verdict: Verdict
    best: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one claim.

    Attributes:
        reasons: why it is undecided, or fails without an action to show.
        more: whether topics were left out after enough counterexamples.
        vacuous: whether no action was found that a condition of the caller's is true of.
    """

    claim: Claim
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    counterexamples: tuple[Counterexample, ...] = ()
    more: bool = False
    vacuous: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What came of all claims about one policy.

    Attributes:
        classes: how many classes of topics the policy tells apart.
    """

    results: tuple[Result, ...]
    classes: int

    @property
    def outcome(self) -> Outcome:
        """Refuted where one claim is, else undecided where one is, else proved."""
        found = {result.outcome for result in self.results}
        return next((o for o in (Outcome.REFUTED, Outcome.UNDECIDED) if o in found), Outcome.PROVED)


def prove(
    policy: Policy,
    never: Iterable[str] = (),
    *,
    left: Callable[[], float] = lambda: 3_600.0,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Report:
    """Prove or refute every claim about a policy.

    Args:
        never: conditions; what one of them is true of shall never run without a person.
        left: seconds that are left; what is not settled then is undecided.
        progress: told how many of how many classes of topics are done.

    Raises:
        SolverMissing: the extra is not installed.
        InvalidInput: one of the conditions cannot be read, or can be true of no action.
        Disagreement: the prover and the kernel decide differently about one action.
    """
    claims = claims_about(policy, never)
    try:
        import z3  # noqa: F401
    except ImportError:
        raise SolverMissing("interlock policy prove needs the solver z3, which is not installed") from None
    from interlock.authoring.proof import Proof

    return Proof(policy, claims, left).report(progress)

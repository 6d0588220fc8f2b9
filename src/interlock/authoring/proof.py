"""The search behind `interlock.authoring.prove`: ask the solver, and try what it answers.

1. Of each class of topics every claim that is not settled by folding alone is asked at once; only where one
   of them may be broken are they asked one by one.
2. A model is turned into an action and put to the kernel. Where no text answers as supposed, the solver
   learns why and goes on; where no list is found, that combination is left out and the claim cannot be
   proved any more.
3. A counterexample is made as plain as it gets: what it need not say is at rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from interlock.authoring.counterexample import NotFound, action_of, active_texts, read
from interlock.authoring.encode import Decided, Encoder
from interlock.authoring.encode_inputs import AMOUNT, Inputs
from interlock.authoring.encode_logic import Term, Whole, both, compared, every, no, same, some
from interlock.authoring.encode_texts import Clash, find_texts
from interlock.authoring.encode_values import Shape, number_of
from interlock.authoring.prove import (
    OBSERVED,
    Action,
    Claim,
    Confidence,
    Counterexample,
    Disagreement,
    Invariant,
    KillSwitch,
    Locked,
    Never,
    Outcome,
    Report,
    Result,
    TierFour,
    Uncatalogued,
    broken,
    certain,
)
from interlock.authoring.solver import Answer, Model, Solver
from interlock.authoring.topic_classes import TooMany, TopicClass
from interlock.model.canonical import canonical
from interlock.model.errors import InvalidInput
from interlock.policy import Policy

SHOWN = 3
"""Counterexamples of one claim; then no further topics are looked at."""
_MAX_MODELS = 300
"""Models that are tried for one claim and one class of topics."""
_MAX_UNLIKELY = 12
"""Models without an action, after which nobody looks any further."""
_NO_LIST = "no list was found that answers as it would have to"
_ODD: tuple[Shape, ...] = ("object", "list", "null")


@dataclass(slots=True)
class _State:
    """What is known about one claim so far."""

    claim: Claim
    reasons: dict[str, None] = field(default_factory=dict)
    found: list[Counterexample] = field(default_factory=list)
    more: bool = False
    met: bool = False

    @property
    def open(self) -> bool:
        return len(self.found) < SHOWN


class Proof:
    """One run over one policy."""

    def __init__(self, policy: Policy, claims: tuple[Claim, ...], left: Callable[[], float]) -> None:
        self.policy, self.left = policy, left
        self.states = [_State(claim) for claim in claims]
        self.encoder = Encoder(policy, tuple(c.expr for c in claims if isinstance(c, Never)))
        self.solver = Solver()

    def report(self, progress: Callable[[int, int], None]) -> Report:
        """Raises `Disagreement`."""
        try:
            classes = list(self.encoder.topics.classes())
        except TooMany as error:
            classes = []
            for state in self.states:
                state.reasons[str(error)] = None
        for done, one in enumerate(classes):
            progress(done, len(classes))
            if self.left() <= 0:
                for state in self.states:
                    state.reasons[f"time ran out after {done} of {len(classes)} kinds of topics"] = None
                break
            self._look_at(one)
        progress(len(classes), len(classes))
        return Report(tuple(map(self._result, self.states)), len(classes))

    def _result(self, state: _State) -> Result:
        claim = state.claim
        outcome, reasons = Outcome.PROVED, tuple(state.reasons)
        if state.found:
            outcome, reasons = Outcome.REFUTED, ()
        elif self.policy.mode == "observe" and not isinstance(claim, KillSwitch):
            outcome, reasons = Outcome.REFUTED, (OBSERVED,)
        elif reasons:
            outcome = Outcome.UNDECIDED
        vacuous = isinstance(claim, Never) and outcome is Outcome.PROVED and not state.met
        return Result(claim, outcome, reasons, tuple(state.found), state.more, vacuous)

    # --- one class

    def _look_at(self, one: TopicClass) -> None:
        seen = _Seen(self.encoder, one)
        asked = [(state, term) for state in self.states for term in self._broken(state, seen)]
        met = [
            (state, self.encoder.truth(seen.inputs, state.claim.expr).yes)
            for state in self.states
            if isinstance(state.claim, Never) and not state.met
        ]
        asked = [(state, term) for state, term in asked if term is not False]
        met = [(state, term) for state, term in met if term is not False]
        if not asked and not met:
            return
        self.solver.forget()
        with self.solver.supposing(*seen.inputs.bounds()):
            for state, term in met:
                state.met = self._ask(term) is not Answer.NEVER
            if asked and self._ask(some(term for _, term in asked)) is not Answer.NEVER:
                for state, term in asked:
                    self._settle(state, seen, term)

    def _broken(self, state: _State, seen: _Seen) -> Iterator[Term]:
        """When an action of the class breaks the claim; nothing where that is enough of them."""
        if not state.open:
            state.more = True
            return
        one, encoder, inputs = seen.one, self.encoder, seen.inputs
        about: Term = False
        match state.claim:
            case TierFour():
                about = encoder.tiers(inputs).get(4, False)
            case Uncatalogued():
                named = any(rule.id in one.named for rule in self.policy.rules)
                about = one.entry is None and not named
            case Invariant(kind="money"):
                about = no(encoder.moves_money(inputs).no)
            case Invariant(kind=kind):
                about = encoder.tagged(inputs, kind)
            case Never(expr):
                about = encoder.truth(inputs, expr).yes
            case KillSwitch():
                yield no(encoder.decided(inputs, stopped=True).denies)
            case Confidence():
                if encoder.doubts(one):
                    yield seen.decided.looser_than(encoder.decided(inputs, confidence=number_of(1)))
            case Locked():
                if encoder.locks(one):
                    yield seen.decided.unheeded
        if about is not False:
            yield both(about, seen.decided.runs)

    def _ask(self, *terms: Term) -> Answer:
        """Ask the solver, with the time that is left."""
        answer = self.solver.ask(self.left(), *terms)
        if answer is Answer.UNKNOWN and self.solver.stopped and self.left() > 0.1:
            raise KeyboardInterrupt  # the solver takes Ctrl-C to itself, and gives up as if time were over
        return answer

    # --- one claim in one class

    def _settle(self, state: _State, seen: _Seen, term: Term) -> None:
        inputs, unlikely = seen.inputs, 0
        with self.solver.supposing(*seen.lessons):
            for _ in range(_MAX_MODELS):
                if self.left() <= 0:
                    return self._doubt(state, inputs, "time ran out")
                answer = self._ask(term)
                if answer is Answer.NEVER:
                    return self._doubt(state, inputs, _NO_LIST) if unlikely else None
                if answer is Answer.UNKNOWN:
                    return self._doubt(state, inputs, f"the solver gave up ({self.solver.why})")
                found = self._tried(state.claim, inputs, self._plainest(state.claim, inputs, term))
                if isinstance(found, Counterexample):
                    return state.found.append(found)
                if isinstance(found, str):
                    return self._doubt(state, inputs, found)
                unlikely += isinstance(found, _Unlikely)
                if unlikely > _MAX_UNLIKELY:
                    return self._doubt(state, inputs, _NO_LIST)
                if not isinstance(found, _Unlikely):
                    seen.lessons.append(found.term)
                self.solver.add(found.term)
            return self._doubt(state, inputs, "too many texts contradict themselves")

    def _doubt(self, state: _State, inputs: Inputs, reason: str) -> None:
        state.reasons[f"{inputs.one.topic}: {reason}"] = None

    def _tried(self, claim: Claim, inputs: Inputs, model: Model) -> Counterexample | _Lesson | str:
        """A counterexample that the kernel confirms, or what the solver can learn, or why that ends here."""
        found = find_texts(inputs, model, active_texts(inputs, model))
        if found is None:
            return "whether there is a text that answers as it would have to is not known"
        if isinstance(found, Clash):
            return _Lesson(no(every(found.terms)))
        try:
            action = action_of(inputs, model, found, self.policy)
            if isinstance(claim, KillSwitch):
                action["stopped"] = "ks_1"
            question = read(action, self.policy)
        except (NotFound, InvalidInput) as error:
            reason = error.detail if isinstance(error, InvalidInput) else str(error)
            return self._unlikely(inputs, model) or f"no action can be written down: {reason}"
        verdict = self.policy.decide(question)
        if broken(claim, self.policy, question, verdict):
            best = self.policy.decide(certain(question)) if isinstance(claim, Confidence) else None
            return Counterexample(action, verdict, best)
        return self._unlikely(inputs, model) or self._disagree(claim, action, verdict.decision.value)

    def _unlikely(self, inputs: Inputs, model: Model) -> _Unlikely | None:
        """Leave these answers out, where the solver was free to make some up."""
        terms = [term for each in inputs.elements.values() for term in (each.truth.yes, each.truth.no)]
        chosen = [same(term, model.holds(term)) for term in terms if not isinstance(term, bool)]
        return _Unlikely(no(every(chosen))) if chosen else None

    def _disagree(self, claim: Claim, action: Action, decision: str) -> str:
        text = canonical(action).decode("ascii", "backslashreplace")
        raise Disagreement(
            f"the prover says that this action breaks the claim {claim.name!r}, and the kernel decides "
            f"{decision}: {text}",
            extra={"claim": claim.name, "action": action},
        )

    # --- plain counterexamples

    def _plainest(self, claim: Claim, inputs: Inputs, term: Term) -> Model:
        """A model in which as little as possible is out of the ordinary."""
        model, kept = self.solver.model(), list[Term]()
        for wish in _wishes(claim, inputs):
            if wish is False:
                continue
            if not model.holds(wish):
                if self._ask(term, *kept, wish) is not Answer.SOMETIMES:
                    continue
                model = self.solver.model()
            kept.append(wish)
        return model


class _Seen:
    """One class of topics, and what is decided about it, once somebody asks.

    Attributes:
        lessons: what the solver did not know about the texts of these actions.
    """

    def __init__(self, encoder: Encoder, one: TopicClass) -> None:
        self.encoder, self.one = encoder, one
        self.inputs = encoder.inputs(one)
        self.lessons: list[Term] = []

    @cached_property
    def decided(self) -> Decided:
        return self.encoder.decided(self.inputs)


@dataclass(frozen=True, slots=True)
class _Lesson:
    """What the solver did not know."""

    term: Term


class _Unlikely(_Lesson):
    """What no action was found for."""


def _wishes(claim: Claim, inputs: Inputs) -> Iterator[Term]:
    """What a plain action is like, what matters most first: it says little, and nothing out of the way."""
    if inputs.tags is not None:
        yield inputs.tags.given
    for variable in inputs.fields.values():
        root, name = variable.path[:2]
        if root != "signals":
            about_it = variable.path == AMOUNT and isinstance(claim, Invariant) and claim.kind == "money"
            yield variable.is_("number") if about_it else no(variable.there)
        elif name == "confidence":
            yield variable.there
            yield compared("==", variable.units, 10**variable.grid.scale)
        elif "boolean" in variable.shapes:
            yield no(variable.flag)
        else:
            yield no(variable.there) if variable.optional else compared("==", variable.units, 0)
            yield compared(">=", variable.units, 0)
    for variable in inputs.fields.values():
        yield from (no(variable.is_(shape)) for shape in _ODD)
        if "list" in variable.shapes:
            asked = sum(each.over == variable.path for each in inputs.elements.values())
            yield compared("==", variable.length, asked)
        if variable.path[0] != "signals" and "number" in variable.shapes:
            round_ = Whole(f"{variable.name}#round")
            yield compared("==", variable.units, round_, by=10**variable.grid.scale)
            yield compared(">=", variable.units, 0)
            yield compared("<", variable.units, 10 ** (variable.grid.scale + 6))
    if inputs.tags is not None:
        yield compared("==", inputs.tags.others, 0)
        yield from (no(has) for has in inputs.tags.has.values())
    if inputs.level is not None:
        yield compared("==", inputs.level, inputs.one.levels[0][0])

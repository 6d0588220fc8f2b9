"""Tests of a policy: actions an author states, and what the policy is expected to say about each.

1. A test file is YAML, read as strictly as a policy: a mistake anywhere is an error at its line, and no test
   of that run counts. Only here an unseen character may stand as an escape, for it may be what is tested.
2. Only what a test states is compared. Lists are compared as sets, constraints as a whole, a lane in the
   parts that are given.
3. A test may expect that the arguments are refused (``invalid: excess-digits``). Where they are refused and
   nobody expected it, the test fails and says why.
4. A test gives the arguments that the catalogue asks for, as an agent has to: what is decided on unknown
   arguments is decided about no action there can be. Only one that states what is ``missing`` may not.
5. What a test gives without effect, such as a tier on a catalogued topic, is said (`Result.unused`).

>>> from interlock.authoring import read_cases, run_cases
>>> from interlock.policy import parse
>>> text = "tests: [{name: reads run, action: {topic: a.b}, expect: {decision: allow}}]"
>>> policy = parse({"p.yaml": "interlock: 1\\nactions: {a.b: {tier: 1}}"})
>>> [result.ok for result in run_cases(read_cases({"p.test.yaml": text}), policy)]
[True]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Field, PlainValidator, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from interlock.authoring.question import Asked, Mistake, Name, mistakes, question_of, unused_of
from interlock.model.canonical import Json
from interlock.model.errors import InvalidInput
from interlock.model.verdicts import Handoff, Trigger, Verdict
from interlock.policy import Policy, Question
from interlock.policy.compiling import compile_constraints
from interlock.policy.document import (
    ConstraintsSpec,
    DecisionName,
    Duration,
    Group,
    OnTimeoutName,
    Spec,
)
from interlock.policy.findings import Finding, Path, Place, Places, nearest
from interlock.policy.source import read

NONE = "none"
"""How a test says that there is no tier or no handoff: a value is never left empty in YAML."""


def _tier(value: Any) -> Any:
    if value == NONE or (type(value) is int and 1 <= value <= 4):
        return value
    raise PydanticCustomError("tier", "expected 1, 2, 3, 4 or none")


def _handoff(value: Any) -> Any:
    if value == NONE or (isinstance(value, str) and value in list(Handoff)):
        return value
    raise PydanticCustomError("handoff", f"expected one of {', '.join(Handoff)} or none")


def _trigger(value: Any) -> Any:
    if isinstance(value, str) and value in list(Trigger):
        return value
    raise PydanticCustomError("trigger", f"expected one of {', '.join(Trigger)}")


def _slugs(error: type[InvalidInput] = InvalidInput) -> Iterator[str]:
    yield error.slug
    for narrower in error.__subclasses__():
        yield from _slugs(narrower)


def _slug(value: Any) -> Any:
    known = sorted(set(_slugs()))
    if value in known:
        return value
    guess = nearest(value, known) if isinstance(value, str) else None
    hint = f"; did you mean {guess!r}?" if guess else f": {', '.join(known)}"
    raise PydanticCustomError("slug", "{text}", {"text": f"not the name of an error that refuses{hint}"})


class LaneExpectation(Spec):
    window: Duration | None = None
    on_timeout: OnTimeoutName | None = None
    valid: Duration | None = None


Names = Annotated[tuple[Name, ...], Field(strict=False)]


class Expectation(Spec):
    """What a test expects; what it does not state is not compared."""

    decision: DecisionName | None = None
    rule: Name | None = None
    tier: Annotated[Any, PlainValidator(_tier)] = None
    owner: Group | None = None
    triggers: Annotated[tuple[Annotated[str, PlainValidator(_trigger)], ...], Field(strict=False)] = ()
    constraints: ConstraintsSpec | None = None
    missing: Names = ()
    lane: LaneExpectation | None = None
    handoff: Annotated[Any, PlainValidator(_handoff)] = None
    informed: Names = ()
    overridden: Names = ()
    observed: DecisionName | None = None
    invalid: Annotated[str | None, PlainValidator(_slug)] = None

    @model_validator(mode="after")
    def _states_something(self) -> Self:
        stated = self.model_fields_set
        if not stated:
            raise PydanticCustomError("nothing", "it expects nothing; say at least `decision`")
        if "invalid" in stated and len(stated) > 1:
            raise PydanticCustomError("both", "what is refused as invalid has no verdict to compare")
        return self


class CaseSpec(Spec):
    name: Name
    action: Asked
    expect: Expectation


class CasesSpec(Spec):
    tests: Annotated[tuple[CaseSpec, ...], Field(strict=False, min_length=1)]


@dataclass(frozen=True, slots=True)
class Case:
    """One test, and where it stands."""

    name: str
    asked: Asked
    expect: Expectation
    place: Place


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing a test expected otherwise, in JSON values."""

    what: str
    expected: Json
    found: Json


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one test.

    Attributes:
        question: None where the action was refused.
        found: the verdict, or why the action was refused.
        differences: empty where the test passed.
        unused: what the test gives without effect, a sentence each.
    """

    case: Case
    question: Question | None
    found: Verdict | InvalidInput
    differences: tuple[Difference, ...]
    unused: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.differences


# --- reading ----------------------------------------------------------------------------------------------


def read_cases(sources: Mapping[str, str]) -> tuple[Case, ...]:
    """The tests of some files, in the order of the files' names.

    Args:
        sources: from file name to YAML text.

    Raises:
        InvalidInput: with every finding, each at its line; `extra["findings"]` holds them as JSON.
    """
    findings: list[Finding] = []
    cases: list[Case] = []
    for file in sorted(sources):
        tree = read(file, sources[file], findings, escapes=True)
        if tree is None:
            continue
        if not isinstance(tree.data, dict):
            findings.append(Finding(tree.places.value(()), "a test file is a mapping with `tests`"))
            continue
        try:
            spec = CasesSpec.model_validate(tree.data)
        except ValidationError as error:
            findings += (_finding(mistake, tree.places) for mistake in mistakes(error, CasesSpec))
            continue
        for index, case in enumerate(spec.tests):
            place = tree.places.value(("tests", index))
            cases.append(Case(case.name, case.action, case.expect, place))
    findings += _twice(cases)
    if findings:
        ordered = sorted(set(findings), key=lambda f: (f.place.file, f.place.line, f.place.column, f.message))
        count = f"{len(ordered)} {'finding' if len(ordered) == 1 else 'findings'}"
        refused = InvalidInput(
            "\n".join([f"{count}; no test was run", *map(str, ordered)]),
            path="tests",
            fix="Correct the test file.",
        )
        refused.extra["findings"] = [finding.to_json() for finding in ordered]
        raise refused
    return tuple(cases)


def _finding(mistake: Mistake, places: Places) -> Finding:
    path: Path = mistake.path
    where = places.key(path) if mistake.about_key else places.value(path)
    if mistake.kind == "missing":
        where = places.value(path[:-1])
    words = [step for step in path if isinstance(step, str)]
    name = f"{words[-1]!r}: " if mistake.kind == "wrong" and words else ""
    return Finding(where, f"{name}{mistake.message}", mistake.suggestion)


def _twice(cases: Iterable[Case]) -> Iterator[Finding]:
    known: dict[str, Case] = {}
    for case in cases:
        first = known.setdefault(case.name, case)
        if first is not case:
            at = f"{first.place.file}:{first.place.line}"
            yield Finding(case.place, f"the test {case.name!r} stands twice, first in {at}")


# --- running ----------------------------------------------------------------------------------------------


def run_cases(cases: Iterable[Case], policy: Policy) -> tuple[Result, ...]:
    """What `policy` says about each case, and where that is not what was expected."""
    return tuple(_run(case, policy) for case in cases)


def _run(case: Case, policy: Policy) -> Result:
    expect = case.expect
    try:
        question = question_of(case.asked, policy)
        if case.asked.args is None and "missing" not in expect.model_fields_set:
            policy.check_args(question.topic, question.args)
    except InvalidInput as refusal:
        if expect.invalid == refusal.slug:
            return Result(case, None, refusal, ())
        expected: Json = expect.invalid or "an acceptable action"
        return Result(case, None, refusal, (Difference("invalid", expected, refusal.slug),))
    verdict, unused = policy.decide(question), tuple(unused_of(case.asked, policy))
    if expect.invalid is not None:
        return Result(case, question, verdict, (Difference("invalid", expect.invalid, None),), unused)
    return Result(case, question, verdict, tuple(_differences(expect, verdict)), unused)


def _differences(expect: Expectation, verdict: Verdict) -> Iterator[Difference]:
    found = verdict.to_json()
    for name in Expectation.model_fields:
        if name in expect.model_fields_set:
            wanted, is_ = _COMPARED[name](getattr(expect, name), found[name])
            if wanted != is_:
                yield Difference(name, wanted, is_)


_Compared = Callable[[Any, Any], "tuple[Any, Any]"]


def _plain(wanted: Any, found: Any) -> tuple[Any, Any]:
    return wanted, found


def _or_none(wanted: Any, found: Any) -> tuple[Any, Any]:
    return (None if wanted == NONE else wanted), found


def _set(wanted: Iterable[str], found: Iterable[str]) -> tuple[list[str], list[str]]:
    return sorted(set(wanted)), sorted(set(found))


def _constraints(wanted: ConstraintsSpec, found: Any) -> tuple[Any, Any]:
    return compile_constraints(wanted).to_json(), found


def _lane(wanted: LaneExpectation, found: Any) -> tuple[Any, Any]:
    names = {"window": "window_sec", "on_timeout": "on_timeout", "valid": "valid_sec"}
    stated = {name: key for name, key in names.items() if name in wanted.model_fields_set}
    parts = None if found is None else {key: found[key] for key in stated.values()}
    return {key: getattr(wanted, name) for name, key in stated.items()}, parts


_COMPARED: Mapping[str, _Compared] = {
    "decision": _plain,
    "rule": _plain,
    "tier": _or_none,
    "owner": _plain,
    "triggers": _set,
    "constraints": _constraints,
    "missing": _set,
    "lane": _lane,
    "handoff": _or_none,
    "informed": _set,
    "overridden": _set,
    "observed": _plain,
}

"""Lint: what loads, decides as it says, and still is not what its author can have meant.

1. A *warning* should be changed, or said on purpose; a *note* should be known. Neither keeps a policy from
   loading: that is `check`'s business, and what `check` warns of is not repeated here.
2. A rule is called idle only where that is certain: another one covers its topics, asks for nothing it does
   not ask for, and nothing sets that other one aside.
3. Rules are compared through an index of their topics: two that never meet are never compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from interlock.authoring.advice import Advice, Subject, listed
from interlock.authoring.cases import Result
from interlock.authoring.coverage import coverage
from interlock.authoring.lint_catalogue import about_catalogue
from interlock.authoring.lint_levels import about_levels
from interlock.authoring.lint_rules import about_rules
from interlock.policy import Policy
from interlock.policy.findings import Place

_ORDER = {"warning": 0, "note": 1}


def lint(
    policy: Policy,
    *,
    results: tuple[Result, ...] | None = None,
    places: Mapping[tuple[str, str], Place] | None = None,
) -> tuple[Advice, ...]:
    """Everything there is to say about a policy, warnings first, each kind in the order of the files.

    Args:
        results: of the policy's tests; None where it has none.
        places: where its rules and actions stand, as `places_of` gives them.
    """
    subject = Subject(policy, places or {})
    found = [
        *about_rules(subject),
        *about_levels(subject),
        *about_catalogue(subject),
        *_about_lanes(subject),
        *_about_tests(subject, results),
    ]
    return tuple(sorted(found, key=_order))


def _order(advice: Advice) -> tuple[int, str, int]:
    place = advice.place
    return _ORDER[advice.severity], "" if place is None else place.file, 0 if place is None else place.line


def _about_lanes(subject: Subject) -> Iterator[Advice]:
    used = {rule.spec.lane for rule in subject.rules if isinstance(rule.spec.lane, str)}
    for name in sorted(set(subject.document.lanes) - used):
        yield Advice(
            "unused-lane",
            "note",
            f"No rule uses the lane {name}.",
            "Name it in a rule (`lane: " + name + "`), or remove it.",
        )


def _about_tests(subject: Subject, results: tuple[Result, ...] | None) -> Iterator[Advice]:
    if results is None:
        yield Advice(
            "no-tests",
            "warning",
            "The policy has no tests.",
            "Write what it should say about a few actions beside it, as policy.test.yaml; see "
            "`interlock policy test --help`.",
        )
        return
    failed = [result.case.name for result in results if not result.ok]
    if failed:
        yield Advice(
            "failing-tests",
            "warning",
            f"{len(failed)} of {len(results)} tests {'fails' if len(failed) == 1 else 'fail'}: "
            f"{listed(failed)}.",
            "Run `interlock policy test`; correct the policy or the test.",
        )
    uncounted = coverage(subject.policy, results).uncounted
    if uncounted:
        one = len(uncounted) == 1
        yield Advice(
            "untested",
            "note",
            f"{len(uncounted)} of {len(subject.rules)} rules {'counts' if one else 'count'} in no test: "
            f"{listed(list(uncounted))}.",
            "Add a test in which each of them counts; `interlock policy test` lists the branches too.",
        )

"""Lint of autonomy levels: a list that is read from the top until a rule matches.

A rule is unreachable where an earlier one of the same level covers its topics and asks for nothing it does
not ask for: whenever it matches, the earlier one has matched.
"""

from __future__ import annotations

from collections.abc import Iterator

from interlock.authoring.advice import Advice, Subject
from interlock.authoring.claims import Claims, claims_of
from interlock.authoring.parts import covers, patterns_of
from interlock.model.topics import TopicPattern


def about_levels(subject: Subject) -> Iterator[Advice]:
    for name, level in subject.document.autonomy_levels.items():
        earlier: list[tuple[int, tuple[TopicPattern, ...], Claims]] = []
        for index, spec in enumerate(level.rules, 1):
            patterns, claims = patterns_of(spec.match), claims_of(spec.match, spec.when)
            where = f"Rule {index} of {name}"
            field = claims.contradiction
            if field is not None:
                yield Advice(
                    "impossible",
                    "warning",
                    f"No value of {field} satisfies all conditions of {where[0].lower()}{where[1:]}.",
                    "Correct the condition, or remove the rule.",
                )
            for number, wide, wanted in earlier:
                reached = all(any(covers(one, own) for one in wide) for own in patterns)
                if reached and claims.imply(wanted):
                    yield Advice(
                        "unreachable",
                        "warning",
                        f"{where} is never reached: rule {number} matches whatever it matches.",
                        f"Move it before rule {number}, or remove it.",
                    )
                    break
            earlier.append((index, patterns, claims))

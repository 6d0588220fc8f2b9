"""Checking tags: they are words that nobody declares, so a misspelt one is no error and guards nothing.

1. Invariants, and routing where a policy has it, read words of their own. A tag of an action that is nearly
   such a word, on an action that does not carry the word itself, is warned about.
2. So is a tag that a restrictive rule or a trigger asks for, that nothing catalogued carries, and that is
   nearly such a word or differs from a tag that something carries by nothing but ``_`` for ``-`` or an s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from functools import cached_property

from interlock.model.verdicts import Decision
from interlock.policy.checking import Report
from interlock.policy.document import Document, LevelRuleSpec, MatchSpec, RuleSpec, ScopeSpec
from interlock.policy.expressions import ExpressionError, parse_expression
from interlock.policy.reach import Reach
from interlock.policy.syntax import Field, In, Literal, parts

INVARIANTS = {
    "deploy": ("deploy", "prod"),
    "external-comms": ("external-comms",),
    "money": ("money",),
    "delete": ("delete",),
    "privilege": ("privilege",),
}
"""The tags that each built-in invariant reads."""
ROUTED = ("money", "security", "secrets", "privilege")
"""The tags that routing reads."""
_OTHER_FORMS = {
    "deletion": "delete",
    "deployment": "deploy",
    "external-communication": "external-comms",
    "production": "prod",
}
"""Other forms of these words, which no spelling comes close to."""
_CLOSE = 0.8


class Tags:
    """The tags of one policy: which of them guards read, and which are nearly one of those."""

    def __init__(self, document: Document, reach: Reach) -> None:
        self.document = document
        self.reach = reach
        self._meant: dict[str, str | None] = {}

    @cached_property
    def words(self) -> dict[str, str]:
        """The words of the invariants that are on and of routing, and who reads each."""
        off = self.document.invariants.disabled or ()
        found = {
            tag: f"invariant:{name}" for name, tags in INVARIANTS.items() for tag in tags if name not in off
        }
        routed = ROUTED if self.document.routing is not None else ()
        return {**dict.fromkeys(routed, "routing"), **found}

    @cached_property
    def guarding(self) -> frozenset[str]:
        """The tags that invariants, routing, triggers and locked rules read."""
        found = set(self.words)
        triggers = self.document.triggers
        for name in type(triggers).model_fields:
            found.update(_asked(getattr(triggers, name).match))
        for rule in self.document.rules:
            if rule.locked and Decision(rule.decision).restrictive:
                found.update(tags_of(rule))
        return frozenset(found)

    @cached_property
    def carried(self) -> dict[str, str]:
        """What something catalogued carries, by its plain form."""
        return {_plain(tag): tag for entry in self.reach.entries for tag in entry.risk_tags}

    def word(self, tag: str) -> str | None:
        """The word that a tag is nearly; None where it is one, or is none."""
        if tag not in self._meant:
            self._meant[tag] = None if tag in self.words else self._nearly(tag)
        return self._meant[tag]

    def _nearly(self, tag: str) -> str | None:
        plain = _plain(tag)
        other = _OTHER_FORMS.get(plain)
        if other in self.words:
            return other
        for word in sorted(self.words):
            alike = tag[0] == word[0] and abs(len(tag) - len(word)) <= 2
            if alike and SequenceMatcher(None, plain, _plain(word)).ratio() >= _CLOSE:
                return word
        return None

    def meant(self, tag: str) -> str | None:
        """What a rule probably means by a tag that nothing catalogued carries; None where it is clear."""
        if self.reach.tagged(tag) or tag in self.words:
            return None
        return self.carried.get(_plain(tag)) or self.word(tag)


def check_tags(report: Report, tags: Tags) -> None:
    """The tags of actions, of rules that restrict, and of triggers."""
    reach, document = tags.reach, report.document
    for tag in sorted({tag for entry in reach.entries for tag in entry.tags}):
        word = tags.word(tag)
        without = reach.tagged(tag) & ~reach.tagged(word) if word else 0
        if word and without:
            whose = reach.met().among(without).named
            report.loosens(f"action {whose}: the tag {tag} is not {word}, which {tags.words[word]} reads")
    for whose, asked in _asking(document):
        for tag in dict.fromkeys(asked):
            meant = tags.meant(tag)
            if meant:
                report.loosens(f"{whose}: nothing catalogued is tagged {tag}; did you mean {meant!r}?")


def _asking(document: Document) -> Iterator[tuple[str, Iterable[str]]]:
    """Whoever restricts, and the tags it asks for."""
    for index, rule in enumerate(document.rules):
        if Decision(rule.decision).restrictive:
            yield f"rule {document.rule_id(index)}", tags_of(rule)
    for name, level in sorted(document.autonomy_levels.items()):
        for index, of_level in enumerate(level.rules):
            if Decision(of_level.decision).restrictive:
                yield f"rule {index + 1} of {name}", tags_of(of_level)
    for name in type(document.triggers).model_fields:
        yield f"trigger {name}", _asked(getattr(document.triggers, name).match)


def tags_of(rule: RuleSpec | LevelRuleSpec) -> list[str]:
    """The tags that a rule asks for, in its match and in its condition."""
    found = [*_asked(rule.match)]
    if rule.when is not None and "tags" in rule.when:
        try:
            expr = parse_expression(rule.when)
        except ExpressionError:  # a finding of its own
            return found
        for part in parts(expr):
            match part:
                case In(Literal(str() as tag), Field(("tags",))):
                    found.append(tag)
    return found


def _asked(scope: MatchSpec | ScopeSpec | None) -> tuple[str, ...]:
    return () if scope is None else (*(scope.risk_tags or ()), *(scope.all_risk_tags or ()))


def _plain(tag: str) -> str:
    """A tag without what people get wrong first."""
    return tag.replace("_", "-").rstrip("s")

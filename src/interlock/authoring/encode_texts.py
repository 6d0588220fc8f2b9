"""Texts: which there are that answer every question as the solver supposed.

1. Every question with a literal says that the text is in a regular language (`languages`), or is not; so
   whether there is a text that answers all of them is decided.
2. Texts that are supposed equal are one text, and a question about two texts one of which is known is one
   about the other. For the rest, some members of both languages are tried; where none of them answer, nobody
   claims that there are none.
3. Where there is no text, the answers that contradict each other are named, as few as are needed, so that
   they are never supposed together again. That is a fact about texts, not a guess.
4. What is not put as a language (patterns that `encode_patterns` cannot translate, very long literals) is
   tried on what is found without it: "there is none" is then still true, and "there is one" is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, product
from typing import TypeAlias

from interlock.authoring.encode_inputs import AMOUNT, READABLE, WORTH, Inputs
from interlock.authoring.encode_logic import TURNED, Term, both, compared, no
from interlock.authoring.encode_patterns import pattern_language
from interlock.authoring.encode_values import TextVariable, holds, text_of_units
from interlock.authoring.languages import UNIVERSE, Language, Languages
from interlock.authoring.solver import Model
from interlock.model.topics import TopicPattern
from interlock.policy.catalogue import overlap

_TRIED = 8
"""Members of one language that are tried where two texts are compared, or a pattern is not translated."""
_LONG = 100
"""Characters of a literal that another text comes before or after."""
_ORDER = frozenset({"<", "<=", ">", ">="})
_LETTERS = ((0x2D, 0x2D), (0x30, 0x39), (0x5F, 0x5F), (0x61, 0x7A))

Terms: TypeAlias = tuple[Term, ...]
Texts: TypeAlias = dict[TextVariable, str]


@dataclass(frozen=True, slots=True)
class Clash:
    """Terms that cannot hold together."""

    terms: Terms


@dataclass(frozen=True, slots=True)
class _Pair:
    """A question between two texts, whether it holds, and the term that says so."""

    function: str
    one: TextVariable
    other: TextVariable
    value: bool
    term: Term

    @property
    def equal(self) -> bool:
        return self.function in ("==", "!=") and (self.function == "==") is self.value


@dataclass(frozen=True, slots=True)
class _Limit:
    """What a text must be, and the terms that say so: in a language, or of so many characters.

    Attributes:
        wider: limits that say less, and may rule out as much; they are tried before this one.
    """

    terms: Terms
    language: Language | None = None
    least: int = 0
    most: int | None = None
    wider: tuple[_Limit, ...] = ()


@dataclass(slots=True)
class _Group:
    """Texts that are supposed to be one; `equal`: the terms that say so.

    Attributes:
        known: what it is, where a literal says so, with the terms.
        untold: questions that are not put as a language, and the answers.
        least, most: how many characters there can be.
    """

    members: list[TextVariable]
    equal: Terms
    limits: list[_Limit] = field(default_factory=list)
    known: tuple[str, Terms] | None = None
    untold: list[tuple[str, str, bool]] = field(default_factory=list)
    least: int = 0
    most: int | None = None


def find_texts(inputs: Inputs, model: Model, active: list[TextVariable]) -> Texts | Clash | None:
    """A text for each variable, or what contradicts itself; None where nobody knows.

    Args:
        active: the variables that are texts in this model.
    """
    return _Search(inputs, model, active).texts()


class _Search:
    def __init__(self, inputs: Inputs, model: Model, active: list[TextVariable]) -> None:
        self.inputs, self.model = inputs, model
        self.languages = Languages()
        self.pairs = list(self._pairs(set(active)))
        self.groups = list(self._groups(active))
        self.of = {text: group for group in self.groups for text in group.members}
        for text in active:
            self._describe(self.of[text], text)

    # --- what is supposed

    def _pairs(self, active: set[TextVariable]) -> Iterator[_Pair]:
        for (function, one, other), flag in self.inputs.asked.items():
            value = self.model.flag(flag)
            if isinstance(other, TextVariable) and one in active and other in active and value is not None:
                yield _Pair(function, one, other, value, flag if value else no(flag))

    def _groups(self, active: list[TextVariable]) -> Iterator[_Group]:
        of = {text: [text] for text in active}
        for pair in self.pairs:
            if pair.equal and of[pair.one] is not of[pair.other]:
                joined = of[pair.one] + of[pair.other]
                of.update(dict.fromkeys(joined, joined))
        for members in {id(members): members for members in of.values()}.values():
            equal = (pair.term for pair in self.pairs if pair.equal and pair.one in members)
            yield _Group(members, tuple(equal))

    def _describe(self, group: _Group, text: TextVariable) -> None:
        languages = self.languages
        group.least = max(group.least, text.shortest)
        if text.longest is not None:
            group.most = text.longest if group.most is None else min(group.most, text.longest)
        code = self.model.number(text.code)
        if code:
            literal = next(literal for literal, place in text.literals.items() if place == code)
            self._know(group, literal, compared("==", text.code, code))
        elif code == 0 and text.literals:
            unlike = languages.besides(languages.choice(*map(languages.literal, text.literals)))
            group.limits.append(_Limit((compared("==", text.code, 0),), unlike))
        amount = self.inputs.fields.get(AMOUNT)
        if amount is not None and text is amount.text:
            self._describe_amount(group, amount.grid.scale)
        if text.allowed is not None:
            group.limits.append(_Limit((), languages.choice(*map(languages.literal, text.allowed))))
        if text is self.inputs.topic:
            group.limits.append(_Limit((), self._topics()))
        size = None if text.size is None else self.model.number(text.size)
        if text.size is not None and size is not None:
            above = _Limit((compared(">=", text.size, size),), least=size)
            below = _Limit((compared("<=", text.size, size),), most=size)
            exact = _Limit((compared("==", text.size, size),), None, size, size, (above, below))
            group.limits.append(exact)
        for (function, of, other), flag in self.inputs.asked.items():
            value = self.model.flag(flag)
            if of is text and isinstance(other, str) and value is not None:
                self._limit(group, function, other, value, (flag if value else no(flag),))

    def _describe_amount(self, group: _Group, scale: int) -> None:
        """What `interlock.model.money.decimal_of` makes of a text, of which only amounts count."""
        languages, worth = self.languages, self.model.number(WORTH) or 0
        if self.model.flag(READABLE):
            term = both(READABLE, compared("==", WORTH, worth))
            self._know(group, text_of_units(worth, scale), term)
            return
        digit, zero = languages.characters(((0x30, 0x39),)), languages.literal("0")
        whole = languages.sequence(languages.characters(((0x31, 0x39),)), languages.times(digit, 0, 17))
        fraction = languages.sequence(languages.literal("."), languages.times(digit, 1, None))
        zeros = languages.sequence(languages.literal("."), languages.times(zero, 1, None))
        amount = languages.choice(
            languages.sequence(languages.choice(zero, whole), languages.choice(languages.empty, fraction)),
            languages.sequence(languages.literal("-0"), languages.choice(languages.empty, zeros)),
        )
        short = languages.times(languages.characters(UNIVERSE), 0, 64)
        unreadable = languages.besides(languages.all_of(amount, short))
        group.limits.append(_Limit((no(READABLE),), unreadable))

    def _know(self, group: _Group, text: str, term: Term) -> None:
        group.known = group.known or (text, (term,))
        group.limits.append(_Limit((term,), self.languages.literal(text)))

    def _limit(self, group: _Group, function: str, literal: str, value: bool, terms: Terms) -> None:
        language = self._answering(function, literal)
        if language is None:
            group.untold.append((function, literal, value))
        else:
            group.limits.append(_Limit(terms, language if value else self.languages.besides(language)))

    def _answering(self, function: str, literal: str) -> Language | None:
        """The texts of which something holds; None where that is not put as a language."""
        languages = self.languages
        if function in _ORDER and len(literal) > _LONG:
            return None
        text, anything = languages.literal(literal), languages.anything
        match function:
            case "matches":
                return pattern_language(literal, languages)
            case "startsWith":
                return languages.sequence(text, anything)
            case "endsWith":
                return languages.sequence(anything, text)
            case "contains":
                return languages.sequence(anything, text, anything)
            case "==":
                return text
            case "!=":
                return languages.besides(text)
            case "<":
                return languages.below(literal)
            case "<=":
                return languages.choice(text, languages.below(literal))
            case ">":
                return languages.besides(languages.choice(text, languages.below(literal)))
        return languages.besides(languages.below(literal))

    # --- what there is

    def texts(self) -> Texts | Clash | None:
        open_pairs = [pair for pair in self.pairs if not pair.equal]
        for pair in open_pairs:
            clash = self._compare_with_known(pair)
            if clash is not None:
                return clash
        compared_texts = {text for pair in open_pairs for text in (pair.one, pair.other)}
        found = []
        for group in self.groups:
            several = bool(group.untold) or not compared_texts.isdisjoint(group.members)
            members = list(islice(self._members(group), _TRIED if several else 1))
            if not members:
                return self._clash(group)
            found.append([text for text in members if _told(group, text)])
        for chosen in islice(product(*found), 10_000):
            texts = {
                text: value
                for group, value in zip(self.groups, chosen, strict=True)
                for text in group.members
            }
            if all(holds(p.function, texts[p.one], texts[p.other]) is p.value for p in open_pairs):
                return texts
        return None

    def _compare_with_known(self, pair: _Pair) -> Clash | None:
        """Say of a text what a question between it and a known one comes to."""
        one, other = self.of[pair.one], self.of[pair.other]
        if one is other:
            holds_of_itself = holds(pair.function, "", "")
            return None if holds_of_itself is pair.value else Clash((pair.term, *one.equal))
        if other.known is not None:
            text, terms = other.known
            self._limit(one, pair.function, text, pair.value, (pair.term, *terms, *other.equal))
        elif one.known is not None:
            text, terms = one.known
            self._limit(other, TURNED[pair.function], text, pair.value, (pair.term, *terms, *one.equal))
        return None

    def _members(self, group: _Group) -> Iterator[str]:
        """Texts that the group can be, some of those that come to mind first."""
        least, most = _sizes(group, group.limits)
        language = self._language(group.limits)
        in_mind = self.inputs.one.topics if self.inputs.topic in group.members else ("example",)
        for text in in_mind:
            fits = len(text) >= least and (most is None or len(text) <= most)
            if fits and self.languages.holds(language, text):
                yield text
                language = self.languages.all_of(
                    language, self.languages.besides(self.languages.literal(text))
                )
        while isinstance(found := self.languages.shortest(language, least, most), str):
            yield found
            language = self.languages.all_of(language, self.languages.besides(self.languages.literal(found)))

    def _language(self, limits: list[_Limit]) -> Language:
        return self.languages.all_of(*(limit.language for limit in limits if limit.language is not None))

    def _clash(self, group: _Group) -> Clash | None:
        """As few terms as it takes to leave no text; None where it is not known that there is none."""
        if not self._impossible(group, group.limits):
            return None
        left = list(group.limits)
        for limit in group.limits:
            rest = [each for each in left if each is not limit]
            without = [rest] if limit.terms else []
            for fewer in (*without, *([*rest, wider] for wider in limit.wider)):
                if self._impossible(group, fewer):
                    left = fewer
                    break
        terms = (term for limit in left for term in limit.terms)
        return Clash(tuple(dict.fromkeys((*terms, *group.equal))))

    def _impossible(self, group: _Group, limits: list[_Limit]) -> bool:
        least, most = _sizes(group, limits)
        return self.languages.shortest(self._language(limits), least, most) is None

    # --- topics

    def _topics(self) -> Language:
        """The topics of the class: those that the same patterns match as match a representative."""
        return self.languages.choice(*map(self._like, self.inputs.one.topics))

    def _like(self, topic: str) -> Language:
        patterns, languages = self.inputs.topics.patterns, self.languages
        matching = [pattern for pattern in patterns if pattern.matches(topic)]
        if any(pattern.exact for pattern in matching):
            return languages.literal(topic)
        unlike = [
            languages.besides(self._matching(pattern))
            for pattern in patterns
            if pattern not in matching and all(overlap(pattern, other) for other in matching)
        ]
        segment = languages.times(languages.characters(_LETTERS), 1, None)
        further = languages.sequence(languages.literal("."), segment)
        whole = languages.sequence(segment, languages.times(further, 1, 15))
        return languages.all_of(whole, *map(self._matching, matching), *unlike)

    def _matching(self, pattern: TopicPattern) -> Language:
        """The topics that a pattern matches."""
        languages = self.languages
        segment = languages.times(languages.characters(_LETTERS), 1, None)
        dot = languages.literal(".")
        parts: list[Language] = []
        for number, step in enumerate(pattern.segments):
            parts += [*([dot] if number else []), segment if step == "*" else languages.literal(step)]
        if pattern.open_ended:
            further = languages.repeated(languages.sequence(dot, segment))
            parts += [further] if parts else [segment, further]
        return languages.sequence(*parts)


def _sizes(group: _Group, limits: list[_Limit]) -> tuple[int, int | None]:
    """How many characters there can be, at least and at most."""
    most = [each for each in (group.most, *(limit.most for limit in limits)) if each is not None]
    return max((group.least, *(limit.least for limit in limits))), min(most, default=None)


def _told(group: _Group, text: str) -> bool:
    """Whether what is not put as a language is answered as supposed."""
    return all(holds(function, text, literal) is value for function, literal, value in group.untold)

"""Plans: what is always asked about a topic, found once and remembered.

1. All topics of one catalogue entry stand on the same ground: tier, tags, and what the rules that speak about
   every topic have to ask there. Outside the catalogue the tags of the registration are the ground.
2. A plan is the ground and the few rules that speak about this topic. Rules that tags refute are gone from
   it; the rest stand strictest first, so that the first restriction that counts is the answer.
3. What nobody has observed yet refutes most triggers at once; they stand apart from what is asked at rest.
4. Memory is bounded: past `REMEMBERED_TOPICS` topics, or `REMEMBERED_TAGS` sets of tags, it starts anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from interlock.model.topics import TopicPattern, parse_topic
from interlock.model.verdicts import Verdict
from interlock.policy.catalogue import Catalogue, CatalogueEntry
from interlock.policy.fields import Inputs
from interlock.policy.rules import BASELINE, Asked, Rule
from interlock.policy.trie import Trie

REMEMBERED_TOPICS = 4_096
REMEMBERED_TAGS = 256
_NO_NAMES: frozenset[str] = frozenset()


class Ground:
    """What all topics of one entry, or of one registration, have in common.

    Attributes:
        everywhere: what is asked about every topic, in order; at_rest: while nobody has observed anything.
    """

    __slots__ = ("at_rest", "decimals", "entry", "everywhere", "known", "overriding", "tags", "tiers")

    def __init__(
        self,
        entry: CatalogueEntry | None,
        tags: frozenset[str] | None,
        rules: Iterable[tuple[int, Rule]],
    ) -> None:
        self.entry = entry
        self.tags = tags
        self.tiers = () if entry is None else (int(entry.tier),)
        self.decimals = _NO_NAMES if entry is None else entry.decimals
        self.known = Inputs("", MappingProxyType({}), BASELINE, entry, tags)
        self.everywhere = [a for rank, rule in rules if (a := rule.asked(rank, self.known)) is not None]
        self.at_rest = [asked for asked in self.everywhere if not asked[3].rests]
        self.overriding = any(asked[3].overrides for asked in self.everywhere)


class Plan:
    """What is asked about one topic, strictest first.

    Attributes:
        rules: everything; at_rest: what is left while nobody has observed anything.
        named: outside the catalogue, ids of the rules that name the topic.
    """

    __slots__ = ("_own", "_rules", "at_rest", "ground", "levels", "named", "overriding")

    def __init__(self, ground: Ground, own: list[Asked], named: frozenset[str]) -> None:
        self.ground = ground
        self.named = named
        self._own = own
        self._rules: list[Asked] | None = None
        self.levels: dict[int, tuple[Rule, ...]] | None = None
        self.at_rest: list[Asked] = ground.at_rest
        self.overriding = ground.overriding
        if own:
            self.at_rest = sorted(own + ground.at_rest)
            for asked in own:
                if asked[3].overrides:
                    self.overriding = True

    @property
    def rules(self) -> list[Asked]:
        if self._rules is None:
            self._rules = sorted([*self._own, *self.ground.everywhere])
        return self._rules


class Plans:
    """The plans of one policy, made when a topic is first seen.

    Attributes:
        ranked: every rule, strictest decision first, then layer and file order.
        verdicts: those given so far, by all they depend on.
    """

    __slots__ = (
        "_catalogue",
        "_entries",
        "_everywhere",
        "_grounds",
        "_plans",
        "_strangers",
        "_trie",
        "ranked",
        "verdicts",
    )

    def __init__(self, catalogue: Catalogue, rules: Iterable[Rule]) -> None:
        self._catalogue = catalogue
        self.ranked = tuple(sorted(rules, key=lambda r: (-r.decision.severity, r.layer, r.index)))
        self._trie = Trie()
        self._everywhere: list[tuple[int, Rule]] = []
        for rank, rule in enumerate(self.ranked):
            if rule.patterns is None or any(pattern.text in ("*", "**") for pattern in rule.patterns):
                self._everywhere.append((rank, rule))
            else:
                for pattern in rule.patterns:
                    self._trie.add(pattern, rank)
        self._entries = len(catalogue.patterns)
        for rank, (pattern, _) in enumerate(catalogue.patterns):
            self._trie.add(pattern, rank - self._entries)  # below zero: one walk finds entry and rules
        self.verdicts: dict[object, Verdict] = {}
        self._plans: dict[str, Plan] = {}
        self._strangers: dict[tuple[str, frozenset[str] | None], Plan] = {}
        self._grounds: dict[object, Ground] = {}

    @property
    def unindexed(self) -> int:
        """How many rules are asked about every topic."""
        return len(self._everywhere)

    def of(self, topic: str, tags: frozenset[str] | None) -> Plan:
        """The plan of a topic; `tags` count outside the catalogue only. Raises `BadTopic`."""
        plan = self._plans.get(topic)
        if plan is None:
            plan = self._strangers.get((topic, tags))
        return self._make(topic, tags) if plan is None else plan

    def entry(self, topic: str) -> CatalogueEntry | None:
        """The catalogue's entry. Raises `BadTopic`."""
        return self.of(topic, _NO_NAMES).ground.entry

    @property
    def remembered(self) -> int:
        """How many plans are held."""
        return len(self._plans) + len(self._strangers)

    def about(self, topic: str) -> tuple[list[Rule], frozenset[str]]:
        """The rules that speak about a topic, strictest first, whatever its tags; ids of those naming it."""
        ranks = {rank for rank in self._trie.find(topic) if rank >= 0}
        ranks.update(rank for rank, _ in self._everywhere)
        rules = [self.ranked[rank] for rank in sorted(ranks)]
        return rules, frozenset(rule.id for rule in rules if _names(rule, topic))

    def _make(self, topic: str, tags: frozenset[str] | None) -> Plan:
        ranks = self._trie.find(parse_topic(topic))
        if len(ranks) > 1:
            ranks = sorted(set(ranks))
        entry = self._catalogue.exactly(topic)
        if entry is None and ranks and ranks[0] < 0:
            entry = self._catalogue.patterns[ranks[0] + self._entries][1]
        ground = self._ground(entry, tags)
        known, ranked = ground.known, self.ranked
        own = [a for rank in ranks if rank >= 0 and (a := ranked[rank].asked(rank, known)) is not None]
        if entry is not None:
            plan = Plan(ground, own, _NO_NAMES)
            if len(self._plans) >= REMEMBERED_TOPICS:
                self._plans.clear()
            self._plans[topic] = plan
            return plan
        plan = Plan(ground, own, self.about(topic)[1])
        if len(self._strangers) >= REMEMBERED_TOPICS:
            self._strangers.clear()
        self._strangers[topic, tags] = plan
        return plan

    def _ground(self, entry: CatalogueEntry | None, tags: frozenset[str] | None) -> Ground:
        key = tags if entry is None else entry.pattern
        ground = self._grounds.get(key)
        if ground is None:
            if len(self._grounds) >= REMEMBERED_TAGS + len(self._catalogue.entries):
                self._grounds.clear()
            ground = Ground(entry, tags if entry is None else entry.tags, self._everywhere)
            self._grounds[key] = ground
        return ground


def _names(rule: Rule, topic: str) -> bool:
    """Whether one of its patterns names the topic rather than sweeping over it."""
    patterns: tuple[TopicPattern, ...] = rule.patterns or ()
    return any(pattern.names and pattern.matches(topic) for pattern in patterns)

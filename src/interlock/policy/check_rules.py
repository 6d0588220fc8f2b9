"""Checking rules: the author's, and those of autonomy levels, which are the same but for what they may say.

1. What an agent reports may only tighten: confidence is compared with ``<`` and ``<=``, in rules that
   restrict, and not in one that overrides another or that belongs to a level (promise P1).
2. A limit that nothing enforces is an error where that is certain, and a warning where it depends on topics
   nobody catalogued yet: a limit on paper is worse than none.
3. An override names a rule there is, that is neither locked nor overrides others itself: in a chain, an
   unknown input of the first could bring back what the last forbids. Silence approves nothing of tier 3 or 4,
   and nothing that nobody catalogued; where it lets run the rest, that is said. A lane escalates to owners
   whom the policy names elsewhere, for a name that is misspelt is nobody.
4. A threshold that no entry feeds restricts nothing, and a permissive rule on ``*.*`` reviews nothing: each
   is a warning, and so is what the lowest level, which every agent has, lets run by sweeping. What is true of
   many entries is said once, with the first of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from interlock.model.topics import TopicPattern
from interlock.model.verdicts import DEFAULT_OWNER, Decision, Tier
from interlock.policy.catalogue import CatalogueEntry, overlap
from interlock.policy.check_actions import LIMITS, certainly_unenforced, highest_tier, unenforced
from interlock.policy.checking import CONFIDENCE, Asked, Report
from interlock.policy.compiling import compile_constraints
from interlock.policy.document import (
    DEFAULT_OWNERS,
    LaneSpec,
    LevelRuleSpec,
    MatchSpec,
    RuleSpec,
)
from interlock.policy.findings import Path
from interlock.policy.reach import Met, Reach
from interlock.policy.typecheck import only_tightens

ONLY_TIGHTEN = "confidence is reported by the agent and may only tighten; a rule that permits cannot read it"
_IN_LEVEL = "confidence is reported by the agent; a level, which can also permit, cannot read it"
_IN_OVERRIDE = "confidence is reported by the agent; a rule that sets others aside cannot read it"
_SCOPE = frozenset({"topics", "risk_tags", "all_risk_tags", "confidence_below"})
_OBSERVED = {
    "anomaly_score_above": "anomaly_score",
    "retry_count_above": "retry_count",
    "first_time_action": "first_time_action",
}

_NAMING = frozenset({"owners", "routing", "rules", "triggers"})
"""Sections that name owners."""


def check_rules(report: Report, reach: Reach) -> None:
    """Everything about the author's rules."""
    seen: dict[str, int] = {}
    survey = _Survey(report, reach)
    for index, spec in enumerate(report.document.rules):
        rule = _Rule(report, survey, ("rules", index), report.document.rule_id(index), spec)
        rule.identity(seen)
        rule.check()
        rule.lane(spec)
        rule.owner(spec)
    _Overrides(report).check()
    for name, lane in sorted(report.document.lanes.items()):
        _chain(report, ("lanes", name), lane)


def check_levels(report: Report, reach: Reach) -> None:
    """Everything about the rules of autonomy levels."""
    survey = _Survey(report, reach)
    levels = sorted(report.document.autonomy_levels.items())
    for level, spec in levels:
        taken = 0
        for index, rule in enumerate(spec.rules):
            path: Path = ("autonomy_levels", level, "rules", index)
            checked = _Rule(report, survey, path, f"{index + 1} of {level}", rule)
            checked.check()
            if level == levels[0][0]:
                checked.everybody(taken)
            taken |= checked.met.bits if checked.unconditional else 0


class _Survey:
    """What rules ask about many entries, asked once of each: the bits of those of which something holds."""

    def __init__(self, report: Report, reach: Reach) -> None:
        self.reach = reach
        self.actions = report.document.actions
        self.unenforced = {name: self._lacking(unenforced, name) for name in LIMITS}
        self.never_enforced = {
            name: self.unenforced[name] & self._lacking(certainly_unenforced, name) for name in LIMITS
        }
        self.unlimited = reach.where(lambda entry: not entry.constraints.named)
        self.tier_3 = reach.where(lambda entry: entry.tier is Tier.EXTERNAL)
        self.tier_4 = reach.where(lambda entry: entry.tier is Tier.IRREVERSIBLE)
        self.external = reach.where(lambda entry: self.highest(entry) >= Tier.EXTERNAL)
        self.unfed = {
            "amount_usd_above": reach.where(lambda e: e.args is not None and "amount" not in e.roles),
            "affected_users_above": reach.where(lambda e: "people" not in e.roles),
        }

    def _lacking(self, why: Callable[[CatalogueEntry, str], object], limit: str) -> int:
        return self.reach.where(lambda entry: bool(why(entry, limit)))

    def highest(self, entry: CatalogueEntry) -> int:
        """The highest tier that an entry's topics may have."""
        return highest_tier(self.actions[entry.pattern])


class _Rule:
    """The checks of one rule, of the author's or of a level.

    Attributes:
        name: as warnings call it.
    """

    def __init__(
        self, report: Report, survey: _Survey, path: Path, name: str, spec: RuleSpec | LevelRuleSpec
    ) -> None:
        self.report = report
        self.survey = survey
        self.reach = survey.reach
        self.path = path
        self.name = name
        self.spec = spec
        self.match = spec.match or MatchSpec()
        self.decision = Decision(spec.decision)
        self.of_level = isinstance(spec, LevelRuleSpec)
        self.limited = compile_constraints(spec.constraints).named if spec.constraints else ()
        self.overrides = bool(isinstance(spec, RuleSpec) and spec.overrides)
        topics = self.match.topics
        self.patterns = None if topics is None else [TopicPattern.parse(text) for text in topics]

    @cached_property
    def met(self) -> Met:
        """The entries that the rule may match."""
        return self.reach.met(self.match.topics, self.match.risk_tags, self.match.all_risk_tags)

    @cached_property
    def exactly(self) -> Met:
        """Those of them that speak for a topic which the rule names in full."""
        named = [pattern.text for pattern in self.patterns or () if pattern.exact]
        return self.met.among(self.reach.met(named).bits)

    @cached_property
    def in_the_dark(self) -> bool:
        """Whether it may match an entry that was left out, so that nothing is certain about its topics."""
        if self.report.left_out("actions"):
            return True
        lost = self.report.lost_patterns
        return any(
            pattern is None or self.patterns is None or any(overlap(pattern, one) for one in self.patterns)
            for pattern in lost
        )

    def check(self) -> None:
        spec = self.spec
        if spec.when is None and (spec.match is None or not spec.match.model_fields_set):
            self.report.add(
                self.path, f"{self.called} matches everything; if that is meant, say topics: ['*']"
            )
        if self.match.confidence_below is not None:
            self.reported((*self.path, "match", "confidence_below"), key=True)
        asked = self.condition()
        self.limits()
        self.warnings(asked)

    @property
    def called(self) -> str:
        return "the rule" if self.of_level else f"rule {self.name!r}"

    def reported(self, path: Path, *, key: bool = False) -> None:
        """What is said of a rule that reads confidence, if it must not."""
        if self.of_level:
            self.report.add(path, _IN_LEVEL, key=key)
        elif not self.decision.restrictive:
            self.report.add(path, ONLY_TIGHTEN, key=key)
        elif self.overrides:
            self.report.add(path, _IN_OVERRIDE, key=key)

    def condition(self) -> Asked | None:
        if self.spec.when is None:
            return None
        path: Path = (*self.path, "when")
        entries = () if self.in_the_dark else self.met
        asked = self.report.condition(path, self.spec.when, entries, whose=f"rule {self.name}")
        if asked is None:
            return None
        if asked.reported:
            self.reported(path)
            for problem in only_tightens(asked.expr) if self.decision.restrictive else ():
                self.report.add(path, problem.message)
        for steps in () if self.met else asked.read:
            if steps[0] == "args":
                self.report.warn(f"rule {self.name}: no catalogued topic declares {'.'.join(steps)}")
        return asked

    def limits(self) -> None:
        for name in self.limited if not self.in_the_dark else ():
            for entry in self.exactly.among(self.survey.never_enforced[name]):
                at: Path = (*self.path, "constraints", name)
                missing = unenforced(entry, name)
                self.report.add(at, f"nothing enforces {name} for {entry.pattern}: {missing}", key=True)
            without = self.met.among(self.survey.unenforced[name])
            if without:
                missing = unenforced(without.first, name)
                self.report.warn(f"rule {self.name}: nothing enforces {name} for {without.named}: {missing}")
            if not self.met:
                self.report.warn(f"rule {self.name}: {name} has no executor yet; no catalogued topic matches")

    def warnings(self, asked: Asked | None) -> None:
        report, name = self.report, self.name
        for key, signal in _OBSERVED.items():
            if getattr(self.match, key) is not None:
                report.not_observed(f"rule {name}", signal)
        hollow = self.decision is Decision.ALLOW_WITH_CONSTRAINTS and not self.limited
        if hollow and (self.met.among(self.survey.unlimited) or not self.met):
            report.warn(f"rule {name}: allow_with_constraints ends up without constraints")
        if not self.decision.restrictive:
            asking = self.exactly.among(self.survey.tier_4)
            if asking:
                report.warn(f"rule {name}: {asking.named} is tier 4; a person is asked all the same")
            self.unreviewed()
            return
        if not self.of_level and self.only_confidence(asked):
            report.warn(
                f"rule {name}: restricts everything it covers for an agent that reports no confidence"
            )
        self.thresholds()

    def unreviewed(self) -> None:
        """What an author's rule permits although nobody named it: a level permits what is catalogued only."""
        for pattern in self.patterns or ():
            if pattern.names and set(pattern.segments) == {"*"} and not self.of_level:
                every = f"every topic of {len(pattern.segments)} segments"
                self.report.loosens(
                    f"rule {self.name}: {pattern.text!r} names {every}, so it lets run what nobody catalogued"
                )

    @property
    def unconditional(self) -> bool:
        """Whether it matches all that its topics and tags match."""
        asked = {key for key, value in self.match if value is not None}
        return self.spec.when is None and asked <= _SCOPE - {"confidence_below"}

    def everybody(self, taken: int) -> None:
        """What a rule of the lowest level, which every agent has, permits by sweeping.

        Args:
            taken: bits of the entries about which earlier rules of the level decide.
        """
        named = self.patterns is not None and all(pattern.exact for pattern in self.patterns)
        if self.decision.restrictive or named or not self.unconditional:
            return
        found = self.met.among(self.survey.tier_3 & ~taken)
        if found:
            self.report.loosens(
                f"rule {self.name}: every agent has this level, and it permits {found.named}, which is tier 3"
            )

    def thresholds(self) -> None:
        """Thresholds of a restriction on what the catalogue says is not there: those are never exceeded."""
        for key, unfed in self.survey.unfed.items():
            if getattr(self.match, key) is None:
                continue
            without = self.met.among(unfed)
            idle = without if len(without) == len(self.met) else self.exactly.among(unfed)
            if idle:
                role = "amount" if key == "amount_usd_above" else "people"
                self.report.loosens(
                    f"rule {self.name}: {key} never holds for {idle.named}: no argument has the role {role}"
                )

    def only_confidence(self, asked: Asked | None) -> bool:
        """Whether the agent's own confidence is all that the rule asks about a topic it covers."""
        if self.match.confidence_below is None and not (asked and asked.reported):
            return False
        matched = {key for key, value in self.match if value is not None}
        return matched <= _SCOPE and (asked is None or set(asked.read) == {CONFIDENCE})

    # --- what only the author's rules have

    def identity(self, seen: dict[str, int]) -> None:
        if self.name in seen:
            first = self.report.places.value(("rules", seen[self.name]))
            self.report.add(
                (*self.path, "id"), f"the rule id {self.name!r} is taken, in {first.file}:{first.line}"
            )
        seen.setdefault(self.name, int(self.path[1]))

    def owner(self, spec: RuleSpec) -> None:
        if spec.owner is not None:
            unranked(self.report, f"rule {self.name}", spec.owner)

    def lane(self, spec: RuleSpec) -> None:
        if spec.lane is None:
            return
        path: Path = (*self.path, "lane")
        if self.decision is not Decision.REQUIRE_APPROVAL:
            self.report.add(path, "a lane belongs to require_approval; nothing waits here", key=True)
        lane = spec.lane
        if isinstance(lane, str):
            lanes = self.report.document.lanes
            if lane not in lanes:
                if not self.report.left_out("lanes", lane):
                    guess = self.report.meant(lane, lanes)
                    self.report.add(path, f"there is no lane {lane!r} in lanes", guess)
                return
            lane = lanes[lane]
        else:
            _chain(self.report, path, lane)
        if lane.on_timeout == "allow":
            self.report.loosens(f"rule {self.name}: what nobody answers in time runs (on_timeout allow)")
            if not self.in_the_dark:
                self.silence(path)

    def silence(self, path: Path) -> None:
        """What a lane that allows on timeout must not be able to let through."""
        risky = self.met.among(self.survey.external)
        if risky:
            entry = risky.first
            self.report.add(
                path,
                "silence never approves tier 3 or 4: on_timeout allow, and the rule may match "
                f"{entry.pattern}, which is or becomes tier {self.survey.highest(entry)}",
            )
            return
        for text in self.match.topics or ("*",):
            if not self.reach.inside(TopicPattern.parse(text)):
                self.report.add(
                    path,
                    "silence never approves what nobody catalogued: on_timeout allow, and "
                    f"{text!r} matches more than the catalogue",
                )
                return


class _Overrides:
    """What rules say about each other."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.rules = report.document.rules
        self.by_id = {rule.id: index for index, rule in enumerate(self.rules) if rule.id is not None}

    def check(self) -> None:
        for index, rule in enumerate(self.rules):
            for place, other in enumerate(rule.overrides or ()):
                path: Path = ("rules", index, "overrides", place)
                name = self.report.document.rule_id(index)
                if other not in self.by_id:
                    guess = self.report.meant(other, self.by_id)
                    self.report.add(path, f"there is no rule {other!r} to override", guess)
                    continue
                overridden = self.rules[self.by_id[other]]
                if other == rule.id:
                    self.report.add(path, f"rule {name!r} overrides itself")
                elif overridden.locked:
                    self.report.add(path, f"rule {other!r} is locked; nothing overrides it")
                elif overridden.overrides:
                    self.report.add(
                        path, f"rule {other!r} overrides others itself, so rule {name!r} cannot override it"
                    )
                else:
                    self.report.loosens(f"rule {name} overrides rule {other} where both match")


def _chain(report: Report, path: Path, lane: LaneSpec) -> None:
    """The owners that a lane asks in turn."""
    if lane.escalate_to is None:
        return
    if lane.on_timeout != "escalate":
        what = f"nobody is asked after on_timeout {lane.on_timeout}; say on_timeout: escalate"
        report.add((*path, "escalate_to"), what, key=True)
    known, seen = _owners(report), set[str]()
    in_the_dark = any(path[0] in _NAMING for path in report.missing)
    for place, turn in enumerate(lane.escalate_to):
        owner, at = (turn, ()) if isinstance(turn, str) else (turn.owner, ("owner",))
        where: Path = (*path, "escalate_to", place, *at)
        if owner in seen:
            report.add(where, f"{owner!r} has been asked by then")
        elif owner not in known and not in_the_dark:
            guess = report.meant(owner, known)
            report.add(where, f"nothing else names {owner!r}; list it in owners, if there is one", guess)
        seen.add(owner)


def _owners(report: Report) -> set[str]:
    """Whom the policy names: ranked, routed to, or asked first by a rule or trigger."""
    document = report.document
    routing = document.routing
    named = {DEFAULT_OWNER, *document.owners, *(rule.owner for rule in document.rules)}
    if routing is not None:
        named |= {routing.financial_actions, routing.security_actions, routing.default}
    named |= {getattr(document.triggers, name).owner for name in type(document.triggers).model_fields}
    return {name for name in named if name is not None}


def unranked(report: Report, whose: str, owner: str) -> None:
    """A warning for an owner that a ranking of one's own leaves out."""
    owners = report.document.owners
    if owners != DEFAULT_OWNERS and owner not in owners and not report.left_out("owners"):
        report.warn(f"{whose}: {owner} is not among the owners, so it is ranked last")

"""Checking: what the parts of a document mean to each other.

1. A name in a template, a role or a condition is a declared argument of the right type.
2. A constraint that nothing enforces is an error where that is certain, and a warning where it depends on
   topics nobody catalogued yet: a limit on paper is worse than none.
3. What an agent reports may only tighten: confidence is compared with ``<`` and ``<=``, in rules that
   restrict and in `raise_to`, and nowhere else (promise P1).
4. Warnings name what loads although somebody should look at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from interlock.model.topics import TopicPattern
from interlock.model.verdicts import Decision
from interlock.policy.catalogue import CallerExecute, CatalogueEntry, HttpExecute, overlap
from interlock.policy.compiling import compile_constraints, compile_entry
from interlock.policy.conditions import REPORTED, Comparison, ConditionError, parse_condition, problems
from interlock.policy.document import ActionSpec, ArgSpec, Document, HttpSpec, RuleSpec
from interlock.policy.findings import Finding, Path, Places, nearest
from interlock.policy.templates import check_address, fields, split

_BODY = frozenset({"POST", "PUT", "PATCH"})
_SCALARS = frozenset({"string", "integer", "number", "boolean", "decimal"})


def check(document: Document, places: Places) -> tuple[list[Finding], list[str]]:
    """Everything that is wrong, and everything worth a warning."""
    checker = _Checker(document, places)
    checker.run()
    return checker.findings, list(dict.fromkeys(checker.warnings))


class _Checker:
    def __init__(self, document: Document, places: Places) -> None:
        self.document = document
        self.places = places
        self.findings: list[Finding] = []
        self.warnings: list[str] = []
        self.entries = [
            (TopicPattern.parse(key), compile_entry(key, spec.model_copy(update={"raise_to": None})))
            for key, spec in document.actions.items()
        ]

    def run(self) -> None:
        for (pattern, entry), (key, spec) in zip(self.entries, self.document.actions.items(), strict=True):
            path: Path = ("actions", key)
            self._key(path, pattern, spec)
            self._args(path, spec)
            self._roles(path, spec)
            self._summary(path, spec)
            self._raises(path, spec, entry)
            self._execute(path, spec)
            self._limits(path, spec, entry)
            self._undo(path, spec)
        seen: dict[str, int] = {}
        for index, rule in enumerate(self.document.rules):
            self._rule(("rules", index), self.document.rule_id(index), rule, seen)

    def _add(self, path: Path, message: str, suggestion: str | None = None, *, key: bool = False) -> None:
        place = self.places.key(path) if key else self.places.value(path)
        in_rule = len(path) > 1 and path[0] == "rules" and isinstance(path[1], int)
        rule = self.document.rule_id(path[1]) if in_rule and isinstance(path[1], int) else None
        self.findings.append(Finding(place, message, suggestion, rule))

    # --- actions

    def _key(self, path: Path, pattern: TopicPattern, spec: ActionSpec) -> None:
        if pattern.text == "*":
            self._add(path, "the lone '*' would catalogue every topic unseen; name topics", key=True)
        elif pattern.open_ended and spec.tier < 3:
            self.warnings.append(
                f"action {pattern.text}: tier {spec.tier} lets every topic below it run, also future ones"
            )

    def _args(self, path: Path, spec: ActionSpec) -> None:
        for name, arg in (spec.args or {}).items():
            at: Path = (*path, "args", name)
            if arg.type == "decimal" and arg.scale is None:
                self._add(
                    at, f"the decimal {name!r} does not say its scale, as in {{type: decimal, scale: 2}}"
                )
            for key, owner in (("scale", "decimal"), ("currency", "decimal"), ("max_length", "string")):
                if getattr(arg, key) is not None and arg.type != owner:
                    self._add((*at, key), f"{key!r} belongs to a {owner}; {name!r} is a {arg.type}", key=True)

    def _declared(self, path: Path, spec: ActionSpec, name: str, whose: str) -> ArgSpec | None:
        """The argument of that name; a finding where there is none."""
        arg = (spec.args or {}).get(name)
        if arg is None:
            self._add(
                path, f"{whose} names {name!r}, which is no declared argument", nearest(name, spec.args or ())
            )
        return arg

    def _roles(self, path: Path, spec: ActionSpec) -> None:
        for role, name in (spec.roles or {}).items():
            at: Path = (*path, "roles", role)
            arg = self._declared(at, spec, name, f"the role {role!r}")
            if arg is None:
                continue
            if role == "amount" and (arg.type != "decimal" or arg.currency is None):
                self._add(at, f"the amount {name!r} is a decimal with a currency")
            if role == "people" and arg.type not in ("integer", "array"):
                self._add(at, f"the people in {name!r} are an integer, or an array that is counted")

    def _summary(self, path: Path, spec: ActionSpec) -> None:
        if spec.summary is None:
            return
        at: Path = (*path, "summary")
        try:
            parts = split(spec.summary)
        except ValueError as error:
            self._add(at, f"summary: {error}")
            return
        for literal, name in parts:
            arg = self._declared(at, spec, name, "the summary") if name is not None else None
            if arg is not None and literal.endswith("$") and arg.currency not in ("USD", None):
                self._add(at, f"a '$' stands before {name!r}, which is in {arg.currency}")

    def _raises(self, path: Path, spec: ActionSpec, entry: CatalogueEntry) -> None:
        for index, raised in enumerate(spec.raise_to or ()):
            at: Path = (*path, "raise_to", index)
            if raised.tier <= spec.tier:
                self._add((*at, "tier"), f"tier {raised.tier} is not above the action's own tier {spec.tier}")
            for comparison in self._condition((*at, "when"), raised.when, [entry]):
                if comparison.field == "tier":
                    self._add((*at, "when"), "raise_to decides the tier, so its condition cannot read it")

    def _execute(self, path: Path, spec: ActionSpec) -> None:
        if spec.execute is None:
            return
        at: Path = (*path, "execute")
        if (spec.execute.http is None) == (spec.execute.caller is None):
            self._add(at, "execute says either http or caller")
        elif spec.execute.http is not None:
            self._address((*at, "http", "url"), path, spec, spec.execute.http)

    def _address(self, at: Path, path: Path, spec: ActionSpec, http: HttpSpec) -> None:
        try:
            check_address(http.url)
        except ValueError as error:
            self._add(at, f"url: {error}")
            return
        used = fields(http.url)
        for name in used:
            arg = self._declared(at, spec, name, "the url")
            if arg is not None and arg.optional:
                self._add(at, f"the url needs {name!r}, which is optional")
            if arg is not None and arg.type not in _SCALARS:
                self._add(at, f"the url holds {name!r}, which is an {arg.type}")
        unsent = sorted(set(spec.args or ()) - set(used)) if http.method not in _BODY else []
        if unsent:
            self.warnings.append(f"action {path[1]}: {http.method} does not send {', '.join(unsent)}")

    def _limits(self, path: Path, spec: ActionSpec, entry: CatalogueEntry) -> None:
        at: Path = (*path, "constraints")
        for name in entry.constraints.named:
            missing = _unenforced(entry, name)
            if missing and (name == "max_amount_usd" or isinstance(entry.execute, CallerExecute)):
                self._add((*at, name), f"nothing enforces {name} here: {missing}", key=True)
            elif missing:
                self.warnings.append(f"action {path[1]}: nothing enforces {name} yet: {missing}")
        if spec.probe is not None:
            self.warnings.append(f"action {path[1]}: probe is accepted, not yet enforced")

    def _undo(self, path: Path, spec: ActionSpec) -> None:
        if spec.undo_within is not None and spec.undo is None:
            self._add(
                (*path, "undo_within"), "undo_within says how long, but undo does not say what", key=True
            )
        if spec.undo is not None and not any(pattern.matches(spec.undo) for pattern, _ in self.entries):
            self.warnings.append(f"action {path[1]}: undo names {spec.undo}, which nobody catalogued")

    # --- rules

    def _rule(self, path: Path, rule_id: str, rule: RuleSpec, seen: dict[str, int]) -> None:
        decision = Decision(rule.decision)
        if rule_id in seen:
            first = self.places.value(("rules", seen[rule_id]))
            self._add((*path, "id"), f"the rule id {rule_id!r} is taken, in {first.file}:{first.line}")
        seen.setdefault(rule_id, int(path[1]))
        if rule.when is None and (rule.match is None or not rule.match.model_fields_set):
            self._add(path, f"rule {rule_id!r} matches everything; if that is meant, say topics: ['*']")
        if rule.lane is not None and decision is not Decision.REQUIRE_APPROVAL:
            self._add((*path, "lane"), "a lane belongs to require_approval; nothing waits here", key=True)
        if rule.match is not None and rule.match.confidence_below is not None and not decision.restrictive:
            self._add((*path, "match", "confidence_below"), _ONLY_TIGHTEN, key=True)
        may_match = list(self._may_match(rule))
        if rule.when is not None:
            entries = [entry for entry, _ in may_match]
            for comparison in self._condition((*path, "when"), rule.when, entries):
                if comparison.field == REPORTED and not decision.restrictive:
                    self._add((*path, "when"), _ONLY_TIGHTEN)
                if comparison.arg is not None and not entries:
                    self.warnings.append(f"rule {rule_id}: no catalogued topic declares {comparison.field}")
        self._rule_limits(path, rule_id, rule, may_match)
        self._rule_warnings(rule_id, rule, decision, may_match)

    def _rule_limits(
        self, path: Path, rule_id: str, rule: RuleSpec, may_match: list[tuple[CatalogueEntry, bool]]
    ) -> None:
        for name in compile_constraints(rule.constraints).named:
            for entry, exactly in may_match:
                missing = _unenforced(entry, name)
                certain = name == "max_amount_usd" or isinstance(entry.execute, CallerExecute)
                if missing and exactly and certain:
                    at: Path = (*path, "constraints", name)
                    self._add(at, f"nothing enforces {name} for {entry.pattern}: {missing}", key=True)
                elif missing:
                    self.warnings.append(
                        f"rule {rule_id}: nothing enforces {name} for {entry.pattern}: {missing}"
                    )
            if not may_match:
                self.warnings.append(
                    f"rule {rule_id}: {name} has no executor yet; no catalogued topic matches"
                )

    def _rule_warnings(
        self, rule_id: str, rule: RuleSpec, decision: Decision, may_match: list[tuple[CatalogueEntry, bool]]
    ) -> None:
        for name in _observed(rule):
            self.warnings.append(
                f"rule {rule_id}: {name} is accepted, not yet observed: it stays at its baseline"
            )
        own = compile_constraints(rule.constraints)
        if decision is Decision.ALLOW_WITH_CONSTRAINTS and not own.named:
            bare = [entry.pattern for entry, _ in may_match if not entry.constraints.named]
            if bare or not may_match:
                self.warnings.append(f"rule {rule_id}: allow_with_constraints ends up without constraints")
        if not decision.restrictive:
            for entry, exactly in may_match:
                if exactly and entry.tier == 4:
                    self.warnings.append(
                        f"rule {rule_id}: {entry.pattern} is tier 4; a person is asked all the same"
                    )
        if decision.restrictive and rule.match is not None and rule.match.confidence_below is not None:
            others = rule.match.model_fields_set - {
                "topics",
                "risk_tags",
                "all_risk_tags",
                "confidence_below",
            }
            if not others and rule.when is None:
                self.warnings.append(
                    f"rule {rule_id}: restricts everything it covers for an agent that reports no confidence"
                )

    def _may_match(self, rule: RuleSpec) -> Iterator[tuple[CatalogueEntry, bool]]:
        """The entries a rule can match, each with whether one of its patterns is exactly that topic."""
        match = rule.match
        patterns = (
            None if match is None or match.topics is None else list(map(TopicPattern.parse, match.topics))
        )
        for pattern, entry in self.entries:
            tags = set(entry.risk_tags)
            if match is not None and match.risk_tags is not None and tags.isdisjoint(match.risk_tags):
                continue
            if match is not None and not tags.issuperset(match.all_risk_tags or ()):
                continue
            if patterns is None or any(overlap(pattern, wanted) for wanted in patterns):
                exactly = any(w.exact and pattern.matches(w.text) for w in patterns or ())
                yield entry, exactly

    def _condition(self, path: Path, text: str, entries: list[CatalogueEntry]) -> Iterable[Comparison]:
        """The comparisons of a condition, and findings for what is wrong with them; none where unreadable."""
        try:
            comparisons = parse_condition(text)
        except ConditionError as error:
            self._add(path, str(error))
            return ()
        for comparison in comparisons:
            for message, suggestion in problems(comparison, entries):
                self._add(path, message, suggestion)
            if comparison.field == REPORTED and comparison.op not in ("<", "<="):
                self._add(path, "confidence is reported by the agent; compare it with < or <= only")
        return comparisons


_ONLY_TIGHTEN = "confidence is reported by the agent and may only tighten; a rule that permits cannot read it"


def _unenforced(entry: CatalogueEntry, constraint: str) -> str:
    """Why nothing enforces a constraint on this entry's topics; empty where something does."""
    if constraint == "max_amount_usd":
        role = entry.roles.get("amount")
        declared = (entry.args or {}).get(role) if role else None
        if declared is None or declared.currency != "USD":
            return "it has no amount in USD"
    elif not isinstance(entry.execute, HttpExecute):
        return "a function of the caller cannot be held to it" if entry.execute else "it has no executor"
    return ""


_OBSERVED = ("anomaly_score", "retry_count", "first_time_action")


def _observed(rule: RuleSpec) -> list[str]:
    """The observed signals a rule reads; nobody observes them in this version."""
    asked = set() if rule.match is None else rule.match.model_fields_set
    text = rule.when or ""
    return [
        name for name in _OBSERVED if f"signals.{name}" in text or any(key.startswith(name) for key in asked)
    ]

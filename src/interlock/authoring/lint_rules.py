"""Lint of rules: those that can never count, that say nothing new, that meet, and that sweep."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.authoring.advice import Advice, Subject, listed
from interlock.authoring.claims import Interval
from interlock.authoring.parts import Written
from interlock.model.verdicts import Decision, OnTimeout
from interlock.policy import (
    CallerExecute,
    CatalogueEntry,
    HttpExecute,
    McpExecute,
    PermittedExecute,
    SqlExecute,
)
from interlock.policy.catalogue import overlap
from interlock.policy.expressions import parse_expression
from interlock.policy.findings import nearest
from interlock.policy.syntax import fields_of


def about_rules(subject: Subject) -> Iterator[Advice]:
    aside = {target for rule in subject.rules for target in rule.spec.overrides or ()}
    for rule in subject.rules:
        impossible = list(_impossible(subject, rule))
        yield from impossible
        if not impossible:
            yield from _idle(subject, rule, aside)
        yield from _sweeps(subject, rule)
        yield from _unmatched(subject, rule)
        yield from _overrides(subject, rule)
        yield from _unenforced(subject, rule)
        yield from _narrow(subject, rule)
        yield from _spread(subject, rule)
    yield from _unindexed(subject)
    yield from _owners(subject)


# --- rules that can never count ---------------------------------------------------------------------------


def _impossible(subject: Subject, rule: Written) -> Iterator[Advice]:
    field = subject.claims[rule.index].contradiction
    if field is not None:
        counts = "it never counts"
        if rule.decision.restrictive:
            counts = f"it counts only where {field} is unknown"
        elif rule.decision is Decision.ALLOW_WITH_CONSTRAINTS or rule.spec.constraints is not None:
            counts = f"it permits nothing, and its limits hold where {field} is unknown"
        yield subject.about_rule(
            "impossible",
            "warning",
            rule,
            f"No value of {field} satisfies all conditions of rule {rule.id}: {counts}.",
            "Correct the condition, or remove the rule.",
        )
        return
    entries = subject.entries_of(rule)
    if entries:
        return
    if subject.only_catalogued(rule):
        yield subject.about_rule(
            "impossible",
            "warning",
            rule,
            f"Rule {rule.id} never counts: none of its topics carries the tags it asks for.",
            "Correct the tags in the rule or in the catalogue.",
        )
    elif not rule.decision.restrictive and not any(pattern.names for pattern in rule.patterns):
        yield subject.about_rule(
            "impossible",
            "warning",
            rule,
            f"Rule {rule.id} never counts: what permits by sweeping permits only catalogued topics, and none "
            "matches.",
            "Name the topics it is meant for, or catalogue them.",
        )


def _idle(subject: Subject, rule: Written, aside: set[str]) -> Iterator[Advice]:
    """A rule that another one overrules or repeats, by the strictest of those that do."""
    if rule.spec.overrides:
        return
    covering = set.intersection(*map(subject.reach.covering, rule.patterns)) - {rule.index}
    own, severity = subject.claims[rule.index], rule.decision.severity
    tags = _known_tags(subject, rule)
    repeated: Written | None = None
    for number in sorted(covering):
        other = subject.rules[number]
        above = other.decision.severity
        if above < severity or other.id in aside or not _as_far(rule, other):
            continue
        if not own.imply(subject.claims[number], tags):
            continue
        if above > severity and _without_effect(subject, rule, other):
            yield subject.about_rule(
                "overruled",
                "warning",
                rule,
                f"Rule {rule.id} never decides: whenever it counts, rule {other.id} says "
                f"{other.decision.value}.",
                f"Remove it, narrow {other.id}, or say `overrides: [{other.id}]` if it is the exception.",
            )
            return
        if above == severity and repeated is None and _adds_nothing(subject, rule, other):
            mutual = subject.claims[number].imply(own) and rule.index in set.intersection(
                *map(subject.reach.covering, other.patterns)
            )
            if not mutual or other.index < rule.index:
                repeated = other
    if repeated is not None:
        same = repeated.patterns == rule.patterns and subject.claims[repeated.index].imply(own)
        yield subject.about_rule(
            "duplicate" if same else "redundant",
            "warning" if same else "note",
            rule,
            f"Rule {rule.id} says nothing that rule {repeated.id} does not say.",
            "Remove one of the two.",
        )


def _known_tags(subject: Subject, rule: Written) -> frozenset[str]:
    """Tags that whatever it matches carries for certain."""
    if not subject.only_catalogued(rule):
        return frozenset()
    found = [frozenset(entry.risk_tags) for entry in subject.entries_of(rule)]
    return frozenset.intersection(*found) if found else frozenset()


def _as_far(rule: Written, other: Written) -> bool:
    """Whether the other one counts outside the catalogue wherever this one does."""
    if other.decision.restrictive or not any(pattern.names for pattern in rule.patterns):
        return True
    return all(pattern.names for pattern in other.patterns)


def _without_effect(subject: Subject, rule: Written, other: Written) -> bool:
    """Whether nothing of the rule is left where the stricter one counts."""
    if other.decision is Decision.DENY:
        return True
    if rule.spec.constraints is not None:  # they hold for what was approved
        return False
    # Whoever permits an uncatalogued topic takes the default's place, and that may be the stricter one.
    denies = subject.document.default_decision == Decision.DENY.value
    return not denies or subject.only_catalogued(rule)


def _adds_nothing(subject: Subject, rule: Written, other: Written) -> bool:
    own, there = rule.spec, other.spec
    lane = subject.document.lanes[there.lane] if isinstance(there.lane, str) else there.lane
    if own.lane is None and lane is not None and lane.on_timeout == OnTimeout.ALLOW.value:
        return False  # silence allows only where everybody who asks says so
    if rule.decision is Decision.ALLOW and own.constraints is not None:
        return False  # unproved, it turns what another one allows into what is allowed within limits
    compiled = subject.policy.rules
    return (
        set(compiled[rule.index].triggers) <= set(compiled[other.index].triggers)
        and own.owner in (None, there.owner)
        and own.lane in (None, there.lane)
        and own.constraints in (None, there.constraints)
        and (not own.locked or there.locked)
    )


# --- patterns ---------------------------------------------------------------------------------------------


def _sweeps(subject: Subject, rule: Written) -> Iterator[Advice]:
    sweeping = [pattern.text for pattern in rule.patterns if pattern.open_ended]
    if not sweeping or rule.decision.restrictive or not subject.claims[rule.index].nothing:
        return
    yield subject.about_rule(
        "bare-sweep",
        "warning",
        rule,
        f"Rule {rule.id} permits whatever is catalogued under {listed(sweeping)}, now and later.",
        "Name the topics, or add a condition.",
    )


def _unmatched(subject: Subject, rule: Written) -> Iterator[Advice]:
    """Patterns that meet nothing catalogued, where there is a catalogue to compare with."""
    if not subject.entries or rule.match.topics is None:
        return
    for pattern in rule.patterns:
        if subject.catalogued.meeting((pattern,)):
            continue
        guess = nearest(pattern.text, (entry.pattern for _, entry in subject.entries))
        yield subject.about_rule(
            "unmatched",
            "warning" if guess else "note",
            rule,
            f"Nothing catalogued matches {pattern.text} of rule {rule.id}"
            + (f"; did you mean {guess}?" if guess else "."),
            "Correct the pattern, or catalogue the topic.",
        )


def _unindexed(subject: Subject) -> Iterator[Advice]:
    found = [rule.id for rule in subject.rules if rule.sweeping]
    if found:
        one = len(found) == 1
        yield Advice(
            "unindexed",
            "note",
            f"{len(found)} {'rule is' if one else 'rules are'} evaluated for every action: {listed(found)}.",
            "Name topics where that is possible; what names no topic costs every decision a little.",
        )


# --- rules about each other -------------------------------------------------------------------------------


def _overrides(subject: Subject, rule: Written) -> Iterator[Advice]:
    for target in rule.spec.overrides or ():
        other = subject.by_id[target]
        if any(overlap(one, wanted) for one in rule.patterns for wanted in other.patterns):
            continue
        yield subject.about_rule(
            "override-idle",
            "warning",
            rule,
            f"Rule {rule.id} overrides {target}, but no topic matches both.",
            "Remove the override, or correct the topics.",
        )


def _owners(subject: Subject) -> Iterator[Advice]:
    """Two rules for each two owners that can be asked about one action."""
    asking = [
        rule for rule in subject.rules if rule.decision is Decision.REQUIRE_APPROVAL and rule.spec.owner
    ]
    by_index = {rule.index: rule for rule in asking}
    met: dict[frozenset[str], tuple[Written, Written]] = {}
    for rule in asking:
        near = {number for pattern in rule.patterns for number in subject.reach.meeting(pattern)}
        for number in sorted(near & by_index.keys()):
            other = by_index[number]
            owners = frozenset({str(rule.spec.owner), str(other.spec.owner)})
            if number <= rule.index or len(owners) == 1 or owners in met:
                continue
            if not subject.claims[rule.index].excludes(subject.claims[number]):
                met[owners] = rule, other
    for owners, (one, two) in met.items():
        first, second = sorted(owners, key=subject.rank)
        yield Advice(
            "two-owners",
            "note",
            f"Rules that ask {first} and rules that ask {second} can meet, as {one.id} and {two.id} do: "
            f"{first} is asked, {second} is informed.",
            "If that is not meant, rank them in `owners`, or make the rules exclude each other.",
        )


# --- constraints ------------------------------------------------------------------------------------------


def _unenforced(subject: Subject, rule: Written) -> Iterator[Advice]:
    spec = rule.spec.constraints
    if spec is None:
        return
    entries = subject.entries_of(rule)
    for name in sorted(spec.model_fields_set):
        lacking = [entry.pattern for entry in entries if not _enforced(entry, name)]
        if lacking or not entries:
            whom = listed(lacking) if lacking else "any topic it matches"
            yield subject.about_rule(
                "unenforced",
                "warning",
                rule,
                f"Nothing enforces {name} of rule {rule.id} for {whom}: a call that needs it is refused or, "
                "outside the catalogue, left to the caller.",
                "Execute the topic where it can be enforced, or remove the constraint.",
            )


def _narrow(subject: Subject, rule: Written) -> Iterator[Advice]:
    """Conditions that let amounts pass which the rule's own limit refuses."""
    limit = None if rule.spec.constraints is None else rule.spec.constraints.max_amount_usd
    if limit is None:
        return
    roles = {entry.roles["amount"] for entry in subject.entries_of(rule) if "amount" in entry.roles}
    asked = subject.claims[rule.index].values
    for name in ("amount_usd", *sorted(f"args.{role}" for role in roles)):
        values = asked.get(name)
        if isinstance(values, Interval) and not values.within(Interval(high=(limit, True))):
            yield subject.about_rule(
                "limit-below-condition",
                "warning",
                rule,
                f"The conditions of rule {rule.id} let amounts pass that its own limit of {limit:f} refuses "
                "when they are to run.",
                "Let the condition end where the limit does.",
            )
            return


def _spread(subject: Subject, rule: Written) -> Iterator[Advice]:
    """Limits of a permissive rule hold unless it is refuted, and what nobody looked up refutes nothing."""
    if rule.decision.restrictive or rule.spec.constraints is None or rule.spec.when is None:
        return
    fields = fields_of(parse_expression(rule.spec.when))
    unsaid = sorted(field.name for field in fields if field.root in ("facts", "provenance"))
    if unsaid:
        yield subject.about_rule(
            "spread-limits",
            "note",
            rule,
            f"The limits of rule {rule.id} hold also where {listed(unsaid)} is unknown: for whatever else "
            "permits, and for what a person approves.",
            "If that is not meant, put the limits on the catalogue's entry or on another rule.",
        )


def _enforced(entry: CatalogueEntry, constraint: str) -> bool:
    if constraint == "max_runtime_sec" and isinstance(entry.execute, CallerExecute):
        return True
    if constraint != "max_amount_usd":
        watched = not (isinstance(entry.execute, McpExecute) and entry.execute.server is not None)
        reaches = isinstance(entry.execute, HttpExecute | SqlExecute | McpExecute | PermittedExecute)
        return reaches and (watched or constraint != "network_allowlist")
    role = entry.roles.get("amount")
    declared = (entry.args or {}).get(role) if role else None
    return declared is not None and declared.currency == "USD"

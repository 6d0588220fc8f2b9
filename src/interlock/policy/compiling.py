"""From the document to what decides: specs become entries, rules and closures, once.

What arrives here has passed `check`; a condition that cannot be read is a defect, and raises.
"""

from __future__ import annotations

from interlock.model.topics import TopicPattern
from interlock.model.verdicts import NO_CONSTRAINTS, Constraints, Decision, Lane, OnTimeout, Tier, Trigger
from interlock.policy.catalogue import ArgType, CallerExecute, CatalogueEntry, HttpExecute, RaiseTo
from interlock.policy.conditions import REPORTED, Test, parse_condition
from interlock.policy.document import (
    ActionSpec,
    ConstraintsSpec,
    ExecuteSpec,
    IdempotentSpec,
    LaneSpec,
    MatchSpec,
    RaiseSpec,
    RuleSpec,
)
from interlock.policy.rules import Rule, tests_of

_TRIGGERS = {
    "signals.confidence": Trigger.CONFIDENCE,
    "signals.retry_count": Trigger.FRUSTRATION,
    "signals.anomaly_score": Trigger.ANOMALY,
}


def compile_entry(pattern: str, spec: ActionSpec) -> CatalogueEntry:
    args = None
    if spec.args is not None:
        args = {
            name: ArgType(arg.type, arg.optional, arg.scale, arg.currency, arg.max_length)
            for name, arg in sorted(spec.args.items())
        }
    return CatalogueEntry(
        pattern=pattern,
        tier=Tier(spec.tier),
        raise_to=tuple(map(_raise_to, spec.raise_to or ())),
        risk_tags=tuple(dict.fromkeys(spec.risk_tags or ())),
        args=args,
        roles={str(role): name for role, name in (spec.roles or {}).items()},
        summary=spec.summary,
        worst_case=spec.worst_case,
        constraints=compile_constraints(spec.constraints),
        execute=_execute(spec.execute),
        probe=spec.probe,
        undo=spec.undo,
        undo_within_sec=spec.undo_within,
    )


def compile_rule(rule_id: str, index: int, spec: RuleSpec) -> Rule:
    match = spec.match or MatchSpec()
    tests = (*tests_of(match), *_compile(spec.when))
    decision = Decision(spec.decision)
    constraints = compile_constraints(spec.constraints)
    triggers = {_TRIGGERS[test.input]: None for test in tests if test.input in _TRIGGERS}
    return Rule(
        id=rule_id,
        index=index,
        patterns=None if match.topics is None else tuple(map(TopicPattern.parse, match.topics)),
        tests=tests,
        decision=decision,
        restrictive=decision.restrictive,
        limits=decision is Decision.ALLOW_WITH_CONSTRAINTS
        or (not decision.restrictive and bool(constraints.named)),
        reported=any(test.input == REPORTED for test in tests),
        reason=spec.reason,
        constraints=constraints,
        owner=spec.owner,
        lane=_lane(spec.lane),
        triggers=tuple(triggers) if decision.restrictive else (),
    )


def compile_constraints(spec: ConstraintsSpec | None) -> Constraints:
    if spec is None:
        return NO_CONSTRAINTS
    hosts = spec.network_allowlist
    return Constraints(
        spec.max_runtime_sec, None if hosts is None else tuple(sorted(set(hosts))), spec.max_amount_usd
    )


def _raise_to(spec: RaiseSpec) -> RaiseTo:
    tests = _compile(spec.when)
    return RaiseTo(Tier(spec.tier), spec.when, tests, any(test.input == REPORTED for test in tests))


def _compile(condition: str | None) -> tuple[Test, ...]:
    return tuple(comparison.compile() for comparison in parse_condition(condition)) if condition else ()


def _execute(spec: ExecuteSpec | None) -> HttpExecute | CallerExecute | None:
    if spec is None:
        return None
    if spec.http is None:
        return CallerExecute(_retention(spec.caller.idempotent if spec.caller else None))
    http = spec.http
    return HttpExecute(
        http.method, http.url, http.auth, _retention(http.idempotent), tuple(sorted(set(http.no_effect)))
    )


def _retention(spec: IdempotentSpec | None) -> int | None:
    return None if spec is None else spec.retention


def _lane(spec: LaneSpec | None) -> Lane | None:
    return None if spec is None else Lane(spec.window, OnTimeout(spec.on_timeout), spec.valid)

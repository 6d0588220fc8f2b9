"""From the document to what decides: specs become entries, rules and closures, once.

What arrives here has passed `check`; a condition that cannot be read is a defect, and raises.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.model.topics import TopicPattern
from interlock.model.verdicts import (
    NO_CONSTRAINTS,
    Constraints,
    Decision,
    Lane,
    OnTimeout,
    Tier,
    Trigger,
    Turn,
)
from interlock.policy.catalogue import ArgType, CatalogueEntry, RaiseTo
from interlock.policy.conditions import Test, compile_condition
from interlock.policy.document import (
    ActionSpec,
    ConstraintsSpec,
    Document,
    ExecuteSpec,
    IdempotentSpec,
    LaneSpec,
    LevelRuleSpec,
    MatchSpec,
    ProbeSpec,
    RaiseSpec,
    RuleSpec,
    UndoSpec,
)
from interlock.policy.executes import (
    CallerExecute,
    Execute,
    HttpExecute,
    McpExecute,
    PermittedExecute,
    SqlExecute,
)
from interlock.policy.fields import REPORTED
from interlock.policy.levels import Level
from interlock.policy.probes import Probe
from interlock.policy.rules import Layer, Rule, tests_of
from interlock.policy.undos import parse_source

_TRIGGERS = {
    "signals.confidence": Trigger.CONFIDENCE,
    "signals.retry_count": Trigger.FRUSTRATION,
    "signals.sentiment": Trigger.FRUSTRATION,
    "signals.deadline_sec": Trigger.SLA,
    "signals.anomaly_score": Trigger.ANOMALY,
    "signals.injection_score": Trigger.ANOMALY,
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
        execute=_execute(spec.execute, Tier(spec.tier)),
        probe=compile_probe(spec.probe),
        undo=spec.undo.topic if isinstance(spec.undo, UndoSpec) else spec.undo,
        undo_within_sec=spec.undo_within,
        undo_sources={name: parse_source(text) for name, text in sorted(spec.undo.args.items())}
        if isinstance(spec.undo, UndoSpec)
        else None,
    )


def compile_rules(document: Document) -> tuple[Rule, ...]:
    """The author's rules, in file order."""
    return tuple(
        compile_rule(document.rule_id(index), index, spec, document.lanes)
        for index, spec in enumerate(document.rules)
    )


def compile_rule(rule_id: str, index: int, spec: RuleSpec, lanes: Mapping[str, LaneSpec]) -> Rule:
    name, lane = (spec.lane, lanes[spec.lane]) if isinstance(spec.lane, str) else (rule_id, spec.lane)
    return _rule(
        rule_id,
        index,
        spec,
        owner=spec.owner,
        lane=None if lane is None else compile_lane(name, lane),
        overrides=frozenset(spec.overrides or ()),
    )


def compile_lane(name: str, spec: LaneSpec) -> Lane:
    """The lane of that name; one without a name of its own is called as its rule."""
    end = OnTimeout(spec.on_timeout)
    return Lane(
        spec.window,
        end,
        spec.valid,
        tuple(
            Turn(turn, spec.window) if isinstance(turn, str) else Turn(turn.owner, turn.window)
            for turn in spec.escalate_to or ()
        ),
        name if end is OnTimeout.KILL_SWITCH else None,
    )


def compile_levels(document: Document) -> tuple[Level, ...]:
    """The autonomy levels, from the lowest."""
    levels = []
    for key, spec in sorted(document.autonomy_levels.items()):
        number = int(key.removeprefix("level_"))
        rules = (
            _rule(f"level:{number}", index, rule, layer=Layer.BASE) for index, rule in enumerate(spec.rules)
        )
        levels.append(Level(number, spec.name or key, tuple(rules)))
    return tuple(levels)


def _rule(
    rule_id: str,
    index: int,
    spec: RuleSpec | LevelRuleSpec,
    *,
    owner: str | None = None,
    lane: Lane | None = None,
    overrides: frozenset[str] = frozenset(),
    layer: Layer = Layer.RULE,
) -> Rule:
    match = spec.match or MatchSpec()
    tests = (*tests_of(match), *(compile_condition(spec.when) if spec.when else ()))
    decision = Decision(spec.decision)
    read = {reading.name for test in tests for reading in test.readings}
    triggers = dict.fromkeys(trigger for name, trigger in _TRIGGERS.items() if name in read)
    return Rule(
        id=rule_id,
        index=index,
        patterns=None if match.topics is None else tuple(map(TopicPattern.parse, match.topics)),
        tests=tests,
        decision=decision,
        reason=spec.reason,
        constraints=compile_constraints(spec.constraints),
        owner=owner,
        lane=lane,
        triggers=tuple(triggers) if decision.restrictive else (),
        overrides=overrides,
        layer=layer,
    )


def compile_constraints(spec: ConstraintsSpec | None) -> Constraints:
    if spec is None:
        return NO_CONSTRAINTS
    hosts = spec.network_allowlist
    return Constraints(
        spec.max_runtime_sec, None if hosts is None else tuple(sorted(set(hosts))), spec.max_amount_usd
    )


def _raise_to(spec: RaiseSpec) -> RaiseTo:
    tests: tuple[Test, ...] = compile_condition(spec.when)
    reported = any(reading.name == REPORTED for test in tests for reading in test.readings)
    return RaiseTo(Tier(spec.tier), spec.when, tests, reported)


def _execute(spec: ExecuteSpec | None, tier: Tier) -> Execute | None:
    if spec is None:
        return None
    if spec.sql is not None:
        sql = spec.sql
        return SqlExecute(sql.database, sql.statement, sql.query, sql.max_rows, tier is Tier.READ_ONLY)
    if spec.mcp is not None:
        mcp = spec.mcp
        return McpExecute(
            mcp.url,
            mcp.server,
            mcp.tool,
            mcp.auth,
            _retention(mcp.idempotent),
            tuple(sorted(set(mcp.no_effect))),
            mcp.error_is_no_effect,
        )
    if spec.permitted is not None:
        return PermittedExecute(spec.permitted.executor, spec.permitted.offline)
    if spec.http is None:
        return CallerExecute(_retention(spec.caller.idempotent if spec.caller else None))
    http = spec.http
    return HttpExecute(
        http.method, http.url, http.auth, _retention(http.idempotent), tuple(sorted(set(http.no_effect)))
    )


def compile_probe(spec: ProbeSpec | None) -> Probe | None:
    """How to read; None where there is nothing to read."""
    if spec is None:
        return None
    if spec.http is not None:
        http = spec.http
        absent = tuple(sorted(set(http.absent)))
        return Probe(HttpExecute(http.method, http.url, http.auth, None, absent), http.compare, http.cursor)
    if spec.sql is not None:
        sql = spec.sql
        read = SqlExecute(sql.database, sql.statement, None, max_rows=1, read_only=True)
        return Probe(read, sql.compare, sql.cursor)
    mcp = spec.mcp
    if mcp is None:
        return None  # `check` refuses it
    call = McpExecute(mcp.url, mcp.server, mcp.tool, mcp.auth)
    return Probe(call, mcp.compare, mcp.cursor, tuple(sorted((mcp.args or {}).items())))


def _retention(spec: IdempotentSpec | None) -> int | None:
    return None if spec is None else spec.retention

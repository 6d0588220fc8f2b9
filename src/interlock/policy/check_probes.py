"""Checking what a catalogue entry says about probing.

1. A probe only reads, and takes its values from declared arguments that have to be there.
2. A role `cursor` says that the action rests on a place in something that moves. It needs a probe that reads
   with that argument, or that says which field has to equal it.
3. What is run under a permit that nobody redeems is claimed after it ran; there is no moment to probe before.
"""

from __future__ import annotations

from collections.abc import Iterator

from interlock.policy.check_connectors import READS, mcp_problems, statement_problems
from interlock.policy.checking import Report
from interlock.policy.document import ActionSpec, HttpProbeSpec, McpProbeSpec, McpSpec, SqlProbeSpec
from interlock.policy.findings import Path
from interlock.policy.templates import check_address, fields

_SCALARS = frozenset({"string", "integer", "number", "boolean", "decimal"})


def check_probe(report: Report, path: Path, spec: ActionSpec) -> None:
    """Everything about the probe of the entry at `path`."""
    for where, problem in _problems(spec):
        report.add((*path, *where), problem)
    if spec.probe is not None and spec.probe.mcp is not None:
        tool = spec.probe.mcp.tool
        report.warn(f"action {path[-1]}: nothing but its server keeps the probe's tool {tool} from writing")


def _problems(spec: ActionSpec) -> Iterator[tuple[Path, str]]:
    """Pairs of where in the entry, and what is wrong there."""
    probe, cursor = spec.probe, (spec.roles or {}).get("cursor")
    if probe is None:
        if cursor is not None:
            yield ("roles", "cursor"), f"the cursor {cursor!r} needs a probe that reads it again"
        return
    ways = (probe.http, probe.sql, probe.mcp)
    if sum(way is not None for way in ways) != 1:
        yield ("probe",), "probe says one of http, sql and mcp"
        return
    if spec.execute is not None and spec.execute.permitted is not None and spec.execute.permitted.offline:
        yield ("probe",), "what runs offline is not probed before it runs; leave one of the two out"
    if probe.http is not None:
        yield from _http(probe.http, spec)
        yield from _cursor(("probe", "http"), probe.http, cursor, _used(probe.http.url))
    elif probe.sql is not None:
        yield from _sql(probe.sql, spec)
        yield from _cursor(("probe", "sql"), probe.sql, cursor, _used(probe.sql.statement))
    elif probe.mcp is not None:
        yield from _mcp(probe.mcp, spec)
        used = tuple((probe.mcp.args or {}).values())
        yield from _cursor(("probe", "mcp"), probe.mcp, cursor, used)


def _used(template: str) -> tuple[str, ...]:
    try:
        return fields(template)
    except ValueError:
        return ()  # said where the template is checked


def _declared(name: str, spec: ActionSpec) -> Iterator[str]:
    arg = (spec.args or {}).get(name)
    if arg is None:
        yield f"the probe names {name!r}, which is no declared argument"
    elif arg.optional:
        yield f"the probe needs {name!r}, which is optional"


def _http(http: HttpProbeSpec, spec: ActionSpec) -> Iterator[tuple[Path, str]]:
    at: Path = ("probe", "http", "url")
    try:
        check_address(http.url)
    except ValueError as error:
        yield at, f"url: {error}"
        return
    for name in fields(http.url):
        yield from ((at, problem) for problem in _declared(name, spec))
        arg = (spec.args or {}).get(name)
        if arg is not None and arg.type not in _SCALARS:
            yield at, f"the url holds {name!r}, which is an {arg.type}"


def _sql(sql: SqlProbeSpec, spec: ActionSpec) -> Iterator[tuple[Path, str]]:
    at: Path = ("probe", "sql", "statement")
    yield from ((at, problem) for problem in statement_problems(sql.statement, spec, READS, "of a probe"))
    for name in _used(sql.statement):
        if name in (spec.args or {}):
            yield from ((at, problem) for problem in _declared(name, spec))


def _mcp(mcp: McpProbeSpec, spec: ActionSpec) -> Iterator[tuple[Path, str]]:
    as_executed = McpSpec(url=mcp.url, server=mcp.server, tool=mcp.tool, auth=mcp.auth)
    for key, problem in mcp_problems(as_executed):
        yield ("probe", "mcp", key), problem
    for parameter, name in (mcp.args or {}).items():
        yield from ((("probe", "mcp", "args", parameter), problem) for problem in _declared(name, spec))


def _cursor(
    at: Path, probe: HttpProbeSpec | SqlProbeSpec | McpProbeSpec, cursor: str | None, used: tuple[str, ...]
) -> Iterator[tuple[Path, str]]:
    if cursor is None and probe.cursor is not None:
        yield (*at, "cursor"), "no argument has the role cursor, so nothing can equal this field"
    elif cursor is not None and probe.cursor is None and cursor not in used:
        yield (
            ("roles", "cursor"),
            f"the probe neither reads with the cursor {cursor!r} nor says which field equals it",
        )

"""Checking what the connectors `sql` and `mcp` are told in a catalogue entry.

1. A statement is one statement of a known kind, and a field stands where a value may: never inside quotes.
2. SQL that an argument brings is for tier 1: it runs where the database itself refuses to write.
3. The codes that the MCP library makes up itself (for a broken connection, or an answer that is no JSON-RPC)
   prove nothing about the server, so nobody can list them as proof.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.model.verdicts import Tier
from interlock.policy.document import ActionSpec, McpSpec, SqlSpec
from interlock.policy.templates import check_address, fields, split

READS = frozenset({"SELECT", "WITH", "VALUES"})
WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"})
MADE_UP = frozenset({-32700, -32600, -32601, -32603, -32000, -32001})
"""JSON-RPC codes that the client makes: it could not parse, was closed, gave up, or met an HTTP error."""

_FIRST = re.compile(r"\s*([A-Za-z]+)\b", re.ASCII)
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]""")


def sql_problems(sql: SqlSpec, spec: ActionSpec) -> Iterator[tuple[str, str]]:
    """Pairs of the key and what is wrong there."""
    if (sql.statement is None) == (sql.query is None):
        yield "statement", "sql says one of statement and query"
    elif sql.query is not None:
        arg = (spec.args or {}).get(sql.query)
        if spec.tier != Tier.READ_ONLY:
            yield "query", f"a query of the agent's own is tier 1; this action is tier {spec.tier}"
        if arg is None or arg.type != "string" or arg.optional:
            yield "query", f"the query is in {sql.query!r}, which is no declared string that has to be there"
    elif sql.statement is not None:
        kinds = READS if spec.tier == Tier.READ_ONLY else READS | WRITES
        whose = f"of tier {spec.tier}"
        yield from (
            ("statement", problem) for problem in statement_problems(sql.statement, spec, kinds, whose)
        )


def statement_problems(statement: str, spec: ActionSpec, kinds: frozenset[str], whose: str) -> Iterator[str]:
    """What is wrong with a reviewed statement that may be of these kinds."""
    try:
        parts = split(statement)
    except ValueError as error:
        yield f"statement: {error}"
        return
    first = _FIRST.match(statement)
    if first is None or first[1].upper() not in kinds:
        yield f"a statement {whose} starts with one of {', '.join(sorted(kinds))}"
    if "--" in statement or "/*" in statement or "$$" in statement:
        yield "a statement has no comments and no $$; what runs is what reviewers read"
    bare = _QUOTED.sub("''", statement)
    if ";" in bare.rstrip().rstrip(";"):
        yield "it is one statement; ';' ends it"
    if bare.count("{args.") != len(parts) - 1:
        yield "a field stands where a value may, never inside quotes"
    for name in fields(statement):
        arg = (spec.args or {}).get(name)
        if arg is None:
            yield f"the statement names {name!r}, which is no declared argument"


def mcp_problems(mcp: McpSpec) -> Iterator[tuple[str, str]]:
    """Pairs of the key and what is wrong there."""
    if (mcp.url is None) == (mcp.server is None):
        yield "tool", "mcp says one of url and server"
    if mcp.url is not None:
        try:
            check_address(mcp.url)
        except ValueError as error:
            yield "url", f"url: {error}"
        else:
            if fields(mcp.url):
                yield "url", "the endpoint of a server has no fields"
    if mcp.server is not None and mcp.auth is not None:
        yield "auth", "auth goes to a url; a server that is started here gets its secrets from its own file"
    made_up = sorted(MADE_UP.intersection(mcp.no_effect))
    if made_up:
        yield "no_effect", f"{made_up[0]} is also what a broken connection looks like, so it proves nothing"

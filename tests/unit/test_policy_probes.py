"""Probes in a policy: what loads, what is refused, and what reviewers vouch for."""

from __future__ import annotations

import pytest

from interlock.model.errors import PolicyError
from interlock.policy import HttpExecute, McpExecute, Policy, Probe, SqlExecute, parse

ARGS = "{order_id: string, page: string}"
HTTP = '{http: {url: "https://x.example/o/{args.order_id}", compare: [status]}}'
CURSOR = "    roles: {cursor: page}\n"


def load(probe: str, more: str = "", args: str = ARGS, tier: int = 3) -> Policy:
    text = f"interlock: 1\nactions:\n  a.b:\n    tier: {tier}\n    args: {args}\n    probe: {probe}\n{more}"
    return parse({"policy.yaml": text})


def refused(probe: str, more: str = "", args: str = ARGS, tier: int = 3) -> str:
    with pytest.raises(PolicyError) as caught:
        load(probe, more, args, tier)
    return caught.value.detail


def probe_of(policy: Policy) -> Probe:
    entry = policy.entry("a.b")
    assert entry is not None
    assert entry.probe is not None
    return entry.probe


def test_each_way_to_read_loads_as_one_that_only_reads() -> None:
    http = probe_of(load('{http: {url: "https://x.example/", auth: k, absent: [404], compare: [a, b.0.c]}}'))
    assert http == Probe(HttpExecute("GET", "https://x.example/", "k", None, (404,)), ("a", "b.0.c"))
    sql = probe_of(load("{sql: {database: d, statement: SELECT a FROM t, compare: [a]}}"))
    assert sql == Probe(SqlExecute("d", "SELECT a FROM t", None, 1, read_only=True), ("a",))
    mcp = probe_of(load("{mcp: {server: crm, tool: look, args: {id: order_id}, compare: [a]}}"))
    assert mcp == Probe(McpExecute(None, "crm", "look"), ("a",), None, (("id", "order_id"),))


def test_everything_about_a_probe_is_in_the_entry_that_reviewers_rely_on() -> None:
    one, other = load(HTTP), load(HTTP.replace("[status]", "[status, total]"))
    assert one.entry_digest("a.b") != other.entry_digest("a.b")
    assert probe_of(one).digest != probe_of(other).digest
    assert Policy.from_canonical(one.canonical()).entry_digest("a.b") == one.entry_digest("a.b")


@pytest.mark.parametrize(
    ("probe", "what"),
    [
        ("{}", "probe says one of http, sql and mcp"),
        ('{http: {method: POST, url: "https://x.example/", compare: [a]}}', "GET"),
        ('{http: {url: "https://x.example/"}}', "does not say 'compare'"),
        ('{http: {url: "https://x.example/", compare: []}}', "compare"),
        ('{http: {url: "https://x.example/", compare: [a b]}}', "compare"),
        ('{http: {url: "https://x.example/", compare: [a], absent: [200]}}', "absent"),
        ('{http: {url: "https://{args.order_id}/", compare: [a]}}', "literal host"),
        ('{http: {url: "https://x.example/{args.other}", compare: [a]}}', "no declared argument"),
        ('{http: {url: "https://x.example/", compare: [a], cursor: v}}', "no argument has the role cursor"),
        ("{sql: {database: d, statement: DELETE FROM t, compare: [a]}}", "starts with one of SELECT"),
        ("{sql: {database: d, statement: SELECT a; DROP TABLE t, compare: [a]}}", "one statement"),
        ("{sql: {database: d, statement: \"SELECT '{args.page}'\", compare: [a]}}", "never inside quotes"),
        ('{sql: {database: d, statement: "SELECT {args.other}", compare: [a]}}', "no declared argument"),
        ("{mcp: {tool: look, compare: [a]}}", "one of url and server"),
        ("{mcp: {server: crm, tool: look, args: {id: other}, compare: [a]}}", "no declared argument"),
    ],
)
def test_what_could_write_or_compares_nothing_does_not_load(probe: str, what: str) -> None:
    assert what in refused(probe)


def test_a_probe_takes_only_what_has_to_be_there_and_fits_a_url() -> None:
    assert "which is optional" in refused(HTTP, args="{order_id: {type: string, optional: true}}")
    assert "which is an array" in refused(HTTP, args="{order_id: array}")


def test_a_cursor_needs_a_probe_that_reads_it() -> None:
    bare = "interlock: 1\nactions: {a.b: {tier: 3, args: {page: string}, roles: {cursor: page}}}\n"
    with pytest.raises(PolicyError, match="needs a probe"):
        parse({"policy.yaml": bare})
    assert "neither reads with the cursor" in refused(HTTP, CURSOR)
    load(HTTP.replace("order_id", "page"), CURSOR)
    load(HTTP.replace("[status]", "[status], cursor: version"), CURSOR)


def test_what_runs_offline_is_not_probed() -> None:
    offline = "    execute: {permitted: {executor: x, offline: true}}\n"
    assert "not probed before it runs" in refused(HTTP, offline, tier=2)
    load(HTTP, offline.replace(", offline: true", ""), tier=2)


def test_a_tool_that_is_asked_before_anybody_decided_is_a_warning() -> None:
    policy = load("{mcp: {server: crm, tool: look, compare: [a]}}")
    assert policy.warnings[0].endswith("nothing but its server keeps the probe's tool look from writing")

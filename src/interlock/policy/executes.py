"""Executes: how an action runs, as the catalogue says it.

1. Who runs it is fixed by the kind: `http`, `sql` and `mcp` by any serving process, `caller` by the process
   that registered the function, `permitted` by a trusted host elsewhere.
2. A credential, a database and a server that is started are named, never described: what they are is said on
   the machine that runs the action.
3. `to_json` is what a reviewer relies on; its bytes are part of the catalogue entry's digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from interlock.model.canonical import Json


@dataclass(frozen=True, slots=True)
class HttpExecute:
    """Run by any serving process: one request.

    Attributes:
        url: a template whose scheme, host and port are literal (`interlock.policy.templates`).
        auth: name of the credential, fetched at execution time.
        idempotent_retention_sec: how long the service remembers an idempotency key; None: it does not.
        no_effect: response statuses that prove that nothing happened.
    """

    method: str
    url: str
    auth: str | None = None
    idempotent_retention_sec: int | None = None
    no_effect: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": "http",
            "method": self.method,
            "url": self.url,
            "auth": self.auth,
            "idempotent_retention_sec": self.idempotent_retention_sec,
            "no_effect": list(self.no_effect),
        }


@dataclass(frozen=True, slots=True)
class SqlExecute:
    """Run by any serving process: one statement in one transaction.

    Attributes:
        database: name of the credential that is the database's URL, fetched at execution time.
        statement: reviewed SQL with ``{args.name}`` where a value is bound; None where `query` says.
        query: the argument that holds the SQL; on a read-only connection alone.
        max_rows: rows that are read, or changed; more are a breach.
        read_only: whether it runs through a connection that the database itself keeps read-only (tier 1).
    """

    database: str
    statement: str | None
    query: str | None
    max_rows: int
    read_only: bool

    @property
    def idempotent_retention_sec(self) -> None:
        """A database remembers no key of ours."""

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": "sql",
            "database": self.database,
            "statement": self.statement,
            "query": self.query,
            "max_rows": self.max_rows,
            "read_only": self.read_only,
        }


@dataclass(frozen=True, slots=True)
class McpExecute:
    """Run by any serving process: one call of one tool of an MCP server.

    Attributes:
        url: the server's endpoint (Streamable HTTP), without fields; None where `server` says.
        server: name of a server that this machine starts and talks to over its standard streams.
        tool: the one tool that is called.
        auth: name of the credential that is sent to `url`, fetched at execution time.
        idempotent_retention_sec: how long the tool remembers the key in `_meta`; None: it does not.
        no_effect: codes of JSON-RPC errors that prove that nothing happened.
        error_is_no_effect: whether a result that is marked as an error proves it too.
    """

    url: str | None
    server: str | None
    tool: str
    auth: str | None = None
    idempotent_retention_sec: int | None = None
    no_effect: tuple[int, ...] = ()
    error_is_no_effect: bool = False

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": "mcp",
            "url": self.url,
            "server": self.server,
            "tool": self.tool,
            "auth": self.auth,
            "idempotent_retention_sec": self.idempotent_retention_sec,
            "no_effect": list(self.no_effect),
            "error_is_no_effect": self.error_is_no_effect,
        }


DispatchedExecute: TypeAlias = HttpExecute | SqlExecute | McpExecute
"""What any serving process carries out."""


@dataclass(frozen=True, slots=True)
class CallerExecute:
    """Run by the process that registered the function."""

    idempotent_retention_sec: int | None = None

    def to_json(self) -> dict[str, Json]:
        return {"kind": "caller", "idempotent_retention_sec": self.idempotent_retention_sec}


@dataclass(frozen=True, slots=True)
class PermittedExecute:
    """Run by a trusted host elsewhere, which redeems a permit at the gate.

    Attributes:
        executor: its name.
        offline: whether people let it run under a permit that is not redeemed first. Such a run cannot be
            stopped; an action whose tier is raised above 2 is redeemed all the same.
    """

    executor: str
    offline: bool = False

    @property
    def idempotent_retention_sec(self) -> None:
        """A permitted run is never repeated by the gate."""

    def to_json(self) -> dict[str, Json]:
        return {"kind": "permitted", "executor": self.executor, "offline": self.offline}


Execute: TypeAlias = DispatchedExecute | CallerExecute | PermittedExecute

"""Which tools of foreign servers somebody has looked at: the hash of what a server says of a tool, by topic.

1. What a server says of its tools is written for a model, by somebody untrusted, and may change between two
   calls. A tool counts only while the hash of its definition is the one that was accepted for its topic.
2. Accepting is an act with an entry, by whoever administers this installation, or by a policy-admin, and then
   only of what was seen. The row carries a mark: a row that was put there from outside raises `Tampered`, one
   that is gone leaves the tool unknown.
3. Whoever reads servers' definitions writes down what they saw, so that others can look at it: the newest
   definition of a topic and the accepted one. What is not the definition of its hash is shown to nobody.
4. Which topic stands for a tool, and what the policy says to it, is not decided here.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, select

from interlock.identity import Caller, Role
from interlock.identity.keyring import check_person
from interlock.journal import Journal, Prepared, Row, Tx, insert_into
from interlock.journal import tables as t
from interlock.ledger import Kind
from interlock.model.errors import Changed, InvalidInput, Tampered
from interlock.model.topics import parse_topic

MAX_AT_ONCE = 1_000
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)

_c = t.accepted_tools.c
_ALL = Prepared(select(t.accepted_tools).where(_c.namespace == bindparam("ns")).order_by(_c.topic))
_ONE = Prepared(
    select(t.accepted_tools).where(_c.namespace == bindparam("ns"), _c.topic == bindparam("topic_"))
)
_CLEAR = Prepared(
    delete(t.accepted_tools).where(_c.namespace == bindparam("ns"), _c.topic == bindparam("topic_"))
)
_ADD = insert_into(t.accepted_tools)

_s = t.seen_tools.c
_SEEN = Prepared(select(t.seen_tools).where(_s.namespace == bindparam("ns")).order_by(_s.topic, _s.tool))
_ONE_SEEN = Prepared(
    select(t.seen_tools).where(
        _s.namespace == bindparam("ns"), _s.topic == bindparam("topic_"), _s.tool == bindparam("tool_")
    )
)
_FORGET = Prepared(
    delete(t.seen_tools).where(
        _s.namespace == bindparam("ns"), _s.topic == bindparam("topic_"), _s.tool == bindparam("tool_")
    )
)
_ADD_SEEN = insert_into(t.seen_tools)


@dataclass(frozen=True, slots=True)
class AcceptedTool:
    """One tool. `tool` is the hash of its definition; `at` is microseconds UTC."""

    topic: str
    tool: str
    by: str
    at: int


@dataclass(frozen=True, slots=True)
class SeenTool:
    """What a server says of a tool.

    Attributes:
        server, name: the tool's own, as its server has them. definition: what is hashed; canonical JSON.
    """

    topic: str
    server: str
    name: str
    definition: bytes

    @property
    def tool(self) -> str:
        """The hash of the definition."""
        return hashlib.sha256(b"interlock/tool/v1\0" + self.definition).hexdigest()


class AcceptedTools:
    """The accepted tools of one namespace."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def all(self) -> dict[str, AcceptedTool]:
        """Every accepted tool by its topic. Raises `Tampered` where a row was changed from outside."""
        return self._journal.look(lambda tx: {row[1]: _checked(tx, row) for row in tx.all(_ALL)})

    def of(self, topic: str) -> str | None:
        """The hash of the definition that is accepted for a topic. Raises as `all`."""

        def look(tx: Tx) -> str | None:
            row = tx.one(_ONE, topic_=topic)
            return None if row is None else _checked(tx, row).tool

        return self._journal.look(look)

    async def of_async(self, topic: str) -> str | None:
        """As `of`, without blocking the event loop: a journal at hand is read in its own thread."""
        if self._journal.database.free():
            return self.of(topic)
        return await asyncio.to_thread(self.of, topic)

    def seen(self) -> list[tuple[SeenTool, int]]:
        """What servers say of their tools, with when it was seen (µs UTC): of each topic the newest
        definition and, where that is another, the accepted one.

        Raises:
            Tampered: a definition was changed from outside.
        """

        def read(row: Row) -> tuple[SeenTool, int]:
            _, topic, tool, server, name, definition, at = row
            found = SeenTool(topic, server, name, definition)
            if found.tool != tool:
                raise Tampered(f"The definition of {topic} was changed in the journal.")
            return found, at

        return self._journal.look(lambda tx: [read(row) for row in tx.all(_SEEN)])

    def saw(self, servers: Collection[str], tools: Iterable[SeenTool]) -> None:
        """Write down what these servers say of all their tools now. Does nothing where that is known."""
        said = {each.topic: each for each in tools}
        if self._journal.look(lambda tx: _news(tx, servers, said)) != ([], []):
            self._journal.commit(lambda tx: _write_down(tx, servers, said))

    def accept(
        self, tools: Mapping[str, str], *, by: str = "", caller: Caller | None = None
    ) -> tuple[str, ...]:
        """Accept definitions, each by the hash that was looked at; the topics for which that was news.

        Args:
            tools: hash of the definition by topic.
            by: who, for the record. caller: instead, a person, who accepts only what was seen.

        Raises:
            InvalidInput: no topic or no hash, or too many at once. Forbidden, Unauthenticated: no
            policy-admin. Changed: that is not what the server says of it now.
        """
        if len(tools) > MAX_AT_ONCE:
            raise InvalidInput(f"{len(tools)} tools; at most {MAX_AT_ONCE} are accepted at once")
        for topic, tool in tools.items():
            parse_topic(topic, "topic")
            if not _HASH.fullmatch(tool):
                raise InvalidInput("a tool's hash is 64 hexadecimal digits", path="$.tool")

        def put(tx: Tx) -> tuple[str, ...]:
            who = by if caller is None else check_person(tx, caller, Role.POLICY_ADMIN)
            for topic, tool in tools.items():
                if caller is not None and tx.one(_ONE_SEEN, topic_=topic, tool_=tool) is None:
                    raise Changed(f"That is not what its server says of {topic} now.", fix="Look again.")
            return tuple(topic for topic, tool in sorted(tools.items()) if _accept(tx, topic, tool, who))

        return self._journal.commit(put)


def _accept(tx: Tx, topic: str, tool: str, by: str) -> bool:
    row = tx.one(_ONE, topic_=topic)
    previous = None if row is None else _checked(tx, row).tool
    if previous == tool:
        return False
    tx.write(_CLEAR, topic_=topic)
    columns = (tx.namespace, topic, tool, by, tx.now)
    tx.insert(_ADD, (*columns, tx.vault.mac("accepted_tool", *columns)))
    before = {} if previous is None else {"previous": previous}
    tx.append(Kind.TOOL_ACCEPTED, topic=topic, tool=tool, by=by, **before)
    return True


def _news(
    tx: Tx, servers: Collection[str], said: Mapping[str, SeenTool]
) -> tuple[list[SeenTool], list[tuple[str, str]]]:
    """What is not written down yet, and what is no more said, by topic and hash."""
    accepted = {row[1]: row[2] for row in tx.all(_ALL)}
    rows = {(row[1], row[2]): row[3] for row in tx.all(_SEEN)}
    fresh = [each for topic, each in said.items() if (topic, each.tool) not in rows]
    gone = [
        (topic, tool)
        for (topic, tool), server in rows.items()
        if server in servers
        and accepted.get(topic) != tool
        and (topic not in said or said[topic].tool != tool)
    ]
    return fresh, gone


def _write_down(tx: Tx, servers: Collection[str], said: Mapping[str, SeenTool]) -> None:
    fresh, gone = _news(tx, servers, said)
    for topic, tool in gone:
        tx.write(_FORGET, topic_=topic, tool_=tool)
    for each in fresh:
        columns = (each.topic, each.tool, each.server, each.name, each.definition)
        tx.insert(_ADD_SEEN, (tx.namespace, *columns, tx.now))


def _checked(tx: Tx, row: Row) -> AcceptedTool:
    *columns, mac = row
    tx.vault.check(mac, "accepted_tool", *columns)
    return AcceptedTool(*columns[1:])

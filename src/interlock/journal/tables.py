"""The tables. Every one carries `namespace`; times are integer microseconds UTC; money never stands here.

Column types are integers, text and bytes only, so that a statement compiled once can be run on the bare
driver without conversion. On PostgreSQL integers have 64 bits, as SQLite's have, and text is compared by its
bytes, so that no order and no index depends on a locale of the machine. Migrations create these tables; a
test compares the two.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text
from sqlalchemy.types import TypeEngine

metadata = MetaData()

# SQLite appends rows in the order of a key only where that key is declared INTEGER.
NUMBER: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
TEXT: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")

# Conditions of partial indexes, as the statements that use them write them: a planner proves that a query
# stays inside a partial index only from the same literals.
WAITING = "state IN ('held','allowed','approved')"
READY = "state IN ('allowed','approved')"
EXECUTING = "state = 'executing'"
RESOLVED = "state <> 'held'"
OPEN = "state = 'open'"
TO_PROBE = "state = 'held' AND probe_at IS NOT NULL"


def _text(name: str, *, null: bool = False, key: bool = False) -> Column[str]:
    return Column(name, TEXT, nullable=null, primary_key=key)


def _time(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=null)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


def _number(name: str, *, key: bool = False, null: bool = False) -> Column[int]:
    return Column(name, NUMBER, nullable=null, primary_key=key, autoincrement=False)


def _table(name: str, *items: Column[str] | Column[int] | Column[bytes] | Index) -> Table:
    """A table whose rows are small, or inserted in the order of their key."""
    return Table(name, metadata, _text("namespace", key=True), *items, sqlite_with_rowid=False)


def _heap(name: str, *items: Column[str] | Column[int] | Column[bytes] | Index) -> Table:
    """A table of large rows under random keys: appended, so that a commit touches one page of rows and one of
    keys; ordered by key it would split pages all over the file."""
    return Table(name, metadata, _text("namespace", key=True), *items)


head = _table(
    "head",
    _number("start"),
    _number("size"),
    _bytes("frontier"),
    _number("sealed"),
    _time("at"),
    _bytes("mac"),
    Column("stopped", BigInteger, nullable=False, server_default="0"),
    Column("epoch", BigInteger, nullable=False, server_default="1"),
)
"""A row for each namespace: where its entries and payloads start, the ledger's size and frontier, the number
of payloads, and the time of the last transaction. `mac` covers namespace and start: it ties the database to
the home whose keys it was begun with. `stopped` is not 0 while the ledger is being recovered: nothing is
written until a new epoch is opened. `epoch` is the ledger's: a hint to look at `epochs`, no authority."""

SPAN = 1 << 44
"""How many rows of `entries` and `payloads` one namespace can have; its rows start at `number * SPAN`."""


def _appended(name: str, *items: Column[str] | Column[int] | Column[bytes]) -> Table:
    """A table that only grows: one integer key, so that a commit touches its last page and nothing else."""
    key: Column[int] = Column("seq", NUMBER, primary_key=True, autoincrement=False)
    return Table(name, metadata, key, _text("namespace"), *items)


entries = _appended("entries", _bytes("body"))
"""The ledger's leaves: canonical bytes, verbatim; `seq` is the namespace's start plus the ledger index."""

payloads = _appended("payloads", _bytes("sealed"), _text("subject", null=True))
"""Everything that may be personal or secret, sealed under the row's own number (in `seq`) with the key of the
subject it is about, or with the home's own where it is about nobody."""

subjects = _table(
    "subjects",
    _text("id", key=True),
    _bytes("wrapped"),
    _time("added_at"),
)
"""The key that seals what is about one subject, wrapped by a key outside the database. `id` is a keyed hash
of the subject's name. Deleting the row erases what it sealed."""

erasures = _table(
    "erasures",
    _text("subject", key=True),
    _text("serial", key=True),
    _time("at"),
    _bytes("mac"),
)
"""Which subjects' keys were destroyed, by the key's serial: what tells an erased payload from one whose key
somebody took away."""

published = _table(
    "published",
    _text("holder"),
    _number("epoch"),
    _time("until"),
    _number("size"),
    _text("checkpoint"),
    _time("at"),
)
"""One row: which host publishes (`holder`, until when, and the fencing number of its lease) and the newest
signed checkpoint. Nobody trusts it: the checkpoint carries a signature."""

epochs = _table(
    "epochs",
    _number("number", key=True),
    _text("origin"),
    _number("kept"),
    _time("opened_at"),
    _bytes("mac"),
)
"""The ledger's epochs after the first: the log's name since, and how many entries came before."""

recovery_votes = _table(
    "recovery_votes",
    _text("person", key=True),
    _text("gap"),
    _text("reason"),
    _time("at"),
    _bytes("mac"),
)
"""Who agreed to open a new epoch, over the digest of what they were told is lost."""

kill_switches = _table(
    "kill_switches",
    _text("id", key=True),
    _text("scope"),
    _text("target", null=True),
    _text("reason"),
    _text("by"),
    _number("drill"),
    _time("engaged_at"),
    _time("rearmed_at", null=True),
    _bytes("mac"),
)
"""Kill switches, lifted ones included: they are never deleted, because deadlines were paused by them."""

kill_register = _table(
    "kill_register",
    _number("generation"),
    _text("engaged"),
    _text("lifted"),
    _bytes("mac"),
)
"""One row: the ids of the kill switches that are on, in order, a digest of those that were lifted, and how
many times that changed. A home makes it when it is opened; from then on its absence is an attack."""

attended = _table(
    "attended",
    _time("since"),
    _time("until"),
    _bytes("mac"),
)
"""One row: between which two moments the home was swept without a gap."""

kill_votes = _table(
    "kill_votes",
    _text("kill", key=True),
    _text("person", key=True),
    _text("reason"),
    _time("at"),
    _bytes("mac"),
)
"""Who agreed to lift a kill switch."""

dismissals = _table(
    "dismissals",
    _number("epoch", key=True),
    _number("entry", key=True),
    _number("seen"),
    _bytes("mac"),
)
"""Recoveries that people called a false alarm: in which epoch of the ledger, which entry says so, and how
many entries somebody claimed to have had."""

alarms = _table(
    "alarms",
    _number("epoch", key=True),
    _number("seen"),
    _bytes("mac"),
)
"""How many entries a process of this home knows to have been there, where it found others, or fewer."""

permits = _table(
    "permits",
    _text("id", key=True),
    _text("action_id"),
    _number("revision"),
    _text("executor"),
    _text("state"),
    _number("offline"),
    _number("entry"),
    _time("minted_at"),
    _time("expires_at"),
    _bytes("mac"),
    Index("permits_of_action", "namespace", "action_id", "revision"),
    Index(
        "permits_open",
        "namespace",
        "expires_at",
        sqlite_where=text(OPEN),
        postgresql_where=text(OPEN),
    ),
)
"""Permits: minted for one executor, `open` until redeemed, reported or lapsed. `offline` is 1 where the
executor may run it without redeeming; `entry` is the ledger index of its `permit.minted`."""

policies = _table("policies", _text("snapshot", key=True), _bytes("document"), _time("first_seen"))

active_policy = _table(
    "active_policy",
    _text("snapshot"),
    _time("activated_at"),
    _text("activated_by"),
    _text("reason"),
    _bytes("mac"),
)

actions = _heap(
    "actions",
    _text("id", key=True),
    _number("revision", key=True),
    _text("state"),
    _text("topic"),
    _text("agent"),
    _text("key_id", null=True),
    _text("executor"),
    _text("verdict"),
    _text("snapshot"),
    _text("catalogue"),
    _text("action_hash"),
    _number("payload"),
    _number("output", null=True),
    _text("fingerprint"),
    _text("predecessor", null=True),
    _number("retention_sec", null=True),
    _time("proposed_at"),
    _time("changed_at"),
    _time("expires_at", null=True),
    _number("epoch"),
    _text("holder", null=True),
    _time("lease_until", null=True),
    _time("claimed_at", null=True),
    _text("output_hash", null=True),
    _text("probe", null=True),
    _text("undoes", null=True),
    _text("undone_by", null=True),
    _bytes("seal"),
    Index(
        "actions_ready",
        "namespace",
        "expires_at",
        sqlite_where=text(READY),
        postgresql_where=text(READY),
    ),
    Index(
        "actions_leased",
        "namespace",
        "lease_until",
        sqlite_where=text(EXECUTING),
        postgresql_where=text(EXECUTING),
    ),
    Index(
        "actions_waiting",
        "namespace",
        "snapshot",
        sqlite_where=text(WAITING),
        postgresql_where=text(WAITING),
    ),
    Index("actions_by_state", "namespace", "state", "proposed_at", "id"),
)

approvals = _heap(
    "approvals",
    _text("id", key=True),
    _text("action_id"),
    _number("revision"),
    _text("state"),
    _text("review_hash"),
    _number("package"),
    _text("owner"),
    _time("requested_at"),
    _time("due_at"),
    _time("expires_at"),
    _number("escalated"),
    _text("editor", null=True),
    _text("supersedes", null=True),
    _text("superseded_by", null=True),
    _text("reading", null=True),
    _time("probe_at", null=True),
    _bytes("mac"),
    Index("approvals_of_action", "namespace", "action_id", "revision"),
    Index("approvals_by_state", "namespace", "state", "due_at", "id"),
    Index(
        "approvals_resolved",
        "namespace",
        "requested_at",
        "id",
        sqlite_where=text(RESOLVED),
        postgresql_where=text(RESOLVED),
    ),
    Index(
        "approvals_to_probe",
        "namespace",
        "probe_at",
        sqlite_where=text(TO_PROBE),
        postgresql_where=text(TO_PROBE),
    ),
)

decisions = _heap(
    "decisions",
    _text("id", key=True),
    _text("approval_id"),
    _text("person"),
    _text("decision"),
    _text("review_hash"),
    _text("reason_code", null=True),
    _number("note", null=True),
    _number("solo"),
    _time("at"),
    _text("note_hash", null=True),
    _bytes("mac"),
    Index("decisions_of_approval", "namespace", "approval_id"),
)

before_states = _heap(
    "before_states",
    _text("action_id", key=True),
    _number("revision", key=True),
    _number("payload"),
    _text("reading"),
    _bytes("mac"),
)
"""What the probe of an action read for its first claim: the number of the sealed values, and their mark,
which the entry of the claim carries."""

checkpoints = _heap(
    "checkpoints",
    _text("action_id", key=True),
    _number("payload"),
    _text("hash"),
    _bytes("mac"),
)
"""What an agent needs to go on after a decision: the number of the sealed bytes that came with a proposal,
and the commitment to them."""

idempotency = _table(
    "idempotency",
    _text("agent", key=True),
    _text("key", key=True),
    _text("action_id"),
)

people = _table(
    "people",
    _text("id", key=True),
    _text("name"),
    _text("roles"),
    _time("added_at"),
    _time("removed_at", null=True),
    _bytes("mac"),
)

keys = _table(
    "keys",
    _text("id", key=True),
    _text("kind"),
    _text("name"),
    _text("topics"),
    _text("person", null=True),
    _bytes("digest"),
    _time("added_at"),
    _time("expires_at", null=True),
    _time("revoked_at", null=True),
    _bytes("mac"),
)

links = _table(
    "links",
    _text("id", key=True),
    _text("person"),
    _bytes("digest"),
    _time("expires_at"),
    _time("redeemed_at", null=True),
    _bytes("mac"),
)

console_sessions = _table(
    "console_sessions",
    _text("id", key=True),
    _text("person"),
    _bytes("digest"),
    _time("expires_at"),
    _time("ended_at", null=True),
    _bytes("mac"),
)

sessions = _heap(
    "sessions",
    _text("id", key=True),
    _text("agent"),
    _text("principal", null=True),
    _text("name", null=True),
    _text("state"),
    _number("payload"),
    _text("hash"),
    _number("records"),
    _number("size"),
    _time("opened_at"),
    _time("ended_at", null=True),
    _bytes("mac"),
    Index("sessions_by_name", "namespace", "name"),
)
"""Runs of agents that trusted code opened. `principal` and `name` (the host's own word for it) are keyed
hashes; `payload` is the number of both as they were sealed, `hash` the commitment to them. `size` is how many
bytes its `records` have."""

session_records = _heap(
    "session_records",
    _text("session", key=True),
    _number("number", key=True),
    _text("kind"),
    _text("name"),
    _text("action_id", null=True),
    _number("payload"),
    _text("hash"),
    _time("at"),
    _bytes("mac"),
    Index("session_records_by_name", "namespace", "session", "name"),
)
"""What users said and tools gave back in a session: the number of the sealed content, and the commitment to
it. `name` is a keyed hash of the host's word for the record."""

accepted_tools = _table(
    "accepted_tools",
    _text("topic", key=True),
    _text("tool"),
    _text("accepted_by"),
    _time("accepted_at"),
    _bytes("mac"),
)
"""Which definition of a tool somebody has accepted: the hash of what a server says of it, by its topic."""

seen_tools = _table(
    "seen_tools",
    _text("topic", key=True),
    _text("tool", key=True),
    _text("server"),
    _text("name"),
    _bytes("definition"),
    _time("seen_at"),
)
"""What servers say of their tools, for whoever accepts them: of each topic the newest definition, and the
accepted one. Nobody trusts a row: `tool` is the hash of `definition`."""

segments = _table(
    "segments",
    _text("id", key=True),
    _text("segment"),
    _text("ids"),
    _time("enqueued_at"),
)
"""The outbox: work that was committed, and that no engine has taken over yet. `ids` is JSON, of ids only; an
id begins with the time, so that rows are appended."""

undelivered = _table(
    "undelivered",
    _text("id", key=True),
    _text("webhook"),
    _text("ids"),
    _text("reason"),
    _time("failed_at"),
)
"""Webhooks that were given up: the segment's id and ids, and a clause about why. Kept until somebody has them
sent again, or lets them go."""

followed = _table(
    "followed",
    _text("agent", key=True),
    _number("position"),
    _text("holder"),
    _time("until"),
)
"""How far workers have told an agent's code what became of its actions: the next ledger index, and which
process tells now, until when."""

redelivered = _table(
    "redelivered",
    _text("key", key=True),
    _number("times"),
    _time("at"),
)
"""How often a segment was taken over from a process that had died, by the key of its delivery."""

executors = _table(
    "executors",
    _text("id", key=True),
    _text("holder"),
    _number("epoch"),
    _time("until"),
    _time("joined_at"),
)
"""Processes that run segments. `holder` is the executor itself until another one, which has to take over,
finds its lease lapsed; the epoch grows then."""

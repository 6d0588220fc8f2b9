"""Propose: validate, canonicalise, hash, decide, and commit action, verdict and entry together.

1. Everything outside the transaction is a function of the proposal and one policy snapshot. Inside, the
   snapshot is compared first; a moved policy makes the caller prepare again.
2. Idempotency. A caller's key belongs to one request of one agent for ever: the same bytes get the first
   action back, other bytes are refused and the refusal is recorded. Without a key, the framework's call id
   makes one; without either, the request attaches to an equal one that is still open, and otherwise names it
   as its predecessor. Whoever sends such a request again because no answer came says so by its `attempt`,
   and gets that answer. Whatever callers call a request is kept as a keyed hash.
3. Whether a kill switch covers it is known inside the transaction only; then it is decided once more, with
   that among its inputs, and denied.
4. An allowed action whose executor is the calling process may be claimed in the same transaction. One that
   is dispatched and not claimed leaves a segment in it, which any serving process takes up.
5. Observed signals are at their baseline: this version has nobody who observes. What an agent reports can
   only tighten, and the policy room sees to that.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from sqlalchemy import bindparam, select, update

from interlock.gate import checkpoints, questions, sessions, stops
from interlock.gate.active import require_snapshot
from interlock.gate.claim import Enforces
from interlock.gate.opening import Proposed, new_row, record, state_under
from interlock.gate.package import Sealed, subject_of, words_of
from interlock.gate.records import (
    ActionRow,
    load_action,
)
from interlock.identity import Caller
from interlock.identity.keyring import check_live
from interlock.journal import Prepared, Tx, Vault, insert_into
from interlock.journal import tables as t
from interlock.ledger import Kind
from interlock.model.actions import ExecutorKind, Proposal, Signals
from interlock.model.binding import NONCE_BYTES, Binding
from interlock.model.canonical import Json, canonical
from interlock.model.errors import (
    ClockJumped,
    IdempotencyConflict,
    InvalidInput,
    NotFound,
    Tampered,
    UnknownTopic,
)
from interlock.model.ids import check_id, new_id
from interlock.model.questions import checked_question, is_question
from interlock.model.topics import parse_topic
from interlock.model.verdicts import Verdict
from interlock.policy import (
    BASELINE,
    CatalogueEntry,
    HttpExecute,
    McpExecute,
    PermittedExecute,
    Policy,
    SqlExecute,
)

MAX_KEY = 200
MAX_WORDS = 20_000

AHEAD = 32
"""How many names of requests are looked up at once, for as many proposals that share a transaction."""
_KNOWN_KEYS = {
    count: Prepared(
        select(t.idempotency.c.key, t.idempotency.c.action_id).where(
            t.idempotency.c.namespace == bindparam("ns"),
            t.idempotency.c.agent == bindparam("agent_"),
            t.idempotency.c.key.in_([bindparam(f"key_{n}") for n in range(count)]),
        )
    )
    for count in (2, 8, AHEAD)
}
"""By how many names they take; the last may be repeated."""
_ADD_KEY = insert_into(t.idempotency)
_TAKE_OVER = Prepared(
    update(t.idempotency)
    .where(
        t.idempotency.c.namespace == bindparam("ns"),
        t.idempotency.c.agent == bindparam("agent_"),
        t.idempotency.c.key == bindparam("key_"),
    )
    .values(action_id=bindparam("action_"))
)


@dataclass(frozen=True, slots=True)
class Proposing:
    """A proposal ready to commit under one policy snapshot."""

    row: ActionRow
    sealed: Sealed
    verdict: Verdict
    policy: Policy
    key: str
    holder: str | None
    enforces: Enforces
    mark: bytes | None = None
    checkpoint: bytes | None = field(default=None, repr=False)
    attempt: str | None = None

    def __call__(self, tx: Tx) -> Proposed:
        require_snapshot(tx, self.policy.snapshot)
        row = self.row
        check_live(tx, row.key_id, self.mark)
        tx.meet(subject_of(self.sealed.binding))
        holder = self.holder
        if holder is not None:
            try:
                tx.clock.check()
            except ClockJumped:
                if not ExecutorKind(row.executor).dispatched:
                    raise
                holder = None  # it waits, as what is approved meanwhile does
        if row.predecessor is not None:
            self._check_predecessor(tx, row.predecessor)
        switch = stops.covering(tx, row.agent, row.topic)
        known = self._known(tx)
        sent = None if self.attempt is None else known[self.attempt]
        if sent is not None:
            earlier = self._earlier(tx, sent)
            if earlier.fingerprint != row.fingerprint:
                return self._conflict(tx, earlier)
            return Proposed(earlier, created=False)
        first = known[self.key]
        if first is not None:
            earlier = self._earlier(tx, first)
            if earlier.fingerprint != row.fingerprint:
                return self._conflict(tx, earlier)
            if self.key != self.unnamed or earlier.status.open:
                if self.attempt is not None:
                    self._name(tx, known, self.attempt, earlier.id)
                return Proposed(earlier, created=False)
            row = row._replace(predecessor=row.predecessor or earlier.id)
        self._check_session(tx)
        for name in self.names:  # the same request without a key attaches to this one while it is open
            if known[name] is None:
                self._name(tx, known, name, row.id)
            else:
                tx.save(_TAKE_OVER, row.agent, name, agent_=row.agent, key_=name, action_=row.id)
                known[name] = row.id
        sealed, verdict = self.sealed, self.verdict
        if switch is not None:
            sealed = replace(sealed, stopped=switch.id)
            verdict = self.policy.decide(sealed.question)
            row = row._replace(state=state_under(verdict).value, verdict=verdict.canonical().decode())
        if self.checkpoint is not None:
            checkpoints.keep(tx, row.id, self.checkpoint, subject_of(sealed.binding))
        return record(
            tx,
            row,
            sealed,
            verdict,
            self.policy,
            enforces=self.enforces,
            holder=holder,
            request_name=None
            if self.key == self.unnamed
            else tx.vault.mac("name", row.agent, self.key).hex(),
        )

    @property
    def unnamed(self) -> str:
        """The name of this request for whoever repeats it without a key."""
        return f"open:{self.row.fingerprint}"

    def _name(self, tx: Tx, known: dict[str, str | None], name: str, action_id: str) -> None:
        tx.insert(_ADD_KEY, (tx.namespace, self.row.agent, name, action_id))
        known[name] = action_id

    def _check_session(self, tx: Tx) -> None:
        """Raises `SessionRefused` for something new in a session that is not open for it."""
        binding = self.sealed.binding
        sessions.check_proposed(tx, binding.session, binding.agent, binding.principal)

    @property
    def names(self) -> tuple[str, ...]:
        """Under which it is remembered; the last is that of this sending of it, if it has one."""
        own = (self.unnamed,) if self.key == self.unnamed else (self.key, self.unnamed)
        return own if self.attempt is None else (*own, self.attempt)

    def _known(self, tx: Tx) -> dict[str, str | None]:
        """The actions that names of this agent's requests stand for; at least the names of this one."""
        known: dict[str, str | None] = tx.memo.setdefault(f"requests:{self.row.agent}", {})
        if not known.keys() >= set(self.names):
            coming = (
                name
                for each in tx.coming(Proposing)
                if each.row.agent == self.row.agent
                for name in each.names
            )
            names = list(dict.fromkeys(islice(chain(self.names, coming), AHEAD)))
            count = next(count for count in _KNOWN_KEYS if count >= len(names))
            asked = {f"key_{n}": names[min(n, len(names) - 1)] for n in range(count)}
            known.update(dict.fromkeys(names))
            known.update(dict(tx.all(_KNOWN_KEYS[count], agent_=self.row.agent, **asked)))
        return known

    def _earlier(self, tx: Tx, action_id: str) -> ActionRow:
        earlier = load_action(tx, action_id)
        if earlier.agent != self.row.agent:
            raise Tampered(f"An idempotency key of {self.row.agent} names another agent's action.")
        return earlier

    def _check_predecessor(self, tx: Tx, action_id: str) -> None:
        """Raises `InvalidInput` unless it is an ended action of the same agent."""
        try:
            earlier = load_action(tx, action_id)
        except NotFound:
            earlier = None
        if earlier is None or earlier.agent != self.row.agent or earlier.status.open:
            raise InvalidInput("not an action of this agent that has ended", path="$.retry_of")

    def _conflict(self, tx: Tx, earlier: ActionRow) -> Proposed:
        """Other bytes under a known key: refused, and the refusal is recorded."""
        tx.append(Kind.IDEMPOTENCY_CONFLICT, action=earlier.id, agent=self.row.agent, key=self.row.key_id)
        refusal = IdempotencyConflict(
            "This idempotency key belongs to another request.", extra={"action": earlier.id}
        )
        return Proposed(None, created=False, refusal=refusal)


def prepare(
    proposal: Proposal,
    caller: Caller,
    policy: Policy,
    vault: Vault,
    *,
    namespace: str,
    registered: bool,
    enforces: Enforces,
    holder: str | None = None,
    host: str | None = None,
    executes: Collection[ExecutorKind] = (),
    predecessor: str | None = None,
) -> Proposing:
    """Check a proposal and decide it under `policy`, without touching the database.

    Args:
        registered: trusted code in this process registered the topic (a guarded function); then the
            proposal's tags count and a topic outside the catalogue is known.
        holder, executes: this process and the kinds of executor it is: an allowed action of theirs is claimed
            at once, unless its probe has to be read before.
        host: who claims a caller's action in the place of `holder`.

    Raises:
        InvalidInput: (a subclass) for every value that is not acceptable.
        OutOfScope, Forbidden: the caller may not propose this.

    What comes of it also raises `SessionRefused` (`sessions.py`, rule 5).
    """
    topic = parse_topic(proposal.topic)
    agent = caller.check_topic(topic)
    asks = is_question(topic)
    if not (asks or registered or policy.knows(topic)):
        near = policy.suggest(topic)
        raise UnknownTopic(
            f"{topic} is not in the catalogue and no rule names it"
            + (f"; did you mean {near}?" if near else ""),
            path="$.topic",
        )
    _check_words(proposal)
    if predecessor is not None:
        check_id(predecessor, "act", "$.retry_of")
    args = checked_question(proposal.args) if asks else policy.check_args(topic, proposal.args)
    entry = policy.entry(topic)
    kind, executor = (ExecutorKind.QUESTION, questions.EXECUTOR) if asks else _executor(entry)
    binding = Binding(
        namespace=namespace,
        topic=topic,
        args=args,
        agent=agent,
        principal=proposal.principal,
        parent_action=proposal.parent_action,
        session=proposal.session,
        revision=1,
        executor=executor,
    )
    sealed = Sealed(
        binding,
        os.urandom(NONCE_BYTES),
        BASELINE if proposal.confidence is None else Signals(confidence=proposal.confidence),
        () if asks else proposal.tags if registered else None,
        words_of(proposal),
    )
    fingerprint = vault.mac(
        "request",
        namespace,
        agent,
        topic,
        canonical(args),
        proposal.principal,
        proposal.session,
        proposal.parent_action,
    ).hex()
    verdict = policy.decide(sealed.question)
    if asks:
        questions.check_asked(verdict)
    if kind is ExecutorKind.CALLER and host is not None:
        holder = host
    row = new_row(
        policy,
        sealed,
        verdict,
        action_id=new_id("act"),
        key_id=caller.key_id,
        fingerprint=fingerprint,
        predecessor=predecessor,
    )
    key = _key(proposal, vault, row)
    return Proposing(
        row,
        sealed,
        verdict,
        policy,
        key,
        holder if kind in executes and (entry is None or entry.probe is None) else None,
        enforces,
        caller.mark,
        proposal.checkpoint,
        _attempt(proposal, vault, row),
    )


def _executor(entry: CatalogueEntry | None) -> tuple[ExecutorKind, dict[str, Json]]:
    """Who runs it, and how the binding names them."""
    match None if entry is None else entry.execute:
        case HttpExecute():
            return ExecutorKind.HTTP, {"kind": ExecutorKind.HTTP.value}
        case SqlExecute():
            return ExecutorKind.SQL, {"kind": ExecutorKind.SQL.value}
        case McpExecute():
            return ExecutorKind.MCP, {"kind": ExecutorKind.MCP.value}
        case PermittedExecute(executor=name):
            return ExecutorKind.PERMITTED, {"kind": ExecutorKind.PERMITTED.value, "name": name}
        case _:
            return ExecutorKind.CALLER, {"kind": ExecutorKind.CALLER.value}


def _key(proposal: Proposal, vault: Vault, row: ActionRow) -> str:
    """Under which name the request is remembered: the caller's, the call's, or its own bytes while open."""
    if proposal.idempotency_key is not None:
        return "key:" + vault.mac("idempotency", row.agent, proposal.idempotency_key).hex()
    if proposal.call_id is not None:
        return "call:" + vault.mac("call", row.fingerprint, proposal.call_id).hex()
    return f"open:{row.fingerprint}"


def _attempt(proposal: Proposal, vault: Vault, row: ActionRow) -> str | None:
    if proposal.attempt is None or proposal.idempotency_key is not None or proposal.call_id is not None:
        return None
    return "sent:" + vault.mac("sent", row.agent, proposal.attempt).hex()


def _check_words(proposal: Proposal) -> None:
    checkpoints.check_size(proposal.checkpoint)
    for name, value in (
        ("idempotency_key", proposal.idempotency_key),
        ("call_id", proposal.call_id),
        ("attempt", proposal.attempt),
        ("session", proposal.session),
        ("principal", proposal.principal),
        ("parent_action", proposal.parent_action),
    ):
        if value is not None and not (1 <= len(value) <= MAX_KEY and value.isprintable()):
            raise InvalidInput(f"1 to {MAX_KEY} printable characters", path=f"$.{name}")
    if len(proposal.reasoning) + sum(map(len, proposal.alternatives)) > MAX_WORDS:
        raise InvalidInput(
            f"reasoning and alternatives have at most {MAX_WORDS} characters", path="$.reasoning"
        )
    reported = proposal.confidence
    if reported is not None and not (reported.is_finite() and 0 <= reported <= 1):
        raise InvalidInput("a confidence lies between 0 and 1", path="$.confidence")

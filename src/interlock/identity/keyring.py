"""API keys: made, listed, revoked and recognised.

A token reads ``ilk_<kind>_<32 hex>.<43 characters>``: the kind helps whoever finds one, the id finds the row,
the rest is 256 random bits.

1. A caller is recognised by reading the key's row; which token belongs to which row, its keyed hash says.
2. Agents' callers are remembered, so that a proposal need not read the row before its transaction does.
   What is remembered admits nobody: the transaction reads the row and refuses unless it is the very one the
   caller was recognised by, and live. So a revocation works from its commit on, in every process.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import bindparam, select, update

from interlock.identity.callers import Caller, KeyKind, Role
from interlock.identity.people import Person, people
from interlock.journal import Journal, Prepared, Row, Tx, insert_into
from interlock.journal import tables as t
from interlock.ledger import Kind
from interlock.model.errors import Conflict, InvalidInput, NotFound, Tampered, Unauthenticated
from interlock.model.ids import new_id
from interlock.model.topics import TopicPattern

REMEMBERED = 1024
_log = logging.getLogger(__name__)
_TOKEN = re.compile(r"ilk_(agent|adapter|executor|person)_([0-9a-f]{32})\.[A-Za-z0-9_-]{43}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@ -]{0,79}", re.ASCII)

_EXECUTOR = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)

_ADD = insert_into(t.keys)
_ONE = Prepared(select(t.keys).where(t.keys.c.namespace == bindparam("ns"), t.keys.c.id == bindparam("id_")))
_ALL = Prepared(
    select(t.keys).where(t.keys.c.namespace == bindparam("ns")).order_by(t.keys.c.added_at, t.keys.c.id)
)
_REVOKE = Prepared(
    update(t.keys)
    .where(t.keys.c.namespace == bindparam("ns"), t.keys.c.id == bindparam("id_"))
    .values(revoked_at=bindparam("at_"), mac=bindparam("mac_"))
)


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it may be shown. `person` is the reviewer of a person key, or the operator of an agent's."""

    id: str
    kind: KeyKind
    name: str
    topics: tuple[str, ...]
    person: str | None
    added_at: int
    expires_at: int | None
    revoked_at: int | None


class Keyring:
    """The API keys of one namespace."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._remembered: OrderedDict[bytes, Caller] = OrderedDict()
        """By the keyed hash of their token."""

    def add(
        self,
        kind: KeyKind,
        name: str,
        *,
        topics: Iterable[str] = (),
        person: Person | None = None,
        lifetime_sec: int | None = None,
        by: str,
    ) -> tuple[Key, str]:
        """Make a key; returns it and its token, which is shown this once.

        Args:
            name: the agent's name for `agent` and `adapter`; for `executor` the name that the catalogue gives
                it, which several keys may share; a label otherwise.
            topics: topic patterns; needed for agent, adapter and executor, refused for person.
            person: whose key it is (`person`), or who operates the agent; that person may not approve
                the agent's actions.

        Raises:
            InvalidInput: a name, topic or combination that makes no sense.
        """
        scope = tuple(TopicPattern.parse(topic).text for topic in topics)
        if not _NAME.fullmatch(name):
            raise InvalidInput("a key's name has 1 to 80 letters, digits, spaces or ._@-", path="$.name")
        if kind is KeyKind.EXECUTOR and not _EXECUTOR.fullmatch(name):
            raise InvalidInput(
                "an executor's name has 1 to 64 of a-z, 0-9 and ._-, as the catalogue writes it",
                path="$.name",
            )
        if kind is KeyKind.PERSON and (scope or person is None):
            raise InvalidInput("a person key belongs to a person and has no topics", path="$.topics")
        if kind is not KeyKind.PERSON and not scope:
            raise InvalidInput(
                f"an {kind.value} key names its topics", path="$.topics", fix="Pass --topics 'support.**'."
            )
        identifier, token = _token(kind)

        def make(tx: Tx) -> Key:
            expires = None if lifetime_sec is None else tx.now + lifetime_sec * 1_000_000
            owner = None if person is None else person.id
            key = Key(identifier, kind, name, scope, owner, tx.now, expires, None)
            _write(tx, key, token)
            _record(tx, key, by)
            return key

        return self._journal.commit(make), token

    def add_stopped(self, name: str, person: Person) -> tuple[Key, str]:
        """A person's key while the ledger is stopped for recovery, so that they can agree to what is lost.

        Its entry is owed: see `record_stopped`.

        Raises:
            InvalidInput: as `add`. Conflict: nothing is being recovered.
            NotFound: this person is not enrolled.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput("a key's name has 1 to 80 letters, digits, spaces or ._@-", path="$.name")
        identifier, token = _token(KeyKind.PERSON)

        def make(tx: Tx) -> Key:
            if person.id not in {each.id for each in people(tx)}:
                raise NotFound(f"Nobody called {person.name!r} is enrolled.")
            # That is after everything that the ledger has, also where the clock is behind, and not after the
            # entry that will be owed: so it is found then, and not again at another recovery.
            key = Key(identifier, KeyKind.PERSON, name, (), person.id, tx.now, None, None)
            _write(tx, key, token)
            return key

        return self._journal.recover(make), token

    def revoke(self, identifier: str, *, by: str) -> Key:
        """Make a key worthless at once.

        Raises:
            NotFound: no such key. Conflict: it is revoked already.
        """

        def end(tx: Tx) -> Key:
            row = tx.one(_ONE, id_=identifier)
            if row is None:
                raise NotFound(f"There is no key {identifier}.", fix="See `interlock keys list`.")
            key, digest = _read(tx, row)
            if key.revoked_at is not None:
                raise Conflict(f"The key {identifier} is revoked already.")
            ended = Key(
                key.id, key.kind, key.name, key.topics, key.person, key.added_at, key.expires_at, tx.now
            )
            tx.write(_REVOKE, id_=key.id, at_=tx.now, mac_=_mac(tx, ended, digest))
            tx.memo.pop(_memo(key.id), None)
            tx.append(Kind.KEY_REVOKED, key=key.id, by=by)
            return ended

        return self._journal.commit(end)

    def all(self) -> list[Key]:
        """Every key, revoked ones included, oldest first. Raises `Tampered`."""
        return self._journal.look(lambda tx: [_read(tx, row)[0] for row in tx.all(_ALL)])

    def sound(self) -> tuple[list[Key], list[str]]:
        """Every key as `all`, and the ids of those whose rows were changed from outside: nobody can use
        those."""

        def look(tx: Tx) -> tuple[list[Key], list[str]]:
            keys, spoilt = [], []
            for row in tx.all(_ALL):
                try:
                    keys.append(_read(tx, row)[0])
                except Tampered:
                    spoilt.append(str(row[1]))
            return keys, spoilt

        return self._journal.look(look)

    def authenticate(self, token: str) -> Caller:
        """The caller behind a token.

        Raises:
            Unauthenticated: malformed, unknown, expired or revoked; which one is not told.
        """
        found = _TOKEN.fullmatch(token)
        if found is None:
            raise _refused()
        identifier, hashed = f"key_{found[2]}", self._journal.vault.mac("token", token)

        def look(tx: Tx) -> Caller:
            row = tx.one(_ONE, id_=identifier)
            if row is None:
                raise _refused()
            key, digest = _read(tx, row)
            known = hmac.compare_digest(digest, hashed)
            if not known or not _live(tx, key) or key.kind.value != found[1]:
                raise _refused()
            if key.kind is KeyKind.PERSON:
                person = next((p for p in people(tx) if p.id == key.person), None)
                if person is None:
                    raise _refused()
                return Caller(key.kind, key.id, person=person.id, roles=person.roles)
            if key.kind is KeyKind.EXECUTOR:
                return Caller(key.kind, key.id, executor=key.name, topics=_scope(key))
            return _proposer(key, row[-1])

        try:
            caller = self._journal.look(look)
        except Unauthenticated:
            with self._lock:
                self._remembered.pop(hashed, None)
            raise
        if caller.proposes:
            with self._lock:
                self._remembered[hashed] = caller
                self._remembered.move_to_end(hashed)
                while len(self._remembered) > REMEMBERED:
                    self._remembered.popitem(last=False)
        return caller

    def standing_for(self, identifier: str) -> Caller:
        """The caller of an agent's or adapter's key, for trusted code that knows another way who asks.

        Raises:
            Unauthenticated: there is no such key, it is another's, or it has expired or is revoked.
        """

        def look(tx: Tx) -> Caller:
            row = tx.one(_ONE, id_=identifier)
            if row is None:
                raise _refused()
            key, _ = _read(tx, row)
            if key.kind not in (KeyKind.AGENT, KeyKind.ADAPTER) or not _live(tx, key):
                raise _refused()
            return _proposer(key, row[-1])

        return self._journal.look(look)

    def remembered(self, token: str) -> Caller | None:
        """The agent's caller that `authenticate` found behind a token before; it may be revoked since.

        Whoever goes by it asks `check_live` with the caller's mark in the transaction that acts, and answers
        nothing before (rule 2).
        """
        with self._lock:
            return self._remembered.get(self._journal.vault.mac("token", token))


def _live(tx: Tx, key: Key) -> bool:
    return key.revoked_at is None and (key.expires_at is None or tx.now < key.expires_at)


def _scope(key: Key) -> tuple[TopicPattern, ...]:
    return tuple(TopicPattern.parse(topic) for topic in key.topics)


def _proposer(key: Key, mark: bytes) -> Caller:
    return Caller(key.kind, key.id, agent=key.name, operator=key.person, topics=_scope(key), mark=mark)


def record_stopped(tx: Tx, since: int) -> None:
    """Record the keys that were made while the ledger was stopped. One whose row was changed from outside is
    passed over: nobody can use it.

    Args:
        since: when the ledger's newest entry was written before, in microseconds UTC.
    """
    for row in tx.all(_ALL):
        try:
            key, _ = _read(tx, row)
        except Tampered as error:
            _log.error("passed over: %s", error)
            continue
        if key.added_at > since:
            _record(tx, key, "recovery")


def _token(kind: KeyKind) -> tuple[str, str]:
    """A fresh key's id and the token that carries it."""
    identifier = new_id("key")
    return identifier, f"ilk_{kind.value}_{identifier[4:]}.{secrets.token_urlsafe(32)}"


def _write(tx: Tx, key: Key, token: str) -> None:
    digest = tx.vault.mac("token", token)
    tx.write(
        _ADD,
        id=key.id,
        kind=key.kind.value,
        name=key.name,
        topics=" ".join(key.topics),
        person=key.person,
        digest=digest,
        added_at=key.added_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        mac=_mac(tx, key, digest),
    )


def _record(tx: Tx, key: Key, by: str) -> None:
    tx.append(
        Kind.KEY_ADDED,
        key=key.id,
        key_kind=key.kind.value,
        topics=list(key.topics),
        person=key.person,
        by=by,
    )


def _read(tx: Tx, row: Row) -> tuple[Key, bytes]:
    _, identifier, kind, name, topics, person, digest, added, expires, revoked, mac = row
    tx.vault.check(mac, "key", *row[1:-1])
    key = Key(identifier, KeyKind(kind), name, tuple(topics.split()), person, added, expires, revoked)
    return key, digest


def _mac(tx: Tx, key: Key, digest: bytes) -> bytes:
    """The mark of a key's row: over its columns, in their order."""
    return tx.vault.mac(
        "key",
        key.id,
        key.kind.value,
        key.name,
        " ".join(key.topics),
        key.person,
        digest,
        key.added_at,
        key.expires_at,
        key.revoked_at,
    )


def _refused() -> Unauthenticated:
    return Unauthenticated("This key is missing, unknown, expired or revoked.")


def check_live(tx: Tx, key_id: str | None, mark: bytes | None = None) -> None:
    """A key that was revoked or has expired since it was recognised does nothing any more.

    Args:
        mark: of the row by which its caller was recognised; another row is another key.

    Raises:
        Unauthenticated: it is not valid now. Tampered: its row was changed, or is gone.
    """
    if key_id is None:
        return
    found: tuple[Key, bytes] | None = tx.memo.get(_memo(key_id))
    if found is None:
        row = tx.one(_ONE, id_=key_id)
        if row is None:
            raise Tampered(f"The key {key_id} is missing from the journal.")
        found = tx.memo[_memo(key_id)] = (_read(tx, row)[0], row[-1])
    key, current = found
    if key.revoked_at is not None or (key.expires_at is not None and tx.now >= key.expires_at):
        raise _refused()
    if mark is not None and mark != current:
        raise _refused()


def _memo(key_id: str) -> str:
    return f"key:{key_id}"


def check_person(tx: Tx, caller: Caller, *roles: Role) -> str:
    """The person's id, where the caller is a person who is enrolled now, with one of the roles now.

    Whoever was removed since the caller was recognised does nothing any more.

    Raises:
        Forbidden: an agent's key, or a person without the role. Unauthenticated: removed, or the key is not
            valid now. Tampered: a row was changed.
    """
    person = caller.check_role(*roles)
    check_live(tx, caller.key_id)
    for enrolled in people(tx):
        if enrolled.id == person:
            return replace(caller, roles=enrolled.roles).check_role(*roles)
    raise _refused()


def operator_of(tx: Tx, key_id: str | None) -> str | None:
    """The person who operates the agent behind a key, if one is named; None for no key.

    Raises:
        Tampered: the key's row was changed, or is gone; keys are revoked, never deleted.
    """
    if key_id is None:
        return None
    row = tx.one(_ONE, id_=key_id)
    if row is None:
        raise Tampered(f"The key {key_id} is missing from the journal.")
    return _read(tx, row)[0].person

"""People: enrolment, one-time links into the console, and console sessions."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import bindparam, select, update

from interlock.identity.callers import Caller, KeyKind, Role
from interlock.journal import Journal, Prepared, Row, Tx, insert_into
from interlock.journal import tables as t
from interlock.ledger import Kind
from interlock.model.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from interlock.model.ids import Prefix, new_id

LINK_US = 60 * 60 * 1_000_000
SESSION_US = 12 * 60 * 60 * 1_000_000

ALL_ROLES = frozenset({Role.REVIEWER, Role.OPERATOR, Role.POLICY_ADMIN, Role.AUDITOR})

_MEMO = "people"
_ADD_PERSON = insert_into(t.people)
_PEOPLE = Prepared(
    select(t.people)
    .where(t.people.c.namespace == bindparam("ns"))
    .order_by(t.people.c.added_at, t.people.c.id)
)
_PERSON = Prepared(
    select(t.people).where(t.people.c.namespace == bindparam("ns"), t.people.c.id == bindparam("id_"))
)
_REMOVE = Prepared(
    update(t.people)
    .where(t.people.c.namespace == bindparam("ns"), t.people.c.id == bindparam("id_"))
    .values(removed_at=bindparam("at_"), mac=bindparam("mac_"))
)
_ADD_LINK = insert_into(t.links)
_LINK = Prepared(
    select(t.links).where(t.links.c.namespace == bindparam("ns"), t.links.c.id == bindparam("id_"))
)
_REDEEM = Prepared(
    update(t.links)
    .where(t.links.c.namespace == bindparam("ns"), t.links.c.id == bindparam("id_"))
    .values(redeemed_at=bindparam("at_"), mac=bindparam("mac_"))
)
_ADD_SESSION = insert_into(t.console_sessions)
_SESSION = Prepared(
    select(t.console_sessions).where(
        t.console_sessions.c.namespace == bindparam("ns"), t.console_sessions.c.id == bindparam("id_")
    )
)
_END_SESSION = Prepared(
    update(t.console_sessions)
    .where(t.console_sessions.c.namespace == bindparam("ns"), t.console_sessions.c.id == bindparam("id_"))
    .values(ended_at=bindparam("at_"), mac=bindparam("mac_"))
)


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    name: str
    roles: frozenset[Role]

    @property
    def caller(self) -> Caller:
        return Caller(KeyKind.PERSON, person=self.id, roles=self.roles)


class Roster:
    """The enrolled people of one namespace."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def add(self, name: str, roles: Iterable[Role] = ALL_ROLES, *, by: str) -> Person:
        """Enrol a person; an entry.

        Args:
            name: how others see them, 1 to 80 characters, unique among the enrolled.
            by: who enrolled them, for the record.
        """
        person = Person(new_id("per"), _name(name), frozenset(roles))

        def enrol(tx: Tx) -> Person:
            if any(other.name == person.name for other in people(tx)):
                raise InvalidInput(f"somebody called {person.name!r} is already enrolled", path="$.name")
            _insert(tx, person, by)
            return person

        return self._journal.commit(enrol)

    def first(self, name: str, *, by: str) -> Person:
        """The only way in on a new installation: the first person, or the one who is there already."""
        newcomer = Person(new_id("per"), _name(name), ALL_ROLES)

        def enrol(tx: Tx) -> Person:
            enrolled = people(tx)
            if enrolled:
                return enrolled[0]
            _insert(tx, newcomer, by)
            return newcomer

        return self._journal.commit(enrol)

    def remove(self, name: str, *, by: str) -> Person:
        """Somebody leaves: their keys, links and sessions are worthless at once; an entry.

        Raises:
            NotFound: nobody enrolled has that name or id. Conflict: it is the last one.
        """

        def leave(tx: Tx) -> Person:
            enrolled = people(tx)
            person = _named(enrolled, name)
            if len(enrolled) == 1:
                raise Conflict(f"{person.name} is the last person enrolled; enrol another one first.")
            row = tx.one(_PERSON, id_=person.id)
            assert row is not None
            columns = (*row[1:5], tx.now)
            tx.memo.pop(_MEMO, None)
            tx.write(_REMOVE, id_=person.id, at_=tx.now, mac_=tx.vault.mac("person", *columns))
            tx.append(Kind.PERSON_REMOVED, person=person.id, by=by)
            return person

        return self._journal.commit(leave)

    def all(self) -> list[Person]:
        return self._journal.look(people)

    def named(self, name: str) -> Person:
        """Raises `NotFound` where nobody enrolled has that name or id."""
        return _named(self.all(), name)

    # --- one-time links and sessions ----------------------------------------------------------------------

    def issue_link(self, person: Person) -> str:
        """A token that signs its holder in once, within an hour. Shown once; stored as a keyed hash."""
        token, link = _token("lnk")

        def issue(tx: Tx) -> str:
            digest, expires = _digest(tx, token), tx.now + LINK_US
            tx.write(
                _ADD_LINK,
                id=link,
                person=person.id,
                digest=digest,
                expires_at=expires,
                redeemed_at=None,
                mac=tx.vault.mac("link", link, person.id, digest, expires, None),
            )
            tx.append(Kind.LINK_ISSUED, link=link, person=person.id)
            return token

        return self._journal.commit(issue)

    def redeem(self, token: str) -> tuple[str, Person]:
        """Exchange a link's token for a console session; returns the session's token and the person.

        Raises:
            Unauthenticated: unknown, used or expired; which one is not told.
        """
        link, session = _id_of(token, "lnk"), _token("web")

        def exchange(tx: Tx) -> tuple[str, Person]:
            row = tx.one(_LINK, id_=link) if link else None
            if row is None:
                raise _no_entry()
            _, _, person_id, digest, expires, redeemed, mac = row
            tx.vault.check(mac, "link", link, person_id, digest, expires, redeemed)
            fresh = redeemed is None and tx.now < expires
            if not hmac.compare_digest(digest, _digest(tx, token)) or not fresh:
                raise _no_entry()
            person = next((p for p in people(tx) if p.id == person_id), None)
            if person is None:
                raise _no_entry()
            tx.write(
                _REDEEM,
                id_=link,
                at_=tx.now,
                mac_=tx.vault.mac("link", link, person_id, digest, expires, tx.now),
            )
            secret, session_id = session
            until, hashed = tx.now + SESSION_US, _digest(tx, secret)
            tx.write(
                _ADD_SESSION,
                id=session_id,
                person=person_id,
                digest=hashed,
                expires_at=until,
                ended_at=None,
                mac=tx.vault.mac("session", session_id, person_id, hashed, until, None),
            )
            tx.append(Kind.LINK_REDEEMED, link=link, person=person_id)
            return secret, person

        return self._journal.commit(exchange)

    def signed_in(self, token: str) -> Person:
        """The person of a console session. Raises `Unauthenticated`."""

        def look(tx: Tx) -> Person:
            row = _session(tx, token)
            if row is None or row[5] is not None or tx.now >= row[4]:
                raise _no_entry()
            person = next((p for p in people(tx) if p.id == row[2]), None)
            if person is None:
                raise _no_entry()
            return person

        return self._journal.look(look)

    def proof(self, token: str) -> str:
        """What the page that signed in is told beside its cookie, and sends with every change.

        A browser sends a cookie to every port of a host, so another server on `localhost` may come to hold
        it; this it never sees.
        """
        return self._journal.vault.mac("page", token).hex()

    def sign_out(self, token: str) -> None:
        """End a session; unknown ones are already ended."""

        def end(tx: Tx) -> None:
            row = _session(tx, token)
            if row is not None and row[5] is None:
                mac = tx.vault.mac("session", row[1], row[2], row[3], row[4], tx.now)
                tx.write(_END_SESSION, id_=row[1], at_=tx.now, mac_=mac)

        self._journal.commit(end)


def people(tx: Tx) -> list[Person]:
    """Everybody enrolled, in order of enrolment; read once in each transaction. Raises `Tampered`."""
    known: tuple[Person, ...] | None = tx.memo.get(_MEMO)
    if known is None:
        found = []
        for _, person, name, roles, added, removed, mac in tx.all(_PEOPLE):
            tx.vault.check(mac, "person", person, name, roles, added, removed)  # before anything is believed
            if removed is None:
                found.append(Person(person, name, frozenset(Role(role) for role in roles.split())))
        known = tx.memo[_MEMO] = tuple(found)
    return list(known)


def _named(enrolled: list[Person], name: str) -> Person:
    for person in enrolled:
        if name in (person.name, person.id):
            return person
    raise NotFound(f"Nobody called {name!r} is enrolled.", fix="See `interlock keys list`.")


def _insert(tx: Tx, person: Person, by: str) -> None:
    roles = " ".join(sorted(person.roles))
    tx.memo.pop(_MEMO, None)
    tx.write(
        _ADD_PERSON,
        id=person.id,
        name=person.name,
        roles=roles,
        added_at=tx.now,
        removed_at=None,
        mac=tx.vault.mac("person", person.id, person.name, roles, tx.now, None),
    )
    tx.append(Kind.PERSON_ADDED, person=person.id, roles=roles.split(), by=by)


def _session(tx: Tx, token: str) -> Row | None:
    session = _id_of(token, "web")
    row = tx.one(_SESSION, id_=session) if session else None
    if row is None or not hmac.compare_digest(row[3], _digest(tx, token)):
        return None
    tx.vault.check(row[6], "session", row[1], row[2], row[3], row[4], row[5])
    return row


def _name(text: str) -> str:
    name = text.strip()
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise InvalidInput("a name has 1 to 80 printable characters", path="$.name")
    return name


def _token(prefix: Prefix) -> tuple[str, str]:
    """A fresh token and the id inside it."""
    identifier = new_id(prefix)
    return f"{identifier}.{secrets.token_urlsafe(32)}", identifier


def _id_of(token: str, prefix: str) -> str | None:
    identifier, dot, _ = token.partition(".")
    return identifier if dot and identifier.startswith(f"{prefix}_") and len(token) <= 128 else None


def _digest(tx: Tx, token: str) -> bytes:
    return tx.vault.mac("token", token)


def _no_entry() -> Unauthenticated:
    return Unauthenticated(
        "This link or session is not valid any more.",
        fix="Ask for a new one: `interlock keys link` on the server's machine.",
    )


def alone(tx: Tx) -> bool:
    """Whether exactly one person is enrolled, which `people: solo` needs. Raises `Tampered`."""
    return len(people(tx)) == 1

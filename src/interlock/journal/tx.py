"""One transition's view of the open transaction: read guards, write state, append entries, seal payloads.

1. Rows that are inserted or saved are kept back, and written with those of the batch's other members: each
   statement is one way to the database for all of its rows.
2. Nobody can tell but by counting: whatever else reads or writes a table is preceded by what was kept back,
   and so is the head row. A save that changed another number of rows than its own fails the transaction,
   and each member is then run by itself (`journal.py`, rule 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import bindparam, delete, func, select, text

from interlock.journal import tables
from interlock.journal.prepared import Prepared, Row, insert_into
from interlock.journal.subjects import SERIAL_BYTES, KeyNeeded, SubjectKey, serial_of
from interlock.ledger import Kind, entry
from interlock.model.canonical import Json
from interlock.model.errors import Conflict, Erased, Tampered

if TYPE_CHECKING:
    from interlock.journal.journal import Journal

T = TypeVar("T")


_PAYLOAD = Prepared(
    select(tables.payloads.c.sealed, tables.payloads.c.subject).where(
        tables.payloads.c.namespace == bindparam("ns"), tables.payloads.c.seq == bindparam("seq_")
    )
)


_LAST_PAYLOAD = Prepared(
    select(func.max(tables.payloads.c.seq)).where(
        tables.payloads.c.seq >= bindparam("first_"), tables.payloads.c.seq < bindparam("end_")
    )
)


_ENTRY = Prepared(
    select(tables.entries.c.body).where(
        tables.entries.c.namespace == bindparam("ns"), tables.entries.c.seq == bindparam("seq_")
    )
)


_p, _s, _e = tables.payloads.c, tables.subjects.c, tables.erasures.c
_SUBJECT = Prepared(
    select(_s.wrapped, _s.added_at).where(_s.namespace == bindparam("ns"), _s.id == bindparam("subject_"))
)
_ADD_SUBJECT = insert_into(tables.subjects)
_DROP_SUBJECT = Prepared(
    delete(tables.subjects).where(_s.namespace == bindparam("ns"), _s.id == bindparam("subject_"))
)
_ERASURE = Prepared(
    select(_e.at, _e.mac).where(
        _e.namespace == bindparam("ns"),
        _e.subject == bindparam("subject_"),
        _e.serial == bindparam("serial_"),
    )
)
_ADD_ERASURE = insert_into(tables.erasures)
_SEALED_WITH = Prepared(
    select(func.count())
    .select_from(tables.payloads)
    .where(
        _p.seq >= bindparam("first_"),
        _p.seq < bindparam("end_"),
        _p.namespace == bindparam("ns"),
        _p.subject == bindparam("subject_"),
        text(f"substr(sealed, 1, {SERIAL_BYTES}) = :serial_").bindparams(bindparam("serial_")),
    )
)


class Tx:
    """One transition's view of the open transaction.

    Attributes:
        now: the transaction's time in microseconds UTC; the same for all members of a batch.
        begun: when the ledger's epoch in force was opened; 0 for the first.
    """

    def __init__(self, journal: Journal, cursor: Any, size: int, sealed: int, now: int) -> None:
        self._journal = journal
        self._dialect = journal.database.dialect
        self._cursor = cursor
        self._first = size
        self._sealed = sealed
        self.namespace = journal.namespace
        self.verified = journal.verified
        self.vault = journal.vault
        self.clock = journal.clock
        self.now = now
        self.begun = journal.begun
        self.wrote = False
        self.enqueued = False
        """Whether something in this batch is for whoever carries out work (`Journal.on_work`)."""
        self.memo: dict[str, Any] = {}
        """What members of this batch read once and share; a writer of it drops its own item."""
        self.bodies: list[bytes] = []
        self.payloads: list[tuple[bytes, str | None]] = []
        """Sealed content, and the subject it is about."""
        self.batch: Sequence[Callable[[Tx], Any]] = ()
        """The transitions that share the transaction, and which of them is being run."""
        self.place = 0
        self._kept: dict[Prepared, list[Row]] = {}
        """What is kept back (rule 1): of one table never more than one statement."""
        self._saved: set[tuple[Prepared, Row]] = set()
        """Which rows that is about, where they were there before: of one row never more than one change."""
        self._handed: dict[int, tuple[Any, Any]] = {}
        self._wrapped: dict[str, Any] = {}

    @property
    def reading(self) -> bool:
        """Whether this transaction only reads, perhaps an older state than what was committed since."""
        return self._first < 0

    def one(self, statement: Prepared, **params: Any) -> Row | None:
        """The first row, or None."""
        self._run(statement, params)
        row: Row | None = self._cursor.fetchone()
        return row

    def all(self, statement: Prepared, **params: Any) -> list[Row]:
        self._run(statement, params)
        rows: list[Row] = self._cursor.fetchall()
        return rows

    def write(self, statement: Prepared, **params: Any) -> int:
        """Run an insert, update or delete; returns the number of rows it changed."""
        self._writing()
        self._run(statement, params)
        count: int = self._cursor.rowcount
        return count

    def _writing(self) -> None:
        if self._first < 0:
            raise TypeError("this transaction only reads")
        self.wrote = True

    def insert(self, statement: Prepared, row: Row) -> None:
        """Write an `insert_into` with a whole row, in the order of the table's columns (rule 1)."""
        self._keep(statement, row)

    def save(self, statement: Prepared, *key: Any, **params: Any) -> None:
        """Write an update that changes exactly one row; `key` tells it from the table's others (rule 1)."""
        if (statement, key) in self._saved:
            self.flush()
        self._keep(statement, statement.form(self._dialect).row(self._own(params)))
        self._saved.add((statement, key))

    def _keep(self, statement: Prepared, row: Row) -> None:
        self._writing()
        rows = self._kept.get(statement)
        if rows is None:
            self._settle(statement)
            rows = self._kept[statement] = []
        rows.append(row)

    def _settle(self, statement: Prepared) -> None:
        """Write what is kept back before a statement that could tell (rule 2)."""
        if self._kept and not all(statement.tables.isdisjoint(kept.tables) for kept in self._kept):
            self.flush()

    def flush(self) -> None:
        """Write what is kept back. Raises `Conflict` where a row is not there any more as it was read."""
        if not self._kept:
            return
        kept, self._kept = self._kept, {}
        self._saved.clear()
        try:
            if self._journal.database.write(list(kept.items())) != list(map(len, kept.values())):
                raise Conflict("A record changed while it was being written.")
        except BaseException:
            self.wrote = True  # it need not be the fault of whoever met it: the batch is run one by one
            raise

    def coming(self, kind: type[T]) -> Iterator[T]:
        """The transitions of a kind that are run directly after this one, in this transaction."""
        for each in islice(self.batch, self.place + 1, None):
            if not isinstance(each, kind):
                return
            yield each

    def _run(self, statement: Prepared, params: dict[str, Any]) -> None:
        self._settle(statement)
        statement.form(self._dialect).run(self._cursor, self._own(params))

    def _own(self, params: dict[str, Any]) -> dict[str, Any]:
        params["ns"] = params["namespace"] = self.namespace
        params["start"] = self._journal.start
        return params

    def append(self, kind: Kind, **fields: Json) -> int:
        """Append a ledger entry; returns its index."""
        self._writing()
        self.bodies.append(entry(kind, at=self.now, namespace=self.namespace, **fields))
        number = self._first + len(self.bodies) - 1
        for listener in self._journal.appended:
            listener(self, number, kind, fields)
        return number

    def entry(self, index: int) -> bytes | None:
        """The ledger's entry of that number, those of this transaction included; None where there is none."""
        if 0 <= self._first <= index < self._first + len(self.bodies):
            return self.bodies[index - self._first]
        found = self.one(_ENTRY, seq_=self._journal.start + index)
        return None if found is None else found[0]

    # --- payloads ----------------------------------------------------------------------------------------

    def seal(self, content: bytes, about: str | None) -> int:
        """Store a payload; returns its number, which the row that owns it keeps.

        Args:
            about: the name of the subject it is about; None for nobody.

        Raises:
            KeyNeeded: the subject's key is not at hand; the journal gets it and runs the transition again.
            Tampered: the subject's row was changed from outside, or the number would be another payload's.
        """
        return self._seal(content, None if about is None else self._named(about))

    def _seal(self, content: bytes, subject: str | None) -> int:
        if not self.payloads:
            self._check_next()
        self._writing()
        number = self._sealed + len(self.payloads)
        place = _place(self.namespace, number)
        if subject is None:
            self.payloads.append((self.vault.seal(place, content), None))
            return number
        try:
            key = self._key(subject) or self._new_key(subject)
        except Erased:
            raise Tampered(
                "The key of an erased subject was put back into the database.",
                fix="Start this process anew: opening the home erases the subject again.",
            ) from None
        self.payloads.append((key.seal(f"{place}:{subject}", content), subject))
        return number

    def _check_next(self) -> None:
        """Raises `Tampered` where the number that the head row names is not the one after the last payload's.

        The row has no mark. One that this process left itself, having asked before, is not asked about again.
        """
        if self._first < 0 or self._journal.counted == (self._first, self._sealed):
            return
        start = self._journal.start
        row = self.one(_LAST_PAYLOAD, first_=start, end_=start + tables.SPAN)
        expected = 0 if row is None or row[0] is None else row[0] - start + 1
        if expected != self._sealed:
            raise Tampered(
                f"The head row says that {self._sealed} payloads were sealed; there are {expected}.",
                fix="Somebody changed the database: put back what it held, or a backup of it.",
            )

    def seal_beside(self, content: bytes, number: int) -> int:
        """As `seal`, about whomever payload `number` is about; about nobody where that one was tampered with,
        since what has to be recorded now matters more."""
        try:
            self.unseal(number)
        except Erased:
            pass
        except Tampered:
            return self.seal(content, None)
        _, subject = self._payload(number)
        return self._seal(content, subject)

    def unseal(self, number: int) -> bytes:
        """The payload of that number.

        Raises:
            Erased: its subject was erased. Tampered: it is missing or does not open.
            KeyNeeded, KeysUnavailable: the subject's key is not at hand, or cannot be had.
        """
        sealed, subject = self._payload(number)
        place = _place(self.namespace, number)
        if subject is None:
            return self.vault.open(place, sealed)
        key = self._key(subject)
        serial = sealed[:SERIAL_BYTES]
        if key is not None and key.serial == serial:
            return key.open(f"{place}:{subject}", sealed)
        if self.erased(subject, serial):
            raise _gone()
        raise Tampered(f"The key of payload {number} is missing, and nobody erased its subject.")

    def hand(self, number: int, sealed: Any, subject: Any, wrapped: Any = None) -> None:
        """Payload `number`, and its subject's wrapped key, as a statement of this transaction read them from
        their tables: they need not be read again. A payload's row never changes. A key's may: it counts where
        this transaction only reads.
        """
        self._handed[number] = sealed, subject
        if wrapped is not None and self.reading:
            self._wrapped[subject] = wrapped

    def _payload(self, number: int) -> tuple[bytes, str | None]:
        """A payload as it is stored. Raises `Tampered` where it is missing."""
        if 0 <= self._sealed <= number < self._sealed + len(self.payloads):
            return self.payloads[number - self._sealed]
        found = self._handed.get(number) or self.one(_PAYLOAD, seq_=self._journal.start + number)
        if found is None or not isinstance(found[0], bytes):
            raise Tampered(f"Payload {number} is missing from the journal.")
        return found[0], found[1]

    # --- subjects ----------------------------------------------------------------------------------------

    def meet(self, about: str) -> None:
        """Before anything is written: see that sealing about this subject will not have to wait.

        Raises:
            KeyNeeded: it would; the journal gets the key and runs the transition again.
        """
        if not self._journal.subjects.remote:
            return
        subject = self._named(about)
        if self._key(subject) is None and not self._journal.subjects.at_hand(subject):
            raise KeyNeeded(subject, None)

    def subject(self, subject: str) -> tuple[bytes, int] | None:
        """Serial of a subject's key and when it was made, by the subject's id; None where it has none."""
        row = self.one(_SUBJECT, subject_=subject)
        return None if row is None else (serial_of(_bytes(row[0])), row[1])

    def wrapped(self, subject: str) -> bytes | None:
        """The subject's key as the database holds it."""
        row = self.one(_SUBJECT, subject_=subject)
        return None if row is None else _bytes(row[0])

    def sealed_with(self, subject: str, serial: bytes, since: int = 0) -> int:
        """How many payloads from number `since` on were sealed with that key."""
        first = self._journal.start
        row = self.one(
            _SEALED_WITH, first_=first + since, end_=first + tables.SPAN, subject_=subject, serial_=serial
        )
        return len(self.pending(subject)) + (0 if row is None else row[0])

    def pending(self, subject: str) -> list[int]:
        """Numbers of the payloads about a subject that this transaction holds and its tables do not yet."""
        return [self._sealed + n for n, (_, about) in enumerate(self.payloads) if about == subject]

    def destroy(self, subject: str, serial: bytes) -> None:
        """Delete a subject's key and mark it as erased."""
        self.write(_DROP_SUBJECT, subject_=subject)
        self.memo.pop(_memo(subject), None)
        if self.one(_ERASURE, subject_=subject, serial_=serial.hex()) is None:
            mac = self.vault.mac("erasure", self.namespace, subject, serial.hex(), self.now)
            self.insert(_ADD_ERASURE, (self.namespace, subject, serial.hex(), self.now, mac))

    def erased(self, subject: str, serial: bytes) -> bool:
        """Whether that key was destroyed on purpose. Raises `Tampered` where a mark of that is forged."""
        if self._journal.subjects.erased(subject, serial):
            return True
        row = self.one(_ERASURE, subject_=subject, serial_=serial.hex())
        if row is None:
            return False
        self.vault.check(row[1], "erasure", self.namespace, subject, serial.hex(), row[0])
        return True

    def _named(self, about: str) -> str:
        """The id of a subject."""
        memo = f"named:{about}"
        found: str | None = self.memo.get(memo)
        if found is None:
            found = self.memo[memo] = self.vault.subject(self.namespace, about)
        return found

    def _key(self, subject: str) -> SubjectKey | None:
        """The subject's key, read once in each transaction; None where it has none."""
        found: SubjectKey | None = self.memo.get(_memo(subject))
        if found is not None:
            return found
        handed = self._wrapped.get(subject)
        wrapped = self.wrapped(subject) if handed is None else _bytes(handed)
        subjects = self._journal.subjects
        if wrapped is None:
            subjects.drop(subject)
            return None
        serial, key = serial_of(wrapped), subjects.known(subject, wrapped)
        # Somebody may have put the row back. A key that is at hand was looked up in the table before.
        if subjects.erased(subject, serial) if key is not None else self.erased(subject, serial):
            raise _gone()
        if key is None:
            key = subjects.unwrap(self.namespace, subject, wrapped, wait=self._first < 0)
        self.memo[_memo(subject)] = key
        return key

    def _new_key(self, subject: str) -> SubjectKey:
        made = self._journal.subjects.make(self.namespace, subject, wait=False)
        self.insert(_ADD_SUBJECT, (self.namespace, subject, made.wrapped, self.now))
        self.memo[_memo(subject)] = made.key
        return made.key


def _bytes(wrapped: Any) -> bytes:
    """Raises `Tampered` where the cell of a key holds something else, as SQLite lets one be written."""
    if not isinstance(wrapped, bytes):
        raise Tampered("The key of a subject was changed from outside.")
    return wrapped


def _memo(subject: str) -> str:
    return f"subject:{subject}"


def _gone() -> Erased:
    return Erased("What was recorded about this subject was erased.")


def _place(namespace: str, number: int) -> str:
    """What a payload is bound to, so that it opens in no other place."""
    return f"payload:{namespace}:{number}"

"""Subjects' keys: what is about one person or organisation is sealed under a key of its own, so that
destroying that key erases all of it.

1. A subject is named by a keyed hash of its name. Its key is 32 random bytes, which stand in the database
   only wrapped by a key from outside of it (`KeyWrap`).
2. Wrapping binds namespace, subject, serial and the kind of wrapping: a wrapped key copied into another
   subject's row does not unwrap.
3. Each key has a random serial, and each payload says with which serial it was sealed. A subject that comes
   back after an erasure gets another key; what the destroyed one sealed stays closed.
4. A key counts only while its row is there: the row is read inside each transaction that seals or opens, so
   an erasure in another process is effective at once. What this process keeps is the unwrapping of bytes
   that it read, for at most `KEPT` subjects.
5. A service that wraps may be slow, so no write transaction waits for one: it ends with `KeyNeeded`, the key
   is made or unwrapped with no lock held, and the transaction is run again. A key made this way is used
   once.
6. Tasks of an event loop wait for a service in threads of their own, `AT_ONCE` of them, and only
   `OUTSTANDING` questions wait at a time; who asks beyond is told that keys cannot be had. So a service that
   answers slowly, and whoever names many new subjects, hold up nothing but new subjects.

Sources: NIST SP 800-38D (GCM); NIST SP 800-57 part 1, section 8.3.4 (destroying keys).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from interlock.journal.vault import KEY_BYTES, NONCE_BYTES, Vault
from interlock.model.errors import HomeUnusable, Tampered, Unavailable

SERIAL_BYTES = 8
KEPT = 10_000
AT_ONCE = 4
OUTSTANDING = 64
MAX_WRAPPED = 768
"""Bytes of a wrapped key. A row this small never leaves its page, so that deleting it deletes all of it."""


class KeysUnavailable(Unavailable):
    """Whatever wraps subjects' keys gives no answer; nothing was sealed or opened."""

    slug = "keys-unavailable"
    title = "The keys of subjects cannot be had"
    advice = "Ask again when the service that wraps them answers; nothing was recorded."


class KeyNeeded(KeysUnavailable):
    """A transaction met a subject whose key this process does not have; see rule 5.

    Attributes:
        wrapped: the row's content; None where the subject has no key.
    """

    def __init__(self, subject: str, wrapped: bytes | None) -> None:
        super().__init__("The key of a subject is not at hand.")
        self.subject = subject
        self.wrapped = wrapped


class KeyWrap(Protocol):
    """What wraps subjects' keys: a key file, a command, a key management service.

    Attributes:
        tag: one byte that says in each row which kind of wrapping it is.
        name: for messages.
        remote: whether a call may take long.
    """

    @property
    def tag(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def remote(self) -> bool: ...

    def wrap(self, key: bytes, aad: bytes) -> bytes:
        """The key, encrypted, with `aad` authenticated; at most `MAX_WRAPPED` bytes less a few.

        Raises:
            KeysUnavailable: there is no answer, or none that can be used.
        """
        ...

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        """What `wrap` was given.

        Raises:
            Tampered: these bytes were not wrapped with this `aad`, or by another key.
            KeysUnavailable: there is no answer, or none that can be used.
        """
        ...


class KeyFile:
    """Wraps under a 32-byte key of the keystore, with AES-256-GCM."""

    tag = 1
    name = "the keystore"
    remote = False

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def wrap(self, key: bytes, aad: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, key, aad)

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        try:
            return self._aead.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], aad)
        except (InvalidTag, ValueError) as error:
            raise Tampered(
                "The key of a subject does not unwrap: its row was changed, or this keystore is not the one"
                " it was made with."
            ) from error


class SubjectKey(NamedTuple):
    """One subject's key, ready for use."""

    serial: bytes
    aead: AESGCM

    def seal(self, row: str, content: bytes) -> bytes:
        """Serial, nonce and ciphertext of `content`, valid only for the row named `row`."""
        nonce = os.urandom(NONCE_BYTES)
        return self.serial + nonce + self.aead.encrypt(nonce, content, row.encode())

    def open(self, row: str, sealed: bytes) -> bytes:
        """Raises `Tampered` where the bytes were not sealed with this key for this row."""
        nonce, content = sealed[SERIAL_BYTES:][:NONCE_BYTES], sealed[SERIAL_BYTES + NONCE_BYTES :]
        try:
            return self.aead.decrypt(nonce, content, row.encode())
        except (InvalidTag, ValueError) as error:
            raise Tampered(f"The payload of {row} does not open with its subject's key.") from error


class Made(NamedTuple):
    """A key and what its row will hold."""

    wrapped: bytes
    key: SubjectKey


def serial_of(wrapped: bytes) -> bytes:
    """The serial of the key in a row."""
    return wrapped[1 : 1 + SERIAL_BYTES]


class Subjects:
    """Makes and unwraps subjects' keys for one journal. Thread-safe.

    Args:
        wrap: what wraps new keys.
        others: what else may have wrapped the keys that are there.
        erased: whether the key of that subject and serial was destroyed, as something outside the database
            remembers; such a key is not used even where a backup brought its row back.
    """

    def __init__(
        self,
        wrap: KeyWrap,
        *others: KeyWrap,
        erased: Callable[[str, bytes], bool] = lambda _subject, _serial: False,
    ) -> None:
        self._wrap = wrap
        self._wraps = {known.tag: known for known in (*others, wrap)}
        self.erased = erased
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Made] = OrderedDict()
        self._made: OrderedDict[str, Made] = OrderedDict()
        self._asking: dict[tuple[str, bytes | None], Future[None]] = {}
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="subject-keys")

    @classmethod
    def of(cls, vault: Vault) -> Subjects:
        """Keys wrapped under the keystore's own key."""
        return cls(KeyFile(vault.wrapping_key()))

    @property
    def remote(self) -> bool:
        """Whether making a key may take long."""
        return self._wrap.remote

    def known(self, subject: str, wrapped: bytes) -> SubjectKey | None:
        """The key in these bytes, if this process unwrapped them before."""
        with self._lock:
            kept = self._kept.get(subject)
            if kept is None:
                return None
            if kept.wrapped != wrapped:
                del self._kept[subject]  # it was erased, and has another key now
                return None
            self._kept.move_to_end(subject)
            return kept.key

    def unwrap(self, namespace: str, subject: str, wrapped: bytes, *, wait: bool) -> SubjectKey:
        """The key in a row.

        Args:
            wait: whether a service may be asked now.

        Raises:
            KeyNeeded: it would have to be asked. KeysUnavailable: it gave no answer.
            Tampered: the bytes are no key of this subject.
            HomeUnusable: what wrapped them is not configured here.
        """
        found = self.known(subject, wrapped)
        if found is not None:
            return found
        by = self._wraps.get(wrapped[0]) if len(wrapped) > 1 + SERIAL_BYTES else None
        if by is None:
            raise HomeUnusable(
                "The key of a subject was wrapped by something that is not configured here.",
                fix="Set INTERLOCK_KEY_WRAP as it was.",
            )
        if by.remote and not wait:
            raise KeyNeeded(subject, wrapped)
        serial, content = serial_of(wrapped), wrapped[1 + SERIAL_BYTES :]
        plain = by.unwrap(content, _aad(by, namespace, subject, serial))
        if len(plain) != KEY_BYTES:
            raise KeysUnavailable(f"What {by.name} unwrapped is not a key.")
        key = SubjectKey(serial, AESGCM(plain))
        self._keep(subject, Made(wrapped, key))
        return key

    def make(self, namespace: str, subject: str, *, wait: bool) -> Made:
        """A new key for a subject that has none: one that `provide` made, or one made now.

        Raises:
            KeyNeeded, KeysUnavailable: as for `unwrap`.
        """
        with self._lock:
            made = self._made.pop(subject, None)  # never twice: a destroyed key must not come back
        if made is None:
            if self._wrap.remote and not wait:
                raise KeyNeeded(subject, None)
            made = self._new(namespace, subject)
        self._keep(subject, made)
        return made

    def at_hand(self, subject: str) -> bool:
        """Whether `make` would not have to wait."""
        with self._lock:
            return not self._wrap.remote or subject in self._made

    def provide(self, namespace: str, needed: KeyNeeded) -> None:
        """Ask for what a transaction lacked. The caller holds no lock.

        Raises:
            KeysUnavailable, Tampered, HomeUnusable: as for `unwrap`.
        """
        if needed.wrapped is not None:
            self.unwrap(namespace, needed.subject, needed.wrapped, wait=True)
            return
        made = self._new(namespace, needed.subject)
        with self._lock:
            self._made[needed.subject] = made
            while len(self._made) > KEPT:
                self._made.popitem(last=False)

    async def provided(self, namespace: str, needed: KeyNeeded) -> None:
        """As `provide`, without blocking the event loop (rule 6). Tasks that lack the same key ask once.

        Raises:
            KeysUnavailable, Tampered, HomeUnusable: as for `provide`.
            KeysUnavailable: too many wait already.
        """
        wanted = (needed.subject, needed.wrapped)
        with self._lock:
            asked = self._asking.get(wanted)
            if asked is None:
                if len(self._asking) >= OUTSTANDING:
                    raise KeysUnavailable(
                        f"{OUTSTANDING} questions wait for {self._wrap.name}; this one was not asked."
                    )
                try:
                    asked = self._pool.submit(self.provide, namespace, needed)
                except RuntimeError:
                    raise KeysUnavailable("The journal is closing.") from None
                self._asking[wanted] = asked
                asked.add_done_callback(lambda _: self._asking.pop(wanted, None))
        # A task that gives up must not cancel what others wait for.
        await asyncio.shield(asyncio.wrap_future(asked))

    def drop(self, subject: str) -> None:
        """Let go of a subject's key, whose row is not there any more."""
        with self._lock:
            self._kept.pop(subject, None)

    def close(self) -> None:
        """Give up what waits for a service; what was asked already may still be answered."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _new(self, namespace: str, subject: str) -> Made:
        serial, plain = os.urandom(SERIAL_BYTES), os.urandom(KEY_BYTES)
        content = self._wrap.wrap(plain, _aad(self._wrap, namespace, subject, serial))
        wrapped = bytes([self._wrap.tag]) + serial + content
        if len(wrapped) > MAX_WRAPPED or not content:
            raise KeysUnavailable(f"What {self._wrap.name} wrapped has {len(content)} bytes.")
        return Made(wrapped, SubjectKey(serial, AESGCM(plain)))

    def _keep(self, subject: str, made: Made) -> None:
        with self._lock:
            self._kept[subject] = made
            self._kept.move_to_end(subject)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)


def _aad(by: KeyWrap, namespace: str, subject: str, serial: bytes) -> bytes:
    """What a wrapped key is bound to (rule 2); JSON of such a list is injective."""
    return orjson.dumps(("interlock/subject-key/v1", by.tag, namespace, subject, serial.hex()))

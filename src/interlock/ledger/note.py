"""Signed notes and checkpoints: the few lines that commit to the whole ledger.

1. A checkpoint is three lines: origin (which log), size (how many entries, decimal), root (base64 of the
   tree's hash). Whoever holds one can tell later whether the log they are shown still begins the same way.
2. It is signed as a C2SP signed note: the text, an empty line, then ``— <name> <base64(key id ‖ signature)>``
   with Ed25519 over the text, including its last newline.
3. The verifier key ``<name>+<key id in hex>+<base64(0x01 ‖ public key)>`` is what an auditor keeps. The key
   id is the first four bytes of ``SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)``: a label, not a protection.
4. The signer's name and the checkpoint's origin are the same word; the verifier insists on it, so that one
   log's checkpoint cannot stand in for another's.

Source: c2sp.org/signed-note, c2sp.org/tlog-checkpoint; RFC 8032.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from interlock.ledger.merkle import HASH_BYTES

NOTE = b"\x01"
"""The byte of Ed25519 over a note's text, in keys."""


class Signer:
    """Signs notes under one name with one Ed25519 key.

    Args:
        name: by convention a URL without its scheme. Printable, without spaces and without ``+``.

    Raises:
        ValueError: the name is not acceptable in a note.
    """

    __slots__ = ("_id", "_key", "_public", "name")

    def __init__(self, name: str, private_key: Ed25519PrivateKey) -> None:
        self.name = checked_name(name)
        self._key = private_key
        self._public = NOTE + private_key.public_key().public_bytes_raw()
        self._id = sha256(name.encode() + b"\n" + self._public).digest()[:4]

    @property
    def vkey(self) -> str:
        """The verifier key, the text an auditor keeps; holds nothing secret."""
        return f"{self.name}+{self._id.hex()}+{b64encode(self._public).decode()}"

    def sign(self, text: str) -> str:
        """The note: `text`, an empty line, and this key's signature line.

        Raises:
            ValueError: the text does not end with a newline, or holds another control character.
        """
        if not text.endswith("\n"):
            raise ValueError("the text of a note ends with a newline")
        if any(letter < " " and letter != "\n" for letter in text):
            raise ValueError("the text of a note holds no control character but the newline")
        signature = self._id + self._key.sign(text.encode())
        return f"{text}\n\N{EM DASH} {self.name} {b64encode(signature).decode()}\n"


def signed_by(note: str, vkey: str) -> bool:
    """Whether a note carries a valid signature of this key, and none that is falsely in its name.

    Args:
        vkey: the verifier key of a log.
    """
    text, _, lines = note.rpartition("\n\n")
    name, _, rest = vkey.partition("+")
    label, _, encoded = rest.partition("+")
    try:
        data = b64decode(encoded, validate=True)
        key = Ed25519PublicKey.from_public_bytes(data[1:])
    except ValueError:
        return False
    if data[:1] != NOTE or sha256(name.encode() + b"\n" + data).digest()[:4].hex() != label:
        return False
    prefix, found = f"\N{EM DASH} {name} ", False
    for line in lines.split("\n"):
        try:
            signature = b64decode(line.removeprefix(prefix), validate=True)
        except ValueError:
            continue
        if not line.startswith(prefix) or signature[:4].hex() != label:
            continue
        try:
            key.verify(signature[4:], f"{text}\n".encode())
        except InvalidSignature:
            return False
        found = True
    return found


def checkpoint(origin: str, size: int, root: bytes) -> str:
    """The text of a checkpoint, unsigned.

    Args:
        origin: the log's name, the same as its signer's.
        size: number of entries.
        root: the tree's 32-byte hash at that size.

    Raises:
        ValueError: one of them is not acceptable.
    """
    if size < 0:
        raise ValueError("a tree has no negative size")
    if len(root) != HASH_BYTES:
        raise ValueError(f"a root has {HASH_BYTES} bytes, not {len(root)}")
    return f"{checked_name(origin)}\n{size}\n{b64encode(root).decode()}\n"


def checked_name(name: str) -> str:
    """The name of a log or a witness, as it is. Raises `ValueError` where no note could carry it."""
    if not name or "+" in name or not name.isprintable() or any(letter.isspace() for letter in name):
        raise ValueError("a name in a note is printable, without spaces and without '+'")
    return name

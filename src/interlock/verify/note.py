"""Reading signed notes, verifier keys and checkpoints, strictly.

1. A note is UTF-8 without control characters other than the newline: text, an empty line, signature lines
   ``— <name> <base64(4-byte key id ‖ signature)>``. The last empty line separates the two.
2. Signatures of other keys (witnesses, a new key) are ignored. A signature that names our key must verify,
   and there must be at least one.
3. One value has one spelling: base64 is refused unless encoding it again gives the same text, hexadecimal is
   lower case, sizes have no leading zero.
4. A checkpoint's origin is the name of the key that signed it.

Source: c2sp.org/signed-note, c2sp.org/tlog-checkpoint; RFC 4648, RFC 8032.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_ED25519 = 1
_MAX_SIGNATURES = 100
_MAX_SIZE = 2**63 - 1
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)
_DASH = "\N{EM DASH} "


class BadNote(ValueError):
    """Not a note, a key or a checkpoint, or not signed as it has to be. The message is a sentence."""


class UnknownAlgorithm(ValueError):
    """A key of a kind this verifier does not know."""


@dataclass(frozen=True, slots=True)
class Key:
    """A verifier key: who may sign the log's checkpoints."""

    name: str
    id: bytes
    public: Ed25519PublicKey

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read ``<name>+<key id>+<base64>``; one newline at the end is allowed.

        Raises:
            BadNote: it is not a verifier key. UnknownAlgorithm: it is one, but not for Ed25519.
        """
        name, key_id, data = split_vkey(text.removesuffix("\n"))
        if data[:1] != bytes([_ED25519]):
            raise UnknownAlgorithm("the verifier key is of an algorithm that is not known here")
        if len(data) != 33:
            raise BadNote("an Ed25519 key has 32 bytes")
        return cls(name, key_id, Ed25519PublicKey.from_public_bytes(data[1:]))

    @property
    def vkey(self) -> str:
        """The verifier key as text."""
        data = bytes([_ED25519]) + self.public.public_bytes_raw()
        return f"{self.name}+{self.id.hex()}+{b64encode(data).decode()}"

    @property
    def told(self) -> str:
        """The name and the key id, for a sentence."""
        return f"{self.name}+{self.id.hex()}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Which log, how many entries, and the 32-byte hash of the tree over them."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text and what stands below it: (name, key id, signature), none of it verified yet."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    def parse(cls, raw: bytes) -> Note:
        """Raises `BadNote` where the bytes are not a signed note."""
        try:
            whole = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise BadNote("it is not UTF-8") from None
        if any(letter < " " and letter != "\n" for letter in whole):
            raise BadNote("it holds a control character")
        split = whole.rfind("\n\n")
        if split < 0 or not whole.endswith("\n"):
            raise BadNote("it is not a signed note: text, an empty line, signature lines")
        lines = whole[split + 2 : -1].split("\n")
        if len(lines) > _MAX_SIGNATURES:
            raise BadNote(f"it has more than {_MAX_SIGNATURES} signatures")
        return cls(whole[: split + 1], tuple(_signature(line) for line in lines))

    def names(self, key: Key) -> bool:
        """Whether a signature is given in the name of this key; it may be false."""
        return any((name, key_id) == (key.name, key.id) for name, key_id, _ in self.signatures)

    def check_signed_by(self, key: Key) -> None:
        """Raises `BadNote` unless the key signed this text and nothing false is signed in its name."""
        ours = [sig for name, key_id, sig in self.signatures if (name, key_id) == (key.name, key.id)]
        if not ours:
            raise BadNote(f"it is not signed by the key {key.told}")
        for signature in ours:
            try:
                key.public.verify(signature, self.text.encode())
            except InvalidSignature:
                raise BadNote(f"the signature of {key.told} does not verify") from None

    def checkpoint(self) -> Checkpoint:
        """The text read as a checkpoint. Raises `BadNote` where it is none."""
        lines = self.text[:-1].split("\n")
        if len(lines) < 3 or not all(lines):
            raise BadNote("a checkpoint has an origin, a size and a root, one line each")
        origin, size, root = lines[:3]
        if not _SIZE.fullmatch(size) or int(size) > _MAX_SIZE:
            raise BadNote("the size is not a plain decimal number")
        decoded = _base64(root, "the root")
        if len(decoded) != 32:
            raise BadNote("the root does not have 32 bytes")
        return Checkpoint(origin, int(size), decoded)


def split_vkey(text: str) -> tuple[str, bytes, bytes]:
    """The name, the key id, and the algorithm's byte with the key, of a verifier key of any algorithm.

    Raises:
        BadNote: it is not a verifier key, or its id is not that of its name and key.
    """
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    if not _is_name(name) or not name.isprintable() or not _KEY_ID.fullmatch(key_id):
        raise BadNote("a verifier key reads <name>+<8 hex digits>+<base64>")
    data = _base64(encoded, "the verifier key")
    if sha256(name.encode() + b"\n" + data).digest()[:4].hex() != key_id:
        raise BadNote("the verifier key's id does not belong to its name and key")
    return name, bytes.fromhex(key_id), data


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not _is_name(name):
        raise BadNote("a signature line reads — <name> <base64>")
    data = _base64(encoded, "a signature")
    if len(data) < 5:
        raise BadNote("a signature is too short")
    return name, data[:4], data[4:]


def _is_name(name: str) -> bool:
    return name != "" and "+" not in name and not any(letter.isspace() for letter in name)


def _base64(text: str, what: str) -> bytes:
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        raise BadNote(f"{what} is not base64") from None
    if b64encode(data).decode() != text:
        raise BadNote(f"{what} is not base64 as it has to be written")
    return data

"""What is sealed about an action after it was proposed: outcomes, and the notes of people.

1. A kept text is sealed behind 32 random bytes. The hash of both is its commitment: it stands in the marked
   row that owns the text and, of an outcome or a reconciliation, in the ledger.
2. What opens under the row's number is compared with the row's commitment: a sealed payload says where it
   was put, and not for whom, so that another text about the same subject would open there as well.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from typing import Any, NamedTuple

from interlock.gate.records import ActionRow
from interlock.journal import Tx
from interlock.model.errors import Tampered

SALT_BYTES = 32
_DOMAIN = b"interlock/output/v1\0"


class Kept(NamedTuple):
    """The number of a sealed text, and the commitment to it in hexadecimal."""

    number: int
    commitment: str


def keep(tx: Tx, content: bytes, row: ActionRow, about: str | None = None) -> Kept:
    """Seal a text about an action.

    Args:
        content: canonical JSON of an object.
        about: the name of the action's subject. None takes it from what was sealed about the action, also
            where that was erased or changed from outside.
    """
    salted = os.urandom(SALT_BYTES) + content
    number = tx.seal_beside(salted, row.payload) if about is None else tx.seal(salted, about)
    return Kept(number, commitment(salted))


def kept(tx: Tx, number: int, expected: str | None) -> dict[str, Any]:
    """The object that was kept under a number.

    Raises:
        Tampered: it is another one than was kept, or missing. Erased: its subject was erased.
    """
    salted = tx.unseal(number)
    if expected is None or not hmac.compare_digest(commitment(salted).encode(), expected.encode()):
        raise Tampered(f"What payload {number} holds is not what was recorded there.")
    value: dict[str, Any] = json.loads(salted[SALT_BYTES:])
    return value


def commitment(salted: bytes) -> str:
    """The hash under which a text appears in its row and in the ledger."""
    return hashlib.sha256(_DOMAIN + salted).hexdigest()

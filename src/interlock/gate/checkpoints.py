"""Checkpoints: what an agent needs to go on after somebody has decided, kept for it and for nobody else.

1. A checkpoint is opaque bytes, at most `MAX_BYTES`, given with a proposal. Nothing here, and nobody who
   reviews, looks into it; it is no part of the action, of its hash, or of what identifies a request.
2. It is sealed under the action's subject, as the arguments are, and goes when the subject is erased. Its
   commitment stands in a marked row beside the action: what opens is what this very proposal brought.
3. The first proposal's checkpoint stays. A repetition gets the first answer, and its own is not kept: an
   agent that goes on twice from two states could do what neither was approved for.
4. It is handed to the agent that proposed, by name and within its topics, in each state of the action and as
   often as it asks: whoever resumes may crash as well. People, executors and other agents get none. What a
   person asked for, to take its action back, has none.
5. It appears in no view, no package, no entry, no log and no export.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import bindparam, select

from interlock.gate.kept import SALT_BYTES, commitment
from interlock.gate.records import load_action
from interlock.gate.undoing import owns
from interlock.identity import Caller, KeyKind
from interlock.identity.keyring import check_live
from interlock.journal import Prepared, Tx, insert_into
from interlock.journal import tables as t
from interlock.model.errors import Forbidden, NotFound, Tampered, TooLarge
from interlock.model.text import visible

MAX_BYTES = 1 << 20

_c = t.checkpoints.c
_ADD = insert_into(t.checkpoints)
_FIND = Prepared(
    select(t.checkpoints).where(_c.namespace == bindparam("ns"), _c.action_id == bindparam("action_"))
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a resuming agent is told. `content` is None where its proposal brought no checkpoint."""

    action_id: str
    state: str
    content: bytes | None = field(repr=False)


class _Row(NamedTuple):
    namespace: str
    action_id: str
    payload: int
    hash: str
    mac: bytes = b""


def check_size(content: bytes | None) -> None:
    """Raises `TooLarge` for a checkpoint of more than `MAX_BYTES`."""
    if content is not None and len(content) > MAX_BYTES:
        raise TooLarge(
            f"{len(content)} bytes; a checkpoint has at most {MAX_BYTES}",
            path="$.checkpoint",
            fix="Keep the agent's state elsewhere, and a reference to it in the checkpoint.",
        )


def keep(tx: Tx, action_id: str, content: bytes, about: str) -> None:
    """Seal the checkpoint of an action that is being proposed.

    Args:
        about: the name of the action's subject.
    """
    salted = os.urandom(SALT_BYTES) + content
    row = _Row(tx.namespace, action_id, tx.seal(salted, about), commitment(salted))
    tx.insert(_ADD, row._replace(mac=tx.vault.mac("checkpoint", *row[:-1])))


def handed(tx: Tx, action_id: str, caller: Caller) -> Checkpoint:
    """The checkpoint of an action, for the agent that proposed it.

    Raises:
        Forbidden: a person asks. NotFound: there is no such action, or it is another agent's.
        Erased: the action's subject was erased. Tampered: it is not what the proposal brought.
    """
    if caller.kind is KeyKind.PERSON:
        raise Forbidden("A checkpoint is handed to the agent that proposed the action, and to nobody else.")
    check_live(tx, caller.key_id)
    row = load_action(tx, action_id)
    if not owns(tx, caller, row):
        raise NotFound(f"There is no action {visible(action_id, 64)}.")
    found = tx.one(_FIND, action_=row.id)
    if found is None:
        return Checkpoint(row.id, row.state, None)
    kept = _Row(*found)
    tx.vault.check(kept.mac, "checkpoint", *kept[:-1])
    salted = tx.unseal(kept.payload)
    if commitment(salted) != kept.hash:
        raise Tampered(f"The checkpoint of {row.id} is not what its proposal brought.")
    return Checkpoint(row.id, row.state, salted[SALT_BYTES:])

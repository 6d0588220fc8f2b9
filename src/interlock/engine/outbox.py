"""The outbox: segments that were committed, and not yet taken over by whatever carries them.

1. `enqueue` is one insert into the journal's own transaction. It loads no engine and needs none to run: a
   process that only decides leaves a row, and whoever serves takes it over within a tenth of a second.
2. Each call is a segment of its own, under an id never used before. Enqueuing twice delivers twice; the claim
   makes it once. An id derived from the action would swallow the second delivery of what was refused and may
   run now.
3. Ids are checked here and again when a delivery comes back: names and values of a few safe characters. No
   personal text fits into them by accident, and none can be smuggled past the sealed payloads.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from interlock.engine.port import Ids
from interlock.journal import Tx, insert_into, tables
from interlock.model.errors import InvalidInput

NAME = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_VALUE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,254}", re.ASCII)
MOST_IDS = 8

_ADD = insert_into(tables.segments)


def enqueue(tx: Tx, segment: str, ids: Ids) -> str:
    """Enqueue a segment in the journal's open transaction.

    Args:
        segment: the name of its kind.
        ids: at most `MOST_IDS` ids by name; numbers are written in decimal.

    Returns:
        The segment's id.

    Raises:
        InvalidInput: the name or an id is none.
    """
    if NAME.fullmatch(segment) is None:
        raise InvalidInput("a segment's name is lower case letters, digits and dashes", path="$.segment")
    check_ids(ids)
    # The time first, so that rows are appended and taken over in their order.
    id = f"seg_{tx.now:014x}{os.urandom(9).hex()}"
    tx.insert(_ADD, (tx.namespace, id, segment, written(ids), tx.now))
    tx.enqueued = True
    return id


def check_ids(ids: Any) -> Ids:
    """The ids unchanged. Raises `InvalidInput` where they are not what `enqueue` takes."""
    if not isinstance(ids, Mapping) or len(ids) > MOST_IDS:
        raise InvalidInput(f"a segment carries at most {MOST_IDS} ids by name", path="$.ids")
    for key, value in ids.items():
        if not isinstance(key, str) or _KEY.fullmatch(key) is None:
            raise InvalidInput("an id's name is lower case letters, digits and _", path="$.ids")
        if not isinstance(value, str) or _VALUE.fullmatch(value) is None:
            raise InvalidInput("an id is letters, digits and _ . : - only", path=f"$.ids.{key}")
    return ids


def written(ids: Ids) -> str:
    """Ids as a row carries them."""
    return json.dumps(dict(ids), sort_keys=True, separators=(",", ":"))

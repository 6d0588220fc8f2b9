"""The inputs document: everything a verdict was decided from, as it is recorded, committed to and replayed.

1. One JSON object: ``v`` (1), ``topic``, ``args`` (canonical), ``tags`` (those of the trusted registration,
   sorted; null where nobody knows them), and beside these only what was not at rest: ``signals`` (the members
   that differ from the baseline; fractional ones as text), ``level``, ``facts``, ``provenance``, ``stopped``.
2. The ledger carries its commitment, ``SHA-256("interlock/inputs/v1\\0" ‖ nonce32 ‖ JCS)``, with the nonce
   that is hashed into the action hash: whoever is shown document and nonce can check both, nobody else can
   guess either.
3. Reading is strict. An unknown version, member or type is an error, because a verdict that ignores an input
   is another verdict.

>>> from interlock.policy import Question
>>> document_of(Question("files.read", {"path": "/etc/hosts"}))
{'v': 1, 'topic': 'files.read', 'args': {'path': '/etc/hosts'}, 'tags': []}
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from interlock.model.actions import Signals
from interlock.model.binding import NONCE_BYTES
from interlock.model.canonical import Json, canonical
from interlock.model.errors import InvalidInput
from interlock.policy.decide import Question
from interlock.policy.rules import BASELINE

VERSION = 1
_INPUTS = b"interlock/inputs/v1\0"
_AT_REST = BASELINE.to_json()
_ALWAYS = frozenset({"v", "topic", "args", "tags"})
_MEMBERS = _ALWAYS | {"signals", "level", "facts", "provenance", "stopped"}


def document_of(question: Question) -> dict[str, Json]:
    """The inputs document of a question about a real action.

    Raises:
        ValueError: the question assumes a tier, which nothing that happens does.
    """
    if question.tier is not None:
        raise ValueError("an assumed tier is no input of a real action")
    document: dict[str, Json] = {
        "v": VERSION,
        "topic": question.topic,
        "args": question.args,
        "tags": None if question.tags is None else sorted(question.tags),
    }
    if question.signals is not BASELINE and question.signals != BASELINE:
        said = question.signals.to_json()
        document["signals"] = {name: value for name, value in said.items() if value != _AT_REST[name]}
    if question.level is not None:
        document["level"] = question.level
    if question.facts:
        document["facts"] = dict(question.facts)
    if question.provenance:
        document["provenance"] = dict(question.provenance)
    if question.stopped is not None:
        document["stopped"] = question.stopped
    return document


def commitment(nonce: bytes, document: Mapping[str, Json]) -> str:
    """What the ledger says about an inputs document: hex SHA-256.

    Args:
        nonce: the 32 random bytes that are hashed into the action hash.

    Raises:
        InvalidInput: (or a subclass) JSON cannot carry the document.
    """
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"the nonce has {NONCE_BYTES} bytes")
    return hashlib.sha256(_INPUTS + nonce + canonical(document)).hexdigest()


def question_of(document: Mapping[str, Any]) -> Question:
    """The question that a recorded document asks again.

    Raises:
        InvalidInput: it is of another version, or holds what this version does not know (rule 3).
    """
    if document.get("v") != VERSION or type(document["v"]) is not int:
        raise InvalidInput(f"not an inputs document of version {VERSION}", path="$.v")
    for name in document.keys() - _MEMBERS:
        raise InvalidInput("no member of an inputs document", path=f"$.{name}")
    for name in _ALWAYS - document.keys():
        raise InvalidInput("it is missing", path=f"$.{name}")
    tags = document["tags"]
    return Question(
        topic=_typed(document["topic"], str, "$.topic"),
        args=_typed(document["args"], dict, "$.args"),
        signals=_signals(document["signals"]) if "signals" in document else BASELINE,
        tags=None if tags is None else frozenset(_texts(tags, "$.tags")),
        level=_typed(document["level"], int, "$.level") if "level" in document else None,
        facts=_typed(document.get("facts", {}), dict, "$.facts"),
        provenance=_named_texts(document.get("provenance", {}), "$.provenance"),
        stopped=_typed(document["stopped"], str, "$.stopped") if "stopped" in document else None,
    )


def _typed(value: Any, kind: type, path: str) -> Any:
    if type(value) is not kind:
        raise InvalidInput(f"it is not {_NAMES[kind]}", path=path)
    return value


_NAMES = {str: "a text", int: "an integer", bool: "true or false", dict: "an object", list: "a list"}


def _texts(value: Any, path: str) -> list[str]:
    return [_typed(item, str, path) for item in _typed(value, list, path)]


def _named_texts(value: Any, path: str) -> dict[str, str]:
    return {name: _typed(item, str, path) for name, item in _typed(value, dict, path).items()}


def _signals(value: Any) -> Signals:
    said = _typed(value, dict, "$.signals")
    read: dict[str, Any] = {}
    for name, item in said.items():
        reading = _SIGNALS.get(name)
        if reading is None:
            raise InvalidInput("no signal of this version", path=f"$.signals.{name}")
        read[name] = reading(item, f"$.signals.{name}")
    return Signals(**read)


def _decimal(value: Any, path: str) -> Decimal:
    try:
        number = Decimal(_typed(value, str, path))
    except InvalidOperation:
        raise InvalidInput("it is not a number", path=path) from None
    if not number.is_finite():
        raise InvalidInput("it is not a finite number", path=path)
    return number


def _integer(value: Any, path: str) -> int:
    return int(_typed(value, int, path))


def _flag(value: Any, path: str) -> bool:
    return bool(_typed(value, bool, path))


def _text(value: Any, path: str) -> str:
    return str(_typed(value, str, path))


_SIGNALS: Mapping[str, Callable[[Any, str], Any]] = {
    "confidence": _decimal,
    "retry_count": _integer,
    "anomaly_score": _decimal,
    "affected_users": _integer,
    "first_time_action": _flag,
    "first_time_recipient": _flag,
    "sentiment": _decimal,
    "injection_score": _decimal,
    "deadline_sec": _integer,
    "duplicate_of": _text,
}
"""How each member of ``signals`` is read; a signal that is not here cannot be replayed."""

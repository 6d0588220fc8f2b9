"""Comparing: what a line of recorded inputs is worth, and whether an entry says what a verdict is.

1. Binding and inputs are compared with the entry by their hashes, and with each other and the entry's plain
   fields by their canonical forms: ``true`` is not ``1``.
2. A verdict is compared field by field, to name what differs, and then by its digest, which covers all.
3. Without inputs, what an entry says has to be something that the policy can say about the topic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from interlock.model.binding import action_hash, verdict_digest
from interlock.model.canonical import canonical
from interlock.model.errors import InvalidInput
from interlock.model.verdicts import Decision, Verdict
from interlock.policy import commitment
from interlock.replay.export import Forged, Line, Missing
from interlock.replay.kernels import Ruling
from interlock.verify.report import shown

_PERMITS = frozenset({Decision.ALLOW, Decision.ALLOW_WITH_CONSTRAINTS})
_DECISIONS = frozenset(Decision)
_SHARED = ("namespace", "topic", "agent", "revision", "executor")


def inputs_of(line: Line, entry: Mapping[str, Any], bound: object) -> Mapping[str, Any]:
    """The inputs document of a line, once everything agrees.

    Args:
        bound: the action hash of the revision.

    Raises:
        Forged: something does not agree. Missing: the binding is of another version.
    """
    binding, inputs, nonce = (line.value.get(name) for name in ("binding", "inputs", "nonce"))
    if not (isinstance(binding, dict) and isinstance(inputs, dict) and isinstance(nonce, str)):
        raise Forged("its recorded inputs lack the binding, the inputs or the nonce")
    try:
        salt = bytes.fromhex(nonce)
        hashed, committed = action_hash(salt, canonical(binding)), commitment(salt, inputs)
    except (ValueError, InvalidInput):
        raise Forged("its recorded inputs cannot be hashed") from None
    if hashed != bound:
        raise Forged("the recorded binding does not hash to the action hash")
    if committed != entry["inputs"]:
        raise Forged("the recorded inputs do not hash to the commitment")
    if binding.get("v") != 1:
        raise Missing("its binding is of a version that is not known here")
    for name in _SHARED:
        told = binding.get(name)
        if name == "executor" and isinstance(told, dict):
            told = told.get("kind")
        if name in entry and not _same(entry[name], told):
            raise Forged(f"the entry and what was bound differ in `{name}`")
    for name in ("topic", "args"):
        if not _same(inputs.get(name), binding.get(name)):
            raise Forged(f"it was decided on another `{name}` than was bound")
    return inputs


def _same(one: Any, other: Any) -> bool:
    if type(one) is type(other) and type(one) in (str, int):
        return bool(one == other)
    # Equal bytes are equal values; only where they differ may the same number have two spellings.
    return orjson.dumps(one) == orjson.dumps(other) or canonical(one) == canonical(other)


def compare(entry: Mapping[str, Any], verdict: Verdict) -> None:
    """Raises `Forged` unless the entry says of the verdict what it is."""
    _compare(entry, {**_told(verdict), "owner": verdict.owner})
    if entry.get("verdict") != verdict_digest(verdict):
        raise Forged("decided anew, its limits, lane or reason are others: the digest of the verdict differs")


def compare_held(entry: Mapping[str, Any], verdict: Verdict) -> None:
    """As `compare`, where the gate holds what `verdict` permits; for an owner and lane that are not known."""
    _compare(entry, {**_told(verdict), "decision": Decision.REQUIRE_APPROVAL.value})


def _compare(entry: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    for name, value in told.items():
        if entry.get(name) != value:
            raise Forged(f"decided anew, its `{name}` is {_word(value)} and not {_word(entry.get(name))}")


def _told(verdict: Verdict) -> dict[str, Any]:
    return {
        "decision": verdict.decision.value,
        "rule": verdict.rule,
        "tier": None if verdict.tier is None else int(verdict.tier),
        "observed": None if verdict.observed is None else verdict.observed.value,
        "policy": verdict.snapshot,
    }


def check_logic(entry: Mapping[str, Any], ruling: Ruling, topic: str | None) -> None:
    """Raises `Forged` where the policy can have said this about no action of the topic (None: unknown)."""
    decision, rule, tier, observed = (entry.get(name) for name in ("decision", "rule", "tier", "observed"))
    if decision not in _DECISIONS or (observed is not None and observed not in _DECISIONS):
        raise Forged("it names no decision")
    if type(rule) is not str or (tier is not None and type(tier) is not int):
        raise Forged("it names no rule or no tier")
    if entry.get("held_by") is not None:
        if decision != Decision.REQUIRE_APPROVAL:
            raise Forged("the gate holds it, and it is not held")
        said = _PERMITS if observed is None else _DECISIONS
    else:
        said = frozenset({Decision(decision if observed is None else observed)})
    if topic is None:
        return
    try:
        why = ruling.impossible(topic, rule, tier, said, observed=observed is not None)
    except InvalidInput:
        why = "its topic is none"
    if why is not None:
        raise Forged(f"{_word(rule)} cannot have decided it: {why}")


def _word(value: object) -> str:
    return f"`{shown(str(value))}`"

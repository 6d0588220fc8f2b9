"""Loading: files to one document to one policy, with every finding at its line.

1. Files are merged in the order of their names. Topics and rule ids stand once in all of them together;
   a top-level setting that several files state has one value.
2. Every file says which version of the meaning it is written for: ``interlock: 1`` (or ``version: v1``).
3. A key this version does not know is an error. One that belongs to a later capability says so: a policy
   that asks for more than is enforced must not load.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from interlock.policy.decide import Policy
from interlock.policy.document import Document
from interlock.policy.findings import Finding, Path, Place, Places, nearest, raise_for
from interlock.policy.source import MAX_TEXT, Tree, read

_LATER = frozenset(
    {
        "approval_queue_policy",
        "audit",
        "autonomy_levels",
        "deadline_within",
        "demotion_triggers",
        "duplicate_of",
        "environments",
        "escalate_to",
        "evidence_contract",
        "facts",
        "fatigue_controls",
        "injection_above",
        "invariants",
        "kill_switches",
        "levels",
        "locked",
        "mcp",
        "mode",
        "output",
        "outputs",
        "overrides",
        "permitted",
        "promotion_criteria",
        "provenance",
        "quorum",
        "routing",
        "sentiment_below",
        "signals",
        "sql",
        "steps",
        "trigger",
        "triggers",
        "velocity_above",
    }
)
_NOT_YET = {
    ("on_timeout", "kill_switch"): "on_timeout 'kill_switch' is not available yet; use deny or escalate",
    ("on_timeout", "allow"): "on_timeout 'allow' is not available yet; use deny or escalate",
    (
        "default_decision",
        "allow",
    ): "default_decision 'allow' is refused: nobody reviewed what it would let run",
}


def parse(sources: Mapping[str, str]) -> Policy:
    """The policy that some files state together.

    Args:
        sources: from file name to YAML text.

    Raises:
        PolicyError: with every finding; `extra["findings"]` holds them as JSON.
    """
    findings: list[Finding] = []
    names = sorted(sources)
    if not names:
        findings.append(Finding(Place("policy", 1, 1), "there is no policy file"))
    elif sum(map(len, sources.values())) > MAX_TEXT and len(names) > 1:
        findings.append(
            Finding(Place(names[0], 1, 1), f"more than {MAX_TEXT} characters in all files together")
        )
    raise_for(findings)
    trees = [tree for name in names if (tree := read(name, sources[name], findings)) is not None]
    raise_for(findings)
    data, places = _merge(trees, findings)
    raise_for(findings)
    try:
        document = Document.model_validate(data)
    except ValidationError as error:
        raise_for(_finding(problem, data, places) for problem in error.errors(include_url=False))
        raise
    return Policy.build(document, places)


# --- merging ----------------------------------------------------------------------------------------------


def _merge(trees: list[Tree], findings: list[Finding]) -> tuple[dict[str, Any], Places]:
    """One document, and where each of its parts stands."""
    merged: dict[str, Any] = {"interlock": 1}
    places = Places(trees[0].places.fallback)
    for tree in trees:
        if not isinstance(tree.data, dict):
            findings.append(Finding(tree.places.value(()), "a policy is a mapping with rules and actions"))
            continue
        _check_version(tree, findings)
        offset = len(merged["rules"]) if isinstance(merged.get("rules"), list) else 0
        for key, value in tree.data.items():
            path: Path = (key,)
            if key in ("interlock", "version"):
                continue
            if key == "rules" and isinstance(value, list) and isinstance(merged.get(key, []), list):
                merged[key] = [*merged.get(key, []), *value]
            elif key == "actions" and isinstance(value, dict) and isinstance(merged.get(key, {}), dict):
                _check_topics(tree, merged.get(key, {}), value, places, findings)
                merged[key] = {**merged.get(key, {}), **value}
            elif key in merged and merged[key] != value:
                first = places.key(path)
                message = f"{key!r} has another value in {first.file}:{first.line}"
                findings.append(Finding(tree.places.key(path), message))
                continue
            else:
                merged[key] = value
            _adopt(places, tree.places, key, offset)
    return merged, places


def _check_version(tree: Tree, findings: list[Finding]) -> None:
    stated = [(key, tree.data[key]) for key in ("interlock", "version") if key in tree.data]
    if not stated:
        findings.append(Finding(tree.places.value(()), "the file does not say `interlock: 1`"))
    for key, value in stated:
        if (key, type(value), value) not in (("interlock", int, 1), ("version", str, "v1")):
            place = tree.places.value((key,))
            findings.append(
                Finding(place, f"{key}: {value!r} is not a version this program reads; it reads 1")
            )


def _check_topics(
    tree: Tree, known: Mapping[str, Any], added: Iterable[str], places: Places, findings: list[Finding]
) -> None:
    for topic in added:
        if topic in known:
            first = places.key(("actions", topic))
            message = f"{topic!r} is already catalogued in {first.file}:{first.line}"
            findings.append(Finding(tree.places.key(("actions", topic)), message))


def _adopt(places: Places, added: Places, key: str, offset: int) -> None:
    """Take over the places of one top-level key; rules move behind those that are already there."""
    for source, target in ((added.keys, places.keys), (added.values, places.values)):
        for path, place in source.items():
            if not path or path[0] != key:
                continue
            if key == "rules" and len(path) > 1 and isinstance(path[1], int):
                path = (key, path[1] + offset, *path[2:])
            target.setdefault(path, place)


# --- what the models found, in the author's words ---------------------------------------------------------


def _finding(problem: Any, data: Any, places: Places) -> Finding:
    path: Path = tuple(problem["loc"])
    about_key = bool(path) and path[-1] == "[key]"
    path = path[:-1] if about_key else path
    kind, name = problem["type"], str(path[-1]) if path else "policy"
    rule = _rule_id(path, data)
    if kind == "extra_forbidden":
        where = _where(path[:-1], data)
        if name in _LATER:
            return Finding(
                places.key(path), f"{name!r} in {where} is not available in this version", None, rule
            )
        guess = nearest(name, _known_keys(path[:-1]))
        return Finding(places.key(path), f"unknown key {name!r} in {where}", guess, rule)
    if kind == "missing":
        return Finding(places.key(path[:-1]), f"{_where(path[:-1], data)} does not say {name!r}", None, rule)
    place = places.key(path) if about_key else places.value(path)
    value = path[-1] if about_key else problem["input"]
    if isinstance(value, str) and (name, value) in _NOT_YET:
        return Finding(place, _NOT_YET[name, value], None, rule)
    message, guess = _message(kind, problem, value)
    where = _where(path[:-1], data)
    label = f"{name!r} in {where}" if isinstance(path[-1] if path else "", str) else f"item {name} of {where}"
    return Finding(place, f"{label}: {message}", guess, rule)


def _message(kind: str, problem: Any, value: Any) -> tuple[str, str | None]:
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        guess = nearest(value, known) if isinstance(value, str) else None
        return f"expected one of {', '.join(known)}; found {_shown(value)}", guess
    if kind == "string_pattern_mismatch":
        return f"{_shown(value)} does not have the form {problem['ctx']['pattern']}", None
    if kind == "too_short":
        return "an empty list; name at least one, or remove the key", None
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}; found {_shown(value)}", None
    return str(problem["msg"]).replace("Input should be", "expected a value"), None


_EXPECTED = {
    "int_type": "an integer",
    "bool_type": "true or false",
    "string_type": "a string",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return repr(value[:100]) if isinstance(value, str) else str(value)


def _rule_id(path: Path, data: Any) -> str | None:
    if len(path) < 2 or path[0] != "rules" or not isinstance(path[1], int):
        return None
    spec = data["rules"][path[1]]
    named = spec.get("id") if isinstance(spec, dict) else None
    return named if isinstance(named, str) else f"rules[{path[1]}]"


def _where(path: Path, data: Any) -> str:
    """A path in words: ``match of rule 'x'``, ``args of action 'job.a.b'``."""
    if len(path) < 2:
        return str(path[0]) if path else "the policy"
    rule = _rule_id(path, data)
    whole = f"rule {rule!r}" if rule is not None else f"action {str(path[1])!r}"
    inner = ".".join(str(step) for step in path[2:])
    return f"{inner} of {whole}" if inner else whole


def _known_keys(path: Path) -> list[str]:
    """The keys the model at a path knows; none where it takes any."""
    node: Any = Document
    for step in path:
        node = _model(node)
        if isinstance(node, type) and issubclass(node, BaseModel):
            info = node.model_fields.get(str(step))
            node = info.annotation if info else None
        else:
            node = typing.get_args(node)[-1 if typing.get_origin(node) is dict else 0]
    node = _model(node)
    return list(node.model_fields) if isinstance(node, type) and issubclass(node, BaseModel) else []


def _model(annotation: Any) -> Any:
    """The annotation without `Annotated` and without None."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    options = [option for option in typing.get_args(annotation) if option is not type(None)]
    if type(None) in typing.get_args(annotation) and len(options) == 1:
        return _model(options[0])
    return annotation

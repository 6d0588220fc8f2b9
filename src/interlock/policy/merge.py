"""Merging: what several files say, as one document, whatever their order.

1. Every file says which version of the meaning it is written for: ``interlock: 1`` (or ``version: v1``). Two
   kinds need not: one with ``steps`` is a workflow, known by its ``name``; one that holds nothing but the
   desk's sections (`DESK`) is the desk's.
2. Rules are put behind each other, in the order of the file names. What is named (an action, a lane, a level)
   stands once; settings may be spread over files. Equal statements may repeat; different ones are an error
   that names both places.
3. Each key and value keeps the place where it stands in its file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from interlock.policy.findings import Finding, Path, Place, Places, quoted
from interlock.policy.source import Tree

DESK = frozenset({"approval_queue_policy", "routing", "fatigue_controls", "evidence_contract"})
NAMED = {
    "actions": "is already catalogued",
    "autonomy_levels": "is already defined",
    "facts": "is already declared",
    "lanes": "is already defined",
    "workflows": "is already defined",
}
"""Sections that hold one thing under each name, and what a second one is told."""
_VERSIONS = (("interlock", int, 1), ("version", str, "v1"))
_WORKFLOW_KEYS = frozenset({"interlock", "version", "name", "trigger", "steps"})


def merge(trees: list[Tree], findings: list[Finding]) -> tuple[dict[str, Any], Places]:
    """One document from files in the order of their names, and where each of its parts stands.

    The trees are used up: what they hold becomes part of the document.
    """
    merging = _Merging(trees[0].places.fallback, findings)
    for tree in trees:
        if not isinstance(tree.data, dict):
            findings.append(Finding(tree.places.value(()), "a policy is a mapping with rules and actions"))
            continue
        _check_version(tree, findings)
        if "steps" in tree.data:
            merging.workflow(tree)
        else:
            merging.policy(tree)
    return merging.data, merging.places


def _check_version(tree: Tree, findings: list[Finding]) -> None:
    stated = [(key, tree.data[key]) for key in ("interlock", "version") if key in tree.data]
    free = "steps" in tree.data or (tree.data.keys() and tree.data.keys() <= DESK)
    if not stated and not free:
        findings.append(Finding(tree.places.value(()), "the file does not say `interlock: 1`"))
    for key, value in stated:
        if (key, type(value), value) not in _VERSIONS:
            place = tree.places.value((key,))
            shown = quoted(value) if isinstance(value, str) else str(value)[:20]
            findings.append(Finding(place, f"{key}: {shown} is not a version this program reads; it reads 1"))


class _Merging:
    """The document so far."""

    def __init__(self, fallback: Place, findings: list[Finding]) -> None:
        self.data: dict[str, Any] = {"interlock": 1}
        self.places = Places(fallback)
        self.findings = findings

    def policy(self, tree: Tree) -> None:
        rules = self.data.get("rules")
        offset = len(rules) if isinstance(rules, list) else 0
        for key, value in tree.data.items():
            if key not in ("interlock", "version"):
                self._add(self.data, (key,), value, tree.places)

        def moved(path: Path) -> Path | None:
            if path[0] == "rules" and len(path) > 1 and isinstance(path[1], int):
                return ("rules", path[1] + offset, *path[2:])
            return None if path[0] in ("interlock", "version") else path

        self._adopt(tree.places, moved)

    def workflow(self, tree: Tree) -> None:
        """A workflow of its own file: ``name``, ``trigger`` and ``steps``."""
        for key in tree.data.keys() - _WORKFLOW_KEYS:
            message = f"{quoted(key)} does not belong to a workflow (this file has steps)"
            self.findings.append(Finding(tree.places.key((key,)), message))
        name = tree.data.get("name")
        if not isinstance(name, str):
            message = "a file with steps is a workflow, and says its name"
            self.findings.append(Finding(tree.places.value(("name",)), message))
            return
        content = {key: value for key, value in tree.data.items() if key in ("trigger", "steps")}
        base: Path = ("workflows", name)
        named = Places(tree.places.fallback, {base: tree.places.key(("name",))})
        self._add(self.data, ("workflows",), {name: content}, named)

        def moved(path: Path) -> Path | None:
            if path[0] in ("trigger", "steps"):
                return (*base, *path)
            return base if path == ("name",) else None

        self._adopt(tree.places, moved)

    def _add(self, into: dict[str, Any], path: Path, value: Any, places: Places) -> None:
        """Put what stands at a path into the mapping that holds its last step."""
        key = str(path[-1])
        if key not in into:
            into[key] = value
            return
        known = into[key]
        if path == ("rules",) and isinstance(value, list) and isinstance(known, list):
            known += value
        elif isinstance(value, dict) and isinstance(known, dict) and (len(path) == 1 or path[0] not in NAMED):
            for inner, item in value.items():
                self._add(known, (*path, inner), item, places)
        elif not _same(known, value):
            first = self.places.key(path)
            told = NAMED.get(str(path[0]), "has another value") if len(path) == 2 else "has another value"
            message = f"{quoted(key)} {told} in {first.file}:{first.line}"
            self.findings.append(Finding(places.key(path), message))

    def _adopt(self, added: Places, moved: Callable[[Path], Path | None]) -> None:
        """Take over the places of a file, each at the path where it stands now; the first stays."""
        for source, target in ((added.keys, self.places.keys), (added.values, self.places.values)):
            for path, place in source.items():
                now = moved(path) if path else None
                if now is not None:
                    target.setdefault(now, place)


def _same(one: Any, other: Any) -> bool:
    """Whether two values say the same; ``1`` and ``true`` do not."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)

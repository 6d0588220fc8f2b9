"""Checking how an action is taken back: that the undo exists, and that its arguments come from somewhere.

1. What is written out is held to types: a source that does not exist, an argument that the undo does not
   take, one that it needs and does not get, or one of another kind, is an error.
2. Of the short form, which policies used before anything followed from it, the same is a warning, where the
   undo is no function of the caller (who may call it with arguments that only the caller has): the rollback
   is refused then, and says why.
"""

from __future__ import annotations

from interlock.policy.catalogue import ArgType, CatalogueEntry
from interlock.policy.checking import Report
from interlock.policy.document import ActionSpec, UndoSpec
from interlock.policy.executes import DispatchedExecute, PermittedExecute
from interlock.policy.findings import Path
from interlock.policy.probes import Probe
from interlock.policy.reach import Reach
from interlock.policy.undos import Source, parse_source

_WITH_ARTICLE = {
    kind: f"an {kind}" if kind[0] in "aio" else f"a {kind}"
    for kind in ("string", "integer", "number", "boolean", "decimal", "object", "array")
}
_ELSEWHERE = DispatchedExecute | PermittedExecute


def check_undo(report: Report, reach: Reach, path: Path, spec: ActionSpec, entry: CatalogueEntry) -> None:
    """Everything about `undo` and `undo_within` of one entry."""
    undo = spec.undo
    if undo is None:
        if spec.undo_within is not None:
            report.add(
                (*path, "undo_within"),
                "undo_within says how long, but undo does not say what",
                key=True,
            )
        return
    topic = undo.topic if isinstance(undo, UndoSpec) else undo
    target = reach.entry(topic)
    if isinstance(undo, UndoSpec):
        _Written(report, (*path, "undo", "args"), entry, target, topic).check(undo.args)
    elif target is not None:
        _warn_short(report, path, entry, target, topic)
    if target is None:
        report.warn(f"action {path[1]}: undo names {topic}, which nobody catalogued")


class _Written:
    """The checks of a mapping that is written out. `target`: the undo's entry, where there is one."""

    def __init__(
        self, report: Report, path: Path, entry: CatalogueEntry, target: CatalogueEntry | None, topic: str
    ) -> None:
        self.report = report
        self.path = path
        self.entry = entry
        self.target = target
        self.topic = topic

    def check(self, written: dict[str, str]) -> None:
        takes = None if self.target is None else self.target.args
        for name, text in written.items():
            at: Path = (*self.path, name)
            if takes is not None and name not in takes:
                self.report.add(
                    at, f"{self.topic} takes no argument {name!r}", self.report.meant(name, takes), key=True
                )
                continue
            source = parse_source(text)  # the document's own type says that it is one
            self.source(at, source, None if takes is None else takes[name])
        missing = [n for n, kind in (takes or {}).items() if not kind.optional and n not in written]
        if missing:
            self.report.add(self.path, f"{self.topic} needs {', '.join(sorted(missing))}", key=True)

    def source(self, at: Path, source: Source, wanted: ArgType | None) -> None:
        if source.root == "before":
            self.before(at, source)
        elif source.root == "args" and self.entry.args is not None:
            declared = self.entry.args.get(source.name)
            if declared is None:
                guess = self.report.meant(source.name, self.entry.args)
                self.report.add(at, f"{source.text} names no declared argument", guess)
            elif len(source.steps) > 1:
                if declared.kind not in ("object", "array"):
                    self.report.add(
                        at, f"{source.name!r} is {_WITH_ARTICLE[declared.kind]}, which has no fields"
                    )
            elif wanted is not None:
                problem = _unfit(declared, wanted)
                if problem:
                    self.report.add(at, f"{source.text} {problem}")

    def before(self, at: Path, source: Source) -> None:
        probe = self.entry.probe
        if not isinstance(probe, Probe):
            self.report.add(at, f"{source.text} needs a probe, which reads the state before the action runs")
        elif source.name not in probe.fields:
            guess = self.report.meant(source.name, probe.fields)
            self.report.add(at, f"the probe does not read {source.name!r}", guess)


def _unfit(source: ArgType, wanted: ArgType) -> str:
    """Why a value of one declared argument is none of another; empty where it may be."""
    if source.optional and not wanted.optional:
        return "is optional, and the undo needs it"
    if source.kind != wanted.kind and (source.kind, wanted.kind) != ("integer", "number"):
        return f"is {_WITH_ARTICLE[source.kind]}, and the undo takes {_WITH_ARTICLE[wanted.kind]}"
    if source.kind == "decimal" and source.currency != wanted.currency:
        return f"is in {source.currency or 'no currency'}, and the undo takes {wanted.currency or 'none'}"
    if source.kind == "decimal" and (source.scale or 0) > (wanted.scale or 0):
        return f"has {source.scale} decimals, and the undo takes {wanted.scale}"
    return ""


def _warn_short(
    report: Report, path: Path, entry: CatalogueEntry, target: CatalogueEntry, topic: str
) -> None:
    """Rule 2."""
    if not isinstance(target.execute, _ELSEWHERE):
        return
    if topic == entry.pattern:
        report.warn(
            f"action {path[1]}: it is taken back by itself with the same arguments, which changes nothing; "
            "write the undo out as {topic, args}"
        )
    if target.args is None or entry.args is None:
        return
    for name, wanted in target.args.items():
        declared = entry.args.get(name)
        if declared is None:
            problem = "" if wanted.optional else "this action does not have"
        else:
            problem = _unfit(declared, wanted)
            problem = problem and f"that here {problem}"
        if problem:
            report.warn(
                f"action {path[1]}: {topic} takes {name!r}, {problem}, so no rollback is made of it; "
                "write the undo out as {topic, args}"
            )

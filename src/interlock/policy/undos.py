"""Undos: which action takes another one back, and where its arguments come from, as the catalogue says it.

1. A source is a path and nothing else: ``args.NAME`` (an argument of the action that is taken back),
   ``result.PATH`` (what it answered), ``before.FIELD`` (what its probe read before it ran). A path is names,
   or places in a list, joined by dots. There are no literals, no functions and no defaults.
2. The short form names the topic alone: the undo gets the arguments of the same names.
3. A source that is not there, or null, leaves its argument out. Whether the undo can do without is for the
   catalogue's entry of the undo to say, like everything else about its arguments. Only what was there before
   may not be missing: an undo that is not told it would leave what the action wrote, and say that it did not.
4. `to_json` is what a reviewer relies on; its bytes are part of the catalogue entry's digest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interlock.model.canonical import Json

ROOTS = ("args", "result", "before")
_STEP = r"[A-Za-z0-9_-]{1,64}"
PATH = rf"(args|result|before)(\.{_STEP}){{1,16}}"
_PATH = re.compile(PATH, re.ASCII)
_PLACE = re.compile(r"0|[1-9][0-9]{0,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Source:
    """Where one argument of an undo comes from.

    Attributes:
        root: args, result or before.
        steps: the path below it; of `before` the whole name of a field that the probe reads.
    """

    root: str
    steps: tuple[str, ...]

    @property
    def text(self) -> str:
        return ".".join((self.root, *self.steps))

    @property
    def name(self) -> str:
        """The argument it begins at, or the probe's field."""
        return ".".join(self.steps) if self.root == "before" else self.steps[0]

    def find(self, where: Json) -> Json:
        """The value at the path in what its root holds; None where there is none."""
        if self.root == "before":
            return where.get(self.name) if isinstance(where, Mapping) else None
        value = where
        for step in self.steps:
            if isinstance(value, Mapping):
                value = value.get(step)
            elif isinstance(value, Sequence) and not isinstance(value, str) and _PLACE.fullmatch(step):
                value = value[int(step)] if int(step) < len(value) else None
            else:
                return None
        return value


def parse_source(text: str) -> Source:
    """A source as people write it. Raises ValueError with the reason where it is none.

    >>> parse_source("result.body.id")
    Source(root='result', steps=('body', 'id'))
    """
    if not _PATH.fullmatch(text):
        raise ValueError(f"{text!r} is no path such as args.order_id, result.body.id or before.status")
    root, *steps = text.split(".")
    return Source(root, tuple(steps))


@dataclass(frozen=True, slots=True)
class Undo:
    """How an action is taken back.

    Attributes:
        topic: of the action that does it.
        sources: by the undo's arguments; None for the short form.
        within_sec: how long after it was claimed that is possible; None where nobody said so.
    """

    topic: str
    sources: Mapping[str, Source] | None = None
    within_sec: int | None = None

    @property
    def reads_before(self) -> bool:
        """Whether it needs what the probe read before the action ran."""
        return any(source.root == "before" for source in (self.sources or {}).values())

    def lacking(self, before: Mapping[str, Json]) -> list[str]:
        """The sources in what the probe read before that have no value there (rule 3)."""
        wanted = [source for source in (self.sources or {}).values() if source.root == "before"]
        return sorted({source.text for source in wanted if source.find(before) is None})

    def arguments(
        self, args: Mapping[str, Json], result: Json, before: Json, takes: Sequence[str] | None
    ) -> dict[str, Json]:
        """The arguments of the undo, not checked yet, and without those that have no value (rule 3).

        Args:
            args: of the action that is taken back. result: what it answered.
            before: the fields that its probe read, by name; None where nothing was read.
            takes: the arguments that the undo's entry declares; None where it declares none.
        """
        if self.sources is None:
            return {n: v for n, v in args.items() if v is not None and (takes is None or n in takes)}
        where: dict[str, Json] = {"args": args, "result": result, "before": before}
        found = {name: source.find(where[source.root]) for name, source in self.sources.items()}
        return {name: value for name, value in found.items() if value is not None}

    def sources_json(self) -> dict[str, Json] | None:
        """The mapping as people wrote it; None for the short form."""
        if self.sources is None:
            return None
        return {name: source.text for name, source in sorted(self.sources.items())}

"""What ``simulate`` and ``shadow`` print: how many actions would be held, and which get another answer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import report
from interlock.cli.policy.compare import LOOSENS
from interlock.cli.report import Line
from interlock.model.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from interlock.authoring import Flip, Simulation
    from interlock.authoring.simulate import Answer
    from interlock.model.canonical import Json
    from interlock.policy import Policy, Question

SHOWN = 20
NOTHING = NotFound.exit_code
"""An answer about no action at all is none: a check that waits for a 3 would pass for ever."""
_STEP = 128
"""Actions after which a bar moves."""
_STYLE = {"looser": "bold red", "stricter": "yellow"}

Limit = Annotated[int, typer.Option("--limit", min=0, help="How many changed actions to show, of each kind.")]


# --- actions that change ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changed:
    """One action that the candidate decides otherwise, as it is shown."""

    name: str
    topic: str
    title: str
    flip: Flip
    rule: str | None

    def to_json(self) -> dict[str, Json]:
        return {
            "id": self.name,
            "topic": self.topic,
            "title": self.title,
            "direction": self.flip.direction,
            "before": str(self.flip.before),
            "after": str(self.flip.after),
            "rule": self.rule,
            "limits": self.flip.limits,
        }

    def lines(self) -> list[Line]:
        what = _word(self.flip.after) + (" (other limits, tier or lane)" if self.flip.limits else "")
        by = "" if self.rule is None else f" by {self.rule}"
        head = f"{self.flip.direction}: {self.name}  {_word(self.flip.before)} → {what}{by}"
        return [(head, _STYLE[self.flip.direction]), f"    {report.value(self.title)}"]


class Gallery:
    """The first few changed actions of each kind."""

    def __init__(self, policy: Policy, limit: int) -> None:
        self._policy = policy
        self._limit = limit
        self._kept: dict[str, list[Changed]] = {"looser": [], "stricter": []}

    def show(self, flip: Flip, name: str, question: Question) -> Changed:
        """The action as it is shown, kept while there are not enough of its kind."""
        from interlock.gate.package import title

        words = title(self._policy, question.topic, question.args)
        rule = self._policy.decide(question).rule
        return self._keep(Changed(name, question.topic, words, flip, rule))

    def refused(self, flip: Flip, name: str, topic: str, why: str) -> Changed:
        """As `show`, for arguments that the candidate does not accept."""
        return self._keep(Changed(name, topic, why, flip, None))

    def full(self, flip: Flip) -> bool:
        """Whether no more of its kind are kept."""
        return len(self._kept[flip.direction]) >= self._limit

    def _keep(self, one: Changed) -> Changed:
        if not self.full(one.flip):
            self._kept[one.flip.direction].append(one)
        return one

    @property
    def all(self) -> list[Changed]:
        return [*self._kept["looser"], *self._kept["stricter"]]


# --- the report -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What there is to print. `whose` ends "actions": of the last 7 days, in FILE."""

    result: Simulation
    gallery: Gallery
    whose: str
    skipped: int
    against: str | None

    def print(self, policy: Policy, *, as_json: bool) -> None:
        """Print it. Ends with 3 where something becomes looser, with 5 where there was nothing to replay."""
        report.answer(self._document(policy), self._lines(), as_json=as_json)
        if self.result.loosens:
            raise typer.Exit(LOOSENS)
        if not self.result.actions:
            raise typer.Exit(NOTHING)

    def _document(self, policy: Policy) -> dict[str, Any]:
        result = self.result
        return {
            "policy": policy.snapshot,
            "against": self.against,
            "sentence": sentence(result, self.whose),
            "actions": result.actions,
            "known": result.known,
            "held": result.held,
            "held_before": result.held_before if result.known else None,
            "loosens": result.loosens,
            "loosened": result.loosened,
            "tightened": result.tightened,
            "limits": result.limits,
            "refused": result.refused,
            "skipped": self.skipped,
            "groups": [
                {
                    "before": None if group.before is None else str(group.before),
                    "after": str(group.after),
                    "count": group.count,
                }
                for group in result.groups
            ],
            "rules": [
                {"rule": held.rule, "before": held.before, "after": held.after} for held in result.rules
            ],
            "changed": [one.to_json() for one in self.gallery.all],
        }

    def _lines(self) -> Iterator[Line]:
        result, total = self.result, self.result.actions
        yield (sentence(result, self.whose), "bold")
        if self.skipped:
            yield (f"{self.skipped:,} more could not be read.", "yellow")
        if result.groups:
            yield ""
        for group in result.groups:
            before = "" if group.before is None else f"{_word(group.before)} → "
            yield f"  {group.count:>9,}  {_share(group.count, total):>7}  {before}{_word(group.after)}"
        if result.rules:
            yield from ("", ("Held by", "bold"))
        for held in result.rules:
            before = "" if held.before is None else f" (now {held.before:,})"
            yield f"  {held.after:>9,}  {_share(held.after, total):>7}  {held.rule}{before}"
        shown = self.gallery.all
        if shown:
            yield from ("", ("What changes", "bold"))
        for one in shown:
            yield from one.lines()
        hidden = result.loosened + result.tightened - len(shown)
        if hidden:
            yield f"… and {hidden:,} more; add --limit to see them"
        if result.known:
            yield ""
            yield (
                f"{result.loosened:,} looser, {result.tightened:,} stricter.",
                "bold red" if result.loosens else "bold green",
            )


def sentence(result: Simulation, whose: str) -> str:
    """The result as people say it."""
    if not result.actions:
        return f"There are no actions {whose}."
    noun = "action" if result.actions == 1 else "actions"
    before = f" (now {_share(result.held_before, result.known)})" if result.known else ""
    held = f"{_share(result.held, result.actions)} would have been held{before}"
    return f"Of the {result.actions:,} {noun} {whose}, {held}."


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0.0 %"


def _word(answer: Answer) -> str:
    return "refused as invalid" if answer == "refused" else str(answer)


# --- time and progress ------------------------------------------------------------------------------------


def seconds(text: str, option: str) -> int:
    from pydantic import TypeAdapter, ValidationError

    from interlock.policy.document import Duration

    try:
        found: int = TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        raise InvalidInput(str(error.errors()[0]["msg"]), path=option, fix=f"As in {option} 12h") from None
    return found


def period(seconds: int) -> str:
    """A length of time in words: "7 days"."""
    for name, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds % size == 0:
            count = seconds // size
            return name if count == 1 else f"{count} {name}s"
    return f"{seconds} seconds"


@contextmanager
def progress(title: str, total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error where a person watches; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(title, total=total)
        calls = count()
        yield lambda done: None if next(calls) % _STEP else bar.update(task, completed=done)

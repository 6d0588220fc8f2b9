"""What a verification found.

1. There are three answers and they never mix: the export holds (`ok`), it does not, or it cannot be checked
   (`cannot_check`: an unknown version or algorithm, no key). A failure outranks what could not be checked.
2. At most `MAX_PROBLEMS` are told one by one, and as many warnings; the rest are counted.
3. Names and values out of the export are somebody else's text: they are shown in printable ASCII only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from interlock.verify.succession import Succession

MAX_PROBLEMS = 100
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `where`: a file of the export, or ``entry 17``. `what`: a sentence."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Report:
    """The result for one export.

    Attributes:
        ok: every check was made and held.
        size, origin, root: what the checkpoint says (root in base64); 0 and empty where it could not be
            read, and no more than a claim where `ok` is false.
        problems: what failed, or, where nothing failed, what could not be checked.
        warnings: what an auditor should know although it does not fail.
        kinds: how many entries of each kind were read.
        cannot_check: nothing failed, but not everything could be checked.
        cosigned: with a trust policy, which of its witnesses cosigned, and when, in seconds since 1970.
        first: the entry that the export begins with; what was before is known by its hashes only.
        vkey: the verifier key that signs now; empty where it could not be found out.
        solo: numbers of the answers that people gave alone, being the only ones enrolled.
        tightened: numbers of the approvals by somebody who edited, which the gate calls provably tighter.
        assertions: how many answers were signed with a passkey, all of them verified where `ok`.
        permits: how many were ``minted``, ``redeemed``, to work ``offline``, and ran only as is ``assumed``.
        successions: each rotation of the key and each new epoch, in order.
        erased: how many times a subject's key was destroyed.
        pruned: entries before this number are said to be out of the database.
        policies: how many policy documents came along, each of them what its name says.
    """

    ok: bool
    size: int
    origin: str
    root: str
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    kinds: dict[str, int]
    cannot_check: bool
    cosigned: dict[str, int] = field(default_factory=dict)
    first: int = 0
    vkey: str = ""
    solo: tuple[int, ...] = ()
    tightened: tuple[int, ...] = ()
    assertions: int = 0
    permits: dict[str, int] = field(default_factory=dict)
    successions: tuple[Succession, ...] = ()
    erased: int = 0
    pruned: int = 0
    policies: int = 0


@dataclass(slots=True)
class Findings:
    """Collects what one verification meets on its way."""

    _warnings: list[str] = field(default_factory=list)
    _unwarned: int = 0
    _failed: list[Problem] = field(default_factory=list)
    _unchecked: list[Problem] = field(default_factory=list)
    _untold: int = 0

    def failed(self, where: str, what: str) -> None:
        self._add(self._failed, where, what)

    def unchecked(self, where: str, what: str) -> None:
        self._add(self._unchecked, where, what)

    def warn(self, what: str) -> None:
        if len(self._warnings) < MAX_PROBLEMS:
            self._warnings.append(what)
        else:
            self._unwarned += 1

    def warnings(self) -> tuple[str, ...]:
        more = [f"And {self._unwarned} more warnings."] if self._unwarned else []
        return (*self._warnings, *more)

    def _add(self, to: list[Problem], where: str, what: str) -> None:
        if len(to) < MAX_PROBLEMS:
            to.append(Problem(shown(where), what))
        else:
            self._untold += 1

    @property
    def cannot_check(self) -> bool:
        return bool(self._unchecked) and not self._failed

    def problems(self) -> tuple[Problem, ...]:
        told = self._failed + self._unchecked
        if self._untold:
            told.append(Problem("…", f"and {self._untold} more"))
        return tuple(told)


def shown(text: str) -> str:
    """Text of the export, fit for a terminal: printable ASCII, the rest escaped, cut at 200 characters."""
    if len(text) > _SHOWN:
        text = text[:_SHOWN] + "..."
    if text.isascii() and text.isprintable():
        return text
    return text.encode("unicode_escape").decode("ascii")

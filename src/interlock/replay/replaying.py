"""Replaying an export: each automatic verdict, in the order of the log.

1. A verdict is automatic where a policy gave it: of a proposal, of an edit, and of what was open when the
   policy became another (`action.redecided`, `action.stale`).
2. Inputs count if binding and nonce hash to the action hash, the inputs with the same nonce to the
   commitment, and what was decided on is what is bound.
3. What the policy says is compared with what the entry says, to the digest of the whole verdict. Where the
   gate holds what the policy would let pass, the verdict is held here by the same rules, from the one before.
4. An action whose policy changed is stale if and only if the new verdict is the tighter one, and it runs only
   under a policy that decided about it. It runs a second time only while its executor, by the catalogue that
   it was opened under, still answers a repeated key with its first answer.
5. A line that says its inputs were erased is believed only if an erasure follows in the log, and of each
   erasure for as many revisions as it says that it destroyed.
6. In memory are the actions that are still open: where their inputs stand, and their verdict; and those that
   run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from interlock.model.actions import ActionState
from interlock.model.errors import InvalidInput
from interlock.model.verdicts import Decision, OnTimeout, Verdict
from interlock.replay.comparing import check_logic, compare, compare_held, inputs_of
from interlock.replay.export import INPUTS, Entries, Forged, Line, Missing, Policies, Recorded
from interlock.replay.kernels import Ruling
from interlock.replay.report import Outcome, ReplayReport, Tally
from interlock.verify.source import Folder

_OPENS = ("action.proposed", "action.edited")
_AGAIN = ("action.redecided", "action.stale")
_REPORTS = ("action.settled", "action.in_doubt", "action.reconciled")
SENDING_SEC = 60
"""Seconds that sending a repeated key may take; so much earlier it is sent no more."""
_OUTSIDE = ("probe", "world")
"""Why something is stale although the policy did not become stricter."""
_ENDS = ("action.withdrawn", "action.revoked")


def replay(
    directory: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    verified: tuple[int, bytes] | None = None,
) -> ReplayReport:
    """Decide every automatic verdict of an export anew.

    What it reads must have been verified (`interlock.verify`): no signature is checked here.

    Args:
        progress: called after every bundle with the number of entries read and of all.
        verified: size and root that the verification found; what is there now must be the same.

    Raises:
        CannotCheck: the entries, or the file of inputs, cannot be read, or are not those that were verified.
    """
    source = Folder(directory)
    entries = Entries(source, verified)
    recorded = Recorded(directory)
    try:
        replaying = _Replaying(Policies(source), recorded)
        for start, bundle in entries.bundles():
            for number, entry in enumerate(bundle, start):
                replaying.follow(number, entry)
            if progress is not None:
                progress(start + len(bundle), entries.size)
        return replaying.report()
    finally:
        recorded.close()


class _Open:
    """What is remembered of a revision that may be decided again.

    Attributes:
        policy: the one that decided last. carried_out_under, kernel: those whose catalogue entry it would run
            by: of the verdict that opened it, or that was held anew.
        line: where its inputs stand; None where there are none. erased: they were erased.
        verdict: the one in force; None where it is not known.
        because: why it is stale, where that is nothing that the policy decides.
    """

    __slots__ = (
        "action_hash",
        "because",
        "carried_out_under",
        "commitment",
        "erased",
        "kernel",
        "line",
        "policy",
        "revision",
        "topic",
        "verdict",
    )

    def __init__(self, entry: Mapping[str, Any], line: Line | None) -> None:
        self.because: object = None
        self.revision = entry.get("revision")
        self.topic = str(entry.get("topic"))
        self.carried_out_under = self.policy = entry.get("policy")
        self.kernel = entry.get("kernel")
        self.action_hash = entry.get("action_hash")
        self.commitment = entry.get("inputs")
        self.line = None if line is None or line.erased else line.start
        self.erased = line is not None and line.erased
        self.verdict: Verdict | None = None


class _Running(NamedTuple):
    """An action that was claimed, since when, and by which policy's catalogue entry."""

    policy: object
    kernel: object
    topic: str
    since: int


class _Unproved(Exception):
    """There is nothing to decide anew from. The message says why, where it is not plain from the count."""

    def __init__(self, why: str = "", *, erased: bool = False) -> None:
        super().__init__(why)
        self.erased = erased


class _Replaying:
    """One replay under way."""

    def __init__(self, policies: Policies, recorded: Recorded) -> None:
        self._policies = policies
        self._recorded = recorded
        self._open: dict[object, _Open] = {}
        self._running: dict[object, _Running] = {}
        self._tally = Tally()
        self._erased: deque[int] = deque()
        """Entries whose inputs are said to be erased, and that no erasure accounts for so far."""

    def follow(self, number: int, raw: bytes) -> None:
        """Take the next entry."""
        entry: dict[str, Any] = orjson.loads(raw)
        kind, action = entry.get("kind"), entry.get("action")
        if kind in _OPENS:
            line = self._recorded.take(action, entry.get("revision"))
            now = _Open(entry, line)
            if now.erased:
                self._erased.append(number)
            before = self._open.get(action)
            self._judge(number, entry, now, line, before)
            self._open[action] = now
        elif kind in _AGAIN:
            known = self._open.get(action)
            if known is not None and known.revision != entry.get("revision"):
                known = None
            if known is not None and kind == "action.stale":
                known.because = entry.get("because")
            self._judge(number, entry, known, None, known)
            if known is not None:
                known.policy = entry.get("policy")
                if kind == "action.redecided" and entry.get("was") == ActionState.STALE:
                    known.carried_out_under, known.kernel = known.policy, entry.get("kernel")
        elif kind == "action.claimed":
            self._claimed(number, entry)
        elif kind in _REPORTS:
            self._running.pop(action, None)
        elif kind == "approval.unanswered":
            self._silence(number, entry, OnTimeout.ALLOW)
        elif kind == "action.expired":
            if entry.get("on_timeout") is not None:
                self._silence(number, entry, entry["on_timeout"])
            self._open.pop(action, None)
        elif kind in _ENDS or (kind == "approval.decided" and entry.get("decision") in ("reject", "respond")):
            self._open.pop(action, None)
        elif kind == "subject.erased":
            # Whichever are taken, the next erasure can account for the others as well: all came before it.
            for _ in range(min(_revisions(entry), len(self._erased))):
                self._erased.popleft()
        if entry.get("decision") == Decision.DENY and kind != "action.stale":
            self._open.pop(action, None)

    def _claimed(self, number: int, entry: dict[str, Any]) -> None:
        where, action, at = f"entry {number}", entry.get("action"), entry["at"]
        ran, runs = self._open.pop(action, None), self._running.get(action)
        if ran is not None:
            self._running[action] = _Running(ran.carried_out_under, ran.kernel, ran.topic, at)
            if ran.policy != entry.get("policy"):
                self._tally.problem(where, "action.claimed: its policy never decided about it")
        elif runs is not None and not self._remembered(where, runs, at):
            self._tally.problem(
                where, "action.claimed: it ran again, and its executor remembers no key by then"
            )

    def _remembered(self, where: str, runs: _Running, at: int) -> bool:
        """Whether a repeated key may still be sent; also where that is not known, which is noted."""
        try:
            retention = self._policies.of(runs.policy, runs.kernel).retention(runs.topic)
        except (Missing, Forged, InvalidInput) as error:
            self._tally.note(where, f"whether its executor remembers a repeated key is not known: {error}")
            return True
        return retention is not None and at < runs.since + (retention - SENDING_SEC) * 1_000_000

    def _silence(self, number: int, entry: dict[str, Any], end: object) -> None:
        """What became of a request that nobody answered is what its lane says, where that is known."""
        known = self._open.get(entry.get("action"))
        if known is None or known.revision != entry.get("revision") or known.verdict is None:
            return
        lane = known.verdict.lane
        if lane is None or lane.on_timeout != end:
            self._tally.problem(f"entry {number}", f"{entry['kind']}: its lane does not end like that")

    def report(self) -> ReplayReport:
        """What was found, once all entries were followed."""
        left, broken = self._recorded.left, self._recorded.broken
        if broken is not None:
            self._tally.problem(INPUTS, broken)
        elif left is not None:
            self._tally.problem(INPUTS, f"no entry asks for line {left} where it stands")
        if self._erased:
            self._withheld(len(self._erased), f"entry {self._erased[0]}")
        return self._tally.report()

    def _withheld(self, count: int, where: str) -> None:
        """Inputs that are said to be erased, and were not as far as this export tells (rule 5)."""
        counts = self._tally.counts
        moved = min(count, counts[Outcome.ERASED])
        counts[Outcome.ERASED] -= moved
        counts[Outcome.UNCHECKED] += moved
        self._tally.note(
            where,
            f"the inputs of {count} revisions are said to be erased, and no erasure follows that "
            "destroyed so many",
        )

    # --- one verdict --------------------------------------------------------------------------------------

    def _judge(
        self, number: int, entry: dict[str, Any], now: _Open | None, line: Line | None, before: _Open | None
    ) -> None:
        """Count one verdict.

        Args:
            now: the revision that it is about; None where the export does not show its beginning.
            line: its inputs, where they were just read.
            before: what was open about the action before this entry.
        """
        where, tally = f"entry {number}", self._tally
        try:
            ruling = self._policies.of(entry.get("policy"), entry.get("kernel"))
            tally.policies.add(entry["policy"])
            try:
                outcome = self._decided(entry, ruling, now, line, before)
            except _Unproved as unproved:
                check_logic(entry, ruling, None if now is None else now.topic)
                outcome = Outcome.ERASED if unproved.erased else Outcome.LOGIC_ONLY
                if str(unproved):
                    tally.note(where, str(unproved))
        except Missing as missing:
            outcome = Outcome.UNCHECKED
            tally.note(where, str(missing))
        except Forged as forged:
            outcome = Outcome.DIFFERING
            tally.problem(where, f"{entry['kind']}: {forged}")
        tally.counts[outcome] += 1

    def _decided(
        self,
        entry: dict[str, Any],
        ruling: Ruling,
        now: _Open | None,
        line: Line | None,
        before: _Open | None,
    ) -> Outcome:
        """Decide anew and compare. Raises `_Unproved`, `Missing` or `Forged`."""
        if now is None:
            raise _Unproved("the export does not show where this revision began")
        if now.erased:
            raise _Unproved(erased=True)
        if now.line is None:
            raise _Unproved
        if entry.get("inputs") is None:
            raise _Unproved("the entry commits to no inputs")
        if entry["inputs"] != now.commitment:
            raise Forged("it was decided from other inputs than those the action was proposed with")
        inputs = inputs_of(line or self._recorded.again(now.line), entry, now.action_hash)
        try:
            verdict = ruling.decide(inputs)
        except InvalidInput as error:
            raise Missing(f"its inputs do not read here: {error.detail}") from None
        return self._compared(entry, ruling, verdict, now, before)

    def _compared(
        self, entry: dict[str, Any], ruling: Ruling, verdict: Verdict, now: _Open, before: _Open | None
    ) -> Outcome:
        was = None if before is None else before.verdict
        anew = entry["kind"] in _AGAIN and entry.get("was") != "stale"
        held_anew = not anew and entry["kind"] != "action.proposed"
        if held_anew and not verdict.decision.restrictive:
            if entry.get("held_by") != "gate":
                raise Forged("the policy lets it pass, and the entry does not say that the gate holds it")
            if was is None:
                compare_held(entry, verdict)
                raise _Unproved("the verdict before it is not known, of which this one takes owner and lane")
            verdict = _hold(entry, ruling, now)(verdict, was)
        elif entry.get("held_by") is not None:
            raise Forged("the entry says that the gate holds it, and the policy decides on it alone")
        elif held_anew:
            verdict = _hold(entry, ruling, now)(verdict, verdict)  # silence does not let it run
        compare(entry, verdict)
        if not anew:
            now.verdict = verdict
        elif was is None:
            raise _Unproved("the verdict before it is not known, so neither whether this one is tighter")
        elif entry["kind"] == "action.stale" and entry.get("because") in _OUTSIDE:
            return Outcome.REPLAYED  # What it rests on is no input of the policy.
        elif verdict.tighter_than(was) is not (entry["kind"] == "action.stale"):
            raise Forged(
                "the policy became stricter, and the action stayed as it was"
                if entry["kind"] == "action.redecided"
                else "the action was made stale, and the policy did not become stricter"
            )
        return Outcome.REPLAYED


def _hold(entry: Mapping[str, Any], ruling: Ruling, now: _Open) -> Callable[[Verdict, Verdict], Verdict]:
    """How the gate holds what the policy would let pass."""
    if entry["kind"] == "action.edited":
        return ruling.held_after_edit
    return ruling.held_as_drifted if now.because == "world" else ruling.held_as_stale


def _revisions(entry: Mapping[str, Any]) -> int:
    """How many revisions an erasure destroyed the inputs of, at most."""
    count = entry.get("revisions", entry.get("payloads"))
    return count if type(count) is int else 0

"""What is remembered of an action: its current revision, what was decided about it, and how far it came.

A few words for each action that is not over, so that a log of millions is followed in one pass. Those that
are over and ended alike are remembered as one (`life.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from interlock.verify.broken import Broken

_SEVERITY = {"allow": 0, "allow_with_constraints": 1, "require_approval": 2, "deny": 3}
_RUNS = 1
_DENIES = 3
_WITHOUT_A_PERSON = frozenset({None, 1, 2, 3})
OFFLINE_TIERS = frozenset({1, 2})


class State(Enum):
    """How far an action came."""

    HELD = auto()
    MAY_RUN = auto()
    EDITING = auto()
    STALE = auto()
    ENDED = auto()
    CLAIMED = auto()
    ASSUMED = auto()
    DOUBTFUL = auto()
    SETTLED = auto()


CLAIMED_ONCE = frozenset({State.CLAIMED, State.ASSUMED, State.DOUBTFUL, State.SETTLED})
WAITING = frozenset({State.HELD, State.MAY_RUN})
OVER = frozenset({State.ENDED, State.DOUBTFUL, State.SETTLED})
"""What a new epoch leaves as it is."""


class Action:
    """The current revision of an action.

    Attributes:
        about: its agent and topic, until it has ended. policy: the one that decided about it last.
        severity, tier: of the verdict in force: the one that it was opened with, or made stale by.
        until: end of the allow, or of the open request, in microseconds; None where the log does not say.
        permitted: whether an executor elsewhere runs it. question: whether nobody does, and a person answers.
        offline: the permit that may run it unredeemed.
        requested_at: when its request was made. turn: how many owners were asked before who is asked now.
        log_epoch: the number of the log's epoch in which it was opened.
        outcome: succeeded or failed, once it is settled.
        epoch, claimed_at: of its last claim. permit: that it was claimed with.
        editing: who answers the request with an edit, and the action hash they signed for it.
        probe: by which it is to be read before it runs. reading: the mark of what its request shows.
    """

    __slots__ = (
        "about",
        "action_hash",
        "approval",
        "claimed_at",
        "editing",
        "editors",
        "epoch",
        "held_anew",
        "key",
        "log_epoch",
        "offline",
        "outcome",
        "permitted",
        "policy",
        "probe",
        "question",
        "reading",
        "requested_at",
        "review_hash",
        "revision",
        "severity",
        "state",
        "step_up",
        "tier",
        "turn",
        "until",
    )

    def __init__(
        self, entry: Mapping[str, Any], state: State, policy: str, log_epoch: int, editors: tuple[str, ...]
    ) -> None:
        self.revision: int = entry["revision"]
        self.action_hash: str = entry["action_hash"]
        self.about: tuple[str, str] | None = None
        self.state = state
        self.policy = policy
        self.severity = severity(entry)
        self.tier: int | None = entry.get("tier")
        self.until: int | None = entry.get("expires_at")
        self.requested_at = 0
        self.turn = 0
        self.log_epoch = log_epoch
        self.key: str | None = entry.get("key")
        self.permitted = entry["executor"] == "permitted"
        self.question = entry["executor"] == "question"
        self.offline: str | None = None
        self.outcome = ""
        self.epoch: int | None = None
        self.claimed_at = 0
        self.approval: str | None = None
        self.review_hash: str | None = None
        self.step_up = False
        self.editors = editors
        self.editing: tuple[str, str | None] | None = None
        self.held_anew = False
        self.probe: str | None = entry.get("probe")
        self.reading: str | None = None

    def decided_anew(self, entry: Mapping[str, Any], policy: str) -> None:
        """A verdict takes the place of the one in force."""
        self.policy = policy
        self.severity = severity(entry)
        self.tier = entry.get("tier")
        self.until = entry.get("expires_at")
        self.turn = 0
        self.held_anew = True

    def is_tighter(self, entry: Mapping[str, Any]) -> bool:
        """Whether an entry's verdict is stricter than the one in force, as far as entries tell."""
        return severity(entry) > self.severity or (entry.get("tier") or 0) > (self.tier or 0)


def severity(entry: Mapping[str, Any]) -> int:
    """How strict the decision of an entry is; a word that is not known here permits nothing."""
    return _SEVERITY.get(entry["decision"], _DENIES)


def runs(entry: Mapping[str, Any]) -> bool:
    """Whether the policy lets run what the entry is about."""
    return severity(entry) <= _RUNS


def unenforced(entry: Mapping[str, Any]) -> bool:
    """Whether it runs only because the policy observes and does not enforce."""
    observed = entry.get("observed")
    return observed is not None and _SEVERITY.get(observed, _DENIES) > _RUNS and runs(entry)


def check_floor(entry: Mapping[str, Any]) -> None:
    """No policy lets an action of tier 4 run without a person, unless it only observes. Raises `Broken`."""
    tier = entry.get("tier")
    if tier not in _WITHOUT_A_PERSON and entry.get("observed") is None and runs(entry):
        raise Broken(f"no policy says that tier {tier} runs without a person")

"""What is sealed beside an action, and what a reviewer is shown.

1. `Sealed` is the executor's side: the binding's canonical fields, the nonce, and the inputs the policy saw,
   so that the action can be hashed, executed and re-decided from what was recorded.
2. `Package` is the reviewer's side: the title from the catalogue's template over the real arguments (never
   the agent's prose), the consequence, the deadline, the agent's words marked as such. Its review hash is
   what a decision names (P4).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from interlock.model.actions import Proposal, Signals
from interlock.model.binding import Binding, review_hash
from interlock.model.canonical import Json, canonical
from interlock.model.errors import Tampered
from interlock.model.questions import is_question, question_title
from interlock.model.readings import Reading
from interlock.model.verdicts import Lane, Verdict
from interlock.policy import BASELINE, Policy, Question, commitment, document_of


@dataclass(frozen=True, slots=True)
class TakesBack:
    """What an action is sealed with that takes another one back.

    Attributes:
        action, title: the action that is taken back.
        asked_by: the person who asked; None where the agent itself did.
        until: when it is too late, microseconds UTC; None where the catalogue names no time.
    """

    action: str
    title: str
    asked_by: str | None
    until: int | None

    def to_json(self) -> dict[str, Json]:
        return {"action": self.action, "title": self.title, "asked_by": self.asked_by, "until": self.until}


@dataclass(frozen=True, slots=True)
class Sealed:
    """Everything about one revision that may be personal, as one sealed payload.

    Attributes:
        nonce: 32 bytes, hashed into the action hash.
        tags: from the trusted registration of a topic outside the catalogue; None where nobody registered it.
        words: the agent's reasoning, alternatives and call id; shown, never trusted.
        stopped: id of the kill switch that covered it when it was proposed.
        takes_back: set where it takes another action back.
    """

    binding: Binding
    nonce: bytes
    signals: Signals
    tags: tuple[str, ...] | None
    words: Mapping[str, Json]
    stopped: str | None = None
    takes_back: TakesBack | None = None

    def content(self) -> bytes:
        """What is sealed."""
        # The canonical form of an object is its members' canonical forms in the order of their names.
        return b'{"binding":%b,"nonce":"%b","rest":%b}' % (
            self.binding.canonical(),
            self.nonce.hex().encode(),
            _ordinary(self.tags)
            if self.words == NO_WORDS
            and self.signals == BASELINE
            and self.stopped is None
            and self.takes_back is None
            else canonical(self._rest()),
        )

    def _rest(self) -> dict[str, Json]:
        said: dict[str, Json] = {"signals": self.signals.to_json(), "tags": self.tags, "words": self.words}
        if self.stopped is not None:
            said["stopped"] = self.stopped
        if self.takes_back is not None:
            said["takes_back"] = self.takes_back.to_json()
        return said

    @classmethod
    def read(cls, content: bytes, action_hash: str) -> Sealed:
        """The payload, checked against the hash that was recorded.

        Raises:
            Tampered: it hashes to something else.
        """
        value: dict[str, Any] = json.loads(content)
        rest = value["rest"]
        tags = rest["tags"]
        sealed = cls(
            Binding.from_json(value["binding"]),
            bytes.fromhex(value["nonce"]),
            Signals.from_json(rest["signals"]),
            None if tags is None else tuple(tags),
            rest["words"],
            rest.get("stopped"),
            TakesBack(**rest["takes_back"]) if "takes_back" in rest else None,
        )
        if sealed.binding.action_hash(sealed.nonce) != action_hash:
            raise Tampered("The sealed arguments of an action do not hash to what was recorded.")
        return sealed

    @property
    def question(self) -> Question:
        """The policy's inputs, as recorded."""
        return Question(
            self.binding.topic,
            self.binding.args,
            self.signals,
            None if self.tags is None else frozenset(self.tags),
            stopped=self.stopped,
        )

    @property
    def inputs(self) -> str:
        """The commitment to them that stands in the ledger."""
        return commitment(self.nonce, document_of(self.question))


def subject_of(binding: Binding) -> str:
    """Whom an action is about, and under whose key all of it is sealed: its principal, or else its agent."""
    return f"agent:{binding.agent}" if binding.principal is None else binding.principal


NO_WORDS: dict[str, Json] = {"reasoning": "", "alternatives": [], "call_id": None}


@lru_cache(maxsize=64)
def _ordinary(tags: tuple[str, ...] | None) -> bytes:
    """The rest of a payload whose agent said nothing and reported nothing, as most are."""
    return canonical({"signals": BASELINE.to_json(), "tags": tags, "words": NO_WORDS})


def words_of(proposal: Proposal) -> dict[str, Json]:
    """The agent's own words of a proposal."""
    return {
        "reasoning": proposal.reasoning,
        "alternatives": list(proposal.alternatives),
        "call_id": proposal.call_id,
    }


@dataclass(frozen=True, slots=True)
class Package:
    """What the reviewer of one request is shown. Times are microseconds UTC.

    Attributes:
        summary: the title.
        context: everything below it, as JSON values; all of it is under the review hash.
        reading: mark of what was read of the world; None where nothing was.
    """

    action_hash: str
    verdict: Verdict
    catalogue: str
    summary: str
    context: Mapping[str, Json]
    expires_at: int
    reading: str | None = None

    @property
    def review_hash(self) -> str:
        return review_hash(
            action_hash=self.action_hash,
            verdict=self.verdict,
            catalogue_entry=self.catalogue,
            probe=self.reading,
            summary=self.summary,
            context=self.context,
            expires_at=self.expires_at,
        )

    def content(self) -> bytes:
        """What is sealed; the rest of the package stands in the rows."""
        return canonical({"summary": self.summary, "context": self.context})

    @classmethod
    def build(
        cls,
        policy: Policy,
        sealed: Sealed,
        action_hash: str,
        verdict: Verdict,
        *,
        expires_at: int,
        before: Mapping[str, Json] | None = None,
        again: Mapping[str, Json] | None = None,
    ) -> Package:
        """Render the package, unread.

        Args:
            before: the arguments of the revision that an edit replaced.
            again: why it is decided again (`because`: policy, probe or world), and its state before (`was`).
        """
        binding = sealed.binding
        entry = policy.entry(binding.topic)
        return cls(
            action_hash,
            verdict,
            policy.entry_digest(binding.topic),
            title(policy, binding.topic, binding.args),
            {
                "topic": binding.topic,
                "args": binding.args,
                "before": before,
                "roles": {} if entry is None else dict(entry.roles),
                "types": {}
                if entry is None or entry.args is None
                else {name: kind.kind for name, kind in entry.args.items()},
                "money": _money(policy, binding),
                "worst_case": None if entry is None else entry.worst_case,
                "undo": None if entry is None else entry.undo,
                "agent": binding.agent,
                "principal": binding.principal,
                "session": binding.session,
                "parent_action": binding.parent_action,
                "words": sealed.words,
                **({} if again is None else {"again": again}),
                **({} if sealed.takes_back is None else {"takes_back": sealed.takes_back.to_json()}),
            },
            expires_at,
        )

    def with_reading(self, reading: Reading, earlier: Json, nonce: bytes) -> Package:
        """The package with what was read of the world, and what was shown of it before."""
        told: dict[str, Json] = {"reading": reading.to_json(), "before": earlier}
        return replace(self, context={**self.context, "probe": told}, reading=reading.mark(nonce))

    @property
    def read(self) -> Json:
        """What was read of the world, as JSON values; None where nothing was."""
        probe = self.context.get("probe")
        return probe["reading"] if isinstance(probe, Mapping) else None


def title(policy: Policy, topic: str, args: Mapping[str, Json]) -> str:
    """One line for a person: the catalogue's template over the real arguments."""
    if is_question(topic):
        return question_title(args)
    entry = policy.entry(topic)
    if entry is not None:
        return entry.render(args, topic)
    shown = ", ".join(f"{name}={json.dumps(value)[:60]}" for name, value in sorted(args.items()))
    return f"{topic}: {shown}" if shown else topic


def _money(policy: Policy, binding: Binding) -> list[Json] | None:
    entry = policy.entry(binding.topic)
    found = None if entry is None else entry.money(binding.args)
    return None if found is None else list(found)


def deadlines(lane: Lane, owner: str, now: int) -> tuple[int, int]:
    """When the deadline first does something, and when, after everybody's turn, the request is over."""
    turns = lane.turns(owner)
    return (
        now + turns[0].window_sec * 1_000_000,
        now + sum(turn.window_sec for turn in turns) * 1_000_000,
    )

"""What the policy says: decisions, tiers, constraints, lanes and the verdict that carries them.

1. Decisions have one order, from loose to strict; combining takes the strictest (`Decision.severity`).
2. Constraints conjoin: the smaller number, the intersection of allowlists. An empty allowlist denies all.
3. A verdict is a value. Two verdicts are compared by `tighter_than`, which is what decides whether a
   changed policy disturbs something that waits.
4. A lane asks one owner after the other, nobody twice, and never nobody. Where it escalates, the default
   owner has the last turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

from interlock.model.canonical import Json, canonical

DEFAULT_OWNER = "ops-approvers"
"""Who is accountable where nobody is named, so that nothing is ever put to nobody."""


class Decision(StrEnum):
    """A policy decision."""

    ALLOW = "allow"
    ALLOW_WITH_CONSTRAINTS = "allow_with_constraints"
    REQUIRE_APPROVAL = "require_approval"
    DENY = "deny"

    @property
    def severity(self) -> int:
        """0 (allow) to 3 (deny)."""
        return _SEVERITY[self]

    @property
    def restrictive(self) -> bool:
        """Whether a rule with this decision restricts: then it matches unless proved not to (P2)."""
        return self in (Decision.REQUIRE_APPROVAL, Decision.DENY)


_SEVERITY = {decision: rank for rank, decision in enumerate(Decision)}


class Tier(IntEnum):
    """Action tiers. CSA autonomy tiers run the other way and are not these."""

    READ_ONLY = 1
    REVERSIBLE = 2
    EXTERNAL = 3
    IRREVERSIBLE = 4

    @property
    def words(self) -> str:
        return ("read-only", "reversible", "external", "irreversible or high risk")[self - 1]


class Trigger(StrEnum):
    """The six reasons to escalate."""

    CONFIDENCE = "confidence"
    RISK_TIER = "risk_tier"
    FRUSTRATION = "frustration"
    SLA = "sla"
    IRREVERSIBILITY = "irreversibility"
    ANOMALY = "anomaly"


class Handoff(StrEnum):
    """How an escalated action is handed to people, from the mildest to the strictest."""

    ASYNC_REVIEW = "async_review"
    APPROVAL = "approval"
    PRIORITY_ESCALATION = "priority_escalation"
    MANDATORY_APPROVAL = "mandatory_approval"
    HUMAN_TAKEOVER = "human_takeover"
    SESSION_BLOCK = "session_block"


class OnTimeout(StrEnum):
    """What the end of a lane's window does, from the mildest to the strictest."""

    ALLOW = "allow"
    ESCALATE = "escalate"
    DENY = "deny"
    KILL_SWITCH = "kill_switch"

    @property
    def severity(self) -> int:
        """0 (allow) to 3 (kill_switch)."""
        return _ENDS[self]


_ENDS = {end: rank for rank, end in enumerate(OnTimeout)}


@dataclass(frozen=True, slots=True, order=True)
class Turn:
    """Who is asked, and for how long."""

    owner: str
    window_sec: int

    def to_json(self) -> dict[str, Json]:
        return {"owner": self.owner, "window_sec": self.window_sec}


@dataclass(frozen=True, slots=True)
class Lane:
    """The time box of a request: `window_sec` until `on_timeout`; once approved, `valid_sec` to run.

    Attributes:
        escalate_to: who is asked after the first owner, in order, where it escalates; the default owner,
            whose turn comes last, need not be among them.
        name: what a lane that engages a kill switch is called, for the record; None in all others.
    """

    window_sec: int
    on_timeout: OnTimeout
    valid_sec: int = 3600
    escalate_to: tuple[Turn, ...] = ()
    name: str | None = field(default=None, compare=False)

    def turns(self, owner: str) -> tuple[Turn, ...]:
        """Everybody's turn, beginning with `owner`, whom the request is put to first."""
        turns = [Turn(owner, self.window_sec)]
        if self.on_timeout is OnTimeout.ESCALATE:
            for turn in (*self.escalate_to, Turn(DEFAULT_OWNER, self.window_sec)):
                if all(turn.owner != before.owner for before in turns):
                    turns.append(turn)
        return tuple(turns)

    def to_json(self) -> dict[str, Json]:
        value: dict[str, Json] = {
            "window_sec": self.window_sec,
            "on_timeout": self.on_timeout.value,
            "valid_sec": self.valid_sec,
        }
        if self.escalate_to:
            value["escalate_to"] = [turn.to_json() for turn in self.escalate_to]
        if self.name is not None:
            value["name"] = self.name
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Lane:
        return cls(
            value["window_sec"],
            OnTimeout(value["on_timeout"]),
            value["valid_sec"],
            tuple(Turn(turn["owner"], turn["window_sec"]) for turn in value.get("escalate_to", ())),
            value.get("name"),
        )


@dataclass(frozen=True, slots=True)
class Constraints:
    """Limits under which an action may run. None means unlimited; an empty allowlist means nowhere."""

    max_runtime_sec: int | None = None
    network_allowlist: tuple[str, ...] | None = None
    max_amount_usd: Decimal | None = None

    def conjoin(self, other: Constraints) -> Constraints:
        """Both at once."""
        hosts = self.network_allowlist
        if hosts is None:
            hosts = other.network_allowlist
        elif other.network_allowlist is not None:
            hosts = tuple(sorted(set(hosts) & set(other.network_allowlist)))
        return Constraints(
            _least(self.max_runtime_sec, other.max_runtime_sec),
            hosts,
            _least(self.max_amount_usd, other.max_amount_usd),
        )

    def tighter_than(self, other: Constraints) -> bool:
        """Whether holding these as well would change what `other` permits."""
        return other.conjoin(self) != other

    @property
    def named(self) -> tuple[str, ...]:
        """The constraints that are set, by their policy key."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) is not None)

    def to_json(self) -> dict[str, Json]:
        value: dict[str, Json] = {}
        if self.max_runtime_sec is not None:
            value["max_runtime_sec"] = self.max_runtime_sec
        if self.network_allowlist is not None:
            value["network_allowlist"] = sorted(self.network_allowlist)
        if self.max_amount_usd is not None:
            value["max_amount_usd"] = f"{self.max_amount_usd.normalize():f}"
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Constraints:
        hosts, amount = value.get("network_allowlist"), value.get("max_amount_usd")
        return cls(
            value.get("max_runtime_sec"),
            None if hosts is None else tuple(sorted(hosts)),
            None if amount is None else Decimal(amount),
        )


def _least(a: Any, b: Any) -> Any:
    return b if a is None else a if b is None else min(a, b)


NO_CONSTRAINTS = Constraints()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policy decided about one revision of one action.

    Attributes:
        rule: id of the rule that decided, or of what stands in for one: `default:tier-N`, `level:N`,
            `default:uncatalogued`, `trigger:…`, `invariant:…`, `floor:tier-4`, `kill-switch:…`.
        tier: 1 to 4, or None for a topic outside the catalogue.
        owner: who is accountable for the answer; never empty.
        lane: set if and only if the decision is `require_approval`.
        reason: one sentence for a person.
        snapshot: id of the policy that decided, ``v1:…``.
        matched: ids of every rule that matched, strictest first.
        missing: inputs that a restrictive rule needed and did not get.
        handoff: how the triggers that fired want it handed over; None where none fired or nothing waits.
        informed: owners of other rules that asked; they are told.
        overridden: ids of rules that matched and that another rule set aside.
        level: the autonomy level in force; None where none is.
        observed: in observe mode, what would have been decided; None where the verdict is enforced.
    """

    decision: Decision
    rule: str
    tier: Tier | None
    triggers: tuple[Trigger, ...]
    constraints: Constraints
    owner: str
    lane: Lane | None
    reason: str
    snapshot: str
    tags: tuple[str, ...] = ()
    matched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    handoff: Handoff | None = None
    informed: tuple[str, ...] = ()
    overridden: tuple[str, ...] = ()
    level: int | None = None
    observed: Decision | None = None
    _bytes: list[bytes] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.lane is not None) != (self.decision is Decision.REQUIRE_APPROVAL):
            raise ValueError("a lane belongs to require_approval, and require_approval has one")
        if not self.owner or not self.rule or not self.reason:
            raise ValueError("a verdict names its owner, rule and reason")
        if self.tier is Tier.IRREVERSIBLE and not self.decision.restrictive and self.observed is None:
            raise ValueError("tier 4 never runs without a person")

    @property
    def held(self) -> bool:
        return self.decision is Decision.REQUIRE_APPROVAL

    @property
    def allowed(self) -> bool:
        return not self.decision.restrictive

    def tighter_than(self, other: Verdict) -> bool:
        """Whether this verdict restricts what `other` let happen, by silence too, or what a reviewer was
        told."""
        return (
            self.decision.severity > other.decision.severity
            or (self.tier or 0) > (other.tier or 0)
            or self.constraints.tighter_than(other.constraints)
            or self._wants_an_answer(other)
        )

    def _wants_an_answer(self, other: Verdict) -> bool:
        """Whether silence lets run, or lets run sooner, what waits under `other`, and not under this one."""
        mine, theirs = self.lane, other.lane
        if mine is None or theirs is None or theirs.on_timeout is not OnTimeout.ALLOW:
            return False
        return mine.on_timeout is not OnTimeout.ALLOW or mine.window_sec > theirs.window_sec

    def canonical(self) -> bytes:
        """The verdict's RFC 8785 bytes, made once."""
        if not self._bytes:
            self._bytes.append(canonical(self.to_json()))
        return self._bytes[0]

    def to_json(self) -> dict[str, Json]:
        return {
            "decision": self.decision.value,
            "rule": self.rule,
            "tier": None if self.tier is None else int(self.tier),
            "triggers": [trigger.value for trigger in self.triggers],
            "constraints": self.constraints.to_json(),
            "owner": self.owner,
            "lane": None if self.lane is None else self.lane.to_json(),
            "reason": self.reason,
            "snapshot": self.snapshot,
            "tags": list(self.tags),
            "matched": list(self.matched),
            "missing": list(self.missing),
            "handoff": None if self.handoff is None else self.handoff.value,
            "informed": list(self.informed),
            "overridden": list(self.overridden),
            "level": self.level,
            "observed": None if self.observed is None else self.observed.value,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Verdict:
        return cls(
            Decision(value["decision"]),
            value["rule"],
            None if value["tier"] is None else Tier(value["tier"]),
            tuple(Trigger(t) for t in value["triggers"]),
            Constraints.from_json(value["constraints"]),
            value["owner"],
            None if value["lane"] is None else Lane.from_json(value["lane"]),
            value["reason"],
            value["snapshot"],
            tuple(value["tags"]),
            tuple(value["matched"]),
            tuple(value["missing"]),
            None if value["handoff"] is None else Handoff(value["handoff"]),
            tuple(value["informed"]),
            tuple(value["overridden"]),
            value["level"],
            None if value["observed"] is None else Decision(value["observed"]),
        )

"""Readings at the gate: what an action with a probe may run on.

1. Who has to read is fixed with the verdict: the row carries the digest of the probe in the catalogue entry
   that was decided on. A policy that only observes asks for none.
2. A claim needs a reading that is at most `FRESH_US` old, in the time of the transaction that claims, and was
   asked for by this probe for this revision. What could not be read does not run: it stays as it is until it
   expires.
3. An approved action runs on what its approver was shown and nothing else: another reading makes it stale.
   What needed no approval has nothing to be compared with but its cursor, where its entry says which field
   of the world has to equal that argument.
4. What is claimed again was sent once, for all anybody knows, and may itself be the change: it is not read
   again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from interlock.gate.package import Sealed
from interlock.gate.records import ActionRow, ApprovalRow
from interlock.journal import Tx
from interlock.model.canonical import Json, canonical
from interlock.model.errors import Conflict, NotClaimable, Tampered
from interlock.model.readings import FRESH_US, Reading
from interlock.model.text import visible
from interlock.model.verdicts import Constraints
from interlock.policy import CatalogueEntry, Policy, Probe

Reads: TypeAlias = Callable[[Probe, Mapping[str, Json], Constraints, str], Reading]
"""Asks the world once: a probe, the arguments, the constraints in force, and the action's id. Home hands it
over. It raises nothing for what the world does."""


class NotProbed(Conflict):
    """What the request rests on was not read yet, so nobody can have seen it."""

    slug = "not-probed"
    title = "What this rests on has not been read yet"
    advice = "Look again in a moment and decide on what is shown then. Rejecting needs no reading."


class ProbeUnavailable(NotClaimable):
    """What the action rests on cannot be read now."""

    slug = "probe-unavailable"
    title = "What this rests on cannot be read"
    advice = "It is tried again until the action expires. Nothing was run."


class Drifted(NotClaimable):
    """What the action rests on is not any more as it was shown."""

    slug = "drifted"
    title = "What this rests on has changed"
    advice = "A person decides on it anew."


@dataclass(frozen=True, slots=True)
class Asked:
    """What a probe is read with, as it was recorded.

    Attributes:
        snapshot, catalogue: the policy that decided, and the digest of its entry for the topic.
        probe: digest of the probe.
    """

    action_id: str
    revision: int
    action_hash: str
    topic: str
    args: Mapping[str, Json]
    constraints: Constraints
    snapshot: str
    catalogue: str
    probe: str

    @property
    def digest(self) -> str:
        """What a reading is about; the action hash covers topic and arguments."""
        about: list[Json] = [self.action_id, self.revision, self.action_hash, self.catalogue, self.probe]
        return hashlib.sha256(canonical(about)).hexdigest()


class NeedsReading(ProbeUnavailable):
    """A claim needs a fresh reading; the caller reads, outside any transaction, and asks again."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(f"{asked.action_id} is claimed on a fresh reading only.")
        self.asked = asked


class Drifting(Drifted):
    """A reading differs; the caller records that, and the action is stale."""

    def __init__(self, action_id: str, reading: Reading) -> None:
        super().__init__(f"What {action_id} rests on has changed.")
        self.action_id = action_id
        self.reading = reading


def probe_of(policy: Policy, topic: str) -> str | None:
    """The digest of the probe that a topic's actions are run on under a policy (rule 1)."""
    entry = policy.entry(topic)
    if entry is None or entry.probe is None or policy.mode == "observe":
        return None
    return entry.probe.digest


def asked_of(row: ActionRow, sealed: Sealed) -> Asked:
    """What the probe of a row is read with. The row has one."""
    verdict = row.decided
    return Asked(
        row.id,
        row.revision,
        row.action_hash,
        row.topic,
        sealed.binding.args,
        verdict.constraints,
        verdict.snapshot,
        row.catalogue,
        row.probe or "",
    )


def ask(asked: Asked, policy: Policy, reads: Reads | None) -> Reading:
    """Read, outside any transaction. `policy` is the one that decided.

    Raises:
        Tampered: its catalogue entry is not the one that was decided on.
    """
    entry = policy.entry(asked.topic)
    if (
        entry is None
        or entry.probe is None
        or entry.probe.digest != asked.probe
        or policy.entry_digest(asked.topic) != asked.catalogue
    ):
        raise Tampered(f"The catalogue entry of {asked.action_id} is not the one that was decided on.")
    if reads is None:
        raise ProbeUnavailable(f"This process cannot read what {asked.action_id} rests on.")
    reading = reads(entry.probe, asked.args, asked.constraints, asked.action_id)
    return replace(moved(reading, entry, asked.args), about=asked.digest)


def moved(reading: Reading, entry: CatalogueEntry, args: Mapping[str, Json]) -> Reading:
    """The reading, with whether the cursor stands elsewhere than the argument says (rule 3)."""
    field = None if entry.probe is None else entry.probe.cursor
    expected = args.get(entry.roles.get("cursor", ""))
    if field is None or expected is None or not reading.available:
        return reading
    found = reading.values.get(field)
    return reading.with_cursor(field, moved=reading.absent or canonical([found]) != canonical([expected]))


def check(
    tx: Tx, row: ActionRow, sealed: Sealed, approval: ApprovalRow | None, reading: Reading | None
) -> dict[str, Json]:
    """Whether an action may be claimed on a reading; what the claim's entry says about it.

    Raises:
        NeedsReading: there is none, or it is too old. ProbeUnavailable, Drifting: it does not run.
        Tampered: it was approved without a reading, which nobody can have done.
    """
    if row.probe is None:
        return {}
    if approval is not None and approval.reading is None:
        raise Tampered(f"{row.id} was approved before what it rests on was read.")
    asked = asked_of(row, sealed)
    if reading is None or reading.about != asked.digest or not 0 <= tx.now - reading.read_at <= FRESH_US:
        raise NeedsReading(asked)
    mark = reading.mark(sealed.nonce)
    if mark is None:
        raise ProbeUnavailable(
            f"{row.id} was not run: what it rests on cannot be read ({visible(reading.reason or '', 300)})."
        )
    drifted = reading.moved if approval is None else mark != approval.reading
    if drifted:
        raise Drifting(row.id, reading)
    return {"reading": mark, "read_at": reading.read_at}


def check_shown(row: ActionRow, approval: ApprovalRow, context: Mapping[str, Json]) -> None:
    """Refuse an approval of what rests on something that nobody has read yet.

    Raises:
        NotProbed, ProbeUnavailable.
    """
    if row.probe is None or approval.reading is not None:
        return
    probe = context.get("probe")
    reading = probe.get("reading") if isinstance(probe, Mapping) else None
    if isinstance(reading, Mapping):
        raise ProbeUnavailable(
            f"What {row.id} rests on could not be read, so it would not run: {reading.get('reason')}.",
            fix="Reject it, or wait: it is read again by itself until the request ends.",
        )
    raise NotProbed(f"What {row.id} rests on has not been read yet.")

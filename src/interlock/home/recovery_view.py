"""What people are told while a home is in recovery, as plain JSON values: the same for HTTP and the shell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from interlock.gate.recovery import Agreement, Opened
from interlock.identity import Person
from interlock.model.ids import iso

if TYPE_CHECKING:
    from interlock.home.home import Home

View = dict[str, Any]
_SAME = {True: "same", False: "different", None: "unknown"}
_UNSIGNED = "unsigned"


def described(home: Home) -> View:
    """What is known, what a new epoch would do, and who may open it; ``required`` is false in ordinary life.

    Raises:
        HomeUnusable: (or a subclass) the journal cannot be read.
    """
    if home.recovery.required is None:
        return {"required": False}
    now = home.recovery.situation()
    gap, outlook = now.gap, now.outlook
    keys, spoilt = home.keyring.sound()
    return {
        "required": True,
        "why": now.why,
        "found_at": iso(now.found_at),
        "gap": now.digest,
        "kept": gap.kept,
        "last_at": iso(now.last_at),
        "seen": gap.seen,
        "missing": max(0, gap.seen - gap.kept),
        "signed": gap.head(),
        "entries": _UNSIGNED if now.same and gap.signed is None else _SAME[now.same],
        "epoch": {
            "number": gap.number,
            "origin": gap.origin,
            "vkey": gap.vkey,
            "previous": gap.previous,
            "old_key": now.old_key,
        },
        "dismissal": {
            "gap": now.dismissal,
            "against": now.against or None,
            "agreed": _named(outlook.dismissing),
        },
        "in_doubt": {
            "count": sum(outlook.counts.values()),
            "states": outlook.counts,
            "items": [
                {
                    "action": action,
                    "revision": revision,
                    "state": state,
                    "topic": topic,
                    "agent": agent,
                    "changed_at": iso(changed_at),
                }
                for action, revision, state, topic, agent, changed_at in outlook.listed
            ],
        },
        "agreement": {
            "needed": outlook.needed,
            "solo": outlook.solo,
            "may": _named(outlook.may),
            "agreed": _named(outlook.agreed),
        },
        "check": {
            "people": [
                {"id": p.id, "name": p.name, "roles": sorted(role.value for role in p.roles)}
                for p in home.roster.all()
            ],
            "keys": [
                {
                    "id": key.id,
                    "kind": key.kind.value,
                    "name": key.name,
                    "person": key.person,
                    "added_at": iso(key.added_at),
                }
                for key in keys
                if key.revoked_at is None
            ],
            "spoilt_keys": spoilt,
        },
    }


def agreed(agreement: Agreement) -> View:
    """Who agreed so far, and the epoch, where that opened it."""
    return {
        "agreed": _named(agreement.agreed),
        "needed": agreement.needed,
        "opened": None if agreement.opened is None else opened(agreement.opened),
        "dismissed": agreement.dismissed,
    }


def opened(epoch: Opened) -> View:
    """A new epoch, and what it put in doubt."""
    return {"epoch": epoch.number, "in_doubt": sum(epoch.doubted.values()), "states": epoch.doubted}


def _named(people: Iterable[Person]) -> list[View]:
    return [{"id": person.id, "name": person.name} for person in people]

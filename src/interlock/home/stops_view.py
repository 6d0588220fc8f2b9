"""Kill switches as JSON values: for the API, and for the command line beside a home."""

from __future__ import annotations

from typing import Any

from interlock.gate.stopping import Drill, Engaged, Rearming
from interlock.gate.stops import Switch
from interlock.home.home import Home
from interlock.identity import Person
from interlock.model.ids import iso

SHOWN = 50
"""How many of those that were lifted are shown."""


def described(home: Home) -> dict[str, Any]:
    """What is stopped, who agreed to lift it, who may, and how many have to; what was stopped before."""
    standing = home.kill_switches.standing()
    off = sorted(standing.off, key=lambda switch: switch.rearmed_at or 0, reverse=True)
    return {
        "engaged": [
            {
                **_switch(switch),
                "agreed": [_person(person) for person in agreed],
                "needed": min(1, standing.needed) if switch.drill else standing.needed,
            }
            for switch, agreed in standing.on
        ],
        "may": [_person(person) for person in standing.may],
        "lifted": [_switch(switch) for switch in off[:SHOWN]],
    }


def engaged(done: Engaged) -> dict[str, Any]:
    """What engaging answered."""
    return {**_switch(done.switch), "created": done.created, "running": list(done.running)}


def drilled(done: Drill) -> dict[str, Any]:
    """What a drill answered."""
    return {**_switch(done.switch), "stop_us": done.stop_us, "running": list(done.running)}


def rearmed(done: Rearming) -> dict[str, Any]:
    """What an agreement answered."""
    return {
        **_switch(done.switch),
        "agreed": [_person(person) for person in done.agreed],
        "needed": done.needed,
        "lifted": done.lifted,
    }


def _switch(switch: Switch) -> dict[str, Any]:
    return {
        "id": switch.id,
        "scope": switch.scope,
        "target": switch.target,
        "reason": switch.reason,
        "by": switch.by,
        "drill": bool(switch.drill),
        "engaged_at": iso(switch.engaged_at),
        "rearmed_at": None if switch.rearmed_at is None else iso(switch.rearmed_at),
    }


def _person(person: Person) -> dict[str, str]:
    return {"id": person.id, "name": person.name}

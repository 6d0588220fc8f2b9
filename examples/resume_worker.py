"""A held call survives the process that made it.

The agent proposes a refund and its process ends. Somebody approves. A worker that imports this module runs
the refund, once, and the agent goes on from the state that it kept with its proposal.

    $ python resume_worker.py A-12 1400          # the agent: the refund is held, and the process ends
    $ interlock serve                            # elsewhere; somebody approves in the console
    $ interlock worker resume_worker:gate        # runs it, once, however many workers there are
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path

from interlock import Event, Gate, Held

FOLDER = Path(__file__).parent
POLICY = FOLDER / "resume_policy.yaml"
BOOKS = FOLDER / "books.txt"

plan: dict[str, str] = {}
"""What this agent has to remember. Here a dictionary; whatever your framework serialises will do."""

gate = Gate.open(POLICY, agent="refunds")


@gate.guard("shop.refunds.create", checkpoint=lambda: json.dumps(plan).encode())
def refund(order_id: str, amount_usd: Decimal) -> dict[str, str]:
    """The effect. It runs where a worker is, perhaps days after it was proposed."""
    with BOOKS.open("a", encoding="utf-8") as books:
        books.write(f"refunded {order_id} {amount_usd}\n")
    return {"refunded": order_id}


@gate.on_decided
def go_on(event: Event) -> None:
    """What the agent does next. It may be told an event twice: `event.number` says which one it is."""
    if event.state.open and event.type != "action.in_doubt":
        return  # approved: it runs now, and how it ended is told next
    kept = gate.checkpoint(event.action_id)
    state = json.loads(kept) if kept else {}
    with BOOKS.open("a", encoding="utf-8") as books:
        books.write(f"{event.state}: {state.get('then', 'nothing to do')}\n")


def main(order_id: str, amount_usd: Decimal) -> None:
    plan["then"] = f"write to the customer of {order_id}"
    try:
        refund(order_id, amount_usd)
    except Held as held:
        print(held)


if __name__ == "__main__":
    with gate:
        main(sys.argv[1], Decimal(sys.argv[2]))

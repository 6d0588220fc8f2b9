"""The program of an agent whose gate is a server, for tests that end its process.

    python tests/connected_agent.py refund A-12 500.00    # the guarded call; prints the id where held
    python tests/connected_agent.py resume act_…           # prints the result, or the slug of the refusal
    python tests/connected_agent.py hang act_…             # resumes, and never comes back from the effect

Each effect is one line in the file that ``EFFECTS`` names. Server and key come from the environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from interlock import Gate, Held, InterlockError

if __name__ == "__main__":
    _, command, *rest = sys.argv
    gate = Gate.connect()

    @gate.guard("pay.refund", checkpoint=lambda: b"thread-7")
    def refund(order_id: str, amount_usd: Decimal, recipient: str) -> dict[str, Any]:
        with Path(os.environ["EFFECTS"]).open("a") as effects:
            effects.write(f"{order_id} {amount_usd} {recipient}\n")
        if command == "hang":
            print("inside", flush=True)
            time.sleep(600)
        return {"refunded": str(amount_usd)}

    try:
        if command == "refund":
            print(json.dumps(refund(rest[0], Decimal(rest[1]), "acme")))
        else:
            print(json.dumps(gate.resume(rest[0])))
    except Held as held:
        print(held.action_id)
    except InterlockError as error:
        print(error.slug)
    gate.close()

"""Acting: a claimed action becomes exactly one effect, and its outcome is reported.

1. Nothing here runs without a `Claim`. What runs is the claim's binding: the bytes that were hashed.
2. Constraints are enforced here, not suggested: a breach stops the action before or during the call, is
   reported with the constraint's name, and follows the `failed` / `in_doubt` rule.
3. A lease is renewed while the work lasts. A process that dies stops renewing, and the sweep does the rest.
4. `http`, `sql` and `mcp` actions run in any serving process; `caller` functions only in the process that
   registered them.
5. What a tool asks for is fetched when it is called: nothing that waits holds a secret.
"""

from interlock.dispatch.caller import CALLER_ENFORCES, lacking, run_async, run_sync
from interlock.dispatch.calling import Execution, call, call_async
from interlock.dispatch.connectors import ENFORCES, Connectors
from interlock.dispatch.credentials import Credentials
from interlock.dispatch.dispatcher import Dispatcher
from interlock.dispatch.probing import Prober

__all__ = [
    "CALLER_ENFORCES",
    "ENFORCES",
    "Connectors",
    "Credentials",
    "Dispatcher",
    "Execution",
    "Prober",
    "call",
    "call_async",
    "lacking",
    "run_async",
    "run_sync",
]

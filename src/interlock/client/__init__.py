"""The Python face: a gate in five lines.

1. `Gate` is what an engineer meets: `Gate.open` embeds the gate in this process ("positions" in the README
   says what that protects against). Its methods do not depend on where the gate is.
2. `@gate.guard("topic")` binds a function to a topic; that binding is trusted code, the call is not.
3. A call that may not run raises: `Held` while a person decides, `Denied` when it will not run. Their text
   says what is awaited, from whom, until when, and where to decide. The agent never decides anything.
"""

from interlock.client.gate import Gate
from interlock.client.held import Denied, Ended, Held

__all__ = ["Denied", "Ended", "Gate", "Held"]

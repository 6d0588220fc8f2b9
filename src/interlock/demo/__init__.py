"""The demonstration: a shop, a support agent, a gate between them, and a person.

1. Nothing is simulated. The shop is an HTTP service in a process of its own, the gate is `interlock serve`,
   the agent has an agent's key and no other way in. Only the agent's thinking is a script.
2. The shop's password is in the home's credentials and nowhere else: the agent cannot pass the gate by.
3. What is claimed at the end is counted: the shop's own books against the journal, and the exported ledger
   against its checkpoint. Whatever does not add up is said, and the exit code is not zero.
4. It touches one folder, which it made and marked as its own, and leaves no process behind.
"""

from interlock.demo.run import main

__all__ = ["main"]

"""The engine: work between two waits, carried through crashes by a durable queue that is not ours.

1. A *segment* is one piece of work between two waits: the dispatch of an approved action, the delivery of a
   notification, a workflow's steps up to its next wait. Waiting itself is rows of the journal, never
   something inside the engine.
2. The port has three calls. `enqueue` writes a row in the transaction that decided on the work: committed
   together or not at all. `Engine.launch` delivers to registered handlers, with retries and timeouts, until
   `Engine.drain`. `Engine.reap` takes over what a dead process had begun, until none of it remains.
3. Delivery is at least once. The claim makes the effect once, and a handler counts on nothing else.
4. A segment carries the name of its kind and ids, as JSON: nothing personal, nothing secret, nothing that
   would have to be erased.
5. Each launched process is an *executor* under an id of its own, with a lease that expires and a fencing
   epoch. A process whose lease lapsed begins nothing; one whose lease was taken finds its epoch spent.
6. What carries the work stands behind `Backend`. The one there is runs on DBOS Transact; its package is
   imported by whoever launches, and by nobody who only enqueues.

Imports: `model` and `journal`. Nothing in this room knows what a segment's ids mean.
"""

from interlock.engine.engine import Engine
from interlock.engine.executors import Spent
from interlock.engine.outbox import enqueue
from interlock.engine.port import Backend, Begun, Carried, Delivery, Retry, Segment, Share

__all__ = [
    "Backend",
    "Begun",
    "Carried",
    "Delivery",
    "Engine",
    "Retry",
    "Segment",
    "Share",
    "Spent",
    "enqueue",
]

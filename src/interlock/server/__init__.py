"""HTTP, server-sent events and the console, on one port.

1. The server decides nothing. It authenticates, reads strictly, calls the gate, and renders what the gate
   says; every error is a problem document of RFC 9457.
2. Keys come as bearer tokens. People come with a session cookie, and then a request that changes something
   must come from our own page: same origin and a header no other site can send. Nothing is decided by a GET.
3. A request names a host we answer to (no DNS rebinding), is at most 1 MiB, and is parsed once.
4. One serving process also dispatches, sweeps deadlines and signs checkpoints; several may share one home.
"""

from interlock.server.app import create_app
from interlock.server.run import serve

__all__ = ["create_app", "serve"]

"""The gateway: MCP servers behind the gate, for clients that only speak MCP.

1. Every call of every tool is proposed, whatever the server says of the tool. The gateway has no second way
   to a tool: the call to the server stands inside the claim.
2. A tool's topic is ``<server>.<tool>``, as `interlock policy import mcp` writes it. Tools whose topics would
   be the same are offered by nobody.
3. A tool counts while the hash of its definition is the one that was accepted (`interlock.gate.tools`).
   Before that, and after a change, its own words do not reach the model, and it is not called.
4. What servers are given to authenticate stays here: it stands in no result, no list and no entry.
5. A held call is answered at once, with what is awaited, and not with a connection that stays open. The same
   call finds the same action again; `interlock_result` tells how it ended. Neither decides anything.
6. A call that was held runs with the arguments that were approved. Where a person changed them, the client is
   told.

Sources: Model Context Protocol 2024-11-05 to 2025-11-25, and 2026-07-28.
"""

"""The `interlock` command.

1. A command does what its room does and nothing more: it reads arguments, calls the room, and says what came
   of it. No rule of Interlock lives here.
2. Every command takes ``--json``: then exactly one JSON document stands on standard output, also for an
   error, whose document is the problem of RFC 9457. Without it the words are for a person. Exit codes are
   those of `interlock.model.errors`; Ctrl-C ends with 130.
3. Text that came from an agent, a tool or a server reaches the terminal only with its unseen characters
   written out, so that it can neither move the cursor nor imitate a line of ours. JSON is pure ASCII.
4. File access is administration of this host (keys, people, the ledger), never authority to decide: approval
   requests are answered over HTTP with a person's key, and a key is never taken from the command line.
5. ``interlock --help`` imports no other room. A command imports the rooms it needs when it runs.

What belongs here: options, words, exit codes. What does not: anything another program could want to call.
"""

from __future__ import annotations

from interlock.cli.app import main

__all__ = ["main"]

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
5. ``interlock --help`` imports no other room. A command imports the rooms it needs when it runs. Only
   ``interlock hook`` is told apart before the commands themselves are loaded.

What belongs here: options, words, exit codes. What does not: anything another program could want to call.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """As `interlock.cli.app.main`; a hook, which is started for each call of a tool, goes its own way."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["hook"] and given[1:2] != ["install"] and "--help" not in given:
        from interlock.adapters.claude_code.hook import run

        run(given[1:])
    from interlock.cli.app import main as command

    return command(given)

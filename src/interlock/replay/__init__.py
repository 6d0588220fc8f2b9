"""Replay: every automatic verdict of an exported ledger, decided anew from what was recorded.

1. A log can be whole, signed and witnessed, and still say that the policy allowed what it never would. The
   room `verify` checks what was written; this room checks whether the policy of that moment, asked the
   recorded question, gives the verdict that was written.
2. Nothing in the export is believed. A policy counts if its bytes hash to the snapshot that the entry names,
   and inputs count if they and the binding hash, with the nonce, to what the entry names.
3. A verdict is decided by the kernel that its entry names, or by none.
4. Without inputs only the logic can be looked at: whether the policy has that rule and could have said that.
   Such a verdict is counted as `logic_only` or `erased`, and is never counted as decided anew.

What belongs here: reading an export's verdicts, policies and inputs, and comparing. What does not: signatures
and hashes of the tree (`verify`), writing exports (`home`). Replay follows a verification; it replaces none.
"""

from __future__ import annotations

from interlock.replay.replaying import replay
from interlock.replay.report import ReplayReport

__all__ = ["ReplayReport", "replay"]

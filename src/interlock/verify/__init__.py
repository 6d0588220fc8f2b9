"""The independent verifier: an export of the ledger against its signed checkpoint, offline.

1. It trusts the auditor's key and nothing in the export. It reads files, writes none, and needs no database
   and no policy; the network only to read a log that a server holds.
2. It shares no code with the rooms that write (it imports nothing of ours outside this room), so that one
   mistake cannot both make a false log and pass it. What the two agree on is `docs/ledger.md`.
3. Whatever it does not know, it does not call good: an unknown version is "cannot check".
"""

from interlock.verify.export import verify_export
from interlock.verify.proven import Proven, verify_proof
from interlock.verify.remote import BadUrl, Remote
from interlock.verify.report import Problem, Report
from interlock.verify.succession import Succession

__all__ = ["BadUrl", "Problem", "Proven", "Remote", "Report", "Succession", "verify_export", "verify_proof"]
